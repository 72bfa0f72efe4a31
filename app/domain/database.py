"""The port to a PostgreSQL server: where it is, who is connected, and ending chosen sessions. Implemented by `app.database`
(real) and `app.sim`.

Owns the words and the pure rules about sessions: which may be ended, and who blocks whom. An address names the Secret with the
login and never holds a value of it. Implementations translate every foreign error and never repeat a statement that ends
sessions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from app.domain.cluster import Cluster
from app.domain.json import JsonValue
from app.domain.text import sql_value
from app.domain.units import duration

if TYPE_CHECKING:  # it speaks of addresses, which stand here
    from app.domain.checkpoints import Checkpoints
    from app.domain.copies import Copies
    from app.domain.tables import Tables

APPLICATION = "alert-remediator"
"""How our own sessions begin their `application_name`."""
OURS = (APPLICATION, "dbos_transact")
"""Beginnings of the application names of our sessions, those of the workflow library's among them; they are never ended."""
EXHAUSTED, LIMITED, CLOSED, ABSENT = "exhausted", "limited", "closed", "no_database"
"""Codes of a connection that the server itself refuses: none is free, the role or the database has no more, the database takes none, there is no such
database."""
NO_ROOM = "the disk of the server is full (no space left on device): make room on its volume"
"""What a server says whose files have no room to grow (SQLSTATE 53100)."""
IDLE = frozenset({"idle in transaction", "idle in transaction (aborted)"})
"""States of a session that holds a transaction open and does nothing."""


class Tls(StrEnum):
    """libpq's words for how a connection is encrypted and the server's name is checked."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a database is and where its login stands. An empty `host`, `port` 0 or empty `database` is the one of the URL under
    `url_key`; with `url_key` empty, user and password stand under their own keys. `ca_key`: certificates to trust, in the
    same Secret."""

    namespace: str
    host: str
    port: int
    database: str
    secret: str
    user_key: str = "username"
    password_key: str = "password"
    url_key: str = ""
    tls: Tls = Tls.PREFER
    ca_key: str = ""

    def __str__(self) -> str:
        place = f"{self.host}:{self.port}" if self.host and self.port else self.host
        place = place or f"the database of Secret {self.secret}"
        return f"{place}/{self.database}" if self.database else place

    def to_json(self) -> dict[str, JsonValue]:
        """For the record of an action; it holds no secret value."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DatabaseAddress:
        """Rebuild from `to_json`."""
        return cls(**{**data, "tls": Tls(data["tls"])})


@dataclass(frozen=True, slots=True, order=True)
class SessionId:
    """One session for certain: a process id is used again, its start (to the microsecond) tells the sessions apart."""

    pid: int
    started: datetime

    def to_json(self) -> list[JsonValue]:
        """`[pid, ISO time]`."""
        return [self.pid, self.started.isoformat()]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> SessionId:
        """Rebuild from `to_json`."""
        return cls(int(data[0]), datetime.fromisoformat(data[1]))

    def __str__(self) -> str:
        return f"pid {self.pid}"


@dataclass(frozen=True, slots=True)
class Session:
    """One row of pg_stat_activity. `id` is None when the login may not see when it began. `protected` says why it is never ended,
    empty when it may be; `endable`: the login has the right to. `state_since` is when the state began, `waits_since` since
    when it waits for a lock, held by `blocked_by`: with `waits_for_transaction` for the end of that very transaction. `query` is short, without literals, and redacted."""

    pid: int
    id: SessionId | None
    database: str
    user: str
    application: str
    client: str
    state: str
    state_since: datetime | None = None
    transaction_since: datetime | None = None
    waits_since: datetime | None = None
    blocked_by: tuple[int, ...] = ()
    waits_for_transaction: bool = False
    query: str = ""
    protected: str = ""
    endable: bool = True

    @property
    def who(self) -> str:
        """Application, user and client address in short."""
        name = self.application or "no application name"
        return f"{name} ({self.user or 'no user'}{f' from {self.client}' if self.client else ''})"

    def idle_for(self, now: datetime) -> timedelta | None:
        """How long it has been idle in a transaction; None when it is not, or nobody can tell."""
        if self.state not in IDLE or self.state_since is None:
            return None
        return now - self.state_since


@dataclass(frozen=True, slots=True)
class Standby:
    """One that replicates from the server, or backs it up: how many bytes of WAL and how many seconds it is behind, where that is known."""

    name: str
    state: str
    behind: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot: whether somebody reads it, and the bytes of WAL that the server keeps for it. `lost`: it keeps none any more."""

    name: str
    active: bool
    held: int | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Replication:
    """How the server replicates. A `standby` takes no writes, and is `seconds` behind, where that is known."""

    standby: bool = False
    seconds: float | None = None
    standbys: tuple[Standby, ...] = ()
    slots: tuple[Slot, ...] = ()


@dataclass(frozen=True, slots=True)
class PreparedTransaction:
    """One that waits for its second phase. No session has it, it keeps its locks, and only its name ends it."""

    name: str
    owner: str
    since: datetime

    @property
    def command(self) -> str:
        """What ends it, undone."""
        return f"ROLLBACK PREPARED {sql_value(self.name)}"


PREPARED_PID = 0
"""What stands in `Session.blocked_by` for a prepared transaction."""


