"""Progress: how far the present action of a run has come, as its row keeps it while the action takes long.

Written by `act`, read by the messages, the API and `act` itself. It stands beside the run's life and is forgotten when the action
has an outcome. Never says what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from app.domain.json import JsonValue
from app.domain.outcome import RunState
from app.store.runs import Run

TOLD_EVERY: Final = timedelta(seconds=15)
"""The incident's message is edited no more often than this."""
_KEY = "progress"


@dataclass(frozen=True, slots=True)
class SoFar:
    """`text` for people, empty before there is any progress; `state` is the actuator's; `told_at` is when people last heard of it."""

    text: str = ""
    state: Mapping[str, JsonValue] = field(default_factory=dict)
    told_at: datetime | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """What the row keeps."""
        told = self.told_at.isoformat() if self.told_at else None
        return {_KEY: {"text": self.text, "state": dict(self.state), "told_at": told}}


def so_far(run: Run) -> SoFar:
    """Of the action that is carried out now; empty in any other state."""
    kept = run.life.get(_KEY)
    if run.state is not RunState.ACTING or not kept:
        return SoFar()
    told = datetime.fromisoformat(kept["told_at"]) if kept["told_at"] else None
    return SoFar(kept["text"], kept["state"], told)
