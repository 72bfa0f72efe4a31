"""A look at a server that was not made: what of it is the server's own word, and what says nothing of it.

Called by what looks at databases and caches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from app.domain.errors import ProbeUnavailable
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue


def not_looked(
    code: str, at: object, error: ProbeUnavailable, told: Collection[str], data: Mapping[str, JsonValue]
) -> Finding:
    """The finding with this code. `told` are the codes of errors that are the server's own word on what is wrong: those are known.
    `data` is completed by the error's `code`."""
    known = error.code in told
    text = (
        f"{at}: {error.message}"
        if known
        else f"{at} could not be looked at, which says nothing of it: {error.message}"
    )
    certainty = Certainty.KNOWN if known else Certainty.UNKNOWN
    return Finding(code, text, certainty, {"code": error.code, **data})
