"""Finding C2: bodies of PagerDuty and Event Orchestration about another application, whose names the intake cannot take or that
differ. Through the HTTP routes with the shipped rules, whose default is the broken release: none of them may touch it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.domain.decision import Code
from app.domain.outcome import IncidentState
from app.domain.ports import IncidentBodies
from tests.scenario.scenes import all_incidents, born, decision, policy, writes
from tests.scenario.sender_bodies import SENDERS, Story, pagerduty
from tests.scenario.test_ordinary_senders import Service

PAGERDUTY, ORCHESTRATION = "/webhooks/pagerduty", "/webhooks/pagerduty/orchestration"
ALERT = {"alertname": "HighErrorRate", "severity": "critical"}
CHECKOUT = {**ALERT, "namespace": "payments", "deployment": "checkout"}
CART = {**ALERT, "namespace": "shop", "deployment": "cart"}
DOTTED = {**ALERT, "k8s.namespace.name": "payments", "k8s.deployment.name": "checkout"}


def firing(*labels: dict[str, str]) -> str:
    """Alertmanager's default list of alerts."""
    heads = ("".join(f" - {k} = {v}\n" for k, v in each.items()) for each in labels)
    return "".join(f"Labels:\n{head}Annotations:\n - summary = x\nSource: http://p\n" for head in heads)


def told(details: Any, **body: Any) -> dict[str, Any]:
    """One alert in the answer of PagerDuty's API."""
    return {"status": "triggered", "severity": "critical", "body": {"details": details, **body}}


ANSWERS: dict[str, Sequence[Any]] = {
    "its labels": [told({"firing": firing(CHECKOUT)})],
    "dotted names in the text": [told({"firing": firing(DOTTED), "num_firing": "1"})],
    "dotted names": [told(DOTTED)],
    "a group of two": [told({"firing": firing(CHECKOUT, CART)})],
    "two alerts": [told(CHECKOUT), told(CART)],
    "two deployments of ours": [
        told(
            {
                "firing": firing(
                    *({**ALERT, "namespace": "rag7", "deployment": d} for d in ("gateway", "worker"))
                )
            }
        )
    ],
    "two pods of two deployments": [
        told(
            {
                "firing": firing(
                    *(
                        {**ALERT, "namespace": "rag7", "pod": f"{d}-5d9c7b8f6d-x2x4z"}
                        for d in ("gateway", "worker")
                    )
                )
            }
        )
    ],
    "tags as text": [
        told({"alertname": "HighErrorRate", "tags": "kube_namespace:payments,kube_deployment:checkout"})
    ],
    "tags as a list": [
        told({"alertname": "HighErrorRate", "tags": ["kube_namespace:payments", "kube_deployment:x"]})
    ],
    "a nested object": [told({"alertname": "HighErrorRate", "kubernetes": {"namespace": "payments"}})],
    "spaces": [
        told({"alertname": "HighErrorRate", "Kube Namespace": "payments", "Deployment Name": "checkout"})
    ],
    "dashes": [
        told({"alertname": "HighErrorRate", "kube-namespace": "payments", "kube-deployment": "checkout"})
    ],
    "another template": [told({"firing": "**Labels**\n- alertname: HighErrorRate\n- namespace: payments\n"})],
    "over 64 labels": [told({**ALERT, **{f"l{i:02}": "7" for i in range(70)}, "namespace": "payments"})],
    "no alerts": [],
    "no details": [told(None)],
    "one without a body": [told(CHECKOUT), {"status": "triggered", "body": None}],
    "the common event format": [
        told({}, cef_details={"source_component": "checkout", "source_origin": "payments"})
    ],
}
REQUESTS: dict[str, dict[str, Any]] = {
    "its labels": CHECKOUT,
    "dotted names": DOTTED,
    "two levels down": {**ALERT, "payload": {"custom_details": CHECKOUT}},
    "pairs": {
        "parameters": [
            {"key": "alertname", "value": "HighErrorRate"},
            {"key": "k8s.pod.name", "value": "a-0"},
        ]
    },
    "a text of alerts": {**ALERT, "firing": firing(CHECKOUT)},
    "an unfilled template": {**ALERT, "namespace": "{{event.custom_details.namespace}}", "deployment": ""},
    "empty values": {**ALERT, "namespace": "", "deployment": ""},
    "nulls": {**ALERT, "namespace": None, "deployment": None},
    "lists": {**ALERT, "namespace": ["payments"], "deployment": ["checkout", "cart"]},
    "a source": {**ALERT, "source": "checkout.payments.svc", "component": "checkout", "group": "payments"},
    "JSON in a text": {**ALERT, "details": json.dumps(CHECKOUT)},
}


class Answers(IncidentBodies):
    """PagerDuty's API: what each incident's alerts tell."""

    def __init__(self) -> None:
        self.of: dict[str, Sequence[Any]] = {}

    async def incident_alerts(self, incident_id: str) -> dict[str, Any]:
        """The alerts of one."""
        return {"alerts": list(self.of[incident_id])}


async def _service(path: Path, answers: Answers | None) -> Service:
    rig = await born(
        path, rules=policy({"storm": policy().storm.model_copy(update={"targets": 200})}), use_api=False
    )
    rig.services = replace(rig.services, incident_bodies=answers)
    rig.loops = replace(rig.loops, services=rig.services)
    return Service(rig)


async def _page(door: Service, number: int, title: str = "") -> None:
    """PagerDuty tells of one more incident."""
    sender = next(s for s in SENDERS.values() if s.path == PAGERDUTY)
    body = pagerduty(Story("HighErrorRate", door.rig.clock.now() - timedelta(seconds=60)))
    body["event"]["id"] = f"event-{number}"
    body["event"]["data"] |= {"id": f"Q{number}"} | ({"title": title} if title else {})
    await door.post(sender, json.dumps(body).encode())


async def _none_is_touched(door: Service) -> int:
    """How many incidents were decided; one that became a part of another needs no word of its own."""
    await door.rig.run(20, alerts=False)
    apart = [i.id for i in await all_incidents(door.rig) if i.state is not IncidentState.MERGED]
    found = {i: await decision(door.rig, i) for i in apart}
    assert {d.code for d in found.values()} <= {Code.NO_TARGET, Code.OUT_OF_SCOPE, Code.TARGET_NOT_FOUND}, (
        found
    )
    assert writes(door.rig) == []
    await door.rig.close()
    return len(found)


async def test_an_incident_of_pagerduty_whose_names_are_lost_or_differ_means_no_default(
    tmp_path: Path,
) -> None:
    answers = Answers()
    door = await _service(tmp_path, answers)
    for number, alerts in enumerate(ANSWERS.values()):
        answers.of[f"Q{number}"] = alerts
        await _page(door, number)
    assert await _none_is_touched(door) > 10


async def test_without_pagerdutys_api_an_incident_means_no_default(tmp_path: Path) -> None:
    door = await _service(tmp_path, None)
    await _page(door, 1, "[FIRING:1] HighErrorRate checkout (payments critical)")
    await _page(door, 2, "HighErrorRate")
    assert await _none_is_touched(door) == 2


async def test_a_request_of_event_orchestration_whose_names_are_lost_means_no_default(
    tmp_path: Path,
) -> None:
    door = await _service(tmp_path, None)
    sender = next(s for s in SENDERS.values() if s.path == ORCHESTRATION)
    for number, body in enumerate(REQUESTS.values()):
        await door.post(
            sender, json.dumps({**body, "dedup_key": f"k{number}", "event_action": "trigger"}).encode()
        )
    assert await _none_is_touched(door) >= 7
