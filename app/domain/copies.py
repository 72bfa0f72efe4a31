"""The port to the databases of a PostgreSQL server as wholes: which there are, and giving them other names.

A restored copy is made beside the database that it replaces and takes its place by new names, all in one transaction: so there is
no moment in which half of it is done, and the replaced database stays as it was. A copy that was validated bears a mark, a
comment of the database, which it keeps under every name. Implemented by `app.database` (real) and `app.sim`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from app.domain.cluster import Cluster
from app.domain.database import DatabaseAddress
from app.domain.json import JsonValue
from app.domain.plan import Action, ActionKind
from app.domain.text import sql_name, sql_value

RESTORE: Final = "REMEDIATOR_RESTORE"
"""The variable of a restore's pod that holds its order, as JSON; `copy` and `mark` in it are those of the copy that it makes."""
IN_USE: Final = "in_use"
"""The code of the error when a session could not be ended, so that a database could not get another name."""
NOT_STOPPED, NOT_APPLIED, CHANGED = "not_stopped", "not_applied", "changed"
SEEN: Final = frozenset({IN_USE, NOT_STOPPED, NOT_APPLIED, CHANGED})
"""Codes of what only a look at the databases tells: that their names were not exchanged."""


def drop_command(name: str) -> str:
    """What a person types in psql to remove a database that nobody needs any more."""
    return f"DROP DATABASE {sql_name(name)}"


def prepared(name: str) -> str:
    """What is in the way: a transaction that waits for its second phase."""
    quoted = sql_value(name)
    return (
        f"the prepared transaction {quoted} (COMMIT PREPARED {quoted} or ROLLBACK PREPARED {quoted} ends it)"
    )


def replicating(slot: str) -> str:
    """What is in the way: logical replication that is connected."""
    return f"the client of the replication slot {slot} (stop it: one that is ended connects again)"


def waiting_slot(slot: str) -> str:
    """What is left behind: a slot of logical replication with nobody connected."""
    dropped = f"SELECT pg_drop_replication_slot({sql_value(slot)})"
    return f"the replication slot {slot}, which keeps WAL until it is dropped ({dropped})"


def subscribed(name: str) -> str:
    """What is in the way: the worker of a subscription."""
    quoted = sql_name(name)
    return f"the worker of the subscription {quoted} (ALTER SUBSCRIPTION {quoted} DISABLE stops it)"


def template(name: str) -> str:
    """What is left behind: that databases are made from this one (IS_TEMPLATE)."""
    return f"that it is a template, which keeps it from being dropped (ALTER DATABASE {sql_name(name)} IS_TEMPLATE false)"


def subscription(name: str) -> str:
    """What is left behind: a subscription that is disabled."""
    quoted = sql_name(name)
    dropped = f"ALTER SUBSCRIPTION {quoted} SET (slot_name = NONE), then DROP SUBSCRIPTION {quoted}"
    return f"the subscription {quoted}, which keeps its database from being dropped ({dropped}, once that takes connections)"


@dataclass(frozen=True, slots=True)
class Found:
    """One database of the server. `size` in bytes, None when it may not be read; `mark` is its comment; `owned`: the login may
    rename it; `open`: it takes connections; `clients` are the sessions in it by application, without ours. `id` is the server's number
    of it, which stays under every name, 0 when it is not known; `owner` is its role. `foreign`: roles whose sessions in it the login may
    not end, with their number. `kept_back`: its settings that the login may not give to another database. `in_the_way`: what is in it
    besides clients, so that it cannot get another name, each with what to do; `left_behind`: what would stay with it under its new name. `limit`:
    how many connections it takes at once, -1 for no limit."""

    name: str
    size: int | None = None
    mark: str = ""
    owned: bool = True
    open: bool = True
    clients: Mapping[str, int] | None = None
    id: int = 0
    owner: str = ""
    foreign: Mapping[str, int] | None = None
    kept_back: tuple[str, ...] = ()
    in_the_way: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()
    limit: int = -1

    @property
    def closed(self) -> str:
        """Why it takes no connections, though it is there; empty when it does. A superuser gets past a limit, which is no restore's login."""
        found = ((not self.open, "ALLOW_CONNECTIONS false"), (self.limit == 0, "CONNECTION LIMIT 0"))
        return ", ".join(words for so, words in found if so)

    @property
    def opening(self) -> str:
        """That it takes no connections, and what a person types in psql to open it; empty for one that is open."""
        found = ((not self.open, "ALLOW_CONNECTIONS true"), (self.limit == 0, "CONNECTION LIMIT -1"))
        if not (words := " ".join(words for so, words in found if so)):
            return ""
        opens = f"ALTER DATABASE {sql_name(self.name)} {words}"
        return (
            f"{self.name} takes no connections ({self.closed}), so that nobody can work with it until {opens}"
        )


