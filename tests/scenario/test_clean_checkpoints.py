"""Cleaning old checkpoints from the order to the end: counted, approved, removed page by page with progress, counted again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.flow.running.progress import so_far
from app.flow.upkeep.views import order_check
from app.sim.checkpoints import LangGraph, Threads
from app.sim.faults import Fault, FaultKind
from app.sim.scenario import Scenario
from app.web.views import run_summary
from tests.births import scenario_of
from tests.scenario.moments import after_the_first
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, decision, the_incident, the_run, trail, writes

TARGET = "rag7/StatefulSet/postgres"


def _world(langgraph: LangGraph | None) -> Scenario:
    base = scenario_of("clean-checkpoints")
    (server,) = base.databases
    return base.model_copy(update={"databases": (server.model_copy(update={"langgraph": langgraph}),)})


async def _ordered(path: Path, world: Scenario | None = None) -> Rig:
    rig = await Rig(path / "rig.sqlite", world=world or scenario_of("clean-checkpoints"), stride=1.0).born()
    order = ManualRequest("clean-checkpoints", TARGET, {}, "the disk fills up", "kim", may_approve=True)
    await rig.store.ingest(
        Delivery(Source.MANUAL, rig.clock.now(), "kim", dedupe_key="", body_digest="1", manual=order)
    )
    return rig


async def _approved(rig: Rig) -> None:
    await rig.until(lambda: _is(rig, RunState.WAITING))
    run = await the_run(rig)
    await rig.operations.approve(run.id, "lee", run.plan_hash)


async def _is(rig: Rig, *states: RunState) -> bool:
    found = await all_runs(rig)
    return bool(found) and found[-1].state in states


async def _rests(rig: Rig) -> bool:
    found = await all_runs(rig)
    return bool(found) and found[-1].state.ended


async def test_they_are_removed_after_a_yes_and_people_see_how_far_it_is(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path)
    await _approved(rig)
    assert writes(rig) == []
    asked = rig.notebook.text
    assert "take a backup first" in asked
    assert "76 are older than 30 days" in asked
    await rig.until(lambda: _told(rig))
    run = await the_run(rig)
    assert run_summary(run).progress.startswith("80 checkpoints looked at, ")
    assert any("So far: 80 checkpoints looked at" in text for text in rig.notebook.parents.values())
    await rig.until(lambda: _rests(rig))
    assert len(writes(rig)) == 76
    run = await the_run(rig)
    assert (run.state, run_summary(run).progress) == (RunState.FIXED, "")
    assert (await the_incident(rig)).state is IncidentState.FIXED
    (done,) = await trail(rig, EventKind.ACTION_ENDED)
    assert "76 checkpoints (12.2 MiB)" in done.data["text"]
    assert "none of 42 checkpoints looked at was to go" in rig.notebook.text
    assert "nothing to undo: what is removed can only be restored from a backup" in rig.notebook.text
    await rig.close()


async def _told(rig: Rig) -> bool:
    found = await all_runs(rig)
    return bool(found) and bool(so_far(found[-1]).text)


async def test_promise_10_a_pause_between_two_calls_stops_it_and_says_what_was_done(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path)
    await _approved(rig)
    await rig.until(lambda: _told(rig))
    removed = len(writes(rig))
    await rig.operations.pause("all", "hands off", "kim", None)
    await rig.until(lambda: _rests(rig))
    run = await the_run(rig)
    assert 0 < removed == len(writes(rig)) < 76
    assert run.state is RunState.ABANDONED
    (done,) = await trail(rig, EventKind.ACTION_ENDED)
    assert "done until then, and it stays: 42 checkpoints" in done.data["text"]
    assert done.data["sent"] is True
    await rig.close()


async def test_promise_2_a_lost_answer_of_a_page_costs_a_second_look_at_it(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.LOST_AFTER, verb="remove"))
    rig.cluster.faults.add(Fault(FaultKind.LOST_BEFORE, verb="remove"))
    await _approved(rig)
    await rig.until(lambda: _rests(rig))
    assert (await the_run(rig)).state is RunState.FIXED
    assert len(writes(rig)) == 76
    await rig.close()


async def test_a_server_that_stops_answering_half_way_is_given_up_with_what_was_done(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path)
    await _approved(rig)
    await rig.until(lambda: _told(rig))
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="remove", times=1_000))
    await rig.until(lambda: _rests(rig))
    assert (await the_run(rig)).state is RunState.FAILED
    (done,) = await trail(rig, EventKind.ACTION_ENDED)
    assert "given up after 8 attempts" in done.data["text"]
    assert "done until then, and it stays: 42 checkpoints" in done.data["text"]
    await rig.close()


@pytest.mark.parametrize(
    ("langgraph", "words"),
    [
        (None, "the schema is not known"),
        (LangGraph(version=12), "found: migration 12"),
        (LangGraph(threads=(Threads(),)), "0 are older than 30 days"),
        (LangGraph(deletes=False, threads=(Threads(newest=9e6),)), "the login may not read and delete from"),
    ],
)
async def test_promise_4_what_is_not_known_or_not_allowed_is_refused_in_words(
    tmp_path: Path, langgraph: LangGraph | None, words: str
) -> None:
    rig = await _ordered(tmp_path, _world(langgraph))
    await rig.run(60)
    assert writes(rig) == []
    assert not any(run.step.actions for run in await all_runs(rig))
    assert words in (await decision(rig)).text + rig.notebook.text
    await rig.close()


async def test_promise_5_a_schema_that_moves_between_plan_and_write_stops_it(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path)
    await _approved_then(rig, lambda: _migrate(rig))
    await rig.until(lambda: _rests(rig))
    assert writes(rig) == []
    run = await the_run(rig)
    assert run.state is RunState.ABANDONED
    assert "migration 10" in run.result
    await rig.close()


async def _approved_then(rig: Rig, change: Callable[[], Awaitable[None]]) -> None:
    after_the_first(rig, EventKind.APPROVED, change)
    await _approved(rig)


async def _migrate(rig: Rig) -> None:
    rig.cluster.databases.migrate("postgres", 10)


@pytest.mark.parametrize(("name", "value"), [("days", 1), ("secret", "other"), ("host", "evil.example")])
async def test_an_order_cannot_make_more_old_or_send_the_login_elsewhere(
    tmp_path: Path, name: str, value: object
) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=scenario_of("clean-checkpoints")).born()
    with pytest.raises(BadInput) as refused:
        order_check(rig.services)(ManualRequest("clean-checkpoints", TARGET, {name: value}, "test", "kim"))  # type: ignore[dict-item]
    assert refused.value.code == "param_fixed"
    await rig.close()
