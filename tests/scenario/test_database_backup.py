"""A database's backup from the order to the end: one Job, followed to its last words, killed and resumed, refused with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.flow.upkeep.views import order_check
from app.policy.load import load_policy
from app.sim.behaviour import Crash
from app.sim.faults import Fault, FaultKind
from app.sim.scenario import Scenario
from remediations import CATALOGUE
from tests.births import scenario_of
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, the_incident, the_run, trail

TARGET = "rag7/StatefulSet/postgres"
RULE = """
version: 1
scope: {namespaces: [rag7], protected_kinds: [StatefulSet]}
rules:
  - name: backups
    remediation: database-backup
    params: {service: postgres, to: s3://rag7-backups/langgraph, store_secret: backup-store, uploader: "remediator:1"}
    mode: auto
"""


def world(**of_upload: Any) -> Scenario:
    base = scenario_of("database-backup")
    changed = [b.model_copy(update=of_upload) if b.name == "upload" else b for b in base.behaviours]
    return base.model_copy(update={"behaviours": tuple(changed)})


async def born(path: Path, scenario: Scenario | None = None, rule: str = RULE) -> Rig:
    rig = Rig(path / "rig.sqlite", world=scenario or world())
    rig.policy = load_policy({"rag7.yaml": rule}, CATALOGUE)
    return await rig.born()


async def order(rig: Rig, **params: JsonValue) -> None:
    wish = ManualRequest("database-backup", TARGET, params, "before the release", "kim", may_approve=True)
    when = rig.clock.now()
    await rig.store.ingest(
        Delivery(Source.MANUAL, when, "kim", dedupe_key=str(when), body_digest="d", manual=wish)
    )


async def rests(rig: Rig) -> bool:
    found = await all_runs(rig)
    return bool(found) and found[-1].state.ended


def jobs(rig: Rig) -> list[str]:
    return [m.name for m in rig.cluster.mutations if m.kind is Kind.JOB and not m.dry_run]


async def test_an_ordered_backup_makes_one_job_and_ends_when_that_is_complete(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, (await the_incident(rig)).state) == (RunState.FIXED, IncidentState.FIXED), run.result
    (name,) = jobs(rig)
    assert name.startswith("backup-postgres-")
    assert "120345 rows of 4 tables" in run.result
    assert "Nothing to undo: it changes nothing of the database" in rig.notebook.text
    await rig.close()


async def test_promise_6_a_job_that_fails_is_told_at_once_with_its_own_words(tmp_path: Path) -> None:
    crash = Crash(
        after=5.0, exit_code=1, message="pg_dump ended with exit code 1: out of disk (pg_dump_failed)"
    )
    rig = await born(tmp_path, world(crash=crash))
    await order(rig)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert run.state is RunState.NOT_FIXED
    assert "pg_dump ended with exit code 1: out of disk (pg_dump_failed)" in run.result
    assert len(jobs(rig)) == 1
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_a_job_that_never_ends_ends_at_its_deadline(tmp_path: Path) -> None:
    rig = await born(tmp_path, world(crash=None), RULE.replace("store_secret", "deadline: 3m, store_secret"))
    await order(rig)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert run.state is RunState.NOT_FIXED
    assert "failed (DeadlineExceeded" in run.result
    await rig.close()


@pytest.mark.parametrize("fault", [FaultKind.LOST_AFTER, FaultKind.LOST_BEFORE, FaultKind.THROTTLED])
async def test_promise_2_a_lost_answer_makes_no_second_job(tmp_path: Path, fault: FaultKind) -> None:
    rig = await born(tmp_path)
    rig.cluster.faults.add(Fault(fault, verb="create", kind=Kind.JOB, dry_run=False))
    await order(rig)
    await rig.until(lambda: rests(rig))
    assert (await the_run(rig)).state is RunState.FIXED
    assert len(jobs(rig)) == 1
    await rig.close()


async def test_promise_10_a_pause_stops_the_job_and_says_so(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    await rig.operations.pause("all", "hands off", "kim", None)
    await order(rig)
    await rig.run(60)
    assert jobs(rig) == []
    await rig.close()


async def test_a_missing_right_is_named_before_anything_is_made(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="create", kind=Kind.JOB, dry_run=True))
    await order(rig)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, jobs(rig)) == (RunState.FAILED, [])
    assert "the dry run was refused" in run.result
    await rig.close()


_REFUSED = {
    "a script that would be run": (
        RULE.replace("service:", "scratch: true, form: plain, service:"),
        "Only the form custom can be restored",
    ),
    "an old client": (
        RULE.replace("uploader:", "image: postgres:14-alpine, uploader:"),
        "pg_dump 14 is older than the server",
    ),
    "no place": (RULE.replace("to: s3://rag7-backups/langgraph, ", ""), "params name no to"),
    "no store's login": (
        RULE.replace("backup-store", "langgraph-secrets"),
        "has none of the keys AWS_ACCESS_KEY_ID",
    ),
    "no key": (RULE.replace("service:", "url_key: OTHER, service:"), "has no key OTHER"),
}


@pytest.mark.parametrize("what", _REFUSED)
async def test_what_cannot_work_is_refused_in_words_and_makes_nothing(tmp_path: Path, what: str) -> None:
    rule, words = _REFUSED[what]
    rig = await born(tmp_path, rule=rule)
    await order(rig)
    await rig.run(60)
    assert ([r.state for r in await all_runs(rig)], jobs(rig)) == ([RunState.ABANDONED], [])
    assert words in rig.notebook.text
    await rig.close()


async def test_no_second_one_begins_while_one_is_under_way(tmp_path: Path) -> None:
    rig = await born(tmp_path, world(crash=None))
    running = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "backup-other",
            "namespace": "rag7",
            "labels": {"alert-remediator.io/procedure": "database-backup"},
        },
        "spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "c:1"}]}}
        },
    }
    rig.cluster.create(running)
    await order(rig)
    await rig.run(60)
    assert jobs(rig) == []
    assert "Job backup-other is still at work" in rig.notebook.text
    await rig.close()


@pytest.mark.parametrize(
    ("name", "value"), [("to", "s3://elsewhere"), ("uploader", "evil:1"), ("image", "evil:1")]
)
async def test_an_order_cannot_send_the_dump_elsewhere(tmp_path: Path, name: str, value: str) -> None:
    rig = await born(tmp_path)
    check = order_check(rig.services)
    check(ManualRequest("database-backup", TARGET, {"form": "plain", "scratch": True}, "test", "kim"))
    with pytest.raises(BadInput) as refused:
        check(ManualRequest("database-backup", TARGET, {name: value}, "test", "kim"))
    assert refused.value.code == "param_fixed"
    await rig.close()


async def test_promise_12_no_value_of_a_secret_is_in_the_job_or_the_trail(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await rig.until(lambda: rests(rig))
    (name,) = jobs(rig)
    told = [str(r.data) for r in await trail(rig)] + [
        rig.notebook.text,
        str(rig.cluster.peek(Kind.JOB, "rag7", name)),
    ]
    assert [t for t in told if "simulated@postgres" in t or "c2ltdWxhdGVk" in t] == []
    planned = await trail(rig, EventKind.ACTION_INTENDED)
    assert "secretKeyRef" in str(planned[0].data)
    await rig.close()


async def test_a_question_tells_the_job_and_a_yes_makes_it(tmp_path: Path) -> None:
    rig = await born(
        tmp_path, rule=RULE.replace("mode: auto", "mode: approve\n    approval: {order_counts: false}")
    )
    await order(rig)
    await rig.run(20)
    assert jobs(rig) == []
    run = await the_run(rig)
    assert run.state is RunState.WAITING
    await rig.operations.approve(run.id, "ann", run.plan_hash)
    await rig.until(lambda: rests(rig))
    assert "Back up langgraph_checkpoints" in rig.notebook.text
    assert ((await the_run(rig)).state, len(jobs(rig))) == (RunState.FIXED, 1)
    await rig.close()
