"""Who is on call in PagerDuty, for people to read: names of a schedule or an escalation policy, remembered for a minute.

Called by `app.flow.calling.escalation` when a step names one. A failure is remembered as long, so that PagerDuty's being away costs one
question a minute. Bounded: so many names, each cut and cleaned. Never says whether anybody was reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from app.domain.errors import ProbeUnavailable
from app.domain.free_text import name_told
from app.domain.ports import Clock

KEPT: Final = 60.0
"""Seconds that an answer, or its failing, is believed."""
MAX_PEOPLE: Final = 10
"""Names of one schedule or policy that are told."""
_NAME: Final = 80
_REMEMBERED: Final = 200  # schedules and policies; a policy names at most some hundred


class OnCalls(Protocol):
    """Reads PagerDuty's `GET /oncalls`. Raises ProbeUnavailable."""

    async def on_calls(self, kind: str, identity: str) -> Sequence[Mapping[str, Any]]:
        """Its entries for a `schedule` or an escalation `policy`."""
        ...


@dataclass(slots=True)
class OnCallNames:
    """The names, over `source`."""

    source: OnCalls
    clock: Clock
    _known: dict[tuple[str, str], tuple[float, tuple[str, ...] | ProbeUnavailable]] = field(
        default_factory=dict
    )

    async def names(self, kind: str, identity: str) -> Sequence[str]:
        """People on call now for a `schedule` or an escalation `policy`, the first level first. Raises ProbeUnavailable."""
        now = self.clock.monotonic()
        at, found = self._known.get((kind, identity), (0.0, None))
        if found is None or now - at >= KEPT:
            found = await self._asked(kind, identity)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[kind, identity] = (now, found)
        if isinstance(found, ProbeUnavailable):
            raise found
        return found

    async def _asked(self, kind: str, identity: str) -> tuple[str, ...] | ProbeUnavailable:
        try:
            entries = await self.source.on_calls(kind, identity)
        except ProbeUnavailable as error:
            return error
        by_level = sorted(entries, key=_level)
        return tuple(dict.fromkeys(name for entry in by_level if (name := _name(entry))))[:MAX_PEOPLE]


def _level(entry: Mapping[str, Any]) -> int:
    level = entry.get("escalation_level")
    return level if isinstance(level, int) else MAX_PEOPLE


def _name(entry: Mapping[str, Any]) -> str:
    user = entry.get("user")
    name = user.get("summary") if isinstance(user, Mapping) else None
    return name_told(str(name), _NAME) if name else ""
