"""Promise 4: a fact that cannot be read closes the gate that needs it, and says so; nothing is touched meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.domain.decision import Code, Verdict
from app.domain.outcome import IncidentState
from app.domain.target import Kind
from app.policy.matchers import parse_when
from app.sim.faults import Fault, FaultKind
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    alert,
    body,
    born,
    closed,
    deafen,
    decision,
    policy,
    the_incident,
    the_run,
    writes,
)


def _deny(verb: str, kind: Kind) -> Callable[[Rig], None]:
    return lambda rig: rig.cluster.deny(verb, kind)


@pytest.mark.parametrize(
    ("blind", "gates"),
    [
        pytest.param(deafen, {"freshness"}, id="alertmanager"),
    ],
)
async def test_an_unreadable_fact_closes_exactly_the_gate_that_needs_it(
    tmp_path: Path, blind: Callable[[Rig], None], gates: set[str]
) -> None:
    """The other gates are evaluated all the same, and the reason is in the decision and in the message."""
    rig = await born(tmp_path)
    blind(rig)
    await rig.run(60)
    found = await decision(rig)
    assert (found.verdict, found.code) == (Verdict.DENY, Code.UNKNOWN_FACT)
    assert {gate for gate, code in closed(found).items() if code is Code.UNKNOWN_FACT} == gates
    assert writes(rig) == []
    assert "unknown" in rig.notebook.text
    await rig.close()


async def test_a_mark_that_cannot_be_read_is_told_by_the_scope_alone_and_nothing_else_is_read(
    tmp_path: Path,
) -> None:
    """What is not known to be ours is not read, so the gates that go by the workload are as blind."""
    rig = await born(tmp_path)
    rig.cluster.deny("get", Kind.NAMESPACE)
    await rig.run(60)
    found = await decision(rig)
    assert (found.verdict, found.code) == (Verdict.DENY, Code.UNKNOWN_FACT)
    assert found.text.startswith("Not acting: scope: opt-in and opt-out marks unknown: ")
    assert (writes(rig), "Evidence" in rig.notebook.text) == ([], False)
    rig.cluster.allow("get", Kind.NAMESPACE)
    await rig.run(600)
    assert (await decision(rig)).verdict is Verdict.ALLOW, "looked at again"
    await rig.close()


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("get", Kind.DEPLOYMENT), ("list", Kind.HPA)],
)
async def test_an_unreadable_target_is_refused_with_the_reason_and_looked_at_again(
    tmp_path: Path, verb: str, kind: Kind
) -> None:
    """Also what manages the target belongs to it: without knowing of an autoscaler no replica is touched."""
    rig = await born(tmp_path)
    rig.cluster.deny(verb, kind)
    await rig.run(60)
    found = await decision(rig)
    assert found.verdict is Verdict.DENY
    assert found.code in (Code.UNKNOWN_FACT, Code.TARGET_NOT_FOUND)
    assert "cannot" in found.text
    assert (await the_incident(rig)).state is IncidentState.REFUSED
    assert writes(rig) == []
    await rig.close()


async def test_a_rule_with_blocking_alerts_does_not_act_without_a_source_to_ask(tmp_path: Path) -> None:
    """Nobody can say that the blocking alert is silent."""
    rules = policy(blocked_by=(parse_when('alertname="KubeAPIDown"'),))
    rig = await born(tmp_path, rules=rules)
    await rig.run(60)
    assert closed(await decision(rig)) == {"blocking alerts": Code.UNKNOWN_FACT}
    assert writes(rig) == []
    await rig.close()


async def test_the_gate_opens_when_the_fact_can_be_read_again(tmp_path: Path) -> None:
    """An incident refused for an unknown fact comes up again by itself, without a new delivery."""
    rig = await born(tmp_path)
    deafen(rig)
    await rig.run(60)
    assert writes(rig) == []
    del vars(rig.cluster.alertmanager)["states"]
    await rig.run(60)
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_a_fact_lost_between_decision_and_write_stops_the_write(tmp_path: Path) -> None:
    """The second look needs all facts as well."""
    rig = await born(tmp_path)
    rig.cluster.on_request(lambda request, when: deafen(rig) if request.dry_run and when == "after" else None)
    await rig.run(30)
    run = await the_run(rig)
    assert writes(rig) == []
    assert "Alertmanager could not be asked" in run.result
    await rig.close()


async def test_an_alert_without_any_source_of_its_state_is_judged_by_what_was_delivered(
    tmp_path: Path,
) -> None:
    """Without Alertmanager's API the last word counts, as long as it is fresh."""
    rig = await born(tmp_path, use_api=False)
    await rig.send(body(alert(rig)))
    await rig.run(30, alerts=False)
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_a_transient_error_while_diagnosing_wakes_nobody(tmp_path: Path) -> None:
    """One list of ReplicaSets is throttled: closed for this look, and half a minute later it is read."""
    rig = await born(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.THROTTLED, verb="list", kind=Kind.REPLICA_SET))
    await rig.run(90)
    assert (await the_incident(rig)).state is not IncidentState.ESCALATED
    assert writes(rig) == ["patch langgraph"]
    await rig.close()
