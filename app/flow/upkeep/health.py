"""Health: is this process ready to take alerts, and what works less well than it should?

Called by `/readyz`. Taking an alert needs one thing, a store that can write; so only that makes the service not ready, and
a cluster that is away never cuts the way in for alerts. Everything else is `degraded`: it is told and changes nothing.
Never repairs anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sqlalchemy import update

from app.domain.errors import RemediatorError
from app.domain.ports import Clock
from app.store.database import Store
from app.store.schema import audit_chain

_FRESH: Final = 2.0  # seconds for which an answer of the store stands, however many ask


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


@dataclass(slots=True)
class Health:
    """`probe` raises RemediatorError kinds when the store cannot write. `parts` are those that no alert needs to get in."""

    clock: Clock
    probe: Callable[[], Awaitable[None]]
    parts: Sequence[Part]
    _asked: float | None = None
    _store: str = ""

    async def __call__(self) -> Findings:
        """What is the matter now. The store is tried at most every two seconds."""
        now = self.clock.monotonic()
        if self._asked is None or now - self._asked >= _FRESH:
            self._asked = now
            try:
                await self.probe()
                self._store = ""
            except RemediatorError as error:
                self._store = error.message
        found: dict[str, str] = {}
        for part in self.parts:
            found.update(part.problems)
        return Findings({"store": self._store} if self._store else {}, found)


async def probe_write(store: Store) -> None:
    """Commit a row as it is: it goes through the log and the disk like any other. Raises StoreUnavailable."""
    same = update(audit_chain).where(audit_chain.c.id == 1).values(seq=audit_chain.c.seq)
    await store.write(lambda tx: tx.conn.execute(same))
