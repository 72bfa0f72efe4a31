"""Ordinary senders through the whole service, from their bytes to the end of the incident, and ten odd variants of each: every
alert is taken, means its target, and is closed when it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.domain.decision import Code, Mode, Verdict
from app.domain.outcome import IncidentState, RunState
from app.intake.auth import Access
from app.policy.load import load_policy
from app.policy.model import Policy
from app.web.app import create_app
from app.web.services import WebServices
from remediations import CATALOGUE
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    TARGET,
    all_incidents,
    all_runs,
    born,
    decision,
    policy,
    the_incident,
    the_run,
    writes,
)
from tests.scenario.sender_bodies import (
    AM,
    BROKEN,
    ORCHESTRATION_SECRET,
    PD_SECRET,
    SENDERS,
    SHAPES,
    Sender,
    Story,
    alertmanager,
    grafana,
    raw,
)

LABELS = {"namespace": "rag7", "deployment": "langgraph", "severity": "critical"}


class Bodies:
    """PagerDuty's REST API, which has the labels."""

    async def incident_alerts(self, incident_id: str) -> dict[str, Any]:
        """The one alert of the incident, whose id is named after it."""
        details = {"alertname": incident_id.removeprefix("Q"), **LABELS}
        return {"alerts": [{"status": "triggered", "severity": "critical", "body": {"details": details}}]}


class Service:
    """A rig with its HTTP routes."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        nothing: Any = None
        web = WebServices(
            store=rig.store,
            access=Access(pagerduty_secrets=(PD_SECRET,), orchestration_secret=ORCHESTRATION_SECRET),
            clock=rig.clock,
            ids=rig.services.ids,
            metrics=rig.services.metrics,
            nudge=lambda: None,
            ready=nothing,
            operations=nothing,
            views=nothing,
            check_order=nothing,
            check_target=nothing,
            label_names=lambda: rig.policy.labels.names,
        )
        transport = httpx.ASGITransport(create_app(web))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")

    async def post(self, sender: Sender, body: bytes) -> dict[str, Any]:
        """Send it as the sender does; what the service answered."""
        answer = await self.client.post(sender.path, content=body, headers=sender.headers(body))
        assert answer.status_code == 202, (answer.status_code, answer.text, body)
        found: dict[str, Any] = answer.json()
        return found


async def service(path: Path, rules: Policy) -> Service:
    """One on the broken release."""
    rig = await born(path, rules=rules, use_api=False)
    rig.services = replace(rig.services, incident_bodies=Bodies())
    rig.loops = replace(rig.loops, services=rig.services)
    return Service(rig)


def looking() -> Policy:
    """Observes whatever is about langgraph, and is in no storm."""
    text = """
version: 1
scope: {namespaces: [rag7]}
storm: {targets: 50}
rules:
  - name: any
    when: alertname=~"Odd.*"
    target: {name: {label: deployment}, pod: {label: pod}}
    remediation: high-error-rate
    params: {dependencies: [postgres, redis]}
    mode: observe
