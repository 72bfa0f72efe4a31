"""Promise 5, looked again before touched: what was approved, ordered or due at a time is not carried out long after it.

The process is away between somebody's word and the first write, for whatever reason; what happened meanwhile nobody knew who said yes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.outcome import RunState
from app.flow.upkeep import schedules
from app.policy.load import load_policy
from app.sim.faults import Fault, FaultKind
from remediations import CATALOGUE
from tests.orders import orders_world
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_run
from tests.scenario.test_schedules import nightly, replicas

MINUTE = 60.0


async def _rig(path: Path, mode: str, more: str = "") -> Rig:
    rig = Rig(path / "rig.sqlite", world=orders_world(), stride=15.0)
    target = "target: {kind: Deployment, name: {default: langgraph}, namespace: {default: rag7}}"
    rule = f"  - {{name: sizes, remediation: scale, mode: {mode}, params: {{replicas: 5}}, {target}{more}}}"
    rig.policy = load_policy(
        {"a.yaml": f"version: 1\nscope: {{namespaces: [rag7]}}\nrules:\n{rule}\n"}, CATALOGUE
    )
    return await rig.born()


async def _ordered(rig: Rig, *, may_approve: bool = False) -> None:
    wish = ManualRequest(
        "scale", "rag7/Deployment/langgraph", {"replicas": 5}, "more", "kim", may_approve=may_approve
    )
    delivery = Delivery(
        Source.MANUAL, rig.clock.now(), "kim", dedupe_key="once", body_digest="d", manual=wish
    )
    await rig.store.ingest(delivery)


async def _away(rig: Rig, minutes: float) -> None:
    """It dies, and comes back so much later."""
    await rig.die()
    rig.clock.advance(minutes * MINUTE)
    rig.cluster.faults.waiting.clear()
    await rig.born()
    await rig.run(600)


@pytest.mark.parametrize("acting", [False, True], ids=["approved", "at its first action"])
@pytest.mark.parametrize(
    ("minutes", "state", "size"),
    [(20, RunState.FIXED, 5), (31, RunState.EXPIRED, 3), (360, RunState.EXPIRED, 3)],
)
async def test_an_approved_plan_that_was_not_begun_before_its_expiry_has_to_be_asked_anew(
    tmp_path: Path, minutes: float, state: RunState, size: int, acting: bool
) -> None:
    rig = await _rig(tmp_path, "approve")
    await _ordered(rig)
    await rig.run(20)
    run = await the_run(rig)
    assert run.state is RunState.WAITING
    if acting:
        rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="get", times=99))
    await rig.operations.approve(run.id, "ann", run.plan_hash)
    if acting:
        await rig.step(1)
        assert (await the_run(rig)).state is RunState.ACTING
    await _away(rig, minutes)
    run = await the_run(rig)
    assert (run.state, replicas(rig)) == (state, size), run.result
    if state is RunState.EXPIRED:
        assert "expired" in rig.notebook.text
    await rig.close()


@pytest.mark.parametrize(("mode", "may_approve"), [("auto", False), ("approve", True)])
@pytest.mark.parametrize(
    ("minutes", "state", "size"),
    [(20, RunState.FIXED, 5), (31, RunState.WAITING, 3), (4_320, RunState.WAITING, 3)],
)
async def test_an_order_is_no_approval_of_what_is_begun_long_after_it(  # the table's columns
    tmp_path: Path, mode: str, may_approve: bool, minutes: float, state: RunState, size: int
) -> None:
    """It holds as long as an approval would; later people are asked, also where the rule acts by itself."""
    rig = await _rig(tmp_path, mode)
    await _ordered(rig, may_approve=may_approve)
    await _away(rig, minutes)
    run = await the_run(rig)
    assert (run.state, replicas(rig)) == (state, size), run.result
    if state is RunState.WAITING:
        assert "ago, and nobody approved since" in rig.notebook.text
        await rig.operations.approve(run.id, "ann", run.plan_hash)
        await rig.run(600)
        assert replicas(rig) == 5
    await rig.close()


@pytest.mark.parametrize(
    ("missed", "minutes", "size"),
    [("skip", 4, 5), ("skip", 12, 3), ("once, late: 1h", 50, 5), ("once, late: 1h", 70, 3), ("skip", 720, 3)],
)
async def test_an_order_of_the_clock_that_was_stored_in_time_is_not_begun_too_late(
    tmp_path: Path, missed: str, minutes: float, size: int
) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world(), stride=15.0).born()
    rig.policy = nightly(missed=missed)
    await schedules.fire_due(rig.services)
    rig.clock.advance(30 * MINUTE + 2)
    assert await schedules.fire_due(rig.services) == 1
    await _away(rig, minutes)
    assert replicas(rig) == size
    if size == 3:
        assert "begun at most" in rig.notebook.text
    await rig.close()
