"""A database back from a backup: rehearsed, stopped, restored beside, exchanged and started again, in that order; refused in words; undone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.copies import Found
from app.domain.database import DatabaseAddress
from app.domain.errors import BadInput, ProbeUnavailable
from app.domain.events import EventKind
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.flow.upkeep.views import order_check
from app.policy.load import load_policy
from app.sim import load_scenario
from app.sim.backups import StoredBackup
from app.sim.behaviour import Crash
from app.sim.copies import SimCopies
from app.sim.faults import Fault, FaultKind
from app.sim.scenario import Scenario
from app.web.views import run_summary
from remediations import CATALOGUE
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, the_incident, the_run, trail

TARGET = "rag7/Deployment/langgraph-threads"
RULE = """
version: 1
scope: {namespaces: [rag7], protected_kinds: [StatefulSet]}
rules:
  - name: restores
    remediation: database-restore
    params: {service: postgres, to: s3://rag7-backups/pg, store_secret: backup-store, uploader: "remediator:1"}
    mode: approve
"""
AT = DatabaseAddress("rag7", "postgres.rag7.svc", 0, "", "langgraph-secrets", url_key="DATABASE_URL")


def world(job: str = "rehearsal", **changes: Any) -> Scenario:
    """The shipped one, with this Job's container changed."""
    base = load_scenario("database-restore")
    changed = [b.model_copy(update=changes) if b.name == job else b for b in base.behaviours]
    return base.model_copy(update={"behaviours": tuple(changed)})


def with_manifest(bytes_: int | None = 40_265_318, key: str = "", **manifest: Any) -> Scenario:
    base = load_scenario("database-restore")
    (stored,) = base.backups
    told = {**stored.manifest, **manifest}
    changed = StoredBackup(key=key or stored.key, bytes=bytes_, manifest=told)
    return base.model_copy(update={"backups": (changed,)})


async def born(path: Path, scenario: Scenario | None = None, rule: str = RULE) -> Rig:
    rig = Rig(path / "rig.sqlite", world=scenario or world())
    rig.policy = load_policy({"rag7.yaml": rule}, CATALOGUE)
    return await rig.born()


async def order(rig: Rig, **params: JsonValue) -> None:
    wish = ManualRequest("database-restore", TARGET, params, "rows are wrong", "kim")
    when = rig.clock.now()
    await rig.store.ingest(
        Delivery(Source.MANUAL, when, "kim", dedupe_key=str(when), body_digest="d", manual=wish)
    )


async def approved(rig: Rig) -> None:
    """Two people say yes to the plan that was asked about."""
    await rig.run(20)
    run = await the_run(rig)
    assert run.state is RunState.WAITING, (run.state, run.result)
    await rig.operations.approve(run.id, "ann", run.plan_hash)
    await rig.run(20)
    assert (await the_run(rig)).state is RunState.WAITING
    assert writes(rig) == []
    await rig.operations.approve(run.id, "ben", run.plan_hash)


async def rests(rig: Rig) -> bool:
    found = await all_runs(rig)
    return bool(found) and found[-1].state.ended


def writes(rig: Rig) -> list[str]:
    """What was written, in its order: Jobs by the first word of their names, replicas, renamings."""
    told = []
    for m in rig.cluster.mutations:
        if m.dry_run or m.kind is Kind.EVENT:
            continue
        if m.kind is Kind.JOB:
            told.append(m.name.partition("-")[0])
        elif m.verb == "patch":
            told.append("scale")
        else:
            told.append(m.verb)
    return told


async def databases(rig: Rig) -> dict[str, Found]:
    seen = await rig.cluster.databases.copies.look(rig.cluster, AT, "postgres")
    return {(d.name.partition("_before_")[2] and "before") or d.name: d for d in seen.databases}


async def replicas(rig: Rig) -> int:
    manifest = await rig.cluster.get(Kind.DEPLOYMENT, "rag7", "langgraph-threads")
    return int(manifest["spec"]["replicas"])


KEY = "rag7/langgraph_checkpoints/2026/03/03/langgraph_checkpoints-20260303T020000Z-5f1c0a.dump.zst"
ALL = ["rehearse", "restore", "safety", "scale", "rename", "scale"]


async def test_a_database_is_restored_in_its_order_and_the_application_is_back(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await approved(rig)
    heard: set[str] = set()

    async def over() -> bool:
        heard.update([run_summary(run).progress for run in await all_runs(rig)])
        heard.update(rig.notebook.parents.values())
        return await rests(rig)

    await rig.until(over)
    run = await the_run(rig)
    assert any("is at work: restored: 12.0 MiB" in text for text in heard), "people see how far it is"
    assert any("So far: " in text for text in heard)
    assert (run.state, (await the_incident(rig)).state) == (RunState.FIXED, IncidentState.FIXED), run.result
    assert writes(rig) == ALL
    found = await databases(rig)
    assert found["langgraph_checkpoints"].mark.startswith("alert-remediator: langgraph_checkpoints_restored_")
    assert (found["before"].mark, found["before"].open) == ("", False)
    assert await replicas(rig) == 3
    told = rig.notebook.text
    for words in (
        "Point of no return",
        "3 langgraph-threads",
        "Safety backup of langgraph_checkpoints",
        "20260303T020000Z",
        'DROP DATABASE "langgraph_checkpoints_before_',
    ):
        assert words in told, words
    await rig.close()


async def test_an_undo_stops_the_application_and_brings_the_former_database_back(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await approved(rig)
    await rig.until(lambda: rests(rig))
    (state,) = rig.cluster.databases.copies._states.values()
    former = next(name for name in state.databases if "_before_" in name)
    state.databases[former] = replace(state.databases[former], limit=0)  # as somebody had closed it
    run = await the_run(rig)
    await rig.operations.undo(run.id, "kim", despite=True)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert run.state is RunState.UNDONE, run.result
    assert 'until ALTER DATABASE "langgraph_checkpoints" CONNECTION LIMIT -1' in run.result
    assert writes(rig) == [*ALL, "scale", "rename", "scale"]
    found = await databases(rig)
    assert (found["langgraph_checkpoints"].mark, found["langgraph_checkpoints"].open) == ("", True)
    assert [(d.mark != "", d.open) for name, d in found.items() if "_restored_" in name] == [(True, False)]
    assert await replicas(rig) == 3
    assert 'DROP DATABASE "langgraph_checkpoints_restored_' in rig.notebook.text
    await rig.close()


async def test_a_rehearsal_that_finds_the_backup_altered_changes_nothing(tmp_path: Path) -> None:
    crash = Crash(after=5.0, exit_code=1, message="the backup is not what its manifest says (altered)")
    rig = await born(tmp_path, world("rehearsal", crash=crash))
    await order(rig)
    await approved(rig)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, writes(rig)) == (RunState.FAILED, ["rehearse"])
    assert "the backup is not what its manifest says (altered)" in run.result
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert await replicas(rig) == 3
    await rig.close()


@pytest.mark.parametrize("fault", [FaultKind.LOST_AFTER, FaultKind.LOST_BEFORE])
@pytest.mark.parametrize(("verb", "kind"), [("rename", None), ("create", Kind.JOB)])
async def test_promise_2_a_lost_answer_is_read_back_and_nothing_is_done_twice(
    tmp_path: Path, fault: FaultKind, verb: Any, kind: Kind | None
) -> None:
    rig = await born(tmp_path)
    rig.cluster.faults.add(Fault(fault, verb=verb, kind=kind, dry_run=False))
    await order(rig)
    await approved(rig)
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, writes(rig)) == (RunState.FIXED, ALL)
    await rig.close()


async def test_promise_10_a_pause_before_the_exchange_brings_the_application_back(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await approved(rig)

    async def stopped() -> bool:
        return "scale" in writes(rig)

    rig.stride = 1.0
    await rig.until(stopped)
    await rig.operations.pause("all", "hands off", "kim", None)
    await rig.run(240)
    assert "rename" not in writes(rig)
    assert "before" not in await databases(rig)
    await rig.operations.resume("all", "kim")
    await rig.until(lambda: rests(rig))
    assert await replicas(rig) == 3
    await rig.close()


def _refused() -> dict[str, tuple[Scenario, str, dict[str, JsonValue], str]]:
    """What cannot work: the world, the rule, the order, and the words of the refusal."""
    other = "rag7/other/2026/03/03/other-20260303T020000Z-5f1c0a.dump.zst"
    bad: dict[str, Any] = {"kind": "something else"}
    return {
        "truncated": (with_manifest(40_000_000), RULE, {}, "it is truncated or altered"),
        "only a manifest": (with_manifest(None), RULE, {}, "there are nothing under its key"),
        "foreign": (with_manifest(**bad), RULE, {}, "its manifest is not one of ours"),
        "of another database": (
            with_manifest(key=other, name="other-20260303T020000Z-5f1c0a"),
            RULE,
            {"backup": other},
            "it is a backup of other, not of langgraph_checkpoints",
        ),
        "of another server": (
            with_manifest(database="other.rag7.svc/langgraph_checkpoints"),
            RULE,
            {},
            "it is a backup of rag7/other.rag7.svc, not of rag7/postgres",
        ),
        "of another namespace": (
            with_manifest(key=KEY.replace("rag7", "staging", 1)),
            RULE,
            {"backup": KEY.replace("rag7", "staging", 1)},
            "it is a backup of staging/postgres",
        ),
        "by the database itself": (
            world(),
            RULE.replace("service:", "entry: langgraph_checkpoints, service:"),
            {},
            "entry is langgraph_checkpoints, the database that is replaced",
        ),
        "a script": (with_manifest(form="plain"), RULE, {}, "a plain dump is a script"),
        "of a newer server": (
            with_manifest(server="17.2"),
            RULE,
            {},
            "pg_restore 15 is too old: the dump is of PostgreSQL 17.2",
        ),
        "for an older server": (
            with_manifest(server="17.2"),
            RULE.replace("service:", 'image: "postgres:17", service:'),
            {},
            "the server is PostgreSQL 15.18 (simulated), which is older",
        ),
        "without a digest": (with_manifest(sha256="no"), RULE, {}, "its manifest is not whole"),
        "not there": (world(), RULE, {"backup": "rag7/no"}, "There is no backup with a manifest"),
        "no place": (world(), RULE.replace("to: s3://rag7-backups/pg, ", ""), {}, "params name no to"),
    }


@pytest.mark.parametrize("what", list(_refused()))
async def test_what_cannot_work_is_refused_before_anything_is_touched(tmp_path: Path, what: str) -> None:
    scenario, rule, params, words = _refused()[what]
    rig = await born(tmp_path, scenario, rule)
    await order(rig, **params)
    await rig.run(60)
    assert ([r.state for r in await all_runs(rig)], writes(rig)) == ([RunState.ABANDONED], [])
    assert words in rig.notebook.text
    await rig.close()


async def test_a_disaster_has_no_database_yet_and_says_that_nothing_is_saved_first(tmp_path: Path) -> None:
    base = with_manifest(
        key="rag7/fresh/2026/03/03/fresh-20260303T020000Z-5f1c0a.dump.zst",
        name="fresh-20260303T020000Z-5f1c0a",
    )
    rule = RULE.replace("service:", "database: fresh, service:")
    rig = await born(tmp_path, base, rule)
    await order(rig)
    await rig.run(60)
    assert "There is no database fresh, so its present state cannot be backed up" in rig.notebook.text
    await order(rig, without_safety_backup=True)
    await rig.run(20)
    run = (await all_runs(rig))[-1]
    assert "no safety backup of the present state of fresh is made" in rig.notebook.text
    for person in ("ann", "ben"):
        await rig.operations.approve(run.id, person, run.plan_hash)
    await rig.until(lambda: rests(rig))
    run = (await all_runs(rig))[-1]
    assert (run.state, writes(rig)) == (RunState.FIXED, ["rehearse", "restore", "scale", "rename", "scale"])
    seen = await rig.cluster.databases.copies.look(rig.cluster, AT, "postgres")
    assert sorted(d.name for d in seen.databases) == ["fresh", "langgraph_checkpoints"]
    await rig.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("to", "s3://elsewhere"),
        ("image", "evil:1"),
        ("checks", ["SELECT true"]),
        ("superuser", True),
        ("entry", "x"),
    ],
)
async def test_an_order_cannot_change_what_is_the_rules(tmp_path: Path, name: str, value: JsonValue) -> None:
    rig = await born(tmp_path)
    check = order_check(rig.services)
    check(
        ManualRequest(
            "database-restore", TARGET, {"without_safety_backup": True, "replicas": 2}, "test", "kim"
        )
    )
    with pytest.raises(BadInput) as refused:
        check(ManualRequest("database-restore", TARGET, {name: value}, "test", "kim"))
    assert refused.value.code == "param_fixed"
    await rig.close()


