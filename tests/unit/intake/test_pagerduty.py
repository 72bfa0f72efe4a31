"""PagerDuty V3 events: a signed request is never refused, and the alert body fills in what the webhook lacks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.alert import Alert, AlertStatus, Delivery, Source
from app.domain.subject import UNREAD, unread
from app.intake import pagerduty
from app.intake.pagerduty import enriched, lacks_labels

DATA = Path(__file__).parent / "data"
NOW = datetime(2026, 3, 4, 10, 17, tzinfo=UTC)
CREATED = datetime(2026, 3, 4, 10, 16, 31, tzinfo=UTC)
EVENT = "01HQ4T9ZK2M7N3XW8VRB5YD6CE"
OCCURRED = CREATED.replace(microsecond=284_000)


def parse(body: object, **options: Any) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return pagerduty.parse(raw, received_at=NOW, **options)


def event(kind: str = "incident.triggered", **incident: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((DATA / "pagerduty-incident-triggered.json").read_text())
    body["event"]["event_type"] = kind
    body["event"]["data"].update(incident)
    return body


def triggered() -> Delivery:
    return parse(event())


def test_a_triggered_incident_is_a_firing_alert() -> None:
    delivery = triggered()
    assert (delivery.source, delivery.sender, delivery.dedupe_key) == (Source.PAGERDUTY, "pagerduty", EVENT)
    assert delivery.note == "incident.triggered"
    [alert] = delivery.alerts
    assert (alert.fingerprint, alert.status) == ("Q0X7LMN2P4RST8", AlertStatus.FIRING)
    assert (alert.starts_at, alert.ends_at) == (CREATED, None)
    assert alert.labels == {
        "alertname": "HighErrorRate",
        "pagerduty_service": "Checkout",
        "pagerduty_urgency": "high",
        UNREAD: unread(["the alerts in PagerDuty's API"]),
    }
    assert alert.annotations == {
        "summary": "[FIRING:2] HighErrorRate checkout-api (shop critical)",
        "pagerduty_url": "https://example-co.pagerduty.com/incidents/Q0X7LMN2P4RST8",
        "pagerduty_number": "4127",
    }


def test_resolving_ends_the_same_episode() -> None:
    [firing], [resolved] = triggered().alerts, parse(event("incident.resolved")).alerts
    assert resolved.status is AlertStatus.RESOLVED
    assert resolved.ends_at == OCCURRED
    assert resolved.episode == firing.episode


def test_reopening_is_a_new_episode_and_its_end_meets_it() -> None:
    again = "2026-03-04T11:00:00Z"
    [reopened] = parse(event("incident.reopened", reopened_at=again)).alerts
    [resolved] = parse(event("incident.resolved", reopened_at=again)).alerts
    assert reopened.status is AlertStatus.FIRING
    assert reopened.starts_at == datetime(2026, 3, 4, 11, tzinfo=UTC)
    assert reopened.episode == resolved.episode != triggered().alerts[0].episode


def test_reopening_without_a_time_began_when_the_event_occurred() -> None:
    assert parse(event("incident.reopened")).alerts[0].starts_at == OCCURRED


NOTED = [
    "incident.acknowledged", "incident.unacknowledged", "incident.escalated", "incident.delegated", "incident.reassigned",
    "incident.annotated", "incident.priority_updated", "incident.status_update_published", "incident.responder.added",
    "incident.workflow.started", "service.updated", "incident.something.new", "pagey.ping",
]  # fmt: skip


@pytest.mark.parametrize("kind", NOTED)
def test_other_events_are_noted_without_alerts(kind: str) -> None:
    delivery = parse(event(kind, type="incident_note"))
    assert (delivery.alerts, delivery.rejected, delivery.note) == ((), (), kind)


def test_the_test_event_is_noted_under_its_own_id_when_no_header_came() -> None:
    delivery = parse((DATA / "pagerduty-ping.json").read_bytes())
    assert (delivery.note, delivery.dedupe_key) == ("pagey.ping", "01HQ4TB6QWJ5C9F2A8XKPZ70NM")


def test_an_event_is_told_apart_by_its_signed_id_alone() -> None:
    one, other = parse(event()), parse(event(title="edited"))
    assert (one.dedupe_key, one.body_digest) == (other.dedupe_key, other.body_digest) == (EVENT, "")


def test_an_event_without_an_id_is_told_apart_by_its_bytes() -> None:
    body, more = event(), event(title="another")
    del body["event"]["id"], more["event"]["id"]
    assert parse(body).dedupe_key == parse(body).dedupe_key != parse(more).dedupe_key


@pytest.mark.parametrize("kind", ["incident.triggered", "incident.reopened"])
@pytest.mark.parametrize(("hours", "acted_on"), [(5, True), (7, False), (24 * 24, False)])
def test_an_old_event_is_kept_as_a_note_and_not_acted_on(kind: str, hours: int, acted_on: bool) -> None:
    body = event(kind)
    body["event"]["occurred_at"] = (NOW - timedelta(hours=hours)).isoformat()
    delivery = parse(body)
    assert bool(delivery.alerts) is acted_on
    assert delivery.rejected == ()
    assert ("too old to act on" in delivery.note) is not acted_on


def test_an_old_end_still_ends_its_episode() -> None:
    body = event("incident.resolved")
    body["event"]["occurred_at"] = (NOW - timedelta(days=2)).isoformat()
    assert parse(body).alerts[0].status is AlertStatus.RESOLVED


@pytest.mark.parametrize("time", [None, "", "yesterday", 5])
def test_an_event_without_a_time_is_kept_and_not_acted_on(time: object) -> None:
    body = event()
    body["event"]["occurred_at"] = time
    delivery = parse(body)
    assert delivery.alerts == ()
    assert [(r.code, r.where) for r in delivery.rejected] == [("bad_time", "/event/occurred_at")]


def test_our_own_doing_is_not_taken_for_an_alert() -> None:
    body = event()
    body["event"]["agent"]["id"] = "PBOT"
    assert parse(body, own_agents=frozenset({"PBOT"})).alerts == ()
    assert parse(body, own_agents=frozenset({"PBOT"})).note == "incident.triggered: our own doing"
    assert len(parse(body, own_agents=frozenset({"OTHER", ""})).alerts) == 1


@pytest.mark.parametrize("agent", [None, {}, {"id": None}, "x"])
def test_an_event_without_an_agent_is_not_ours(agent: object) -> None:
    body = event()
    body["event"]["agent"] = agent
    assert len(parse(body, own_agents=frozenset({""})).alerts) == 1


def test_an_incident_inside_other_data_is_found() -> None:
    body = event()
    body["event"]["data"] = {"type": "incident_status_update", "id": "X", "incident": body["event"]["data"]}
    assert parse(body).alerts[0].fingerprint == "Q0X7LMN2P4RST8"


_TRIGGERED = {"event_type": "incident.triggered", "occurred_at": "2026-03-04T10:16:31Z"}
UNREADABLE = [
    (b"", "invalid_json"),
    (b"\xff\x00", "invalid_json"),
    (b"[]", "invalid_field"),
    ({}, "invalid_field"),
    ({"event": []}, "invalid_field"),
    ({"event": {"event_type": "incident.triggered"}}, "bad_time"),
    ({"event": _TRIGGERED}, "invalid_field"),
    ({"event": {**_TRIGGERED, "data": {"type": "incident"}}}, "no_incident_id"),
    ({"event": {**_TRIGGERED, "data": {"type": "incident", "id": "Q" * 256}}}, "no_incident_id"),
    ({"event": {**_TRIGGERED, "data": {"type": "incident_note"}}}, "invalid_field"),
]


@pytest.mark.parametrize(("body", "code"), UNREADABLE)
def test_what_cannot_be_read_is_kept_with_the_reason_instead_of_refused(body: object, code: str) -> None:
    delivery = parse(body)
    assert delivery.alerts == ()
    assert delivery.dedupe_key.startswith("body:")
    assert [r.code for r in delivery.rejected] == [code]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("[FIRING:2] HighErrorRate checkout-api (shop critical)", "HighErrorRate"),
        ("[RESOLVED] HighErrorRate checkout-api", "HighErrorRate"),
        ("[FIRING] X", "X"),
        ("Disk full on db-1", "Disk full on db-1"),
        ("[P1] something", "[P1] something"),
    ],
)
def test_the_name_comes_from_the_title(title: str, name: str) -> None:
    assert parse(event(title=title)).alerts[0].name == name


def test_an_incident_without_a_title_has_no_name() -> None:
    assert parse(event(title=None)).alerts[0].name == ""


FIRING = """Labels:
 - alertname = HighErrorRate
 - namespace = shop
 - deployment = checkout-api
 - pod = {pod}
 - severity = critical
