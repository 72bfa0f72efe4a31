"""Whether what was written has the word of a person behind it, and whether it can end what was said. Who wrote an object tells only its name: a person's
tool and one that carries out what a person declared are known, and so are some programs that write of their own accord; anybody else is not
known, and what it wrote counts only where it can end what was said.

Asked of what may have repaired a trouble. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.domain.tools import is_hand
from remediations.causes.changes import CONFIGURATION, Change, of_itself
from remediations.causes.model import Snapshot

_ABSENT = r"(?:missing|required|unset|undefined|not (?:been )?(?:set|found|defined|provided|configured|present)|must be (?:set|provided|defined))"
_VARIABLE = r"(?<![\w-])(?!E(?:RR)?_)[A-Z][A-Z0-9]{0,40}_[A-Z0-9_]{1,80}(?![\w-])"
_MISSES = re.compile(
    rf"\bKeyError\b\W{{0,3}}['\"]|\bkey not found\W{{1,3}}['\"]|{_VARIABLE}.{{0,60}}?\b{_ABSENT}\b|\b{_ABSENT}\b.{{0,60}}?{_VARIABLE}"
)
"""An error that names the very key or variable which it misses."""
_FILE = re.compile(r"\.(?:ya?ml|json|toml|ini|conf|cfg|config|properties|env|xml|hcl|py|js|rb|cnf|txt)$|^(?:config|settings|application|\.?env)$", re.IGNORECASE)  # fmt: skip
"""Keys that hold a whole file: whatever an error names may stand in it."""


_LIBRARIES = frozenset({"node-fetch"})
"""What a person's tool calls itself, and also each program that writes with the same library: a heartbeat is nobody's word."""


def by_hand(seen: Snapshot, change: Change) -> bool:
    """Whether a person, or what carries out a person's word, wrote that, as far as the writer's name tells."""
    known = is_hand(change.by) and change.by.lower() not in _LIBRARIES
    return known and not of_itself(seen.workload)(change.by)


def unsure_hand(seen: Snapshot, change: Change) -> str:
    """Why nobody knows whether a person meant that, as one clause; empty where a person's hand is known."""
    if by_hand(seen, change):
        return ""
    own = of_itself(seen.workload)(change.by)
    return (
        f"{change.by} writes of its own accord"
        if own
        else f"whether a person meant it is not known of {change.by}"
    )


def may_end(seen: Snapshot, change: Change, said: Sequence[str]) -> bool:
    """Whether that may have been written to end what was `said`. Of a hand that is known, it may; of a program that writes of its own accord not, unless
    the words are about it, which is asked elsewhere; of anybody else, unless the words name what they miss and that is not in it."""
    if by_hand(seen, change):
        return True
    if of_itself(seen.workload)(change.by):
        return False
    kept = seen.kept.get((change.kind, change.name))
    if change.kind not in CONFIGURATION or kept is None or any(map(_FILE.search, kept.keys or ())):
        return True
    lines = [line for line in said if line]
    return not lines or not all(map(_MISSES.search, lines))
