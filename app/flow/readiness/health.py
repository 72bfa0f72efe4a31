"""Health: is this process ready to take alerts, and what works less well than it should?

Called by `/readyz`. Taking an alert needs one thing, a store that can write; so only that makes the service not ready, and
a cluster that is away never cuts the way in for alerts. Everything else is `degraded`: it is told and changes nothing.
Never repairs anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.domain.errors import RemediatorError


@dataclass(frozen=True, slots=True)
class Findings:
    """By part: what keeps alerts out, and what only works less well."""

    problems: Mapping[str, str]
    degraded: Mapping[str, str] = field(default_factory=dict)


class Part(Protocol):
    """What can say what it cannot do at present."""

    @property
    def problems(self) -> Mapping[str, str]:
        """By part, in words; empty when all is well."""
        ...


@dataclass(frozen=True, slots=True)
class Health:
    """`probe` raises RemediatorError kinds when the store cannot write. `parts` are those that no alert needs to get in."""

    probe: Callable[[], Awaitable[None]]
    parts: Sequence[Part]

    async def __call__(self) -> Findings:
        """What is the matter now."""
        problems: dict[str, str] = {}
        try:
            await self.probe()
        except RemediatorError as error:
            problems["store"] = error.message
        degraded: dict[str, str] = {}
        for part in self.parts:
            degraded.update(part.problems)
        return Findings(problems, degraded)
