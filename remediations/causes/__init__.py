"""Causes: the one investigation of a workload. Why are these pods not (all) ready, and which change can have brought it?

`investigate` takes a bounded snapshot, the finders turn it into causes, `rank` orders them, `blame` says whether the last rollout
can have brought the first one, `report` makes findings of all that. Called by the handlers. Only `investigate` and
`neighbours`, `pods.where_alone`, `everyday` and `others` do I/O; nothing here writes, and nothing decides what is done about a cause.
"""

from __future__ import annotations

from remediations.causes.blame import Blame, blame
from remediations.causes.investigate import Investigation, conclude, investigate
from remediations.causes.model import Cause, CauseCode, Snapshot, Sureness
from remediations.causes.report import FirstCause, findings_of, first_findings

__all__ = [
    "Blame",
    "Cause",
    "CauseCode",
    "FirstCause",
    "Investigation",
    "Snapshot",
    "Sureness",
    "blame",
    "conclude",
    "findings_of",
    "first_findings",
    "investigate",
]
