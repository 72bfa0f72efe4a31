"""Labels that name somebody else's app beside the workload: whoever is asked reads that, for each step that is asked about."""

from __future__ import annotations

from pathlib import Path

from app.domain.outcome import RunState
from app.sim.scenario import Scenario
from tests.crash.worlds import flood
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, says_yes, the_run, writes

TOLD = 'a label names Deployment langgraph-api, and label "service" billing'


def _named_beside(base: Scenario) -> Scenario:
    alerts = tuple(
        rule.model_copy(update={"labels": {**rule.labels, "service": "billing"}}) for rule in base.alerts
    )
    front = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "billing", "namespace": "rag7"}, "spec": {"selector": {"app": "billing"}, "ports": [{"port": 80}]}}  # fmt: skip
    return base.model_copy(update={"alerts": alerts, "objects": (*base.objects, front)})


async def _asked(rig: Rig, step: int) -> None:
    async def waits() -> bool:
        return any((r.state, r.step_index) == (RunState.WAITING, step) for r in await all_runs(rig))

    await rig.until(waits, 1_800)


async def test_c_a_question_says_that_the_labels_name_another_service(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(), world=_named_beside(flood()))
    await _asked(rig, 0)
    await rig.run(5)
    (text,) = rig.notebook.parents.values()
    assert f"Asks because of: approval: {TOLD}" in text
    assert "nobody approved yet" not in text
    await rig.close()


async def test_c_who_approved_one_step_on_a_doubtful_target_has_not_approved_the_next(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(), world=_named_beside(flood()))
    await _asked(rig, 0)
    await says_yes(rig)
    await _asked(rig, 1)
    await rig.run(60)
    assert writes(rig) == ["patch langgraph-api"]
    assert TOLD in (await the_run(rig)).step.asks
    await rig.close()
