"""Promise 10: no write under a hold on anything that it writes, whatever the run's own target is: the server behind a database, the Secret
of a key, the autoscaler. And promise 2: what is written is one run's at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.domain.cluster import OPT
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.sim import load_scenario
from app.sim.scenario import Scenario
from tests.crash.cases import Case, cases
from tests.crash.worlds import autoscaled, leaking
from tests.scenario.moments import after_the_first
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs

Hold = Callable[[Rig], Awaitable[None]]
SERVER = "rag7/StatefulSet/postgres"
CASES = {str(case): case for case in cases()}


@cache
def _beside() -> Scenario:
    """The alert names the application, and the sessions that idle are at a server of its own."""
    base = load_scenario("database-connections")
    (alert,) = base.alerts
    labels = {"severity": "critical", "deployment": "langgraph-ingest", "team": "rag"}
    named = alert.model_copy(update={"labels": labels})
    return base.model_copy(update={"objects": leaking().objects, "alerts": (named,)})


ENDING = replace(CASES["database-connections/terminate-idle-in-transaction"], world=_beside)
RESTORING = CASES["database-restore/restore"]
ROTATING = CASES["api-rate-limits/rotate-key"]


def mark(rig: Rig, kind: Kind, name: str, namespace: str = "rag7") -> None:
    found = rig.cluster.peek(kind, namespace, name)
    assert found is not None
    marks = {**(found["metadata"].get("annotations") or {}), OPT: "false"}
    rig.cluster.edit(kind, namespace, name, [{"op": "add", "path": "/metadata/annotations", "value": marks}])


async def pause_the_server(rig: Rig) -> None:
    await rig.operations.pause(f"target:{SERVER}", "failover under way", "kim", None)


async def mark_the_server(rig: Rig) -> None:
    mark(rig, Kind.STATEFUL_SET, "postgres")


async def mark_the_secret(rig: Rig) -> None:
    mark(rig, Kind.SECRET, "langgraph-api-keys")


async def mark_the_autoscaler(rig: Rig) -> None:
    mark(rig, Kind.HPA, "langgraph-api")


def wrote(rig: Rig) -> list[str]:
    return [f"{m.verb} {m.kind}" for m in rig.cluster.mutations if not m.dry_run and m.kind is not Kind.EVENT]


async def _born(path: Path, case: Case) -> Rig:
    return await case.rig(path / "rig.sqlite").born()


async def _lives(rig: Rig, case: Case, rounds: int, until: Callable[[], bool] = lambda: False) -> None:
    for _ in range(rounds):
        await case.hand(rig)
        await rig.step(15.0)
        if until():
            return


GROWING = Case("high-latency", "scale-out", autoscaled)


@pytest.mark.parametrize(
    ("case", "hold"),
    [
        (ENDING, pause_the_server),
        (ENDING, mark_the_server),
        (RESTORING, pause_the_server),
        (RESTORING, mark_the_server),
        (CASES["database-vacuum/vacuum"], pause_the_server),
        (CASES["database-backup/back-up"], pause_the_server),
        (ROTATING, mark_the_secret),
        (GROWING, mark_the_autoscaler),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_promise_10_a_hold_on_what_is_written_holds_the_write_for_whatever_target(
    tmp_path: Path, case: Case, hold: Hold
) -> None:
    free = await _born(tmp_path, case)
    await _lives(free, case, 20, lambda: bool(wrote(free)))
    assert wrote(free)
    await free.close()
    (tmp_path / "held").mkdir()
    rig = await _born(tmp_path / "held", case)
    await hold(rig)
    await _lives(rig, case, 20)
    assert wrote(rig) == []
    await rig.close()


async def test_promise_10_a_hold_that_begins_in_a_restore_keeps_the_names_and_starts_the_application_again(
    tmp_path: Path,
) -> None:
    rig = await _born(tmp_path, RESTORING)
    await _lives(rig, RESTORING, 40, lambda: "patch Deployment" in wrote(rig))
    await pause_the_server(rig)
    await _lives(rig, RESTORING, 40)
    (run,) = await all_runs(rig)
    assert run.state is RunState.ABANDONED
    assert not any(write.startswith("rename") for write in wrote(rig))
    found = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph-threads")
    assert found is not None
    assert found["spec"]["replicas"] == 3
    await rig.close()


@pytest.mark.parametrize("hold", [pause_the_server, mark_the_server])
async def test_promise_10_an_undo_of_a_restore_stops_no_application_under_a_hold_on_its_server(
    tmp_path: Path, hold: Hold
) -> None:
    rig = await _born(tmp_path, RESTORING)
    await _lives(rig, RESTORING, 60, lambda: any(write.startswith("rename") for write in wrote(rig)))
    await _lives(rig, RESTORING, 20)
    (run,) = await all_runs(rig)
    assert run.state is RunState.FIXED
    before = wrote(rig)
    await hold(rig)
    with pytest.raises(Refused):
        await rig.operations.undo(run.id, "ana")
    await _lives(rig, RESTORING, 10)
    assert wrote(rig) == before
    await rig.close()


async def test_promise_10_an_undo_writes_no_secret_that_its_owners_keep(tmp_path: Path) -> None:
    rig = await _born(tmp_path, ROTATING)
    await _lives(rig, ROTATING, 60)
    (run,) = await all_runs(rig)
    assert run.state is RunState.CONTAINED
    before = wrote(rig)
    await mark_the_secret(rig)
    with pytest.raises(Refused) as refused:
        await rig.operations.undo(run.id, "ana")
    assert "Secret langgraph-api-keys" in str(refused.value)
    await _lives(rig, ROTATING, 10)
    assert wrote(rig) == before
    await rig.close()


async def test_promise_5_a_pause_of_the_server_right_before_the_statement_stops_it(tmp_path: Path) -> None:
    rig = await _born(tmp_path, ENDING)

    async def pause() -> Any:
        await pause_the_server(rig)

    watched = after_the_first(rig, EventKind.ACTION_INTENDED, pause)
    await _lives(rig, ENDING, 20)
    assert watched.done
    assert wrote(rig) == []
    (run, *_) = await all_runs(rig)
    assert run.state is RunState.ABANDONED
    await rig.close()
