"""Targets in flight: of plans that may not all be carried out at once, as many begin as may, and the others wait their turn."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Mode
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.policy.model import Approval, Policy
from app.store import facts
from app.store.runs import Run
from tests.orders import Order
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, writes

SLOW = 0.2  # seconds that the API server takes for one read


def _limited(limit: int, mode: Mode) -> Policy:
    found = policy(mode=mode, approval=Approval(order_counts=False))
    radius = found.defaults.blast_radius.model_copy(update={"targets_in_flight": limit})
    rules = tuple(rule.model_copy(update={"blast_radius": radius}) for rule in found.rules)
    defaults = found.defaults.model_copy(update={"blast_radius": radius})
    return found.model_copy(update={"defaults": defaults, "rules": rules})


async def _asked(path: Path, limit: int, names: str) -> Rig:
    """One plan for each of the named Deployments waits for its answer."""
    rig = await born(path, rules=_limited(limit, Mode.APPROVE))
    for name in names:
        spec = json.dumps(dict(_deployment(rig))["spec"]).replace('"langgraph"', f'"{name}"')
        about = {"name": name, "namespace": "rag7", "labels": {"app": name}}
        rig.cluster.create(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": json.loads(spec)}
        )
    await rig.run(60, alerts=False)
    for name in names:
        order = Order(f"rag7/Deployment/{name}", {"replicas": 4})
        await rig.store.ingest(order.delivery("scale", rig.clock, key=name))
    await rig.run(20, alerts=False)
    return rig


def _deployment(rig: Rig) -> Any:
    return rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")


def _slow_reads(rig: Rig) -> None:
    """Between two looks of one run all others have theirs."""
    real = rig.cluster.get

    async def get(*args: Any) -> Any:
        await rig.clock.sleep(SLOW)
        return await real(*args)

    vars(rig.cluster)["get"] = get


async def _approve_all(rig: Rig) -> list[Run]:
    found = await all_runs(rig)
    for run in found:
        await rig.operations.approve(run.id, "ann", run.plan_hash)
    return found


@pytest.mark.parametrize(("limit", "names"), [(1, "ab"), (3, "abcdef")])
async def test_promise_3_of_plans_approved_at_once_the_first_begin_and_the_others_wait_for_a_place(
    tmp_path: Path, limit: int, names: str
) -> None:
    rig = await _asked(tmp_path, limit, names)
    _slow_reads(rig)
    await _approve_all(rig)
    most = 0
    for _ in range(20):
        await rig.step(1.0, alerts=False)
        most = max(most, await rig.store.read(lambda conn: facts.in_flight(conn, excluding="")))
    assert (most, len(writes(rig))) == (limit, limit)
    waiting = [run for run in await all_runs(rig) if run.state is RunState.WAITING]
    assert len(waiting) == len(names) - limit
    assert waiting[0].waits_for.startswith(f"a place: {limit} target"), waiting[0].waits_for
    await rig.run(300, alerts=False)
    assert Counter(run.state for run in await all_runs(rig)) == {RunState.FIXED: len(names)}
    assert writes(rig) == [f"patch {name}" for name in names]
    await rig.close()


async def test_promise_3_runs_at_work_that_are_more_than_may_be_leave_their_places_to_the_first(
    tmp_path: Path,
) -> None:
    """The policy allows fewer between the yes and the check right before the write: not all of them go away."""
    rig = await _asked(tmp_path, 6, "abc")
    _slow_reads(rig)
    plans = await _approve_all(rig)

    async def at_work() -> bool:
        return await rig.store.read(lambda conn: facts.in_flight(conn, excluding="")) == 3

    for _ in range(20):
        await rig.step(SLOW / 10, alerts=False)
        if await at_work():
            break
    assert (await at_work(), writes(rig)) == (True, [])
    rig.policy = _limited(1, Mode.APPROVE)
    await rig.run(60, alerts=False)
    states = {run.id: run.state for run in await all_runs(rig)}
    assert writes(rig)[:1] == ["patch a"]
    assert states[plans[0].id] is not RunState.ABANDONED
    assert [states[plan.id] for plan in plans[1:]] == [RunState.ABANDONED] * 2
    await rig.close()


async def test_an_undo_that_only_waits_takes_no_place(tmp_path: Path) -> None:
    """As many of them as there are places, each behind a pause of its own target: another target is acted on all the same."""
    rig = await _asked(tmp_path, 2, "ab")
    for run in await all_runs(rig):
        await rig.operations.approve(run.id, "ann", run.plan_hash)
    await rig.run(180, alerts=False)
    done = await all_runs(rig)
    for run in done:
        await rig.operations.undo(run.id, "ana")
        await rig.operations.pause(f"target:{run.target_key}", "a migration", "zoe", None)
    await rig.run(30, alerts=False)
    assert [run.state for run in await all_runs(rig)] == [RunState.UNDOING] * 2
    assert await rig.store.read(lambda conn: facts.in_flight(conn, excluding="")) == 0
    await rig.store.ingest(
        Order("rag7/Deployment/langgraph", {"replicas": 4}).delivery("scale", rig.clock, key="third")
    )
    await rig.run(20, alerts=False)
    third = (await all_runs(rig))[-1]
    await rig.operations.approve(third.id, "ann", third.plan_hash)
    await rig.run(30, alerts=False)
    assert writes(rig) == ["patch a", "patch b", "patch langgraph"]
    await rig.operations.resume(f"target:{done[0].target_key}", "zoe")
    await rig.run(30, alerts=False)
    assert writes(rig)[3:] == ["patch a (undo)"]
    await rig.close()
