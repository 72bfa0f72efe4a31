"""What is wrong with the set-up, as a page: what the command `doctor` finds, looked at from the running service.

Called by `app.page.site`. Reads only, and only when somebody asks for it. The looking itself is put in by the command that serves: nothing
of it is part of the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.domain.errors import Missing
from app.domain.redact import redact
from app.intake.auth import Scope
from app.page.requests import Site, require
from app.page.session import Visitor

_ORDER: Final = ("fail", "warn", "ok", "skip")
WORDS: Final[Mapping[str, str]] = {
    "fail": "does not work",
    "warn": "works, and will disappoint",
    "ok": "works",
    "skip": "not looked at",
}
"""What the levels of findings say."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found, the worst first; None before anybody asked. `counts` has what there is of each level."""

    findings: Sequence[Mapping[str, str]] | None = None

    @property
    def counts(self) -> Sequence[tuple[str, int]]:
        """Levels in words, the worst first, with how many findings have them."""
        found = [f["level"] for f in self.findings or ()]
        return [(WORDS[level], found.count(level)) for level in _ORDER if level in found]


async def look(site: Site, visitor: Visitor, *, now: bool) -> Seen:
    """The page; it looks only `now`. Raises NotPermitted (`scope_missing`), Missing where this service has no doctor."""
    require(visitor, Scope.OPERATE)
    if site.tools.doctor is None:
        raise Missing("this service has no doctor; run remediator doctor beside it")
    if not now:
        return Seen()
    found = [{**one, "text": redact(one["text"])} for one in await site.tools.doctor()]
    return Seen(sorted(found, key=lambda one: _ORDER.index(one["level"])))
