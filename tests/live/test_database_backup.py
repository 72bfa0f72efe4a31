"""A backup on real parts: a Job on the real API server, the real pg_dump, a real S3 server; a table is dropped and comes back."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import psycopg
import pytest

from app.backup.packing import unpacked
from app.database.postgres import PostgresDatabases
from app.domain.actuator import Clients, Effect, Means
from app.domain.outcome import ActionResult
from app.domain.plan import Action
from app.domain.remediation import Scene
from app.domain.target import Kind, Target
from app.kube.client import KubeCluster
from app.kube.job_actuator import JobActuator
from app.kube.paths import RESOURCES
from app.kube.read import read_workload
from app.observe.system import SystemClock
from remediations.database_backup import BACK_UP, DatabaseBackup, DatabaseBackupParams
from tests.live.furnished import furnish
from tests.live.kubelet import Kubelet
from tests.live.objectstore import ObjectStore
from tests.live.stack import ControlPlane, Postgres
from tests.unit.remediations.stage import Services

pytestmark = pytest.mark.live
ACTION = "run_live/0.0"


@dataclass
class World:
    """A database in its namespace, and what a backup of it needs."""

    plane: ControlPlane
    cluster: KubeCluster
    namespace: str
    dsn: str
    store: ObjectStore
    kubelet: Kubelet

    @property
    def params(self) -> DatabaseBackupParams:
        return DatabaseBackupParams(
            secret="db",
            store_secret="store",
            to=f"s3://{self.store.bucket}/{self.namespace}",
            endpoint=self.store.endpoint,
            uploader="remediator:1",
            scratch=True,
        )

    async def plan(self) -> Action:
        """What the handler proposes after its look."""
        target = Target(self.namespace, Kind.STATEFUL_SET, "postgres")
        clock = SystemClock()
        scene = Scene(
            cluster=self.cluster,
            workload=await read_workload(self.cluster, target),
            alertname="",
            labels={},
            fired_at=clock.now(),
            now=clock.now(),
            dependencies=Services({}),
            databases=PostgresDatabases(clock),
        )
        diagnosis = await DatabaseBackup().diagnose(scene, self.params)
        (step,) = await DatabaseBackup().ladder(scene, self.params, diagnosis)
        assert (step.name, len(step.actions)) == (BACK_UP, 1), step.why
        return step.actions[0]

    async def carry_out(self, action: Action) -> Effect:
        """Make the Job and follow it until it is over."""
        actuator, clients = JobActuator(), Clients(self.cluster, PostgresDatabases(SystemClock()))
        means = Means(clients, _nothing_held, asyncio.sleep)
        found = await actuator.check(clients, action)
        assert await actuator.dry_run(clients, action, ACTION, found) == ""
        done = await actuator.apply(means, action, ACTION, found)
        assert done.result is ActionResult.APPLIED, done.text
        for _ in range(300):
            effect = await actuator.effect(clients, action)
            assert effect is not None
            if effect.good or effect.over:
                return effect
            await asyncio.sleep(0.2)
        raise AssertionError("the Job did not end within a minute")

    def objects(self) -> list[str]:
        """Keys under this namespace's prefix."""
        pages = obstore.list(self.store.store, prefix=f"{self.namespace}/")
        return sorted(meta["path"] for page in pages for meta in page)


async def _nothing_held() -> None:
    return


@pytest.fixture
async def world(
    control_plane: ControlPlane, postgres: Postgres, object_store: ObjectStore, tmp_path: Path
) -> AsyncIterator[World]:
    dsn = postgres.fresh_database()
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE checkpoints (id int PRIMARY KEY, body text)")
        conn.execute("INSERT INTO checkpoints SELECT g, md5(g::text) FROM generate_series(1, 20000) g")
    namespace = furnish(control_plane, "backup", dsn, object_store)
    cluster = await KubeCluster.from_kubeconfig(str(control_plane.kubeconfig()))
    with Kubelet(control_plane, tmp_path, postgres.server.folder) as kubelet:
        yield World(control_plane, cluster, namespace, dsn, object_store, kubelet)
    await cluster.close()


def _rows(dsn: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute("SELECT * FROM checkpoints ORDER BY id").fetchall()


async def test_a_dropped_table_comes_back_from_a_backup_that_went_through_s3(
    world: World, postgres: Postgres, tmp_path: Path
) -> None:
    before = _rows(world.dsn)
    effect = await world.carry_out(await world.plan())
    assert effect.good, effect.text
    assert "20000 rows of 1 tables" in effect.text
    assert "restored and compared" in effect.text
    dump, manifest = world.objects()
    told = json.loads(bytes(obstore.get(world.store.store, manifest).bytes()))
    assert (told["rows"], told["restored"], told["asked_by"]) == ({"public.checkpoints": 20000}, True, ACTION)
    with psycopg.connect(world.dsn, autocommit=True) as conn:
        conn.execute("DROP TABLE checkpoints")
    got = unpacked(iter([bytes(obstore.get(world.store.store, dump).bytes())]))
    (tmp_path / "got").write_bytes(b"".join(got))
    program = postgres.server.folder / "pg_restore"
    restored = await asyncio.create_subprocess_exec(
        program, "--exit-on-error", f"--dbname={world.dsn}", tmp_path / "got"
    )
    assert await restored.wait() == 0
    assert _rows(world.dsn) == before
    canaries = (world.store.secret, world.dsn.partition("://live:")[2].partition("@")[0])
    said = [effect.text, json.dumps(told), *world.kubelet.printed]
    assert [s for s in said if any(c in s for c in canaries)] == []


async def test_a_store_that_refuses_the_login_is_told_and_nothing_is_published(world: World) -> None:
    bad = {"data": {"AWS_SECRET_ACCESS_KEY": base64.b64encode(b"wrong").decode()}}
    path = RESOURCES[Kind.SECRET].path(world.namespace, "store")
    answer = world.plane.client().patch(
        path, json=bad, headers={"Content-Type": "application/merge-patch+json"}
    )
    answer.raise_for_status()
    effect = await world.carry_out(await world.plan())
    assert (effect.good, effect.over) == (False, True)
    assert "the store refuses the login" in effect.text
    assert world.objects() == []
