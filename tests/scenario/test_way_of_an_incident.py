"""The way of an incident to its decision: what is read, who is asked about an alert, what stops it, when it is looked at again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Alert, Delivery, ManualRequest, Source
from app.domain.alert_report import AlertReport, Reported
from app.domain.decision import Code, Mode, Verdict
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.flow.deciding import decide
from app.flow.running.advance import workflow_of
from app.intake import orchestration, pagerduty
from app.observe.alert_sources import Sources
from app.policy.model import Approval
from app.sim.faults import Request
from tests.bench import walk
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    alert,
    all_incidents,
    body,
    born,
    closed,
    decision,
    policy,
    the_incident,
    the_run,
    writes,
)


def requests_of(rig: Rig) -> list[Request]:
    """Every request to the cluster from now on."""
    seen: list[Request] = []
    rig.cluster.on_request(lambda request, when: seen.append(request) if when == "before" else None)
    return seen


def order(
    rig: Rig,
    target: str = "rag7/Deployment/langgraph",
    by: str = "ci-bot",
    may: bool = True,
    dry: bool = False,
    **params: Any,
) -> Delivery:
    """An order of the broken release's remediation."""
    request = ManualRequest("high-error-rate", target, params, "because", by, dry, may_approve=may)
    return Delivery(
        Source.MANUAL, rig.clock.now(), by, dedupe_key=f"k-{target}", body_digest="1", manual=request
    )


def use(rig: Rig, **changes: Any) -> None:
    """Put other parts in the place of the service's."""
    rig.services = replace(rig.services, **changes)
    rig.engine._workflow = workflow_of(rig.services)
    rig.loops.services = rig.services


class Told:
    """A source that says what a test wants of each alert, and notes what it was asked."""

    def __init__(self, say: Callable[[Alert], Reported]) -> None:
        self.say = say
        self.asked: list[int] = []

    async def states(self, alerts: Sequence[Alert]) -> Sequence[AlertReport]:
        """One report an alert."""
        self.asked.append(len(alerts))
        return [AlertReport(self.say(a), self.say(a).value) for a in alerts]


@pytest.mark.parametrize("namespace", ["kube-system", "payments"])
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_target_out_of_scope_is_decided_without_reading_it(
    tmp_path: Path, namespace: str, *, ordered: bool
) -> None:
    rig = await born(tmp_path)
    seen = requests_of(rig)
    if ordered:
        await rig.store.ingest(order(rig, f"{namespace}/Deployment/coredns"))
    else:
        await rig.send(body(alert(rig, namespace=namespace, deployment="coredns")))
    await rig.run(20, alerts=False)
    found = await decision(rig)
    wanted = Code.PROTECTED if namespace == "kube-system" else Code.OUT_OF_SCOPE
    assert (found.verdict, found.code, closed(found)["scope"]) == (Verdict.DENY, wanted, wanted)
    assert seen == [], "nothing of the namespace is read, not even its own object"
    assert "Evidence" not in rig.notebook.text
    await rig.close()


async def test_of_a_namespace_that_opted_out_only_its_own_object_is_read(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    mark = {"op": "add", "path": "/metadata/labels", "value": {"alert-remediator.io/enabled": "false"}}
    rig.cluster.edit(Kind.NAMESPACE, "", "rag7", [mark])
    seen = requests_of(rig)
    await rig.send(body(alert(rig)))
    await rig.run(20, alerts=False)
    assert (await decision(rig)).code is Code.OPTED_OUT
    assert {r.kind for r in seen} == {Kind.NAMESPACE}
    await rig.close()


@pytest.mark.parametrize(
    ("by", "people", "may", "state"),
    [
        ("ci-bot", {}, True, RunState.WAITING),
        ("alice", {}, True, None),
        ("alice", {}, False, RunState.WAITING),
        ("ali-token", {"ali-token": "ali", "slack:U0ALICE01": "ali"}, True, None),
        ("oidc:ali@x.io", {"oidc:ali@x.io": "ali", "alice": "ali"}, True, None),
        ("oidc:bo@x.io", {"oidc:ali@x.io": "ali", "alice": "ali"}, True, RunState.WAITING),
    ],
)
async def test_an_order_is_an_approval_only_from_somebody_who_may_approve(
    tmp_path: Path, by: str, people: dict[str, str], may: bool, state: RunState | None
) -> None:
    approval = Approval(by=("alice", "slack:U0ALICE01"))
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE, approval=approval))
    use(rig, people=people)
    await rig.store.ingest(order(rig, by=by, may=may))
    await rig.run(40, alerts=False)
    run = await the_run(rig)
    if state is None:
        assert writes(rig) != []
    else:
        assert (run.state, writes(rig)) == (state, [])
    await rig.close()


