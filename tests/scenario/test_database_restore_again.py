"""Restores that meet another one, or whose Job fails or is deleted by somebody: nothing is done twice, and nothing under another's application."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.copies import Server, prepared
from app.domain.errors import Refused
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.sim.behaviour import Crash
from app.sim.copies import SimCopies
from app.sim.scenario import Scenario
from tests.scenario.scenes import all_runs, the_incident, the_run, trail
from tests.scenario.test_database_restore import (
    ALL,
    TARGET,
    approved,
    born,
    databases,
    order,
    replicas,
    rests,
    world,
    writes,
)


@pytest.mark.parametrize("job", ["rehearse", "safety", "restore"])
async def test_a_job_that_somebody_deletes_is_not_made_again_and_the_application_comes_back(
    tmp_path: Path, job: str
) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await approved(rig)

    async def made() -> bool:
        return job in writes(rig)

    await rig.until(made)
    await rig.run(6)
    for one in await rig.cluster.list_objects(Kind.JOB, "rag7", ""):
        if one["metadata"]["name"].startswith(job):
            rig.cluster.delete(Kind.JOB, "rag7", one["metadata"]["name"])
    await rig.until(lambda: rests(rig))
    assert writes(rig).count(job) == 1
    assert "is gone, deleted by somebody" in (await the_run(rig)).result
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert await replicas(rig) == 3
    assert "before" not in await databases(rig)
    await rig.close()


@pytest.mark.parametrize("seconds", [0, 10])
async def test_two_restores_of_one_database_through_two_applications_exchange_it_once(
    tmp_path: Path, seconds: float
) -> None:
    """Planned in the same second or not: the second one is refused before the exchange, and its undo leaves the first one's alone."""
    rig = await born(tmp_path)
    spec = json.dumps(dict(rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph-threads") or {})["spec"])
    second = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "second", "namespace": "rag7"},
        "spec": json.loads(spec.replace('"langgraph-threads"', '"second"')),
    }
    rig.cluster.create(second)
    await rig.run(30)
    for target in (TARGET, "rag7/Deployment/second"):
        wish, when = ManualRequest("database-restore", target, {}, "wrong rows", "kim"), rig.clock.now()
        await rig.store.ingest(
            Delivery(Source.MANUAL, when, "kim", dedupe_key=target, body_digest="d", manual=wish)
        )
        if seconds:
            await rig.run(seconds)
    await rig.run(20)
    for run in await all_runs(rig):
        for person in ("ann", "ben"):
            await rig.operations.approve(run.id, person, run.plan_hash)

    async def over() -> bool:
        return all(run.state.ended for run in await all_runs(rig))

    await rig.until(over)
    (good,) = [run for run in await all_runs(rig) if run.state is RunState.FIXED]
    (late,) = [run for run in await all_runs(rig) if run.state is not RunState.FIXED]
    assert "langgraph_checkpoints is another database since the decision" in late.result
    assert writes(rig).count("rename") == 1
    assert writes(rig).count("scale") == 2, "the second application was never stopped"
    assert (await databases(rig))["langgraph_checkpoints"].mark
    with pytest.raises(Refused, match="nothing of the run is in place"):
        await rig.operations.undo(late.id, "kim")
    await rig.operations.undo(good.id, "kim", despite=True)
    await rig.run(120)
    assert (await databases(rig))["langgraph_checkpoints"].mark == ""
    await rig.close()


