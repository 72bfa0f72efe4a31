"""Vacuuming from the order to the end: begun table by table, found again, told while it goes on, and refused where it frees nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.sim.databases import DatabaseClients
from app.sim.faults import Fault, FaultKind
from app.sim.scenario import Scenario
from app.sim.tables import TableSpec
from app.web.views import run_summary
from tests.births import scenario_of
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, the_run, trail, writes

TARGET = "rag7/StatefulSet/postgres"
ALL = ["vacuum checkpoint_writes", "vacuum checkpoint_blobs", "vacuum checkpoints", "vacuum store"]


def _world(**of_server: Any) -> Scenario:
    base = scenario_of("database-vacuum")
    (server,) = base.databases
    return base.model_copy(update={"databases": (server.model_copy(update=of_server),)})


async def _ordered(path: Path, world: Scenario | None = None, **params: Any) -> Rig:
    rig = await Rig(path / "rig.sqlite", world=world or _world(), stride=1.0).born()
    order = ManualRequest("database-vacuum", TARGET, params, "queries are slow", "kim", may_approve=True)
    await rig.store.ingest(
        Delivery(Source.MANUAL, rig.clock.now(), "kim", dedupe_key="", body_digest="1", manual=order)
    )
    return rig


async def _rests(rig: Rig) -> bool:
    found = await all_runs(rig)
    return bool(found) and found[-1].state.ended


async def test_all_tables_are_vacuumed_and_people_see_how_far_it_is(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path)
    heard: set[str] = set()

    async def over() -> bool:
        found = await all_runs(rig)
        heard.update(run_summary(run).progress for run in found)
        heard.update(rig.notebook.parents.values())
        return await _rests(rig)

    await rig.until(over)
    assert writes(rig) == ALL
    assert (await the_run(rig)).state is RunState.FIXED
    assert any(
        text.startswith("0 of 4 tables vacuumed; checkpoint_writes: scanning heap, ") for text in heard
    )
    assert any("So far: " in text for text in heard)
    (done,) = await trail(rig, EventKind.ACTION_ENDED)
    assert "4 of 4 tables vacuumed" in done.data["text"]
    text = rig.notebook.text
    assert "931,000 of 2,590,200 rows are dead (36 %)" in text
    assert "4 of 4 tables vacuumed, 0 dead rows left in them" in text
    await rig.close()


async def test_promise_2_a_death_while_it_runs_begins_no_second_one(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path)
    await rig.until(lambda: len(writes(rig)) == 1)
    await rig.die()
    await rig.born()
    await rig.until(lambda: _rests(rig))
    assert writes(rig) == ALL
    assert (await the_run(rig)).state is RunState.FIXED
    await rig.close()


async def test_promise_10_a_pause_lets_the_present_table_end_and_begins_no_other(tmp_path: Path) -> None:
    rig = await _ordered(tmp_path)
    await rig.until(lambda: len(writes(rig)) == 1)
    await rig.operations.pause("all", "hands off", "kim", None)
    await rig.until(lambda: _rests(rig))
    assert writes(rig) == ALL[:1]
    run = await the_run(rig)
    assert run.state is RunState.ABANDONED
    (done,) = await trail(rig, EventKind.ACTION_ENDED)
    assert "done until then, and it stays: " in done.data["text"]
    await rig.close()


@pytest.mark.parametrize("effect", [FaultKind.LOST_AFTER, FaultKind.LOST_BEFORE])
async def test_promise_2_a_lost_answer_is_settled_by_looking(tmp_path: Path, effect: FaultKind) -> None:
    rig = await _ordered(tmp_path)
    rig.cluster.faults.add(Fault(effect, verb="vacuum"))
    await rig.until(lambda: _rests(rig))
    assert writes(rig) == ALL
    await rig.close()


async def test_a_vacuum_that_fails_ends_it_with_what_was_done(tmp_path: Path) -> None:
    tables = (
        TableSpec(name="a", rows=10, dead=20),
        TableSpec(name="b", rows=10, dead=10, seconds=1, fails="its lock was not free within 5 s"),
    )
    rig = await _ordered(tmp_path, _world(tables=tables))
    await rig.until(lambda: _rests(rig))
    assert writes(rig) == ["vacuum a", "vacuum b"]
    run = await the_run(rig)
    assert run.state is RunState.NOT_FIXED, "one of two is no fix"
    (done,) = await trail(rig, EventKind.ACTION_ENDED)
    assert "1 of 2 tables vacuumed; not b: its lock was not free within 5 s" in done.data["text"]
    await rig.close()


async def test_only_tables_that_are_full_enough_and_free_are_vacuumed(tmp_path: Path) -> None:
    tables = (
        TableSpec(name="full", rows=10, dead=20),
        TableSpec(name="busy", rows=10, dead=20, busy=600),
        TableSpec(name="clean", rows=10),
        TableSpec(name="foreign", rows=10, dead=20, allowed=False),
    )
    rig = await _ordered(tmp_path, _world(tables=tables), dead=0.5)
    await rig.until(lambda: _rests(rig))
    assert writes(rig) == ["vacuum full"]
    text = rig.notebook.text
    assert "left out, as the login may not vacuum them: foreign" in text
    assert "busy is vacuumed just now by autovacuum" in text
    await rig.close()


@pytest.mark.parametrize(
    ("of_server", "words"),
    [
        (
            {"clients": (DatabaseClients(application="report", state="idle in transaction", since=1_500),)},
            "report (langgraph, pid 1001, idle in transaction) has held its transaction for 25m",
        ),
        ({"tables": (TableSpec(name="a", busy=900, dead=9),)}, "each of them is vacuumed just now"),
        ({"tables": (TableSpec(name="a", allowed=False),)}, "the login may vacuum none of them"),
        ({"tables": ()}, "there is none"),
        ({"password": "another"}, "could not be looked at, which says nothing of it"),
    ],
)
async def test_where_it_would_free_nothing_it_is_refused_in_words(
    tmp_path: Path, of_server: dict[str, Any], words: str
) -> None:
    rig = await _ordered(tmp_path, _world(**of_server))
    await rig.run(60)
    assert writes(rig) == []
    assert words in rig.notebook.text
    await rig.close()
