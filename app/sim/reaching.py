"""How a statement reaches a simulated PostgreSQL server, for the modules that simulate what is inside of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from app.domain.cluster import Cluster
from app.domain.database import DatabaseAddress, Session
from app.sim.faults import Verb

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reached:
    """The server that a statement is at: its name, the address' database, the time there and who is connected."""

    app: str
    database: str
    now: datetime
    sessions: tuple[Session, ...]


class Reaching(Protocol):
    """The login is checked, then `ask`, and hooks and faults stand around the statement."""

    async def __call__(
        self,
        to: tuple[Cluster, DatabaseAddress],
        verb: Verb,
        act: Callable[[Reached], T],
        ask: Callable[[], Awaitable[None]] | None = None,
    ) -> T:
        """What `act` gives. Raises ProbeUnavailable and OutcomeUnclear."""
        ...
