"""Rollbacks beside a restart, on the simulated cluster: a restart is the same version, and its pods are others."""

from __future__ import annotations

from app.domain.plan import Action
from app.kube.actions.roll_back import roll_back, roll_back_to
from app.kube.known_good import pods_by_template
from app.kube.read import read_pods, read_workload, revisions
from remediations.evidence.rollouts import RollbackParams, rollback_step
from tests.unit.remediations.test_right_version import NAME, PASTS, Past, image, restart, stage_of_past


async def test_a_rollback_to_a_restarted_version_leaves_the_pods_of_that_restart() -> None:
    """The template without its restart is another ReplicaSet's: all three would be replaced."""
    past = next(p for p in PASTS if p.name == "a restart between")
    stage = await stage_of_past(past)
    workload = await read_workload(stage.cluster, stage.target)
    before = {p.name for p in await read_pods(stage.cluster, workload) if p.ready}
    step = (await stage.look())[1]["roll-back"]
    template = step.actions[0].changes[0].after
    stage.edit(past.kind, NAME, {"op": "replace", "path": "/spec/template", "value": template})
    stage.clock.advance(60)
    workload = await read_workload(stage.cluster, stage.target)
    assert {p.name for p in await read_pods(stage.cluster, workload)} == before
    assert len(before) == 3


async def test_pods_from_before_a_restart_of_the_goal_are_replaced_too() -> None:
    """v2 was restarted a minute before v3 came, and half way: what most pods are of is gone back to, and the rest is at risk."""
    past = Past(
        "half",
        ((27.0, image("v2")), (2.0, restart("2026-03-04T02:00:00Z")), (1.7, image("v3"))),
        "v2",
        slow=("v2",),
    )
    stage = await stage_of_past(past)
    workload = await read_workload(stage.cluster, stage.target)
    found = await revisions(stage.cluster, workload)
    pods = await read_pods(stage.cluster, workload)
    made = pods_by_template(workload, found, pods, stage.clock.now())
    by_number = {r.number: made.alive.get(r.name, 0) for r in found}
    assert (by_number[2], by_number[3] + by_number[4]) == (3, 1)
    action = roll_back(workload, found, pods=made)
    assert isinstance(action, Action)
    assert (action.params["to_revision"], action.pods_affected) == (2, 1)
    ordered = roll_back_to(workload, found, 3, made)
    assert isinstance(ordered, Action)
    assert ordered.pods_affected == 3


async def test_a_restart_half_way_is_no_doubt_where_pods_start_and_fail_otherwise() -> None:
    past = Past(
        "restarted",
        ((300.0, image("v2")), (2.0, restart("2026-03-04T02:00:00Z"))),
        "v1.4.2",
        slow=("v2",),
        broken=(),
    )
    scene = await (await stage_of_past(past)).scene()
    step = await rollback_step("roll-back", "why", scene, RollbackParams(), starts=False)
    assert step.applies
    assert step.asks == ""
    assert (
        "from before its restart"
        in (await rollback_step("roll-back", "why", scene, RollbackParams(), starts=True)).asks
    )
