"""The two implementations of the port `Databases` under one handle: a simulated server, and a real one.

A test says which clients there are in the words of the simulation; the real side connects them. `SimSide` moves virtual time,
`RealSide` waits. The Secret stands in a simulated cluster on both sides.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString, Protocol

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.database.postgres import PostgresDatabases
from app.domain.database import Activity, DatabaseAddress, Databases, Session, SessionId
from app.domain.json import Obj
from app.domain.target import Kind, ObjectRef
from app.kube.parse import parse_ref
from app.observe.system import SystemClock
from app.sim import SimCluster, VirtualClock
from app.sim.checkpoints import LangGraph
from app.sim.databases import DatabaseClients, Server
from app.sim.tables import TableSpec
from tests.births import cluster_of, scenario_of
from tests.contract.database.langgraph import fill, make
from tests.contract.postgres import Postgres

LOGIN, PLAIN, PASSWORD = "watcher", "plain", "s3cret-of-the-contract"
SUPERUSER, REPLICATOR, CLIENT = "chief", "copier", "shop"
_ROLES: dict[str, LiteralString] = {
    LOGIN: "IN ROLE contract_logins, pg_read_all_stats, pg_signal_backend",
    PLAIN: "IN ROLE contract_logins",
    SUPERUSER: "SUPERUSER IN ROLE contract_logins",
    REPLICATOR: "REPLICATION IN ROLE contract_logins",
    CLIENT: "IN ROLE contract_logins",
}


class Side(Protocol):
    """One server with the database `at`."""

    databases: Databases
    cluster: SimCluster
    at: DatabaseAddress
    most: int

    @property
    def now(self) -> datetime:
        """The server's time at the start."""
        ...

    async def start(
        self, *clients: DatabaseClients, login: str = LOGIN, langgraph: LangGraph | None = None
    ) -> None:
        """These are connected from now on; the Secret has this login, the database these tables."""
        ...

    async def fill(self, table: str, rows: int, dead: int, *, seconds: float = 0.0) -> None:
        """A table of the login, with so many rows alive and so many dead; a vacuum of it takes `seconds` at least. Before `start`."""
        ...

    async def pause(self) -> None:
        """Let a moment pass, longer than the conditions of the contract's tests ask for."""
        ...

    async def close(self) -> None:
        """Everybody disconnects."""
        ...