Annotations:
 - summary = a = b
 - namespace = not-a-label
Source: https://prom/x
"""


def alerts_json(*details: Any, **fields: Any) -> dict[str, Any]:
    return {"alerts": [{"id": "A", "body": {"details": d}, **fields} for d in details]}


WANTED = {"namespace": "shop", "deployment": "checkout-api"}

BODIES = [
    (alerts_json({**WANTED, "alertname": "HighErrorRate"}), WANTED),
    (
        alerts_json({"firing": FIRING.format(pod="a"), "num_firing": "1"}),
        {**WANTED, "pod": "a", "severity": "critical"},
    ),
    (
        alerts_json({"firing": FIRING.format(pod="a") + FIRING.format(pod="b")}),
        {**WANTED, "severity": "critical"},
    ),
    (alerts_json(FIRING.format(pod="a")), {**WANTED, "pod": "a", "severity": "critical"}),
    (alerts_json(json.dumps(WANTED)), WANTED),
    (alerts_json({"labels": WANTED, "other": [1]}), WANTED),
    ({"alerts": [{"body": {"cef_details": {"details": WANTED}}}]}, WANTED),
    ({"alerts": [{"body": {"details": {"namespace": "shop"}, "cef_details": {"details": WANTED}}}]}, WANTED),
    (alerts_json({"custom_details": WANTED}), WANTED),
    (alerts_json({"firing": [{"labels": {**WANTED, "pod": p}} for p in "ab"]}), WANTED),
    (alerts_json({**WANTED, "pod": "a"}, {**WANTED, "pod": "b"}), WANTED),
    (alerts_json(WANTED, severity="warning"), {**WANTED, "severity": "warning"}),
    (alerts_json({**WANTED, "severity": "critical"}, severity="warning"), {**WANTED, "severity": "critical"}),
]


@pytest.mark.parametrize(("body", "labels"), BODIES)
def test_the_alert_body_fills_in_the_labels_that_all_alerts_share(
    body: dict[str, Any], labels: dict[str, str]
) -> None:
    (before,) = triggered().alerts
    assert lacks_labels(before)
    after = enriched(before, body)
    own = {"pagerduty_service": "Checkout", "pagerduty_urgency": "high", "alertname": "HighErrorRate"}
    assert {k: v for k, v in after.labels.items() if k != UNREAD} == {**labels, **own}
    assert not lacks_labels(after)
    assert after.episode == before.episode


def test_the_name_in_the_body_is_better_than_the_title() -> None:
    after = enriched(
        parse(event(title="5xx!")).alerts[0], alerts_json({**WANTED, "alertname": "HighErrorRate"})
    )
    assert after.name == "HighErrorRate"


def test_resolved_members_say_nothing_while_others_fire() -> None:
    body = {
        "alerts": [
            {"status": "resolved", "body": {"details": {"namespace": "old"}}},
            {"status": "triggered", "body": {"details": WANTED}},
        ]
    }
    assert enriched(triggered().alerts[0], body).namespace == "shop"


def test_what_the_webhook_told_is_not_overwritten() -> None:
    after = enriched(triggered().alerts[0], alerts_json({**WANTED, "pagerduty_service": "Other"}))
    assert after.labels["pagerduty_service"] == "Checkout"


def test_names_and_values_that_are_no_labels_are_left_out() -> None:
    details = {
        **WANTED,
        "a b": "1",
        "x": "y" * 2000,
        "n": 5,
        "yes": True,
        "none": None,
        "list": ["a", "b"],
        "empty": " ",
    }
    labels = enriched(triggered().alerts[0], alerts_json(details)).labels
    assert {k: labels[k] for k in ("n", "yes", "a_b")} == {"n": "5", "yes": "true", "a_b": "1"}
    assert not {"a b", "x", "none", "list", "empty"} & set(labels)
    assert labels[UNREAD] == unread(["x", "none", "empty", "list"])


def test_a_body_with_thousands_of_entries_gives_a_bounded_number_of_labels() -> None:
    labels = enriched(triggered().alerts[0], alerts_json({f"k{i}": "v" for i in range(5000)})).labels
    assert len(labels) < 80


def test_only_firing_pagerduty_alerts_without_a_namespace_need_a_body() -> None:
    other = Alert(Source.ALERTMANAGER, "f", AlertStatus.FIRING, NOW, {"alertname": "X"})
    assert not lacks_labels(other)
    (resolved,) = parse(event("incident.resolved")).alerts
    assert not lacks_labels(resolved)


_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["body", "details", "firing", "labels", "status", "namespace"]), inner
        )
    ),
    max_leaves=12,
)


@given(_ODD)
def test_odd_alert_bodies_change_nothing_that_identifies(odd: Any) -> None:
    (before,) = triggered().alerts
    after = enriched(before, {"alerts": odd})
    assert after.episode == before.episode
    assert after.name


@given(
    st.dictionaries(st.sampled_from(["id", "event_type", "data", "agent"]), _ODD),
    st.sampled_from(["incident.triggered", None]),
)
def test_no_event_is_refused(fields: dict[str, Any], kind: str | None) -> None:
    delivery = parse({"event": {**fields, **({"event_type": kind} if kind else {})}})
    assert delivery.source is Source.PAGERDUTY


@pytest.mark.parametrize(
    ("kind", "status", "stands"),
    [
        ("incident.acknowledged", "acknowledged", True),
        ("incident.unacknowledged", "triggered", False),
        ("incident.reassigned", "triggered", False),
        ("incident.reassigned", "acknowledged", None),
        ("incident.priority_updated", "acknowledged", None),
        ("incident.reopened", "triggered", False),
        ("incident.resolved", "resolved", None),
        ("incident.annotated", "resolved", None),
        ("incident.triggered", "triggered", False),
        ("incident.annotated", "odd", None),
        ("service.updated", "triggered", None),
    ],
)
def test_who_has_an_incident_is_told_by_its_events(kind: str, status: str, stands: bool | None) -> None:
    found = parse(event(kind, status=status)).acknowledgement
    assert (found.stands if found else None) is stands
    if found:
        assert (found.alert.fingerprint, found.at) == ("Q0X7LMN2P4RST8", OCCURRED)


@pytest.mark.parametrize(
    ("agent", "by"),
    [
        ({"summary": "Ann\u202eOps"}, "pagerduty:Ann\\u202eOps"),
        ({"summary": "slack-group:S0SRE"}, "pagerduty:slack-group:S0SRE"),
        ({"summary": "alice"}, "pagerduty:alice"),
        ({"summary": 7}, "somebody"),
        (None, "somebody"),
        ("x", "somebody"),
    ],
)
def test_the_name_of_who_acknowledged_is_cleaned_and_nobodys_whom_we_know(agent: object, by: str) -> None:
    body = event("incident.acknowledged")
    body["event"]["agent"] = agent
    found = parse(body).acknowledgement
    assert found is not None
    assert found.by == by


def test_an_acknowledgement_that_cannot_be_read_is_none_and_refuses_nothing() -> None:
    body = event("incident.acknowledged")
    body["event"]["occurred_at"] = "yesterday"
    delivery = parse(body)
    assert (delivery.acknowledgement, delivery.rejected, delivery.note) == (None, (), "incident.acknowledged")


def test_a_secret_in_a_title_is_hidden_where_people_read_it() -> None:
    found = parse(event(title="login refused: password=hunter2")).alerts[0]
    assert found.annotations["summary"] == "login refused: password=[redacted]"