@dataclass(frozen=True, slots=True)
class Activity:
    """One look at a server, at its own time `now`. `usable` are the connections that are not reserved for superusers, `used` those
    that clients have. `sessions` are the clients' of all databases, at most as many as were asked for; `database` is the one we
    are connected to. `size` in bytes and `replication` are None when they may not be read. `prepared` are its prepared transactions, the
    oldest first, where a session waits for one."""

    now: datetime
    version: str
    database: str
    max_connections: int
    usable: int
    used: int
    sessions: tuple[Session, ...]
    size: int | None = None
    milliseconds: float = 0.0
    replication: Replication | None = None
    prepared: tuple[PreparedTransaction, ...] = ()

    @property
    def share(self) -> float:
        """Part of the usable connections that is in use."""
        return self.used / self.usable if self.usable > 0 else 1.0

    def find(self, wanted: SessionId) -> Session | None:
        """The session, if it is still there."""
        return next((s for s in self.sessions if s.id == wanted), None)

    def longest_wait(self, blocker: Session) -> timedelta | None:
        """How long the oldest of those has certainly waited for this session; None when it blocks nobody.

        The server tells since when one waits for a lock, not since when another holds it: who got it a moment ago has held nobody up
        before. It counts from the beginning of what the holder does now, where that is later.
        """
        waiting = [(s, s.waits_since) for s in self.sessions if blocker.pid in s.blocked_by and s.waits_since]
        own = blocker.state_since
        return max(
            (
                self.now - (since if s.waits_for_transaction or own is None else max(since, own))
                for s, since in waiting
            ),
            default=None,
        )

    def held_up(self) -> tuple[Session, ...]:
        """Those that wait for a lock and are of our database, or wait for one of its sessions: what others wait for is another database's."""
        own = {s.pid for s in self.sessions if s.database == self.database}
        waiting = (s for s in self.sessions if s.blocked_by)
        return tuple(s for s in waiting if s.database == self.database or own.intersection(s.blocked_by))

    def longest_held_up(self) -> timedelta | None:
        """How long one of those has certainly waited for who holds it up, a prepared transaction among them; None when nobody does."""
        held_up = self.held_up()
        waits = [self.now - s.waits_since for s in held_up if s.waits_since and PREPARED_PID in s.blocked_by]
        holders = {pid for s in held_up for pid in s.blocked_by}
        waits += [w for s in self.sessions if s.pid in holders and (w := self.longest_wait(s)) is not None]
        return max(waits, default=None)


class Why(StrEnum):
    """For which condition a session is ended; it has to hold when the statement runs, too."""

    IDLE = "idle in transaction"
    BLOCKS = "blocks others"


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to be true of a session that is ended, for at least `seconds`."""

    why: Why
    seconds: float

    def against(self, activity: Activity, session: Session) -> str:
        """Why this session is not ended, empty when it may be."""
        if session.protected:
            return f"it is never ended: {session.protected}"
        if session.database != activity.database:
            return f"it belongs to the database {session.database or 'unknown'}"
        held = session.idle_for(activity.now) if self.why is Why.IDLE else activity.longest_wait(session)
        if held is None:
            return "it is not idle in a transaction" if self.why is Why.IDLE else "it blocks nobody"
        if self.why is Why.BLOCKS and session.blocked_by:
            return "it waits for a lock itself"
        if held.total_seconds() < self.seconds:
            least = duration(timedelta(seconds=self.seconds))
            return f"{self.why.value} for {duration(held)}, and {least} is the least"
        return ""

    def due(self, activity: Activity, session: Session) -> float | None:
        """In how many seconds it will hold, if everything stays as it is; 0 where it does, None where no time brings that about."""
        if replace(self, seconds=0).against(activity, session):
            return None
        held = session.idle_for(activity.now) if self.why is Why.IDLE else activity.longest_wait(session)
        return None if held is None else max(0.0, self.seconds - held.total_seconds())

    def to_json(self) -> dict[str, JsonValue]:
        """For the record of an action."""
        return {"why": self.why.value, "seconds": self.seconds}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Condition:
        """Rebuild from `to_json`."""
        return cls(Why(data["why"]), float(data["seconds"]))


class Databases(Protocol):
    """All PostgreSQL servers that rules name. The login is read through the cluster given, by `get` on the one Secret.

    Raises ProbeUnavailable for whatever keeps a look from being made (code `no_login`, `login_refused`, `unreachable`,
    `exhausted`: the server said that no connection is free; `limited`: that the role, the database or a pooler takes no more,
    whatever the server has free; `closed`: that the database takes none; `no_database`: that it has none of this name; `query_failed`). Nothing of the login is in an error.
    """

    @property
    def checkpoints(self) -> Checkpoints:
        """Those of LangGraph, on the same servers."""
        ...

    @property
    def tables(self) -> Tables:
        """All tables of a database, on the same servers."""
        ...

    @property
    def copies(self) -> Copies:
        """The databases of the same servers as wholes."""
        ...

    async def host(self, cluster: Cluster, at: DatabaseAddress) -> str:
        """Where the address leads to: of the URL in its Secret the host alone. Asks no server."""
        ...

    async def activity(self, cluster: Cluster, at: DatabaseAddress) -> Activity:
        """Connect, look, disconnect."""
        ...

    async def terminate(
        self,
        cluster: Cluster,
        at: DatabaseAddress,
        sessions: Sequence[SessionId],
        condition: Condition,
        ask: Callable[[], Awaitable[None]],
    ) -> Sequence[SessionId]:
        """End those of these sessions for which the condition still holds, in one statement; gives those that were told to end.

        `ask` is asked right before the statement goes out. Raises OutcomeUnclear when the answer was lost.
        """
        ...