def _unreachable(rig: Rig, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """From now on our own door to the server does not answer."""
    real, until = SimCopies.look, rig.clock.monotonic() + seconds

    async def look(self: SimCopies, *args: Any) -> Any:
        if rig.clock.monotonic() < until:
            raise ProbeUnavailable("timed out", code="unreachable", where="postgres")
        return await real(self, *args)

    monkeypatch.setattr(SimCopies, "look", look)


@pytest.mark.parametrize(
    ("seconds", "ends", "undone"),
    [(20, RunState.UNDONE, ["scale", "rename", "scale"]), (900, RunState.STUCK, [])],
)
async def test_nothing_is_stopped_for_an_undo_before_the_server_can_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, ends: RunState, undone: list[str]
) -> None:
    """What cannot be looked at is not known to be possible: it waits, and after its patience a person is called."""
    rig = await born(tmp_path)
    await order(rig)
    await approved(rig)
    await rig.until(lambda: rests(rig))
    _unreachable(rig, monkeypatch, seconds)
    run = await the_run(rig)
    await rig.operations.undo(run.id, "kim", despite=True)
    await rig.run(15)
    assert (writes(rig), await replicas(rig)) == (ALL, 3)
    assert "Waits: nothing is taken back before it can be looked at" in next(
        iter(rig.notebook.parents.values())
    )
    await rig.run(600)
    assert (writes(rig)[len(ALL) :], await replicas(rig)) == (undone, 3)
    assert (await the_run(rig)).state is ends
    assert bool(await trail(rig, EventKind.ESCALATED)) == (ends is RunState.STUCK)
    await rig.close()


@pytest.mark.parametrize(("seconds", "ends"), [(30, RunState.FIXED), (900, RunState.FAILED)])
async def test_an_application_is_not_stopped_before_the_server_can_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, ends: RunState
) -> None:
    """The door closes once the copy is validated, right before the application is stopped."""
    rig = await born(tmp_path)
    await order(rig)
    await approved(rig)
    await rig.until(lambda: "safety" in writes(rig))
    _unreachable(rig, monkeypatch, seconds)
    await rig.run(25)
    assert (writes(rig), await replicas(rig)) == (ALL[:3], 3)
    await rig.until(lambda: rests(rig), 1_800)
    assert (await the_run(rig)).state is ends
    assert writes(rig) == (ALL if ends is RunState.FIXED else ALL[:3])
    assert await replicas(rig) == 3
    await rig.close()
