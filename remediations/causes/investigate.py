"""Investigate a workload once: snapshot, causes, and the word on the last rollout.

Called by the handlers in `diagnose`. Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.remediation import Scene
from remediations.causes.blame import Blame, blame
from remediations.causes.model import Cause, Snapshot
from remediations.causes.rank import at_rest, causes_of
from remediations.causes.read import read_snapshot


@dataclass(frozen=True, slots=True)
class Investigation:
    """What one look found. `causes` are in order; `blame` is the word on the last rollout about the first of them; `rest`
    says why nothing is to be done now, empty when something is."""

    seen: Snapshot
    causes: tuple[Cause, ...]
    blame: Blame | None
    rest: str

    @property
    def nothing_to_do(self) -> str:
        """`recovered 12 min ago, nothing to do: 3 of 3 pods ready`; empty when something is."""
        how, colon, state = self.rest.partition(": ")
        return f"{how}, nothing to do{colon}{state}" if self.rest else ""


async def investigate(scene: Scene) -> Investigation:
    """Look, and conclude."""
    return conclude(await read_snapshot(scene))


def conclude(seen: Snapshot) -> Investigation:
    """Everything that follows from a snapshot. Pure."""
    causes = causes_of(seen) if "pods" not in seen.unread else []
    first = causes[0] if causes else None
    word = blame(seen, first, causes) if first is not None else None
    return Investigation(seen, tuple(causes), word, at_rest(seen, causes))
