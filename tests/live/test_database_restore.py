"""A restore on real parts: real Jobs, the real pg_restore, a real S3 server, a real cluster, and clients that never give up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from app.backup.shelf import Shelves
from app.database.postgres import PostgresDatabases
from app.domain.actuator import Applied, Clients, Means, Progress
from app.domain.errors import ProbeUnavailable
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import Action, ActionKind, Step
from app.domain.remediation import Scene
from app.domain.target import Kind, Target
from app.flow.actuators import ACTUATORS
from app.kube.client import KubeCluster
from app.kube.read import read_workload
from app.observe.system import SystemClock
from remediations.database_backup import DatabaseBackup, DatabaseBackupParams
from remediations.database_restore import RESTORE, DatabaseRestore, DatabaseRestoreParams
from tests.live.furnished import furnish, workload
from tests.live.kubelet import Kubelet
from tests.live.objectstore import ObjectStore
from tests.live.stack import ControlPlane, Postgres
from tests.unit.remediations.stage import Services

pytestmark = pytest.mark.live
RUN = "run_live/0"
PASSWORD = "0wner-of-the-database"


@dataclass
class World:
    """An application, its database and its backups. `dsn` is that of the plain owner."""

    cluster: KubeCluster
    namespace: str
    dsn: str
    store: ObjectStore
    kubelet: Kubelet

    def params(self) -> dict[str, Any]:
        return {
            "secret": "db",
            "store_secret": "store",
            "to": f"s3://{self.store.bucket}/{self.namespace}",
            "endpoint": self.store.endpoint,
            "uploader": "remediator:1",
        }

    async def plan(self, handler: Any, params: Any, kind: Kind, name: str) -> Step:
        clock = SystemClock()
        scene = Scene(
            cluster=self.cluster,
            workload=await read_workload(self.cluster, Target(self.namespace, kind, name)),
            alertname="",
            labels={},
            fired_at=clock.now(),
            now=clock.now(),
            dependencies=Services({}),
            databases=PostgresDatabases(clock),
            backups=Shelves(),
        )
        diagnosis = await handler.diagnose(scene, params)
        (step,) = await handler.ladder(scene, params, diagnosis)
        assert isinstance(step, Step)
        return step

    async def back_up(self) -> None:
        step = await self.plan(
            DatabaseBackup(), DatabaseBackupParams(**self.params()), Kind.STATEFUL_SET, "postgres"
        )
        (action,) = step.actions
        await self.carry_out(action, "run_backup/0.0")
        async with asyncio.timeout(60):
            while (
                not (effect := await ACTUATORS[action.kind].effect(self.clients, action)) or not effect.good
            ):
                assert effect is not None
                assert not effect.over, effect.text
                await asyncio.sleep(0.2)

    async def restore_plan(self, **more: Any) -> Step:
        params = DatabaseRestoreParams(**self.params(), **more)
        return await self.plan(DatabaseRestore(), params, Kind.DEPLOYMENT, "langgraph")

    @property
    def clients(self) -> Clients:
        return Clients(self.cluster, PostgresDatabases(SystemClock()))

    async def carry_out(self, action: Action, action_id: str) -> Applied:
        """As the flow does: read back, look, dry run, write, until it has an outcome."""
        actuator, begun = ACTUATORS[action.kind], False
        async with asyncio.timeout(90):
            while True:
                happened = await actuator.in_place(self.clients, action, action_id) if begun else ""
                if isinstance(happened, str) and happened:
                    return Applied(ActionResult.APPLIED, happened)
                if not happened:
                    found = await actuator.check(self.clients, action)
                    assert found.ref is not None, found.text
                    assert await actuator.dry_run(self.clients, action, action_id, found) == ""
                    means = Means(self.clients, _nothing_held, asyncio.sleep)
                    done = await actuator.apply(means, action, action_id, found)
                    if not isinstance(done, Progress):
                        return done
                begun = True
                await asyncio.sleep(0.3)

    async def replicas(self) -> int:
        found = await self.cluster.get(Kind.DEPLOYMENT, self.namespace, "langgraph")
        return int(found["spec"]["replicas"])


async def _nothing_held() -> None:
    return


@pytest.fixture
async def world(
    control_plane: ControlPlane, postgres: Postgres, object_store: ObjectStore, tmp_path: Path
) -> AsyncIterator[World]:
    admin = postgres.fresh_database()
    given = conninfo_to_dict(admin)
    owner = f"owner_{given['dbname']}"
    with psycopg.connect(admin, autocommit=True) as conn:
        made = "CREATE ROLE {} LOGIN CREATEDB NOSUPERUSER PASSWORD {}"
        conn.execute(sql.SQL(made).format(sql.Identifier(owner), sql.Literal(PASSWORD)))
        owns = "ALTER DATABASE {} OWNER TO {}"
        conn.execute(sql.SQL(owns).format(sql.Identifier(str(given["dbname"])), sql.Identifier(owner)))
        conn.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(owner)))
    dsn = f"postgresql://{owner}:{PASSWORD}@{given['host']}:{given['port']}/{given['dbname']}"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE checkpoints (id int PRIMARY KEY, body text)")
        conn.execute("INSERT INTO checkpoints SELECT g, md5(g::text) FROM generate_series(1, 20000) g")
        conn.execute("CREATE TABLE threads (id int PRIMARY KEY REFERENCES checkpoints)")
        conn.execute("INSERT INTO threads SELECT g FROM generate_series(1, 500) g")
    namespace = furnish(control_plane, "restore", dsn, object_store)
    workload(control_plane, namespace, Kind.DEPLOYMENT, "langgraph", "langgraph:1", 2)
    cluster = await KubeCluster.from_kubeconfig(str(control_plane.kubeconfig()))
    with Kubelet(control_plane, tmp_path, postgres.server.folder) as kubelet:
        yield World(cluster, namespace, dsn, object_store, kubelet)
    await cluster.close()


def _rows(dsn: str) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(dsn) as conn:
        tables = ("checkpoints", "threads")
        order = sql.SQL("SELECT * FROM {} ORDER BY id")
        return [conn.execute(order.format(sql.Identifier(t))).fetchall() for t in tables]


@asynccontextmanager
async def _clamouring(dsn: str) -> AsyncIterator[list[int]]:
    """A client that holds its connection and comes back every 50 ms when it is thrown out; how often it got in."""
    got_in: list[int] = []

    async def client() -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
                    got_in.append(1)
                    while True:
                        await conn.execute("SELECT count(*) FROM checkpoints")
                        await asyncio.sleep(0.05)
            except psycopg.Error:
                await asyncio.sleep(0.05)

    task = asyncio.create_task(client())
    try:
        yield got_in
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _in_again(got_in: list[int]) -> None:
    """Before the exchange, after it, and after its undo."""
    async with asyncio.timeout(20):
        while len(got_in) < 3:  # noqa: ASYNC110 - it is a client of the database that appends
            await asyncio.sleep(0.05)


def _spoil(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("UPDATE checkpoints SET body = 'wrong' WHERE id % 7 = 0")
        conn.execute("DELETE FROM threads WHERE id > 100")


async def test_spoiled_rows_come_back_while_a_client_never_stops_connecting(world: World) -> None:
    before = _rows(world.dsn)
    await world.back_up()
    _spoil(world.dsn)
    spoiled = _rows(world.dsn)
    step = await world.restore_plan(checks=("SELECT count(*) = 500 FROM threads",))
    kinds = [a.kind.value for a in step.actions]
    assert (step.name, kinds) == (
        RESTORE,
        ["run-job", "run-job", "run-job", "scale", "confirm-stopped", "exchange-database", "scale"],
    ), step.why
    async with _clamouring(world.dsn) as got_in:
        for number, action in enumerate(step.actions):
            done = await world.carry_out(action, f"{RUN}.{number}")
            assert done.result is ActionResult.APPLIED, done.text
            if action.kind is ActionKind.CONFIRM_STOPPED:
                assert await world.cluster.list_objects(Kind.POD, world.namespace, "app=langgraph") == []
        exchange = step.actions[5]
        effect = await ACTUATORS[exchange.kind].effect(world.clients, exchange)
        assert effect is not None
        assert effect.good, effect.text
        assert (_rows(world.dsn), await world.replicas()) == (before, 2)
        await _undone(world, step)
        assert (_rows(world.dsn), await world.replicas()) == (spoiled, 2)
        await _in_again(got_in)
    canaries = (world.store.secret, PASSWORD)
    assert [s for s in world.kubelet.printed if any(c in s for c in canaries)] == []


async def _undone(world: World, step: Step) -> None:
    """Newest first, as the flow does."""
    for number, action in reversed(list(enumerate(step.actions))):
        means = Means(world.clients, _nothing_held, asyncio.sleep)
        async with asyncio.timeout(60):
            while True:
                try:
                    undone = await ACTUATORS[action.kind].undo(means, action, f"{RUN}.{number}")
                    break
                except ProbeUnavailable:  # a pod is still ending: the flow asks again, too
                    await asyncio.sleep(0.2)
        wanted = UndoResult.UNDONE if action.reversible else UndoResult.NOTHING
        assert undone.result is wanted, undone.text


async def test_an_altered_backup_is_refused_before_the_first_write(world: World) -> None:
    """Truncated by the look at the store already; altered at the same length by the rehearsal, which reads all of it."""
    await world.back_up()
    store, listed = world.store.store, obstore.list(world.store.store, prefix=f"{world.namespace}/")
    (key,) = [m["path"] for page in listed for m in page if m["path"].endswith(".dump.zst")]
    whole, before = bytes(obstore.get(store, key).bytes()), _rows(world.dsn)
    obstore.put(store, key, whole[:-50])
    refused = await world.restore_plan()
    assert (refused.actions, "it is truncated or altered" in refused.why) == ((), True), refused.why
    obstore.put(store, key, whole[:-50] + bytes(50))
    step = await world.restore_plan()
    done = await world.carry_out(step.actions[0], f"{RUN}.0")
    assert done.result is ActionResult.REFUSED
    assert "(altered)" in done.text or "pg_restore ended" in done.text, done.text
    assert (_rows(world.dsn), await world.replicas()) == (before, 2)
    databases = await world.clients.databases.copies.look(world.cluster, _address(world), "postgres")
    assert [d.name for d in databases.databases if d.name.startswith(databases.database)] == [
        databases.database
    ]


def _address(world: World) -> Any:
    return DatabaseRestoreParams(**world.params()).address(world.namespace)