async def test_an_order_may_not_ask_for_more_than_the_rule_says(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    await rig.store.ingest(order(rig, scale_to=1_000))
    await rig.run(20, alerts=False)
    found = await decision(rig)
    assert (found.verdict, writes(rig)) == (Verdict.DENY, [])
    assert "lets an order ask for 10 at most" in found.text
    assert "params.scale_to" in found.text
    await rig.close()


@pytest.mark.parametrize("source", [Source.PAGERDUTY, Source.ORCHESTRATION])
async def test_alertmanager_is_asked_about_its_own_alerts_only(tmp_path: Path, source: Source) -> None:
    rig = await born(tmp_path)
    alertmanager = Told(lambda _: Reported.GONE)
    use(rig, alert_sources=Sources(alertmanager, None))
    labels = {"alertname": "HighErrorRate", "namespace": "rag7", "deployment": "langgraph"}
    if source is Source.ORCHESTRATION:
        text = '{"alertname":"HighErrorRate","namespace":"rag7","deployment":"langgraph","dedup_key":"k"}'
        delivery = orchestration.parse(text.encode(), received_at=rig.clock.now(), sender="pd")
    else:
        use(rig, incident_bodies=Bodies(labels))
        delivery = pagerduty.parse(_event(rig).encode(), received_at=rig.clock.now())
    await rig.store.ingest(delivery)
    await rig.run(10, alerts=False)
    found = await decision(rig)
    assert (found.verdict, alertmanager.asked) == (Verdict.ALLOW, [])
    assert writes(rig) != []
    await rig.close()


class Bodies:
    """PagerDuty's REST API with one alert."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels

    async def incident_alerts(self, incident_id: str) -> dict[str, Any]:
        """The labels, whichever incident is asked for."""
        del incident_id
        return {"alerts": [{"status": "triggered", "severity": "critical", "body": {"details": self.labels}}]}


def _event(rig: Rig) -> str:
    now = rig.clock.now().isoformat()
    return (
        '{"event":{"id":"E1","event_type":"incident.triggered","occurred_at":"' + now + '","data":{"type":'
        '"incident","id":"PD1","title":"[FIRING:1] HighErrorRate","created_at":"' + now + '","number":7,'
        '"service":{"summary":"rag"},"urgency":"high","html_url":"https://x"}}}'
    )


async def test_a_silence_stops_the_decision_and_an_approved_write(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.run(30)
    run = await the_run(rig)
    rig.cluster.alertmanager.silence({"alertname": "HighErrorRate"})
    await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.run(20)
    assert (writes(rig), (await the_run(rig)).state) == ([], RunState.ABANDONED)
    assert "silenced by a person" in (await the_run(rig)).result
    await rig.close()

    (tmp_path / "second").mkdir()
    rig = await born(tmp_path / "second", "high-latency")
    rig.cluster.alertmanager.silence({"alertname": "HighErrorRate"})
    await rig.send(body(alert(rig, deployment="langgraph-api")))
    await rig.run(60, alerts=False)
    use(rig, alert_sources=Told(lambda _: Reported.SILENCED))
    await rig.send(body(alert(rig, deployment="langgraph-api", alertname="HighLatency")))
    await rig.run(10, alerts=False)
    last = (await all_incidents(rig))[-1]
    assert (await decision(rig, last.id)).code is Code.SILENCED
    assert last.state is IncidentState.REFUSED
    await rig.close()


async def test_the_seventh_alert_that_still_fires_is_not_overlooked(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    source = Told(
        lambda a: Reported.FIRING if not writes(rig) or a.labels.get("instance") == "7" else Reported.GONE
    )
    use(rig, alert_sources=source)
    await rig.send(body(*(alert(rig, started=100 - i, instance=str(i)) for i in range(1, 8))))
    await rig.run(300, alerts=False)
    assert writes(rig) != []
    run = await the_run(rig)
    assert run.state is not RunState.FIXED
    assert set(source.asked) == {7}, "all of them, in one question"
    await rig.close()


async def test_alerts_that_nobody_asked_about_are_never_taken_for_gone(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    source = Told(lambda _: Reported.GONE)
    use(rig, alert_sources=source)
    await rig.send(body(*(alert(rig, pod=f"langgraph-{n}") for n in range(2_003))))
    await rig.run(5, alerts=False)
    found = await decision(rig)
    assert (found.verdict, closed(found)["freshness"]) == (Verdict.DENY, Code.UNKNOWN_FACT)
    assert source.asked[0] == 2_000
    assert writes(rig) == []
    await rig.close()


async def test_a_warning_that_became_critical_gets_the_critical_rule(tmp_path: Path) -> None:
    shipped = policy()
    rule = shipped.rule("errors after a deployment")
    assert rule is not None
    texts = {"warn": 'alertname="HighErrorRate", severity="warning"', "crit": 'severity="critical"'}
    rules = tuple(
        type(rule).from_json({**rule.to_json(), "name": name, "when": when, "mode": mode})
        for name, when, mode in (("warn", texts["warn"], "observe"), ("crit", texts["crit"], "approve"))
    )
    rig = await born(tmp_path, rules=shipped.model_copy(update={"rules": rules}))
    use(rig, alert_sources=None)
    await rig.send(body(alert(rig, started=300, severity="warning")))
    await rig.run(10, alerts=False)
    assert (await decision(rig)).rule == "warn"
    await rig.send(body(alert(rig, started=10, severity="critical")))
    await rig.run(10, alerts=False)
    assert (await decision(rig)).rule == "crit"
    await rig.close()


class Stuck:
    """Dependencies of which the first check never ends by itself."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.first = True
        self.end = asyncio.Event()

    async def check(self, names: Sequence[str]) -> Any:
        """Wait, the first time."""
        if self.first:
            self.first = False
            await self.end.wait()
        return await self.real.check(names)

    async def slow_queries(self, name: str, limit: int) -> Any:
        """As they are."""
        return await self.real.slow_queries(name, limit)


async def test_a_slow_investigation_holds_up_no_other(tmp_path: Path) -> None:
    rig = await born(tmp_path, "high-error-rate", "high-latency")
    stuck = Stuck(rig.services.dependencies)
    use(rig, dependencies=stuck)
    await rig.send(body(alert(rig)))
    await rig.run(5, alerts=False)
    assert not stuck.first
    await rig.send(body(alert(rig, alertname="HighLatency", deployment="langgraph-api")))
    await rig.run(5, alerts=False)
    slow, other = await all_incidents(rig)
    assert slow.decided_at is None
    assert other.decided_at is not None
    stuck.end.set()
    await rig.run(5, alerts=False)
    assert (await all_incidents(rig))[0].decided_at is not None
    await rig.close()


async def test_an_investigation_over_its_time_is_an_unknown_fact_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "LIMIT", 0.0)
    rig = await born(tmp_path)
    await rig.send(body(alert(rig)))
    await rig.run(5, alerts=False)
    found = await decision(rig)
    assert (found.code, "took longer" in found.text) == (Code.UNKNOWN_FACT, True)
    monkeypatch.undo()
    await rig.run(40, alerts=False)
    assert (await decision(rig)).verdict is Verdict.ALLOW
    await rig.close()


