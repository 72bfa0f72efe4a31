"""The port to the tables of a PostgreSQL database: how big and how full of dead rows they are, and vacuuming them one by one.

Owns the words and what speaks against a vacuum. A vacuum runs in a session of its own that bears a name, so that whoever looks later
finds it, also after the process that began it has died; that it was done is told by the server's own time of the last vacuum.
Implemented by `app.database` (real) and `app.sim`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from app.domain.cluster import Cluster
from app.domain.database import DatabaseAddress
from app.domain.json import JsonValue


@dataclass(frozen=True, slots=True)
class TableId:
    """One table for certain: the name is for people, `oid` tells a table apart that was made anew under the same name."""

    oid: int
    schema: str
    name: str

    def to_json(self) -> list[JsonValue]:
        """`[oid, schema, name]`."""
        return [self.oid, self.schema, self.name]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> TableId:
        """Rebuild from `to_json`."""
        return cls(int(data[0]), str(data[1]), str(data[2]))

    def __str__(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Table:
    """One table as the server's statistics see it. `size` in bytes with indexes; `live` and `dead` rows are estimates. `vacuumed` is
    the last time that somebody vacuumed it, `by_itself` the last time that the server did. `age` of its oldest transaction id
    in transactions. `allowed`: the login may vacuum it. `parent`: it has partitions and no rows of its own; it is analyzed only, which the
    server never does by itself, and that counts as vacuumed."""

    id: TableId
    size: int
    live: int
    dead: int
    vacuumed: datetime | None
    by_itself: datetime | None
    age: int
    allowed: bool = True
    parent: bool = False

    @property
    def dead_share(self) -> float:
        """Part of its rows that is dead."""
        rows = self.live + self.dead
        return self.dead / rows if rows else 0.0

    @property
    def last(self) -> datetime | None:
        """When it was vacuumed last, whoever did it."""
        return max((at for at in (self.vacuumed, self.by_itself) if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Vacuum:
    """One vacuum that runs now, of the table with this oid. `ours` is the name that its session has when it is one of ours; `phase`,
    `scanned` and `blocks` are the server's progress."""

    oid: int
    pid: int
    user: str
    ours: str = ""
    phase: str = ""
    scanned: int = 0
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who keeps dead rows from being removed: a session, a replication slot or a prepared transaction, in words. `since` is None where
    the server does not tell."""

    who: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a database, at the server's own time `now`. `holder` is the oldest one who holds the horizon. `freeze` is the age
    at which the server vacuums a table by force, in transactions."""

    now: datetime
    database: str
    size: int | None
    tables: tuple[Table, ...]
    vacuums: tuple[Vacuum, ...]
    holder: Holder | None
    freeze: int

    def find(self, wanted: TableId) -> Table | None:
        """The table, if it is still there."""
        return next((t for t in self.tables if t.id.oid == wanted.oid), None)

    def vacuum_of(self, wanted: TableId) -> Vacuum | None:
        """The vacuum of this table that runs now."""
        return next((v for v in self.vacuums if v.oid == wanted.oid), None)

    def held_for(self) -> timedelta | None:
        """How long the horizon has been held."""
        return self.now - self.holder.since if self.holder is not None and self.holder.since else None


class Tables(Protocol):
    """All methods raise ProbeUnavailable as the port `Databases` does."""

    async def look(self, cluster: Cluster, at: DatabaseAddress) -> Look:
        """The biggest tables of the database, what runs, and who holds the horizon."""
        ...

    async def vacuum(
        self,
        to: tuple[Cluster, DatabaseAddress],
        table: TableId,
        name: str,
        longest: timedelta,
        ask: Callable[[], Awaitable[None]],
    ) -> None:
        """Begin a VACUUM (ANALYZE) of one table, an ANALYZE of a parent, in a session of its own with this name, and return while it runs on. The server ends
        it by itself after `longest`. `ask` is asked right before the statement goes out."""
        ...

    def fault(self, name: str) -> str:
        """Why the vacuum that was begun under this name by this process failed; empty when it did not, or nobody here knows."""
        ...
