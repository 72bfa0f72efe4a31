"""Bodies as ordinary senders write them, and ten odd variants of each: made from the documented shapes, values invented.

Alertmanager 0.27 to 0.31 send `template.Data` with version, groupKey and truncatedAlerts (notify/webhook of each release);
Mimir runs the same Alertmanager under a path; vmalert fires alerts of its own label names through one. Grafana-managed alerting
sends the same shape with version "1" and more fields (webhook notifier of 11 to 13). PagerDuty sends V3 events, one an incident,
and whatever parameters an Event Orchestration action names.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.sim.alertmanager import NEVER
from app.sim.alerts import fingerprint

Obj = dict[str, Any]
PD_SECRET, ORCHESTRATION_SECRET = "pd-secret-current", "orchestration-secret"


@dataclass(frozen=True, slots=True)
class Story:
    """One alert about rag7/langgraph: its name and when it began to fire and ended."""

    name: str
    fired: datetime
    ended: datetime | None = None

    @property
    def now(self) -> datetime:
        """When the sender speaks."""
        return self.ended or self.fired + timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender: where it posts, its body for a story, and the odd variants of it by name."""

    path: str
    body: Callable[[Story], Obj]
    odd: Mapping[str, Callable[[Obj], None]]
    agent: str = ""
    tells_end: bool = True

    def headers(self, raw: bytes) -> dict[str, str]:
        """As it sends them, signed where it signs."""
        found = {"Content-Type": "application/json", "User-Agent": self.agent}
        if self.path.endswith("/pagerduty"):
            digest = hmac.new(PD_SECRET.encode(), raw, hashlib.sha256).hexdigest()
            found |= {
                "X-PagerDuty-Signature": f"v1=00,v1={digest}",
                "X-Webhook-Id": hashlib.sha256(raw).hexdigest(),
            }
        if self.path.endswith("/orchestration"):
            found["X-Remediator-Token"] = ORCHESTRATION_SECRET
        return found


def _go_time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _alert(story: Story, labels: Mapping[str, str], url: str) -> Obj:
    return {
        "status": "resolved" if story.ended else "firing",
        "labels": dict(labels),
        "annotations": {
            "summary": f"{story.name} on langgraph",
            "runbook_url": "https://runbooks.example.net/x",
        },
        "startsAt": _go_time(story.fired),
        "endsAt": _go_time(story.ended) if story.ended else NEVER,
        "generatorURL": url,
        "fingerprint": fingerprint(dict(labels)),
    }


def _message(story: Story, alert: Obj, external: str) -> Obj:
    name = alert["labels"]["alertname"]
    return {
        "receiver": "auto\\-remediation",
        "status": alert["status"],
        "alerts": [alert],
        "groupLabels": {"alertname": name},
        "commonLabels": dict(alert["labels"]),
        "commonAnnotations": dict(alert["annotations"]),
        "externalURL": external,
        "version": "4",
        "groupKey": f'{{}}/{{team="rag"}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
    }


def alertmanager(story: Story) -> Obj:
    """Prometheus' rule through Alertmanager."""
    labels = {"alertname": story.name, "namespace": "rag7", "deployment": "langgraph", "severity": "critical"}
    url = "http://prometheus-0:9090/graph?g0.expr=rate%28x%5B5m%5D%29+%3E+0&g0.tab=1"
    return _message(story, _alert(story, labels, url), "http://alertmanager-0:9093")


def behind_an_exporter(story: Story) -> Obj:
    """A rule on kube-state-metrics that Prometheus scrapes with `honor_labels: false`."""
    labels = {
        "alertname": story.name,
        "namespace": "monitoring",
        "pod": "kube-state-metrics-5d9c7b8f6d-x2x4z",
        "container": "kube-state-metrics",
        "service": "kube-state-metrics",
        "job": "kube-state-metrics",
        "instance": "10.0.3.4:8080",
        "exported_namespace": "rag7",
        "exported_pod": "langgraph-7c9f8b6d5-k4k4z",  # gone by now
        "severity": "critical",
    }
    return _message(
        story, _alert(story, labels, "http://prometheus-0:9090/graph"), "http://alertmanager-0:9093"
    )


def mimir(story: Story) -> Obj:
    """Mimir's ruler and Alertmanager, on metrics that came in by OTLP with their own label names."""
    labels = {
        "alertname": story.name,
        "k8s.namespace.name": "rag7",
        "k8s.deployment.name": "langgraph",
        "service.name": "langgraph",
        "severity": "critical",
    }
    url = "https://mimir.example.net/prometheus/graph?g0.expr=x"
    return _message(story, _alert(story, labels, url), "https://mimir.example.net/alertmanager")


def vmalert(story: Story) -> Obj:
    """VictoriaMetrics' vmalert, which names the group and links to itself."""
    labels = {
        "alertname": story.name,
        "alertgroup": "rag7.rules",
        "namespace": "rag7",
        "deployment": "langgraph",
        "severity": "critical",
    }
    url = "http://vmalert:8880/vmalert/alert?group_id=1173468&alert_id=9281734"
    found = _alert(story, labels, url)
    found["startsAt"] = (
        found["startsAt"].replace("Z", ".123456789Z") if "." not in found["startsAt"] else found["startsAt"]
    )
    return _message(story, found, "http://alertmanager-0:9093")


