"""PostgreSQL servers of a simulated world: sessions, locks, limits, and the statement that ends sessions.

Implements the port `Databases` for demo, rehearsal and tests; the contract tests hold it to what a real server does. A server answers
while a pod of its `app` is ready, and forgets its sessions with its pods. The Secret is read as the real door reads it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import Field

from app.domain.cluster import Cluster
from app.domain.copies import Found, prepared, replicating, waiting_slot
from app.domain.database import (
    EXHAUSTED,
    OURS,
    PREPARED_PID,
    Activity,
    Condition,
    DatabaseAddress,
    PreparedTransaction,
    Replication,
    Session,
    SessionId,
    Slot,
    Standby,
)
from app.domain.errors import OutcomeUnclear, ProbeUnavailable, RemediatorError
from app.domain.sql_text import shortened
from app.sim.asking import Asking
from app.sim.checkpoints import LangGraph, SimCheckpoints
from app.sim.copies import SimCopies
from app.sim.faults import Request, Verb
from app.sim.kubelet import Kubelet
from app.sim.logins import login_values
from app.sim.podstatus import ip_of
from app.sim.reaching import Reached
from app.sim.tables import SimTables, TableSpec
from app.sim.units import Seconds, Strict
from app.sim.world import World

T = TypeVar("T")
_FIRST_PID = 1_000
_STANDBY = "it replicates"
"""A server that follows: its session is none of the clients'."""
_SIZE = 52 * 1024**2
_HELD = 3 * 1024**3
"""Bytes of WAL that a slot holds which nobody reads."""


class DatabaseClients(Strict):
    """Sessions of one kind. `since` is how long before the start the state began; `waits_for` names the application whose first
    session holds the lock that they wait for, and with `leaves` they disconnect once they have it; `app`: the pods that they
    belong to, and end with."""

    count: int = Field(default=1, ge=1)
    user: str = "langgraph"
    application: str = ""
    database: str = ""
    client: str = ""
    app: str = ""
    state: str = "idle"
    since: Seconds = 0.0
    query: str = ""
    waits_for: str = ""
    leaves: bool = False
    role: Literal["", "superuser", "replicator", "standby"] = ""


class Server(Strict):
    """One server: the pods with the label `app` are it. `login` is the only one that it lets in; `may_end` whether that one may
    end the sessions of other users. `prepared` are transactions that wait for their second phase, `replicating` slots of logical
    replication whose client is connected, and `slots` those without one."""

    app: str
    database: str
    login: str = "langgraph"
    password: str = "simulated"
    max_connections: int = Field(default=100, ge=1)
    reserved: int = Field(default=3, ge=0)
    may_end: bool = True
    clients: tuple[DatabaseClients, ...] = ()
    langgraph: LangGraph | None = None
    tables: tuple[TableSpec, ...] = ()
    prepared: tuple[str, ...] = ()
    replicating: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()


def joined_servers(these: Sequence[Server], those: Sequence[Server]) -> tuple[Server, ...]:
    """All servers; one that two scenarios have is one server, with the clients and tables of both."""
    found = {server.app: server for server in these}
    for other in those:
        own = found.setdefault(other.app, other)
        if own is not other:
            more = {
                "clients": (*own.clients, *(c for c in other.clients if c not in own.clients)),
                "tables": (*own.tables, *(t for t in other.tables if t not in own.tables)),
                "langgraph": own.langgraph or other.langgraph,
                **{
                    name: (*getattr(own, name), *getattr(other, name))
                    for name in ("prepared", "replicating", "slots")
                },
            }
            found[other.app] = own.model_copy(update=more)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class _Backend:
    """One session, with what holds it up. `pod` is the name of the pod that it belongs to."""

    id: SessionId
    row: Session
    waits_for: str = ""
    leaves: bool = False
    pod: str = ""


def _replication(server: Server, sessions: Sequence[Session]) -> Replication:
    """Each session of a standby is one; each slot holds as much."""
    standbys = tuple(Standby(s.application, "streaming", 0, 0.0) for s in sessions if s.protected == _STANDBY)
    active = tuple(Slot(name, active=True, held=0) for name in server.replicating)
    return Replication(
        standbys=standbys, slots=(*active, *(Slot(name, active=False, held=_HELD) for name in server.slots))
    )