async def test_an_undo_without_the_former_database_is_refused_before_the_application_is_stopped(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await approved(rig)
    await rig.until(lambda: rests(rig))
    run, before = await the_run(rig), writes(rig)
    copies = rig.cluster.databases.copies
    assert isinstance(copies, SimCopies)
    copies.drop((await databases(rig))["before"].name)
    with pytest.raises(Refused, match="is gone, so there is nothing to go back to"):
        await rig.operations.undo(run.id, "kim", despite=True)
    await rig.run(60)
    assert (writes(rig), await replicas(rig)) == (before, 3)
    await rig.close()


def _server(**held: tuple[str, ...]) -> Scenario:
    """The world, with these in the database."""
    told = world()
    return told.model_copy(update={"databases": tuple(s.model_copy(update=held) for s in told.databases)})


async def test_a_prepared_transaction_is_named_before_anybody_is_asked(tmp_path: Path) -> None:
    rig = await born(tmp_path, _server(prepared=("shop-1",)))
    await order(rig)
    await rig.run(60)
    assert ([r.state for r in await all_runs(rig)], writes(rig)) == ([RunState.ABANDONED], [])
    assert (
        "in it is the prepared transaction 'shop-1' (COMMIT PREPARED 'shop-1' or ROLLBACK"
        in rig.notebook.text
    )
    await rig.close()


@pytest.mark.parametrize(
    ("closed", "words"),
    [({"open": False}, "ALLOW_CONNECTIONS false"), ({"limit": 0}, "CONNECTION LIMIT 0")],
)
async def test_a_database_that_somebody_closed_first_is_told_before_anybody_is_asked(
    tmp_path: Path, closed: dict[str, Any], words: str
) -> None:
    rig = await born(tmp_path)
    await databases(rig)
    (state,) = rig.cluster.databases.copies._states.values()
    state.databases["langgraph_checkpoints"] = replace(state.databases["langgraph_checkpoints"], **closed)
    await order(rig)
    await rig.run(60)
    assert ([r.state for r in await all_runs(rig)], writes(rig)) == ([RunState.ABANDONED], [])
    told = rig.notebook.text
    assert f"Langgraph_checkpoints takes no connections, somebody has closed it ({words})" in told
    assert "without_safety_backup=true says that this is known" in told
    await order(rig, without_safety_backup=True)
    await rig.run(20)
    asked = f"langgraph_checkpoints takes no connections ({words}), and the restored one does"
    assert asked in str(rig.notebook.parents)
    await rig.close()


async def test_a_slot_that_stays_behind_is_told_in_the_question_and_in_the_result(tmp_path: Path) -> None:
    rig = await born(tmp_path, _server(slots=("debezium",)))
    await order(rig)
    await approved(rig)
    asked = str(rig.notebook.parents)
    assert "with the former langgraph_checkpoints stays the replication slot debezium" in asked.lower()
    await rig.until(lambda: rests(rig))
    assert ((await the_run(rig)).state, writes(rig)) == (RunState.FIXED, ALL)
    assert "once nobody needs it), and with it the replication slot debezium, which keeps WAL" in str(
        await trail(rig)
    )
    await rig.close()


async def test_what_came_into_the_database_since_the_question_is_found_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await approved(rig)
    real = SimCopies.look

    async def look(self: SimCopies, *args: Any) -> Server:
        seen = await real(self, *args)
        held = tuple(replace(d, in_the_way=(prepared("shop-1"),)) for d in seen.databases)
        return replace(seen, databases=held)

    monkeypatch.setattr(SimCopies, "look", look)
    await rig.until(lambda: rests(rig), 1_800)
    assert (writes(rig), await replicas(rig)) == ([], 3)
    assert "cannot get another name: in it is the prepared transaction 'shop-1'" in str(await trail(rig))
    await rig.close()


@pytest.mark.parametrize(
    ("job", "message", "made"),
    [
        ("validation", "2 tables differ (differs)", 2),
        ("validation", 'relation "q" does not exist (pg_restore_failed)', 2),
        ("safety", "permission denied for large object 4712 (pg_dump_failed)", 3),
    ],
)
async def test_what_cannot_be_restored_or_saved_is_found_before_the_application_is_stopped(
    tmp_path: Path, job: str, message: str, made: int
) -> None:
    crash = Crash(after=20.0, exit_code=1, message=message)
    rig = await born(tmp_path, world(job, crash=crash))
    await order(rig)
    await approved(rig)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert writes(rig) == ALL[:made], run.result
    assert (await replicas(rig), "before" in await databases(rig)) == (3, False)
    assert message in rig.notebook.text
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_promise_6_an_exchange_that_is_answered_and_not_so_is_told_and_the_application_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby that never had it took over right after the answer."""
    rig = await born(tmp_path)
    asked = list[str]()

    async def forgotten(*_: Any) -> None:
        asked.append("rename")

    monkeypatch.setattr(SimCopies, "rename", forgotten)
    await order(rig)
    await approved(rig)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert run.state is not RunState.FIXED
    assert "the server answered that the names are exchanged, and they are not" in run.result
    assert asked == ["rename"]
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert await replicas(rig) == 3
    await rig.close()