@dataclass(frozen=True, slots=True)
class Wal:
    """What a server keeps of its log (WAL), in bytes: about twice `most` in passing; what inactive `slots` and an archiver that fails (`unarchived`)
    keep stays, that of slots up to `cap` where there is one."""

    most: int = 1 << 30
    cap: int = -1
    slots: tuple[str, ...] = ()
    unarchived: bool = False

    @property
    def kept_by(self) -> str:
        """Who keeps it without an end; empty for nobody."""
        named = [f"the slot {name}" for name in self.slots if self.cap < 0]
        return ", ".join([*named, *(["an archiver that fails"] if self.unarchived else [])])

    def of_copy(self, size: int) -> int:
        """Bytes that stay on the volume while a copy of this size is made, which is written to the log once more."""
        if self.kept_by:
            return size
        return min(size, 2 * self.most + (self.cap if self.slots else 0))


@dataclass(frozen=True, slots=True)
class Server:
    """One look at the server. `database` is the name that the address leads to, whether there is such a database or not; `superuser` and
    `may_create` are the login's, whose role is `login`; `powers` are those of it, its own or those of roles that it is a member of, by which
    SQL may do what only a superuser's should, or leave behind who may. `wal` is what it keeps of its log; `no_writes` says why nothing can be
    written to it, empty when it can."""

    version: str
    major: int
    database: str
    superuser: bool
    may_create: bool
    databases: tuple[Found, ...]
    login: str = ""
    powers: tuple[str, ...] = ()
    wal: Wal = Wal()
    no_writes: str = ""

    def find(self, name: str) -> Found | None:
        """The database of this name."""
        return next((one for one in self.databases if one.name == name), None)

    @property
    def live(self) -> Found | None:
        """The one that the address leads to."""
        return self.find(self.database)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A copy that takes the place of the database at an address. `entry` is the database to connect to meanwhile; `live`, `copy` and
    `kept` are names: of the place, of the copy before, and of the replaced one afterwards (empty when there is none);
    `mark` is the validated copy's; `id` is the number of the database that is replaced, 0 when there is none;
    `was_closed`: it took no connections (ALLOW_CONNECTIONS false), as somebody wanted it, and gets that back with its name."""

    at: DatabaseAddress
    entry: str
    live: str
    copy: str
    kept: str
    mark: str
    id: int = 0
    was_closed: bool = False

    def to_json(self) -> dict[str, JsonValue]:
        """For the record of an action."""
        return {
            "database": self.at.to_json(),
            "entry": self.entry,
            "live": self.live,
            "copy": self.copy,
            "kept": self.kept,
            "mark": self.mark,
            "id": self.id,
            **({"was_closed": True} if self.was_closed else {}),
        }

    @classmethod
    def from_json(cls, data: Any) -> Exchange:
        """Rebuild from `to_json`."""
        names = (data.get(name, 0) for name in ("entry", "live", "copy", "kept", "mark", "id"))
        found = cls(DatabaseAddress.from_json(data["database"]), *names)
        return replace(found, was_closed=bool(data.get("was_closed", False)))

    def done(self, server: Server) -> bool:
        """The validated copy is in its place."""
        return server.live is not None and server.live.mark == self.mark

    def blocked(self, server: Server) -> str:
        """What nobody but a person removes keeps the databases from getting other names, for the exchange or, where that is done, for taking it
        back; empty when nothing does."""
        names = (self.live, self.kept if self.done(server) else self.copy)
        told = (
            f"{one.name} cannot get another name: in it is {'; '.join(one.in_the_way)}"
            for one in map(server.find, names)
            if one is not None and one.in_the_way
        )
        return "; ".join(told)

    def busy(self, server: Server) -> str:
        """Who is in them that the login may not end, as long as they are: for the moment they cannot get other names. Empty for nobody."""
        names = (self.live, self.kept if self.done(server) else self.copy)
        told = (
            f"{', '.join(f'{number} of {role}' for role, number in one.foreign.items())} in {one.name}"
            for one in map(server.find, names)
            if one is not None and one.foreign
        )
        found = "; ".join(told)
        return f"sessions that the login may not end would block the renaming ({found})" if found else ""

    def not_back(self, server: Server) -> str:
        """Why it cannot be taken back for good, as the server stands; empty when it can, or was."""
        live, kept = server.live, server.find(self.kept)
        if self.done(server):
            return "" if kept is not None else f"{self.kept} is gone, so there is nothing to go back to"
        if kept is None and live is not None and live.id == (self.id or live.id):
            return ""  # it was
        there = f"{self.live} is not the restored copy any more: somebody else exchanged it"
        return (
            there
            if live is not None
            else f"{self.live} is gone: somebody else dropped it, or gave it another name"
        )

    def replaced(self, server: Server) -> str:
        """Why the database in the place is not the one that the decision was about; empty when it is."""
        live = server.live
        if bool(live) != bool(self.kept):
            return f"{self.live} {'is there' if live else 'is gone'} since the decision"
        if live is not None and self.id and live.id != self.id:
            return f"{self.live} is another database since the decision: somebody else exchanged it"
        return ""

    def another(self, server: Server) -> str:
        """`replaced`, or why it does not belong to its copy's owner; empty when it does."""
        live, copy = server.live, server.find(self.copy)
        if replaced := self.replaced(server):
            return replaced
        if live is None or copy is None:
            return ""
        if live.owner != copy.owner:
            return f"{self.live} belongs to {live.owner} and its copy to {copy.owner}"
        return ""

    @property
    def forth(self) -> tuple[tuple[str, str], ...]:
        """The names of the exchange, each with the one before."""
        return (*(((self.live, self.kept),) if self.kept else ()), (self.copy, self.live))

    @property
    def back(self) -> tuple[tuple[str, str], ...]:
        """Those of taking it back."""
        return ((self.live, self.copy), (self.kept, self.live))

    @property
    def closed_back(self) -> tuple[str, ...]:
        """Those of `back` that are closed then."""
        return (self.copy, self.live) if self.was_closed else (self.copy,)


