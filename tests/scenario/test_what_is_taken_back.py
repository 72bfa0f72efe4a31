"""What an undo takes back, and what it leaves: by its cause, by who is at work, and by what would be lost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import Refused
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.load import load_policy
from app.policy.model import Otherwise, Temporary
from app.sim import load_scenario
from app.sim.behaviour import Behaviour
from app.sim.scenario import Scenario
from remediations import CATALOGUE
from tests.births import scenario_of
from tests.orders import ORDERS, POSTGRES
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_runs, body, policy, says_yes, the_incident, the_run, writes
from tests.scenario.test_database_restore import ALL, RULE, replicas
from tests.scenario.test_database_restore import writes as restoring

FULL = "{time} ERROR langgraph.server [{request}] Saturated: request queue is full, answered 503"


def _both_steps_needed() -> Scenario:
    """A broken release before one that is too small for the load."""
    base = scenario_of("high-error-rate")

    def saturated(one: Behaviour) -> Behaviour:
        lines = tuple(line.model_copy(update={"line": FULL}) for line in one.error_lines)
        return one.model_copy(update={"latency": 3.0, "error_ratio": 0.2, "error_lines": lines})

    changed = tuple(saturated(b) if "v1.4" in b.name else b for b in base.behaviours)
    return base.model_copy(update={"behaviours": changed, "alerts": ()})


def _stands(rig: Rig) -> tuple[int, str]:
    manifest: Any = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    image = manifest["spec"]["template"]["spec"]["containers"][0]["image"]
    return manifest["spec"]["replicas"], image.rpartition(":")[2]


async def _rolled_back_and_scaled_up(path: Path) -> Rig:
    world = _both_steps_needed()
    rig = Rig(path / "rig.sqlite", world=world, use_api=False)
    steps = (Otherwise.NEXT, Otherwise.UNDO, Otherwise.ESCALATE)
    rig.policy = policy(temporary=Temporary(revert_after=timedelta(minutes=15)), otherwise=steps)
    await rig.born()
    fires = alert(rig, started=60)
    assert _stands(rig) == (3, "v1.5.0")
    for _ in range(30):
        await rig.send(body(fires))
        await rig.run(60, alerts=False)
        await says_yes(rig)
        if _stands(rig)[0] == 5:
            break
    for one in world.behaviours:  # five pods carry the load
        if "v1.4" in one.name:
            object.__setattr__(one, "error_ratio", 0.0)
            object.__setattr__(one, "latency", 0.1)
    await rig.send(body({**fires, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(240, alerts=False)
    assert (await the_run(rig)).state is RunState.CONTAINED
    assert _stands(rig) == (5, "v1.4.2")
    return rig


async def test_the_end_of_a_temporary_change_takes_back_sizes_and_leaves_the_rollback(tmp_path: Path) -> None:
    rig = await _rolled_back_and_scaled_up(tmp_path)
    await rig.run(1200, alerts=False)
    run = await the_run(rig)
    assert (run.state, run.result) == (RunState.REVERTED, "1 undone")
    assert _stands(rig) == (3, "v1.4.2")
    # What is left of the run can still be taken back, by a person's word.
    await rig.operations.undo(run.id, "uma")
    await rig.run(60, alerts=False)
    assert (await the_run(rig)).state is RunState.UNDONE
    assert _stands(rig) == (3, "v1.5.0")
    assert writes(rig) == ["patch langgraph"] * 2 + ["patch langgraph (undo)"] * 2
    with pytest.raises(Refused) as again:
        await rig.operations.undo(run.id, "uma")
    assert again.value.code == "already_undone"
    await rig.close()


async def _restored(path: Path, rule: str = RULE) -> Rig:
    """A restore that has succeeded, beside checkpoints that can be cleaned in the same database."""
    base, other = load_scenario("database-restore"), load_scenario("clean-checkpoints")
    both = base.databases[0].model_copy(update={"langgraph": other.databases[0].langgraph})
    rig = Rig(path / "rig.sqlite", world=base.model_copy(update={"databases": (both,)}))
    rig.policy = load_policy({"rag7.yaml": rule}, CATALOGUE)
    await rig.born()
    await rig.run(20)
    order = ORDERS["database-restore"]
    await rig.store.ingest(order.delivery("database-restore", rig.clock))
    await rig.run(20)
    run = await the_run(rig)
    for who in ("ann", "ben"):
        await rig.operations.approve(run.id, who, run.plan_hash)

    async def ended() -> bool:
        return (await the_run(rig)).state.ended

    await rig.until(ended)
    assert (await the_run(rig)).state is RunState.FIXED
    return rig


CLEANS = """
  - name: cleans
    remediation: clean-checkpoints
    mode: approve
    params: {service: postgres, database: langgraph_checkpoints}
"""


async def test_an_undo_is_not_taken_while_another_run_is_at_work_on_its_database(tmp_path: Path) -> None:
    """Through another target, and whether or not whoever orders it knows what else holds it."""
    rig = await _restored(tmp_path, RULE.rstrip() + CLEANS)
    restore = await the_run(rig)
    order = ORDERS["clean-checkpoints"]
    await rig.store.ingest(order.delivery("clean-checkpoints", rig.clock, key="2"))
    await rig.run(20)
    cleans = (await all_runs(rig))[-1]
    assert (cleans.target_key, cleans.state) == (POSTGRES, RunState.WAITING)
    await rig.operations.approve(cleans.id, "ann", cleans.plan_hash)
    await rig.step(0.1)
    assert (await all_runs(rig))[-1].state is RunState.ACTING
    for despite in (False, True):
        with pytest.raises(Refused) as busy:
            await rig.operations.undo(restore.id, "uma", despite=despite)
        assert (busy.value.code, busy.value.where) == ("target_busy", cleans.id)
    await rig.run(120)
    assert (await all_runs(rig))[-1].state.ended
    await rig.operations.undo(restore.id, "uma", despite=True)
    await rig.close()


async def test_an_undo_that_loses_rows_is_left_to_a_person_when_the_alert_fires_on(tmp_path: Path) -> None:
    """The rule says `undo`. Nothing was measured of what the order was for, and the application has written to the restored copy since."""
    rule = (
        RULE.rstrip()
        + """
    when: alertname="Own"
    target: {kind: Deployment, name: {default: langgraph-threads}, namespace: {default: rag7}, on_default: act}
    verify: {settle: 30s, timeout: 5m}
    otherwise: [next, undo, escalate]
"""
    )
    rig = Rig(tmp_path / "rig.sqlite", world=load_scenario("database-restore"), use_api=False, stride=15.0)
    rig.policy = load_policy({"rag7.yaml": rule}, CATALOGUE)
    await rig.born()
    fires = alert(rig, alertname="Own", deployment="", started=30)
    await rig.send(body(fires))
    await rig.run(40, alerts=False)
    run = await the_run(rig)
    for who in ("ann", "ben"):
        await rig.operations.approve(run.id, who, run.plan_hash)
    for _ in range(20):
        await rig.send(body(fires))
        await rig.run(60, alerts=False)
        if (await the_run(rig)).state.ended:
            break
    run = await the_run(rig)
    assert (run.state, restoring(rig), await replicas(rig)) == (RunState.INCONCLUSIVE, ALL, 3), run.result
    assert (
        f"remediator undo {run.id} --despite (what was written to langgraph_checkpoints since" in run.result
    )
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert f"remediator undo {run.id} --despite" in rig.notebook.text
    await rig.close()
