"""Promise 8: every alert ends in a decision, every decision shows all gates, and the audit trail alone explains it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.domain.decision import Code, Verdict
from app.policy.decide import GATES
from app.store.schema import metadata
from tests.scenario.scenes import (
    alert,
    all_incidents,
    body,
    born,
    decision,
    the_incident,
    the_run,
    writes,
)


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        pytest.param({"alertname": "NeverHeardOf"}, Code.NO_RULE, id="no rule"),
        pytest.param({"alertname": ""}, Code.NO_RULE, id="no name"),
        pytest.param({"deployment": "ghost"}, Code.TARGET_NOT_FOUND, id="no such target"),
        pytest.param({"namespace": "kube-system"}, Code.PROTECTED, id="protected, and never looked for"),
        pytest.param({"deployment": "redis"}, Code.PERSON_NEEDED, id="nothing to be done"),
    ],
)
async def test_an_alert_that_starts_nothing_ends_in_a_decision_that_says_why(
    tmp_path: Path, labels: dict[str, Any], code: Code
) -> None:
    """In the store, in the channel and in the trail."""
    rig = await born(tmp_path, use_api=False)
    await rig.send(body(alert(rig, **labels)))
    await rig.run(10, alerts=False)
    found = await decision(rig)
    assert found.code is code, found.text
    assert found.text
    assert found.text.split(":")[0] in rig.notebook.text
    explained = await rig.operations.explain((await the_incident(rig)).id)
    assert explained["decision"]
    assert writes(rig) == []
    await rig.close()


async def test_a_handler_that_breaks_ends_in_a_decision(tmp_path: Path) -> None:
    """Its defect is an unknown fact, not a lost alert."""
    rig = await born(tmp_path)
    handler: Any = rig.services.catalogue["high-error-rate"]

    class Broken(type(handler)):  # type: ignore[misc]
        async def diagnose(self, scene: Any, params: Any) -> Any:
            raise ZeroDivisionError

    object.__setattr__(rig.services, "catalogue", {**rig.services.catalogue, "high-error-rate": Broken()})
    await rig.run(30)
    found = await decision(rig)
    assert (found.verdict, found.code) == (Verdict.DENY, Code.UNKNOWN_FACT)
    assert "ZeroDivisionError" in found.text
    assert writes(rig) == []
    await rig.close()


async def test_every_decision_about_a_target_shows_all_gates_with_value_and_threshold(tmp_path: Path) -> None:
    """Also those that had nothing against it."""
    rig = await born(tmp_path)
    await rig.run(30)
    found = await decision(rig)
    assert len(found.gates) == len(GATES)
    assert all(g.value and g.threshold for g in found.gates)
    await rig.close()


async def test_a_refusal_says_what_would_have_to_change(tmp_path: Path) -> None:
    """For every gate that stands against it."""
    rig = await born(tmp_path)
    await rig.operations.pause("all", "release", "kim", None)
    await rig.run(30)
    found = await decision(rig)
    assert found.code is Code.KILL_SWITCH
    assert all(g.remedy for g in found.gates if g.verdict is not Verdict.ALLOW)
    await rig.close()


async def test_the_audit_trail_alone_explains_a_run(tmp_path: Path) -> None:
    """With every other table emptied the explanation is the same."""
    rig = await born(tmp_path)
    await rig.run(300)
    run = await the_run(rig)
    before = await rig.operations.explain(run.id)
    keep = {"audit", "audit_chain"}
    tables = [t.name for t in reversed(metadata.sorted_tables) if t.name not in keep]

    def empty(tx: Any) -> None:
        for name in tables:
            tx.conn.execute(text(f'DELETE FROM "{name}"'))

    await rig.store.write(empty)
    assert await all_incidents(rig) == []
    after = await rig.operations.explain(run.id)
    assert after == before
    assert after["actions"]
    assert after["verifications"]
    assert len(after["gates"]) >= len(GATES)
    await rig.close()