"""
    return load_policy({"any.yaml": text}, CATALOGUE)


async def told(door: Service, shape: str, story: Story, odd: str = "") -> dict[str, Any]:
    """All senders of a shape tell the story; they are taken for the same alert. What the first was answered."""
    answers = [await door.post(sender, raw(sender, story, odd)) for sender in SHAPES[shape]]
    assert {str(answer["rejected"]) for answer in answers} == {str(answers[0]["rejected"])}, (shape, odd)
    if story.ended is None:
        assert {str(answer["incidents"]) for answer in answers} == {str(answers[0]["incidents"])}, (
            shape,
            odd,
        )
    return answers[0]


@pytest.mark.parametrize("shape", SHAPES)
async def test_an_ordinary_alert_is_acted_upon_and_closed_by_its_end(tmp_path: Path, shape: str) -> None:
    door, tells_end = await service(tmp_path, policy()), SHAPES[shape][0].tells_end
    rig = door.rig
    fired = rig.clock.now() - timedelta(seconds=60)
    first = await told(door, shape, Story("HighErrorRate", fired))
    assert (len(first["incidents"]), first["rejected"]) == (1, [])
    await rig.run(20, alerts=False)
    assert writes(rig) == ["patch langgraph"]
    ended = await told(door, shape, Story("HighErrorRate", fired, rig.clock.now()))
    assert ended["incidents"] == (first["incidents"] if tells_end else [])
    await rig.run(400, alerts=False)
    incident, run = await the_incident(rig), await the_run(rig)
    assert incident.target_key == TARGET
    if tells_end:
        assert (run.state, incident.state) == (RunState.FIXED, IncidentState.FIXED)
    else:  # nothing tells the end of such an alert: healthy again, and a person confirms it
        assert run.state is RunState.INCONCLUSIVE
    await rig.close()


@pytest.mark.parametrize("shape", SHAPES)
async def test_odd_variants_are_taken_mean_the_same_target_and_are_closed(tmp_path: Path, shape: str) -> None:
    door, sender = await service(tmp_path, looking()), SHAPES[shape][0]
    rig, odd = door.rig, list(sender.odd)
    assert len(odd) >= 10
    fired = rig.clock.now() - timedelta(seconds=60)
    opened = {}
    for number, variant in enumerate(odd):
        answer = await told(door, shape, Story(f"Odd{number}", fired), variant)
        opened[variant] = answer["incidents"]
        broken = len(BROKEN) if variant == "neighbours that nobody can read" else 0
        assert len(answer["rejected"]) == broken, variant
    assert {variant: len(found) for variant, found in opened.items()} == dict.fromkeys(odd, 1)
    await rig.run(5, alerts=False)
    for variant, (incident_id,) in opened.items():
        found = await decision(rig, incident_id)
        assert (found.verdict, found.code, found.rule) == (Verdict.OBSERVE, Code.MODE_OBSERVE, "any"), variant
    assert {i.target_key for i in await all_incidents(rig)} == {TARGET}
    for number, variant in enumerate(odd if sender.tells_end else ()):
        answer = await told(door, shape, Story(f"Odd{number}", fired, rig.clock.now()), variant)
        assert answer["incidents"] == opened[variant], variant
    await rig.run(5, alerts=False)
    states = {i.alertname: i.state for i in await all_incidents(rig)}
    over = IncidentState.RESOLVED if sender.tells_end else IncidentState.OBSERVED
    assert set(states.values()) == {over}, states
    await rig.close()


@pytest.mark.parametrize("name", ["DatasourceError", "DatasourceNoData"])
async def test_what_grafana_says_of_its_own_queries_is_told_and_never_acted_upon(
    tmp_path: Path, name: str
) -> None:
    door = await service(tmp_path, policy())
    rig, sender = door.rig, SENDERS["Grafana 12"]

    def own(story: Story) -> dict[str, Any]:
        body = grafana(story)
        body["alerts"][0]["labels"] |= {"rulename": "HighErrorRate", "datasource_uid": "P1", "ref_id": "A"}
        body["alerts"][0]["startsAt"] = "0001-01-01T00:00:00Z"
        return body

    sender = replace(sender, body=own)
    fired = rig.clock.now()
    opened = await door.post(sender, raw(sender, Story(name, fired)))
    repeated = await door.post(sender, raw(sender, Story(name, fired + timedelta(seconds=1))))
    assert opened["incidents"] == repeated["incidents"] != []
    await rig.run(20, alerts=False)
    assert (await decision(rig)).code is Code.NO_RULE
    await door.post(sender, raw(sender, Story(name, fired, rig.clock.now())))
    await rig.run(10, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    assert (writes(rig), await all_runs(rig)) == ([], [])
    await rig.close()


async def test_a_pod_that_is_gone_leads_to_its_owner_and_the_thread_says_how(tmp_path: Path) -> None:
    door = await service(tmp_path, policy(mode=Mode.OBSERVE))
    rig, sender = door.rig, SENDERS["Alertmanager behind an exporter"]
    await door.post(sender, raw(sender, Story("HighErrorRate", rig.clock.now())))
    await rig.run(20, alerts=False)
    assert "Pod langgraph-7c9f8b6d5-k4k4z is gone" in rig.notebook.text
    assert "it was one of Deployment langgraph" in rig.notebook.text
    await rig.close()


async def test_a_protected_kind_is_diagnosed_and_never_touched(tmp_path: Path) -> None:
    door = await service(tmp_path, policy())
    rig = door.rig

    def about(story: Story) -> dict[str, Any]:
        body = alertmanager(story)
        labels = {
            "alertname": story.name,
            "namespace": "rag7",
            "statefulset": "postgres",
            "severity": "warning",
        }
        body["alerts"][0] |= {"labels": labels, "fingerprint": ""}
        return body

    sender = replace(SENDERS["Alertmanager 0.31.1"], body=about)
    await door.post(sender, raw(sender, Story("KubeStatefulSetReplicasMismatch", rig.clock.now())))
    await rig.run(20, alerts=False)
    found = await decision(rig)
    assert (found.verdict, found.code, found.rule) == (Verdict.DENY, Code.PROTECTED, "pods not ready")
    assert "Evidence" in rig.notebook.text
    assert writes(rig) == []
    await rig.close()


async def test_five_thousand_alerts_in_a_body_are_taken_and_closed(tmp_path: Path) -> None:
    door = await service(tmp_path, looking())
    rig, sender = door.rig, SENDERS["Alertmanager 0.31.1"]

    def many(story: Story) -> dict[str, Any]:
        body = alertmanager(story)
        (one,) = body["alerts"]
        body["alerts"] = [
            {**one, "labels": {**one["labels"], "pod": f"langgraph-{n}"}, "fingerprint": f"{n:016x}"}
            for n in range(5_000)
        ]
        return body

    sender = replace(sender, path=AM, body=many)
    story = Story("Odd", rig.clock.now())
    answer = await door.post(sender, raw(sender, story))
    assert (len(answer["incidents"]), answer["rejected"]) == (1, [])
    await rig.run(5, alerts=False)
    assert (await decision(rig)).code is Code.MODE_OBSERVE
    await door.post(sender, raw(sender, replace(story, ended=rig.clock.now())))
    await rig.run(5, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    await rig.close()