async def test_a_defect_in_deciding_ends_in_a_decision_that_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    rig = await born(tmp_path)
    monkeypatch.setattr(decide, "settle", broken)
    await rig.send(body(alert(rig)))
    await rig.run(5, alerts=False)
    found = await decision(rig)
    assert (found.code, found.text) == (Code.UNKNOWN_FACT, "deciding failed: ZeroDivisionError")
    assert "ZeroDivisionError" in rig.notebook.text
    monkeypatch.undo()
    await rig.run(10, alerts=False)
    assert (await decision(rig)).verdict is Verdict.ALLOW, "seconds later, not when the claim has run out"
    await rig.close()


async def test_what_rests_is_looked_at_less_and_less_often_and_at_once_when_something_happens(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    use(rig, alert_sources=Told(lambda _: Reported.FIRING))
    await rig.operations.pause("all", "x", "kim", None)
    await rig.send(body(alert(rig)))
    await rig.run(5, alerts=False)
    seen = requests_of(rig)
    for _ in range(12):
        rig.clock.advance(300)
        await rig.turn()
    looks = [r for r in seen if r.kind is Kind.DEPLOYMENT and r.verb == "get"]
    first = len(looks)
    for _ in range(36):
        rig.clock.advance(300)
        await rig.turn()
    looks = [r for r in seen if r.kind is Kind.DEPLOYMENT and r.verb == "get"]
    assert first == 4, "after 5, 10, 20 and 40 minutes"
    assert len(looks) - first <= 8, "then each hour, from the start again once the answer is another one"
    await rig.operations.resume("all", "kim")
    await rig.run(5, alerts=False)
    assert (await decision(rig)).code is not Code.KILL_SWITCH
    await rig.close()


@pytest.mark.parametrize("asked", [True, False])
async def test_an_alert_that_is_gone_without_a_message_ends_its_incident(
    tmp_path: Path, *, asked: bool
) -> None:
    rig = await born(tmp_path)
    await rig.operations.pause("all", "x", "kim", None)
    use(rig, alert_sources=Told(lambda _: Reported.GONE) if asked else None)
    await rig.send(body(alert(rig)))
    await rig.run(10, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.REFUSED, "a message may be on its way"
    for _ in range(8 if asked else 20):
        rig.clock.advance(300)
        await rig.turn()
    state = (await the_incident(rig)).state
    assert state is (IncidentState.RESOLVED if asked else IncidentState.REFUSED)
    for _ in range(26):
        rig.clock.advance(timedelta(hours=1).total_seconds())
        await rig.turn()
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    await rig.close()


async def test_one_alert_enters_fewer_than_60_files_and_the_architecture_names_them(tmp_path: Path) -> None:
    way = await walk.walk_one_alert(tmp_path)
    assert len(way.files) < 60
    listed = walk.ARCHITECTURE.read_text("utf-8").split(walk.BEGINS)[1].split(walk.ENDS)[0]
    folders = dict(line.split(": ") for line in listed.replace("\n    ", " ").splitlines() if ": " in line)
    known = {f"{folder}/{name}.py" for folder, names in folders.items() for name in names.split(", ")}
    assert set(way.files) <= known, "python -m tests.bench.walk writes it"  # some are entered once a process
    assert len(known) < 60