def grafana(story: Story) -> Obj:
    """Grafana-managed alerting; a resolved message has a start of its own."""
    labels = {
        "alertname": story.name,
        "grafana_folder": "rag7",
        "namespace": "rag7",
        "deployment": "langgraph",
        "severity": "critical",
    }
    found = _alert(story, labels, "https://grafana.example.net/alerting/grafana/adk1/view?orgId=1")
    found |= {
        "silenceURL": "https://grafana.example.net/alerting/silence/new?alertmanager=grafana",
        "dashboardURL": "https://grafana.example.net/d/abc?orgId=1",
        "panelURL": "https://grafana.example.net/d/abc?orgId=1&viewPanel=2",
        "imageURL": "https://grafana.example.net/render/x.png",
        "values": {"B": 44.239, "C": 1},
        "valueString": "[ var='B' labels={namespace=rag7} value=44.239 ], [ var='C' labels={namespace=rag7} value=1 ]",
        "ruleUID": "adk1",
        "orgId": 1,
    }
    if story.ended:
        found |= {"startsAt": found["endsAt"], "values": None}
    return {
        **_message(story, found, "https://grafana.example.net/"),
        "version": "1",
        "orgId": 1,
        "title": f"[{found['status'].upper()}:1] {story.name} rag7",
        "state": "ok" if story.ended else "alerting",
        "message": "**Firing**\n\nValue: B=44.239, C=1",
        "appVersion": "12.1.0",
    }


def pagerduty(story: Story) -> Obj:
    """A V3 event; the labels are in PagerDuty's API."""
    return {
        "event": {
            "id": f"01{hashlib.sha256(f'{story}'.encode()).hexdigest()[:24]}",
            "event_type": "incident.resolved" if story.ended else "incident.triggered",
            "resource_type": "incident",
            "occurred_at": _go_time(story.now),
            "agent": {"id": "PINT042", "type": "inbound_integration_reference", "summary": "Prometheus"},
            "client": {"name": "Alertmanager", "url": "https://alertmanager.example.net"},
            "data": {
                "id": f"Q{story.name}",
                "type": "incident",
                "self": "https://api.pagerduty.com/incidents/Q0",
                "html_url": "https://example-co.pagerduty.com/incidents/Q0",
                "number": 4127,
                "status": "resolved" if story.ended else "triggered",
                "incident_key": None,
                "created_at": _go_time(story.fired),
                "title": f"[FIRING:1] {story.name} langgraph (rag7 critical)",
                "service": {"id": "PSVC001", "type": "service_reference", "summary": "rag"},
                "assignees": [],
                "escalation_policy": {
                    "id": "PEPL010",
                    "type": "escalation_policy_reference",
                    "summary": "EP",
                },
                "teams": [],
                "priority": None,
                "urgency": "high",
                "conference_bridge": None,
                "resolve_reason": None,
                "incident_type": {"name": "incident_default"},
            },
        }
    }


def orchestration(story: Story) -> Obj:
    """The parameters of an automation action, as they were named."""
    return {
        "alertname": story.name,
        "namespace": "rag7",
        "deployment": "langgraph",
        "severity": "critical",
        "dedup_key": f"rag7/langgraph/{story.name}",
        "starts_at": _go_time(story.fired),
        "event_action": "resolve" if story.ended else "trigger",
    }


def _set(*path: str | int, to: Any) -> Callable[[Obj], None]:
    def change(body: Obj) -> None:
        place: Any = body
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = copy.deepcopy(to)

    return change


def _drop(*path: str | int) -> Callable[[Obj], None]:
    def change(body: Obj) -> None:
        place: Any = body
        for step in path[:-1]:
            place = place[step]
        place.pop(path[-1], None)

    return change


def _beside(*others: Any) -> Callable[[Obj], None]:
    """Beside neighbours that nobody can read."""

    def change(body: Obj) -> None:
        body["alerts"] = [*others, *body["alerts"]]

    return change


def _first(**fields: Any) -> Callable[[Obj], None]:
    def change(body: Obj) -> None:
        body["alerts"][0] |= fields

    return change


def _wrap(body: Obj, name: str) -> None:
    inner = dict(body)
    body.clear()
    body[name] = inner


def _pairs(body: Obj) -> None:
    inner = [{"key": key, "value": value} for key, value in body.items()]
    body.clear()
    body["parameters"] = inner