class _State:
    """A server's sessions. Made at the start of the scenario, forgotten with the pods."""

    def __init__(self, server: Server, start: datetime, pods: Callable[[str], list[str]]) -> None:
        self.server = server
        self._pods = pods
        self._home = pods(server.app)
        self._backends = list(self._made(start))

    def _made(self, start: datetime) -> Iterator[_Backend]:
        pid = _FIRST_PID
        for clients in self.server.clients:
            since = start - timedelta(seconds=clients.since)
            for number in range(clients.count):
                pid += 1
                home = self._pods(clients.app) if clients.app else []
                backend = SessionId(pid, since - timedelta(seconds=1, microseconds=number))
                pod = home[number % len(home)] if home else ""
                row = _row(self.server, clients, backend, since)
                row = replace(row, client=ip_of(pod)) if pod else row
                yield _Backend(backend, row, clients.waits_for, clients.leaves, pod)

    def backends(self) -> list[_Backend]:
        """Those that are there: a pod's sessions end with it, and a server's with its own."""
        home = self._pods(self.server.app)
        if self._home and not set(self._home) & set(home):
            self._backends = []
        self._home = home or self._home
        alive = {pod for app in {c.app for c in self.server.clients if c.app} for pod in self._pods(app)}
        self._backends = [b for b in self._backends if not b.pod or b.pod in alive]
        return self._backends

    def end(self, ids: Sequence[SessionId]) -> None:
        """They are gone at once."""
        self._backends = [b for b in self._backends if b.id not in ids]

    def commit(self, application: str) -> None:
        """The clients of this application end their transactions and stay connected."""
        self._backends = [
            replace(b, row=replace(b.row, state="idle", transaction_since=None))
            if b.row.application == application
            else b
            for b in self._backends
        ]

    def sessions(self) -> tuple[Session, ...]:
        """With who blocks whom now; who waits for nobody any more goes on."""
        found = self.backends()
        rows = []
        for backend in found:
            holders = [b.id.pid for b in found if b.row.application == backend.waits_for][:1]
            holders += [PREPARED_PID] if backend.waits_for in self.server.prepared else []
            row = backend.row
            if not backend.waits_for:
                rows.append(row)
            elif holders:
                rows.append(replace(row, waits_since=row.state_since, blocked_by=tuple(holders)))
            elif not backend.leaves:
                rows.append(replace(row, state="idle"))
        return tuple(rows)


def _row(server: Server, clients: DatabaseClients, backend: SessionId, since: datetime) -> Session:
    own = clients.application.startswith(OURS)
    protected = {
        "superuser": "its user is a superuser",
        "replicator": "its user replicates",
        "standby": _STANDBY,
        "": "",
    }[clients.role]
    return Session(
        pid=backend.pid,
        id=backend,
        database=clients.database or server.database,
        user=clients.user,
        application=clients.application,
        client=clients.client,
        state=clients.state,
        state_since=since,
        transaction_since=since if clients.state != "idle" else None,
        query=shortened(clients.query),
        protected="it is a session of this service" if own else protected,
        endable=server.may_end or clients.user == server.login,
    )


