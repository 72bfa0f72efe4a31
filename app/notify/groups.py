"""Groups: who is in a Slack user group, remembered for five minutes.

Called by `app.flow.people.clicks` when a rule or setting names a group. A group that cannot be read has nobody in it: the error is raised
and the caller says so. Never remembers a failure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from app.domain.errors import ProbeUnavailable
from app.domain.ports import Clock

KEPT: Final = 300.0
"""Seconds that a membership is believed: who left the rota may still answer so long."""
AGAIN: Final = 15.0
"""Seconds that somebody is believed not to be in a group: who has just joined the rota is not told for five minutes that they may not
answer."""


class Members(Protocol):
    """Reads a group. Raises RemediatorError kinds."""

    async def members(self, group: str) -> frozenset[str]:
        """User ids of the group with this id."""
        ...


@dataclass(slots=True)
class Groups:
    """`source` is None without a bot token; then every group is unreadable."""

    source: Members | None
    clock: Clock
    _known: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)

    async def members(self, group: str) -> frozenset[str]:
        """User ids in the group. Raises ProbeUnavailable, Never."""
        at, found = self._known.get(group, (0.0, None))
        if found is not None and self.clock.monotonic() - at < KEPT:
            return found
        return await self._read(group)

    async def _read(self, group: str) -> frozenset[str]:
        if self.source is None:
            raise ProbeUnavailable("REMEDIATOR_SLACK_BOT_TOKEN is not set", code="no_slack")
        now = self.clock.monotonic()
        found = await self.source.members(group)
        self._known[group] = (now, found)
        return found

    async def has(self, group: str, user: str) -> bool:
        """Whether this person is in it. A no is looked up anew when it is older than a moment. Raises ProbeUnavailable, Never."""
        if user in await self.members(group):
            return True
        if self.clock.monotonic() - self._known[group][0] < AGAIN:
            return False
        return user in await self._read(group)
