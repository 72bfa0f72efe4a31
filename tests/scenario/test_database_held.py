"""Promise 2: a database that a restore works on is held like a target, however the other order spells its address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.decision import Code
from app.domain.outcome import RunState
from app.policy.load import load_policy
from remediations import CATALOGUE
from tests.births import scenario_of
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, decision
from tests.scenario.test_database_restore import RULE, approved, order, world


@pytest.mark.parametrize("params", [{}, {"service": "postgres"}, {"host": "postgres.rag7.svc.cluster.local"}])
async def test_promise_2_nothing_is_removed_from_a_database_that_is_being_restored(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    """An address in a Secret's URL alone may be the same database."""
    langgraph = scenario_of("clean-checkpoints").databases[0].langgraph
    restoring = world()
    (server,) = restoring.databases
    both = restoring.model_copy(update={"databases": (server.model_copy(update={"langgraph": langgraph}),)})
    rig = Rig(tmp_path / "rig.sqlite", world=both)
    written = (
        RULE.rstrip()
        + f"\n  - {{name: clean, remediation: clean-checkpoints, mode: approve, params: {params}}}\n"
    )
    rig.policy = load_policy({"rag7.yaml": written}, CATALOGUE)
    await rig.born()
    await rig.run(20)
    await order(rig)
    await approved(rig)
    for _ in range(10):
        await rig.step(1.0)
    (restore,) = await all_runs(rig)
    assert restore.state is RunState.ACTING
    cleaning = ManualRequest("clean-checkpoints", "rag7/StatefulSet/postgres", {}, "as agreed", "kim")
    told = await rig.store.ingest(
        Delivery(Source.MANUAL, rig.clock.now(), "kim", dedupe_key="2", body_digest="2", manual=cleaning)
    )
    await rig.run(10)
    assert (await decision(rig, told.incident_ids[0])).code is Code.TARGET_BUSY
    await rig.close()
