"""The rehearsal of a restore and its plan: what is looked at, what is refused, and what the names of a plan are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.backup.order import new_name, safe_name
from app.database.copies import no_writes
from app.domain.backups import Stored
from app.domain.copies import Exchange, Found, Server
from app.domain.database import DatabaseAddress
from app.domain.json import digest
from app.domain.plan import ActionKind, Step
from app.domain.remediation import drawn
from app.domain.target import Kind
from app.sim.backups import SimBackups, StoredBackup
from app.sim.copies import SimCopies
from remediations.database_restore import RESTORE
from remediations.evidence.restores import _from_elsewhere, rights_obstacle
from tests.orders import ORDERS
from tests.unit.remediations.stage import Metrics, Stage, told

NAME = "database-restore"
ORDER = ORDERS[NAME]
APP = "langgraph-threads"


def stage(**of_world: Any) -> Stage:
    return Stage(NAME, ORDER.world().model_copy(update=of_world), ORDER.target)


async def step_of(play: Stage, **params: Any) -> Step:
    _, steps = await play.look(**params)
    return steps[RESTORE]


def words(step: Step) -> list[str]:
    return [action.summary for action in step.actions]


async def test_the_plan_tells_the_backup_the_point_of_no_return_and_who_is_connected() -> None:
    diagnosis, steps = await stage().look()
    step, text = steps[RESTORE], told(diagnosis, steps)
    assert [action.kind for action in step.actions] == [
        ActionKind.RUN_JOB,
        ActionKind.RUN_JOB,
        ActionKind.RUN_JOB,
        ActionKind.SCALE,
        ActionKind.CONFIRM_STOPPED,
        ActionKind.EXCHANGE_DATABASE,
        ActionKind.SCALE,
    ]
    for part in (
        "has 3 connections of others: 3 langgraph-threads",
        "sha256 5f1c0a93be7d2264, complete 2026-03-03T02:01, 120357 rows of 2 tables, PostgreSQL 15.18",
        "The versions fit",
        "Point of no return: langgraph_checkpoints_restored_",
        "how much is free on the server's volume is not known",
        f"Start rag7/Deployment/{APP} again with 3 replicas",
    ):
        assert part in text, text
    assert step.asks == ""


async def test_the_approval_is_for_this_backup_by_its_digest() -> None:
    """Another backup under the same key is another plan."""
    play = stage()
    (stored,) = ORDER.world().backups
    other = stage(
        backups=(
            StoredBackup(
                key=stored.key, bytes=stored.bytes, manifest={**stored.manifest, "sha256": "0" * 64}
            ),
        )
    )
    first, second = await step_of(play), await step_of(other)
    assert first.seal().hash != second.seal().hash


async def test_without_a_safety_backup_is_said_to_whoever_approves() -> None:
    step = await step_of(stage(), without_safety_backup=True)
    assert [w for w in words(step) if "Safety" in w] == []
    assert step.asks == "no safety backup of the present state of langgraph_checkpoints is made"


async def test_a_slot_that_stays_with_the_former_database_is_said_to_whoever_approves() -> None:
    servers = tuple(s.model_copy(update={"slots": ("debezium",)}) for s in ORDER.world().databases)
    step = await step_of(stage(databases=servers))
    assert "with the former langgraph_checkpoints stays the replication slot debezium" in (step.asks or "")


async def test_an_application_that_stands_at_0_is_started_only_where_the_order_says_so() -> None:
    play = stage()
    play.edit(Kind.DEPLOYMENT, APP, {"op": "replace", "path": "/spec/replicas", "value": 0})
    play.clock.advance(30)
    assert not any(a.kind is ActionKind.SCALE for a in (await step_of(play)).actions)
    assert words(await step_of(play, replicas=2))[-1] == f"Start rag7/Deployment/{APP} again with 2 replicas"


_ROOM = "kubelet_volume_stats_available_bytes"


@pytest.mark.parametrize(
    ("free", "enough"), [(40_265_318 * 16.0, True), (40_265_318 * 16.0 - 2, False), (None, True)]
)
async def test_the_room_for_a_copy_is_looked_at_where_it_is_known(free: float | None, enough: bool) -> None:
    play = stage()
    play.metrics = Metrics({_ROOM: None if free is None else free * 2})
    step = await step_of(play)
    assert step.applies is enough
    assert any("persistentvolumeclaim=~" in q and "-postgres-" in q for q in play.metrics.asked)
    if not enough:
        assert "is free on the server's volume" in step.why


async def test_keda_would_start_the_application_again_and_is_named() -> None:
    play = stage()
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa", "namespace": "rag7"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": APP},
            "minReplicas": 1,
            "maxReplicas": 9,
            "metrics": [],
        },
    }
    play.cluster.create(scaler)
    assert "leaves" in told(*await play.look())
    label = {"op": "add", "path": "/metadata/labels", "value": {"scaledobject.keda.sh/name": "threads"}}
    play.edit(Kind.HPA, "keda-hpa", label)
    step = await step_of(play)
    assert (step.applies, "ScaledObject threads of KEDA would start" in step.why) == (False, True)
    assert (
        'kubectl annotate --overwrite scaledobject threads -n rag7 autoscaling.keda.sh/paused-replicas="0"'
        in step.advice
    )


async def test_what_earlier_restores_have_kept_is_told() -> None:
    """Nobody drops it but people, so they have to hear of it."""
    play = stage()
    at = DatabaseAddress("rag7", "postgres.rag7.svc", 0, "", "langgraph-secrets", url_key="DATABASE_URL")
    kept = "langgraph_checkpoints_before_20260303t050607"
    to = (play.cluster, at, "postgres")
    await play.cluster.databases.copies.rename(to, [("langgraph_checkpoints", kept)], [kept], _nothing_held)
    text = told(*await play.look())
    assert f"{kept} is still there: 52 MiB; drop it when nobody needs it any more" in text
    assert "there is no database langgraph_checkpoints" in text


async def _nothing_held() -> None:
    return


async def test_a_server_outside_of_the_cluster_needs_an_image_of_its_own() -> None:
    refused = await step_of(stage(), server="")
    assert "the rule names no image with pg_restore" in refused.why
    step = await step_of(stage(), server="", image="postgres:16")
    (job,) = [a.part["job"] for a in step.actions if "Rehearse" in a.summary]
    assert isinstance(job, dict)
    assert "postgres:16" in str(job)


async def test_a_copys_mark_cannot_be_guessed_by_what_is_restored_into_it() -> None:
    """Of two plans of one moment everything else is the same."""
    play = stage()
    play.draw = drawn
    marks = []
    for _ in range(2):
        (exchange,) = [
            a.part for a in (await step_of(play)).actions if a.kind is ActionKind.EXCHANGE_DATABASE
        ]
        marks.append(str(exchange["mark"]).rpartition(", "))
    (known, _, one), (same, _, other) = marks
    assert known == same
    assert one != other
    assert len(one) == len(other) == 32


HERE = DatabaseAddress("rag7", "", 0, "", "db-a", url_key="DATABASE_URL")
ORIGINS = {
    "the same Secret": (HERE, "the database of Secret db-a", "", ""),
    "the same Secret, and a name": (replace(HERE, database="app"), "the database of Secret db-a/app", "", ""),
    "another Secret": (HERE, "the database of Secret db-b", "", "it is a backup of rag7/the database of Secret db-b"),
    "a host, and we a Secret": (HERE, "pg-b.rag7.svc/app", "", "whether that is rag7/the database of Secret db-a is not known"),
    "a Secret, and we a host": (replace(HERE, host="pg.rag7.svc"), "the database of Secret db-b", "", "is not known"),
    "a host that the rule says it is": (HERE, "pg-b.rag7.svc/app", "rag7/pg-b.rag7.svc", ""),
    "nothing": (HERE, "", "", "is not known"),
}  # fmt: skip


@pytest.mark.parametrize("what", ORIGINS)
def test_a_backup_is_of_this_server_only_where_both_name_the_same(what: str) -> None:
    at, told, origin, why = ORIGINS[what]
    found = _from_elsewhere(Stored("rag7/app/2026/x", {"database": told}, 1), at, origin)
    assert (why in found, bool(found)) == (True, bool(why)), found


async def test_a_database_whose_name_only_looks_the_same_in_a_key_is_another_one() -> None:
    (stored,) = ORDER.world().backups
    for name, applies in (("langgraph_checkpoints", True), ("langgraph checkpoints", False)):
        manifest = {**stored.manifest, "name_digest": digest([name])}
        step = await step_of(stage(backups=(stored.model_copy(update={"manifest": manifest}),)))
        assert step.applies is applies, step.why


async def test_no_value_of_a_secret_is_in_the_plan() -> None:
    step = await step_of(stage())
    assert "simulated" not in str(step.to_json()).replace("(simulated)", "")


SERVER = Server("16.4", 16, "live", superuser=False, may_create=True, databases=(Found("live"),))


@pytest.mark.parametrize(
    ("server", "superuser", "why"),
    [
        (SERVER, False, ""),
        (replace(SERVER, superuser=True), False, "the login is a superuser"),
        (replace(SERVER, superuser=True), True, ""),
        (
            replace(SERVER, powers=("CREATEROLE of app",)),
            False,
            "only a superuser should (CREATEROLE of app)",
        ),
        (replace(SERVER, powers=("CREATEROLE of app",)), True, ""),
        (replace(SERVER, may_create=False), False, "may not make a database (CREATEDB)"),
        (replace(SERVER, databases=(Found("live", owned=False),)), False, "belongs to another role"),
        (
            replace(SERVER, databases=(Found("live", owner="app"),), login="dba"),
            False,
            "live belongs to app, and the login is dba",
        ),
        (
            replace(SERVER, databases=(Found("live", owner="app"),), superuser=True, login="root"),
            True,
            "live belongs to app",
        ),
        (
            replace(SERVER, databases=(Found("live", foreign={"exporter": 2}),)),
            False,
            "(2 of exporter): end them",
        ),
        (
            replace(
                SERVER, databases=(Found("live", in_the_way=("the prepared transaction shop-1 (end it)",)),)
            ),
            False,
            "live cannot get another name: in it is the prepared transaction shop-1 (end it)",
        ),
        (replace(SERVER, databases=()), False, ""),
        (replace(SERVER, no_writes=no_writes(standby=True, read_only=False)), False, "name the primary"),
        (replace(SERVER, no_writes=no_writes(standby=False, read_only=True)), True, "_read_only = off"),
        (replace(SERVER, no_writes=no_writes(standby=False, read_only=False)), False, ""),
    ],
)
def test_a_login_that_should_not_or_cannot_restore_is_refused(
    server: Server, superuser: bool, why: str
) -> None:
    found = rights_obstacle(server, superuser=superuser)
    assert (why in found, bool(found)) == (True, bool(why))


@pytest.mark.parametrize("database", ["d" * 63, "ü" * 31, "a.b"])
async def test_names_of_copies_fit_and_do_not_meet(database: str) -> None:
    """PostgreSQL cuts longer names than 63 bytes, so that two could become one."""
    (stored,) = ORDER.world().backups
    play = stage()
    name = new_name(database, play.clock.now(), "x")
    assert name.startswith(safe_name(database))
    backup = StoredBackup(
        key=f"rag7/{safe_name(database)}/2026/03/03/{name}.dump.zst",
        bytes=stored.bytes,
        manifest={**stored.manifest, "name": name},
    )
    servers = tuple(s.model_copy(update={"database": database}) for s in ORDER.world().databases)
    step = await step_of(stage(backups=(backup,), databases=servers), database=database)
    (exchange,) = [a.part for a in step.actions if a.kind is ActionKind.EXCHANGE_DATABASE]
    names = [str(exchange[part]) for part in ("live", "copy", "kept")]
    assert len(set(names)) == 3
    assert all(len(n.encode()) <= 63 for n in names)
    address: Any = exchange["database"]
    assert DatabaseAddress.from_json(address).database == database


async def test_backups_that_are_stamped_later_than_now_are_told_to_whoever_approves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real: Any = SimBackups.find

    async def ahead(*asked: Any) -> Stored:
        found: Stored = await real(*asked)
        return replace(found, later=2, instead=("a newer one is plain: x.sql.gz",))

    monkeypatch.setattr(SimBackups, "find", ahead)
    why = (await step_of(stage())).why
    assert ("2 stamped later than now" in why, "; a newer one is plain: x.sql.gz" in why) == (True, True)


@pytest.mark.parametrize("is_open", [True, False])
async def test_the_plan_remembers_whether_somebody_had_closed_the_database(
    is_open: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real: Any = SimCopies.look

    async def closed(*asked: Any) -> Server:
        server: Server = await real(*asked)
        return replace(server, databases=tuple(replace(d, open=is_open) for d in server.databases))

    monkeypatch.setattr(SimCopies, "look", closed)
    step = await step_of(stage(), without_safety_backup=True)
    (exchange,) = [a for a in step.actions if a.kind is ActionKind.EXCHANGE_DATABASE]
    assert Exchange.from_json(exchange.part).was_closed is not is_open
    assert ("without taking connections (ALLOW_CONNECTIONS false)" in exchange.undo) is not is_open
    assert ("and the restored one does until an undo" in (step.asks or "")) is not is_open