def secret(values: dict[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": "rag7"},
        "data": data,
    }


class SimSide:
    """A simulated server on a virtual clock."""

    most = 20

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.at = DatabaseAddress("rag7", "postgres", 5432, "contract", "db")
        self._tables = [TableSpec(name="stock", rows=1)]

    @property
    def now(self) -> datetime:
        return self.clock.now()

    async def start(
        self, *clients: DatabaseClients, login: str = LOGIN, langgraph: LangGraph | None = None
    ) -> None:
        server = Server(
            app="postgres",
            database="contract",
            login=login,
            password=PASSWORD,
            max_connections=self.most,
            may_end=login == LOGIN,
            clients=clients,
            langgraph=langgraph,
            tables=tuple(self._tables),
        )
        world = scenario_of("database-connections").model_copy(update={"databases": (server,), "alerts": ()})
        self.cluster = cluster_of(self.clock, world)
        self.cluster.create(secret({"username": login, "password": PASSWORD}))
        self.databases: Databases = self.cluster.databases

    async def fill(self, table: str, rows: int, dead: int, *, seconds: float = 0.0) -> None:
        self._tables.append(TableSpec(name=table, rows=rows, dead=dead, seconds=seconds))

    async def pause(self) -> None:
        self.clock.advance(1)

    async def close(self) -> None:
        return


class RealSide:
    """A real server; its clients are real connections."""

    most = 60

    def __init__(self, server: Postgres, encoding: str = "UTF8") -> None:
        self._server = server
        parts = conninfo_to_dict(server.new_database(encoding))
        self._database = str(parts["dbname"])
        self.at = DatabaseAddress("rag7", "127.0.0.1", server.port, self._database, "db")
        self.cluster = SimCluster(VirtualClock())
        self.databases: Databases = PostgresDatabases(SystemClock())
        self.now = datetime.now(UTC)
        self._open: list[psycopg.AsyncConnection[Any]] = []
        self._waiting: list[asyncio.Task[Any]] = []
        _furnish(server, self._database)

    @property
    def url(self) -> str:
        """Of the database, as its owner."""
        return self._server.url(self._database)

    async def start(
        self, *clients: DatabaseClients, login: str = LOGIN, langgraph: LangGraph | None = None
    ) -> None:
        self.cluster.create(secret({"username": login, "password": PASSWORD}))
        if langgraph is not None:
            with psycopg.connect(self.url, autocommit=True) as conn:
                make(conn, langgraph.version)
                fill(conn, langgraph, self.now)
                if not langgraph.deletes:
                    conn.execute(
                        "REVOKE DELETE ON checkpoints, checkpoint_blobs, checkpoint_writes FROM PUBLIC"
                    )
        for one in clients:
            for _ in range(one.count):
                await self._connect(one)

    def stranger(self, encoding: str, query: str) -> psycopg.Connection[Any]:
        """Somebody in another database of this encoding, whose transaction began with this statement."""
        url = make_conninfo(self._server.new_database(encoding), client_encoding=encoding)
        connection: psycopg.Connection[Any] = psycopg.connect(url)
        connection.execute(query.encode("latin-1"))
        return connection

    async def _connect(self, client: DatabaseClients) -> None:
        user = {"superuser": SUPERUSER, "replicator": REPLICATOR}.get(client.role, client.user)
        connection: psycopg.AsyncConnection[Any] = await psycopg.AsyncConnection.connect(
            host="127.0.0.1",
            port=self._server.port,
            dbname=client.database or self._database,
            user=user,
            password=PASSWORD,
            application_name=client.application,
            autocommit=client.state == "idle",
        )
        self._open.append(connection)
        if client.waits_for:
            self._waiting.append(asyncio.create_task(self._wait_in_line(connection, client.query)))
            await asyncio.sleep(0.05)
        elif client.query:
            await connection.execute(client.query.encode())

    async def _wait_in_line(self, connection: psycopg.AsyncConnection[Any], query: str) -> None:
        await connection.execute(query.encode())

    async def fill(self, table: str, rows: int, dead: int, *, seconds: float = 0.0) -> None:
        """Vacuuming is slowed down by its cost settings, which belong to the login."""
        name = sql.Identifier(table)
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(
                sql.SQL("CREATE TABLE {} (a int, b text) WITH (autovacuum_enabled = off)").format(name)
            )
            conn.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(name, sql.Identifier(LOGIN)))
            filled = sql.SQL("INSERT INTO {} SELECT n, repeat('x', 200) FROM generate_series(1, %s) n")
            conn.execute(filled.format(name), (rows + dead,))
            conn.execute(sql.SQL("DELETE FROM {} WHERE a > %s").format(name), (rows,))
            conn.execute(
                "SELECT pg_stat_force_next_flush()"
            )  # else what was counted comes after the analysis
            conn.execute(sql.SQL("ANALYZE {}").format(name))
            if seconds:
                conn.execute(f"ALTER ROLE {LOGIN} SET vacuum_cost_delay = 100".encode())
                conn.execute(f"ALTER ROLE {LOGIN} SET vacuum_cost_limit = 5".encode())

    async def pause(self) -> None:
        await asyncio.sleep(0.3)

    async def busy(self) -> None:
        """Every client that waits for nobody sends another statement."""
        for connection in self._open:
            await connection.execute("SELECT 2")

    async def close(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(f"ALTER ROLE {LOGIN} RESET ALL".encode())
            conn.execute(
                "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE '%vacuum%'"
            )
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        for connection in self._open:
            await connection.close()


def _furnish(server: Postgres, database: str) -> None:
    """Roles that have to prove who they are, and a table."""
    with psycopg.connect(server.url(database), autocommit=True) as conn:
        row = conn.execute("SELECT 1 FROM pg_roles WHERE rolname = 'contract_logins'").fetchone()
        if row is None:
            conn.execute("CREATE ROLE contract_logins")
            for name, options in _ROLES.items():
                conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' {options}".encode())
            shown = conn.execute("SHOW hba_file").fetchone()
            assert shown is not None
            hba = Path(shown[0])
            hba.write_text(f"host all +contract_logins all scram-sha-256\n{hba.read_text()}")
            conn.execute("SELECT pg_reload_conf()")
        conn.execute("CREATE TABLE stock (a int)")
        conn.execute("INSERT INTO stock VALUES (1)")
        conn.execute("GRANT ALL ON stock TO PUBLIC")


async def look(side: Side, **changes: Any) -> Activity:
    return await side.databases.activity(side.cluster, replace(side.at, **changes))


def of(activity: Activity, application: str) -> list[Session]:
    return [s for s in activity.sessions if s.application == application]


def ids(sessions: Sequence[Session]) -> list[SessionId]:
    return [s.id for s in sessions if s.id is not None]


def elsewhere(side: Side) -> ObjectRef:
    """A workload that actions stand for, made in the cluster of this side; the database is none of its pods."""
    manifest: Obj = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "elsewhere", "namespace": "rag7"},
        "spec": {
            "serviceName": "elsewhere",
            "replicas": 0,
            "selector": {"matchLabels": {"app": "elsewhere"}},
            "template": {
                "metadata": {"labels": {"app": "elsewhere"}},
                "spec": {"containers": [{"name": "c", "image": "c:1"}]},
            },
        },
    }
    return parse_ref(Kind.STATEFUL_SET, side.cluster.create(manifest))