BROKEN: tuple[Any, ...] = (None, "alert", 7, {}, {"status": "firing"}, {"labels": {"alertname": ["x"]}})
OF_ALERTMANAGER: Mapping[str, Callable[[Obj], None]] = {
    "truncatedAlerts is null": _set("truncatedAlerts", to=None),
    "truncatedAlerts is a text": _set("truncatedAlerts", to="many"),
    "no groupKey": _drop("groupKey"),
    "an unknown version": _set("version", to="5"),
    "a version that is a number, and no receiver": lambda body: body.update(version=4, receiver=None),
    "fields of a later release": lambda body: body.update(
        notification_reason="new alerts added", routeLabels={"team": "rag"}, tenant=[1, {"a": None}]
    ),
    "common labels and annotations are null": lambda body: body.update(
        commonLabels=None, commonAnnotations=None
    ),
    "neighbours that nobody can read": _beside(*BROKEN),
    "a start of zero": _first(startsAt=NEVER),
    "no fingerprint and no annotations": _first(fingerprint="", annotations=None, generatorURL=None),
    "a fingerprint of another kind": _first(fingerprint=1234, endsAt=None),
    "the same alert twice": lambda body: body["alerts"].append(copy.deepcopy(body["alerts"][0])),
}
OF_GRAFANA: Mapping[str, Callable[[Obj], None]] = {
    **{
        name: OF_ALERTMANAGER[name]
        for name in (
            "truncatedAlerts is null",
            "no groupKey",
            "neighbours that nobody can read",
            "a start of zero",
            "no fingerprint and no annotations",
        )
    },
    "no values": _first(values=None, valueString="", imageURL=None),
    "values are texts": _first(values={"B": "NaN", "C": None}),
    "orgId is a text": lambda body: body.update(orgId="1", title=None, state=7, message=["x"]),
    "the query failed": lambda body: body["alerts"][0]["annotations"].update(grafana_state_reason="Error"),
    "neither version nor status of the message": lambda body: (body.pop("version"), body.pop("status"), None)[
        -1
    ],
    "times with an offset": lambda body: body["alerts"][0].update(
        startsAt=body["alerts"][0]["startsAt"].replace("Z", "+00:00")
    ),
}
OF_PAGERDUTY: Mapping[str, Callable[[Obj], None]] = {
    "no agent and no client": lambda body: body["event"].update(agent=None, client=None),
    "an agent that is a text": _set("event", "agent", to="PINT042"),
    "a priority and no service": lambda body: body["event"]["data"].update(
        priority={"id": "P1", "summary": "P1"}, service=None
    ),
    "no number, no urgency": lambda body: body["event"]["data"].update(number=None, urgency=7),
    "no creation time": _drop("event", "data", "created_at"),
    "a data without a type": _drop("event", "data", "type"),
    "the incident below an incident": lambda body: body["event"].update(
        data={"type": "incident_reference", "incident": body["event"]["data"]}
    ),
    "fields of a later release": lambda body: body["event"].update(links=[{"rel": "self"}], data_version=2),
    "no resource type": _drop("event", "resource_type"),
    "no event id": _drop("event", "id"),
    "a title without Alertmanager's brackets": lambda body: body["event"]["data"].update(
        title="langgraph fails"
    ),
}
OF_ORCHESTRATION: Mapping[str, Callable[[Obj], None]] = {
    "one level down": lambda body: _wrap(body, "parameters"),
    "one level down, in an event": lambda body: _wrap(body, "event"),
    "a list of keys and values": _pairs,
    "no dedup key": _drop("dedup_key"),
    "no start": _drop("starts_at"),
    "no event action": _drop("event_action"),
    "a start that is none": _set("starts_at", to="{{event.timestamp}}"),
    "numbers and booleans": lambda body: body.update(shard=5, canary=True, ratio=0.5),
    "null and nested": lambda body: body.update(team=None, more={"a": {"b": [1]}}),
    "another name for the key": lambda body: body.update(alert_key=body.pop("dedup_key")),
}


AM, PD = "/webhooks/alertmanager", "/webhooks/pagerduty"
SENDERS: Mapping[str, Sender] = {
    **{
        f"Alertmanager {version}": Sender(AM, alertmanager, OF_ALERTMANAGER, f"Alertmanager/{version}")
        for version in ("0.27.0", "0.28.1", "0.29.0", "0.30.0", "0.31.1")
    },
    "Alertmanager behind an exporter": Sender(AM, behind_an_exporter, OF_ALERTMANAGER, "Alertmanager/0.31.1"),
    "Mimir": Sender(AM, mimir, OF_ALERTMANAGER, "Alertmanager/"),
    "vmalert": Sender(AM, vmalert, OF_ALERTMANAGER, "Alertmanager/0.28.1"),
    **{f"Grafana {version}": Sender(AM, grafana, OF_GRAFANA, "Grafana") for version in (11, 12, 13)},
    "PagerDuty V3": Sender(PD, pagerduty, OF_PAGERDUTY, "PagerDuty-Webhook/V3.0"),
    "PagerDuty Event Orchestration": Sender(
        f"{PD}/orchestration", orchestration, OF_ORCHESTRATION, tells_end=False
    ),
}


def _shapes() -> dict[str, list[Sender]]:
    found: dict[str, list[Sender]] = {}
    for sender in SENDERS.values():
        found.setdefault(sender.body.__name__, []).append(sender)
    return found


SHAPES: Mapping[str, list[Sender]] = _shapes()
"""The senders by the shape they share, which is that of all their releases."""


def raw(sender: Sender, story: Story, odd: str = "") -> bytes:
    """The bytes of a body, or of an odd variant of it."""
    body = sender.body(story)
    if odd:
        sender.odd[odd](body)
    return json.dumps(body).encode()