class Copies(Protocol):
    """All methods raise ProbeUnavailable as the port `Databases` does."""

    async def look(self, cluster: Cluster, at: DatabaseAddress, entry: str) -> Server:
        """The databases of the server, seen from the database `entry`."""
        ...

    async def rename(
        self,
        to: tuple[Cluster, DatabaseAddress, str],
        names: Sequence[tuple[str, str]],
        closed: Sequence[str],
        ask: Callable[[], Awaitable[None]],
        number: int = 0,
    ) -> None:
        """Give databases other names, in this order and in one transaction, from the database `to[2]`. Sessions in them are ended, and
        those who connect meanwhile wait. Of the new names `closed` takes no connections afterwards, all others do. `ask` is
        asked right before the first statement goes out. With a `number` nothing is done unless the first of them is the database of that `id`. Raises OutcomeUnclear when nobody knows whether it was done."""
        ...


@dataclass(frozen=True, slots=True)
class HeldDatabase:
    """A database that a run works on, as far as its address tells: empty and 0 are what stands in a Secret's URL, which nobody reads
    for this. `exchanged`: another one takes its place."""

    namespace: str
    host: str
    port: int
    name: str
    exchanged: bool = False

    def may_be(self, other: HeldDatabase) -> bool:
        """It may be the same one: nothing that both tell is different. Two of which one tells no host may be in one namespace; an
        exchange, which every other work on its database would spoil, may concern any that is not known."""
        told = ((self.name, other.name), (self.port, other.port))
        if any(mine and others and mine != others for mine, others in told):
            return False
        if self.host and other.host:
            return self.host == other.host
        return self.namespace == other.namespace or self.exchanged or other.exchanged


def databases_of(actions: Iterable[Action]) -> frozenset[HeldDatabase]:
    """The databases that these actions work on: what a run holds beside its target."""
    found = set()
    for action in actions:
        written = action.part.get("database")
        if not isinstance(written, Mapping):
            continue
        at = DatabaseAddress.from_json(written)
        exchanged = action.kind is ActionKind.EXCHANGE_DATABASE
        name = str(action.part.get("live") or "") if exchanged else at.database
        found.add(
            HeldDatabase(at.namespace, _in_full(at.host, at.namespace), at.port, name, exchanged=exchanged)
        )
    return frozenset(found)


def service_of(host: str, namespace: str) -> tuple[str, str] | None:
    """Namespace and name of the Service that this host is, for who asks from `namespace`; None for an address or a name outside. What stands
    before it is one of its pods."""
    inside = host.lower().rstrip(".").removesuffix(".cluster.local").endswith(".svc")
    labels = _in_full(host, namespace).split(".")
    if ":" in host or not all(labels) or (len(labels) != 2 and not (inside and len(labels) == 3)):
        return None
    return labels[-1], labels[-2]


def _in_full(host: str, namespace: str) -> str:
    """One spelling of a name: `db`, `db.rag7` and `db.rag7.svc.cluster.local` are one Service for who asks from rag7."""
    name = host.lower().rstrip(".").removesuffix(".cluster.local").removesuffix(".svc")
    return f"{name}.{namespace}" if name and "." not in name else name