class SimDatabases:
    """The port, for the servers of a scenario; the address' host chooses by its first label, the `app` of the pods."""

    def __init__(
        self, place: tuple[World, Kubelet, str], servers: Sequence[Server], start: datetime, ask: Asking
    ) -> None:
        self._world, self._kubelet, self._namespace = place
        self._ask = ask
        self._start = start
        self._servers = {server.app: server for server in servers}
        self._states: dict[str, _State] = {}
        self.wrote: Callable[[Verb, DatabaseAddress, str], None] = _nobody
        """Hears of everything that a statement did: the session that was told to end, as an action names it, a checkpoint."""
        self.checkpoints = SimCheckpoints(start, self._langgraph, self._reach, self._gone)
        self.tables = SimTables(start, self._specs, self._reach, self._began)
        self.copies = SimCopies(self._world, self._whole, self._reach, self._renamed)

    async def host(self, cluster: Cluster, at: DatabaseAddress) -> str:
        """See the port."""
        return at.host or (await _read(cluster, at))[2]

    async def activity(self, cluster: Cluster, at: DatabaseAddress) -> Activity:
        """See the port."""
        server = await self._login(cluster, at)
        return await self._request("sql", at, lambda: self._activity(server, at))

    async def terminate(
        self,
        cluster: Cluster,
        at: DatabaseAddress,
        sessions: Sequence[SessionId],
        condition: Condition,
        ask: Callable[[], Awaitable[None]],
    ) -> Sequence[SessionId]:
        """See the port."""
        server = await self._login(cluster, at)
        await ask()

        def act() -> list[SessionId]:
            seen = self._activity(server, at)
            there = [s for wanted in sessions if (s := seen.find(wanted)) is not None]
            told = [s.id for s in there if s.id and s.endable and not condition.against(seen, s)]
            self._state(server).end(told)
            for session in told:
                self.wrote("terminate", at, ", ".join(map(repr, session.to_json())))
            return told

        return await self._request("terminate", at, act)

    def share(self, app: str) -> float | None:
        """Part of the usable connections in use, for alert rules; None when there is no such server."""
        server = self._servers.get(app)
        if server is None:
            return None
        used = sum(s.protected != _STANDBY for s in self._state(server).sessions())
        return used / (server.max_connections - server.reserved)

    def commit(self, app: str, application: str) -> None:
        """For tests: the clients of this application end their transactions at the server `app`, and stay connected."""
        self._state(self._servers[app]).commit(application)

    def _langgraph(self, app: str) -> LangGraph | None:
        return self._servers[app].langgraph

    def _whole(self, app: str) -> Found:
        server = self._servers[app]
        way = (*map(prepared, server.prepared), *map(replicating, server.replicating))
        return Found(
            server.database, _SIZE, id=1, in_the_way=way, left_behind=tuple(map(waiting_slot, server.slots))
        )

    def _renamed(self, at: DatabaseAddress, name: str) -> None:
        self.wrote("rename", at, name)

    def _specs(self, app: str) -> Sequence[TableSpec]:
        return self._servers[app].tables

    def _gone(self, at: DatabaseAddress, name: str) -> None:
        self.wrote("remove", at, name)

    def _began(self, at: DatabaseAddress, name: str) -> None:
        self.wrote("vacuum", at, name)

    def migrate(self, app: str, version: int) -> None:
        """For tests: LangGraph's tables at the server `app` are at this migration from now on."""
        server = self._servers[app]
        langgraph = (server.langgraph or LangGraph()).model_copy(update={"version": version})
        self._servers[app] = server.model_copy(update={"langgraph": langgraph})

    def _state(self, server: Server) -> _State:
        if server.app not in self._states:
            self._states[server.app] = _State(server, self._start, self._pods)
        return self._states[server.app]

    def _pods(self, app: str) -> list[str]:
        return sorted(run.uid for run in self._kubelet.runs(self._namespace, app))

    async def _login(self, cluster: Cluster, at: DatabaseAddress) -> Server:
        """The server, after its login was checked. Raises ProbeUnavailable."""
        user, password, host = await _read(cluster, at)
        server = self._servers.get((at.host or host).partition(".")[0])
        if server is None:
            raise ProbeUnavailable("its name could not be resolved", code="unreachable", where=str(at))
        if (user, password) != (server.login, server.password):
            text = "the server answers, and refuses the login of the Secret"
            raise ProbeUnavailable(text, code="login_refused", where=str(at))
        return server

    def _activity(self, server: Server, at: DatabaseAddress) -> Activity:
        runs = self._kubelet.runs(self._namespace, server.app)
        if not any(run.ready(self._world.time) for run in runs):
            raise ProbeUnavailable("the connection was refused", code="unreachable", where=str(at))
        sessions = self._state(server).sessions()
        clients = [s for s in sessions if s.protected != _STANDBY]
        usable = server.max_connections - server.reserved
        if len(clients) >= usable:
            text = "the server has no free connection for this login"
            raise ProbeUnavailable(text, code=EXHAUSTED, where=str(at))
        return Activity(
            now=self._world.now,
            version="15.18 (simulated)",
            database=at.database or server.database,
            max_connections=server.max_connections,
            usable=usable,
            used=len(clients),
            sessions=sessions,
            size=_SIZE,
            milliseconds=2.0,
            replication=_replication(server, sessions),
            prepared=tuple(
                PreparedTransaction(name, server.login, self._start)
                for name in server.prepared
                if any(PREPARED_PID in session.blocked_by for session in sessions)
            ),
        )

    async def _reach(
        self,
        to: tuple[Cluster, DatabaseAddress],
        verb: Verb,
        act: Callable[[Reached], T],
        ask: Callable[[], Awaitable[None]] | None = None,
    ) -> T:
        """One statement about the tables of the database at an address."""
        cluster, at = to
        server = await self._login(cluster, at)
        if ask is not None:
            await ask()

        def inside() -> T:
            sessions = self._activity(server, at).sessions
            return act(Reached(server.app, at.database or server.database, self._world.now, sessions))

        return await self._request(verb, at, inside)

    async def _request(self, verb: Verb, at: DatabaseAddress, act: Callable[[], T]) -> T:
        """A fault of the world is one of the way to the server: it is not reached, or its answer is lost."""
        try:
            return await self._ask(Request(verb, None, at.namespace, str(at)), act)
        except (ProbeUnavailable, OutcomeUnclear):
            raise
        except RemediatorError as error:
            raise ProbeUnavailable("the connection was refused", code="unreachable", where=str(at)) from error


async def _read(cluster: Cluster, at: DatabaseAddress) -> tuple[str, str, str]:
    """User, password and host that the Secret tells. Raises ProbeUnavailable."""
    keys = [at.url_key] if at.url_key else [at.user_key, at.password_key]
    values = await login_values(cluster, at.namespace, at.secret, keys, str(at))
    if not at.url_key:
        return values[at.user_key], values[at.password_key], ""
    url = urlsplit(values[at.url_key])
    return unquote(url.username or ""), unquote(url.password or ""), url.hostname or ""


__all__ = ["DatabaseClients", "Server", "SimDatabases", "joined_servers"]


def _nobody(verb: Verb, at: DatabaseAddress, name: str) -> None:
    """Told to nobody."""
