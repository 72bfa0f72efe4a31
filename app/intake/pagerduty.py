"""PagerDuty V3 webhooks become a Delivery; the incident's alert body is merged in when it has been fetched.

A signed request is never refused: PagerDuty drops an event at once on a 4xx and switches the subscription off after
three, so what is unwanted is a Delivery with a note, and what cannot be read is a Delivery with a RejectedAlert.
The webhook itself carries a title but no alerts and no labels: they are fetched from its REST API.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.domain.alert import (
    Acknowledgement,
    Alert,
    AlertStatus,
    Delivery,
    PageNews,
    PageWord,
    RejectedAlert,
    Source,
)
from app.domain.errors import BadInput
from app.domain.json import JsonValue
from app.domain.redact import annotation, redact_value
from app.domain.text import bounded, visible
from app.intake.body import decode, pointer
from app.intake.labels import alert_name, common, from_firing_text, scalars
from app.intake.times import rfc3339

MAX_AGE = timedelta(hours=6)
"""How old a firing event may be that is acted on. PagerDuty tries again for less than that."""
MAX_BYTES = 512 * 1024
"""PagerDuty itself drops events above 256 KB."""
_STATUS = {
    "incident.triggered": AlertStatus.FIRING,
    "incident.reopened": AlertStatus.FIRING,
    "incident.resolved": AlertStatus.RESOLVED,
}
_RELEASES = frozenset(
    {"incident.unacknowledged", "incident.reopened", "incident.reassigned", "incident.delegated"}
)
# Counters and blocks of Alertmanager's PagerDuty template, not labels.
_NOT_LABELS = frozenset({"num_firing", "num_resolved", "firing", "resolved"})
_NESTED = ("labels", "commonLabels", "groupLabels", "custom_details", "details")
_RAW_LIMIT = 2_000
_NAME = 80


def parse(
    body: bytes,
    *,
    received_at: datetime,
    sender: str = "pagerduty",
    own_agents: frozenset[str] = frozenset(),
    own_page: Callable[[str], str] = lambda _title: "",
) -> Delivery:
    """One signed event. Never raises.

    Told apart by what is signed only: the event's id, or the whole body where it has none. Events caused by
    `own_agents` (ids of the users and integrations that this service acts as) are noted and not acted on, and so is
    what began to fire longer ago than MAX_AGE: a recorded request stays signed for ever. `own_page` reads the key of a page of our
    own out of a title, empty for any other: its events are no alerts, and say whether a person answered it.
    """
    blank = Delivery(
        Source.PAGERDUTY, received_at, sender, dedupe_key=f"body:{hashlib.sha256(body).hexdigest()}"
    )
    try:
        event = _mapping(decode(body, max_bytes=MAX_BYTES), "event")
    except BadInput as error:
        return _unreadable(blank, error, body.decode("utf-8", "replace")[:_RAW_LIMIT])
    kind = _text(event, "event_type") or "event without a type"
    known = dataclasses.replace(blank, dedupe_key=_text(event, "id") or blank.dedupe_key, note=kind)
    if _text(_maybe(event, "agent"), "id") in own_agents - {""}:
        return dataclasses.replace(known, note=f"{kind}: our own doing")
    if key := own_page(_title(event)):
        return dataclasses.replace(known, note=f"{kind}: of our own page", page=_page(event, kind, key))
    known = dataclasses.replace(known, acknowledgement=_acknowledgement(event, kind))
    status = _STATUS.get(kind)
    if status is None:
        return known
    try:
        occurred = _occurred(event)
        alert = _alert(event, status, occurred, reopened=kind == "incident.reopened")
    except BadInput as error:
        return _unreadable(known, error, event)
    if status is AlertStatus.FIRING and received_at - occurred > MAX_AGE:
        # An old end does no harm: it ends the episode it names, and a reopened incident is another one.
        return dataclasses.replace(known, note=f"{kind}: of {occurred.isoformat()}, too old to act on")
    return dataclasses.replace(known, alerts=(alert,))


def _acknowledgement(event: Mapping[str, Any], kind: str) -> Acknowledgement | None:
    """What an incident's event says of who has it; None for one that says nothing, or that cannot be read. Whoever reassigns or
    reopens an incident that was acknowledged makes it triggered again, and its events carry that status."""
    stands = kind == "incident.acknowledged"
    status = _text(_maybe(event, "data"), "status")
    lifts = kind in (*_STATUS, "incident.unacknowledged") or status in ("triggered", "resolved")
    if not kind.startswith("incident.") or not (stands or lifts):
        return None
    try:
        at = _occurred(event)
        alert = _alert(event, AlertStatus.FIRING, at, reopened=False)
    except BadInput:
        return None
    return Acknowledgement(alert, _agent(event), at, stands)


def _title(event: Mapping[str, Any]) -> str:
    data = _maybe(event, "data")
    return _text(data, "title") or _text(_maybe(data, "incident"), "title")


def _page(event: Mapping[str, Any], kind: str, key: str) -> PageNews | None:
    """What an event of our own page says of who has it. That it was resolved is a word only of a person: we resolve it ourselves, and
    PagerDuty does after a time."""
    agent = _maybe(event, "agent")
    if kind == "incident.acknowledged":
        word = PageWord.ACKNOWLEDGED
    elif kind == "incident.resolved" and _text(agent, "type") == "user_reference":
        word = PageWord.RESOLVED
    elif kind in _RELEASES and _text(_maybe(event, "data"), "status") in ("triggered", ""):
        word = PageWord.RELEASED
    else:
        return None
    try:
        return PageNews(key, word, _agent(event), _occurred(event))
    except BadInput:
        return None


def _agent(event: Mapping[str, Any]) -> str:
    return visible(bounded(_text(_maybe(event, "agent"), "summary"), _NAME)) or "somebody"


def _occurred(event: Mapping[str, Any]) -> datetime:
    occurred = rfc3339(event.get("occurred_at"))
    if occurred is None:
        raise BadInput("expected an RFC 3339 time", code="bad_time", where=pointer("event", "occurred_at"))
    return occurred


def _alert(event: Mapping[str, Any], status: AlertStatus, occurred: datetime, *, reopened: bool) -> Alert:
    data = _mapping(event, "data")
    incident = data if data.get("type") in ("incident", None) else _mapping(data, "incident")
    identity = _text(incident, "id")
    if not identity:
        raise BadInput(
            "an incident without an id", code="no_incident_id", where=pointer("event", "data", "id")
        )
    # A reopened incident is a new episode; its later `resolved` carries reopened_at too.
    starts_at = rfc3339(incident.get("reopened_at")) or (
        occurred if reopened else rfc3339(incident.get("created_at"))
    )
    title = _text(incident, "title")
    return Alert(
        source=Source.PAGERDUTY,
        fingerprint=identity,
        status=status,
        starts_at=starts_at or occurred,
        labels=_incident_labels(incident, title),
        annotations=_annotations(incident, title),
        ends_at=occurred if status is AlertStatus.RESOLVED else None,
    )


def _incident_labels(incident: Mapping[str, Any], title: str) -> dict[str, str]:
    return scalars(
        {
            "alertname": alert_name(title),
            "pagerduty_service": _text(_maybe(incident, "service"), "summary"),
            "pagerduty_urgency": _text(incident, "urgency"),
            "pagerduty_priority": _text(_maybe(incident, "priority"), "summary"),
        }
    )


def _annotations(incident: Mapping[str, Any], title: str) -> dict[str, str]:
    entries = {
        "summary": title,
        "pagerduty_url": _text(incident, "html_url"),  # shown, never fetched
        "pagerduty_number": str(incident.get("number") or ""),
    }
    return {name: annotation(name, value, MAX_BYTES) for name, value in entries.items() if value}


def _unreadable(delivery: Delivery, error: BadInput, raw: JsonValue) -> Delivery:
    rejected = RejectedAlert(0, error.code, error.where, error.message, redact_value(raw))
    return dataclasses.replace(delivery, rejected=(rejected,))


def _mapping(data: Any, key: str) -> Mapping[str, Any]:
    value = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(value, Mapping):
        raise BadInput("expected a JSON object", code="invalid_field", where=pointer(key))
    return value


def _maybe(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def lacks_labels(alert: Alert) -> bool:
    """True for a firing PagerDuty alert that has only what the webhook told. Its fingerprint is the incident's id."""
    return alert.source is Source.PAGERDUTY and alert.status is AlertStatus.FIRING and not alert.namespace


def enriched(alert: Alert, alerts_json: Mapping[str, Any]) -> Alert:
    """`alert` with the labels that all alerts of its PagerDuty incident share. Odd shapes add nothing; never raises.

    The identity stays; what the webhook told stays, except a name that was only taken from the title.
    """
    items = alerts_json.get("alerts")
    entries = [item for item in items if isinstance(item, Mapping)] if isinstance(items, Sequence) else []
    # A resolved member of the incident says nothing about what fires now, unless nothing else is there.
    firing = [item for item in entries if item.get("status") != "resolved"] or entries
    found = common(_labels_of(item) for item in firing)
    if not found:
        return alert
    own = {name: value for name, value in alert.labels.items() if name != "alertname"}
    name = found.get("alertname") or alert.name
    labels = {**found, **own, **({"alertname": name} if name else {})}
    return dataclasses.replace(alert, labels=labels)


def _labels_of(item: Mapping[str, Any]) -> dict[str, str]:
    body = _maybe(item, "body")
    # A global integration puts them in the Common Event Format, beside or instead of the usual place.
    found = _labels_in(_maybe(body, "cef_details").get("details"))
    return scalars({"severity": item.get("severity")}) | found | _labels_in(body.get("details"))


def _labels_in(details: Any) -> dict[str, str]:
    if isinstance(details, str):
        details = _object_in(details) or {"firing": details}
    found: dict[str, str] = {}
    if isinstance(details, Mapping):
        for key in _NESTED:
            found |= scalars(_without_blocks(_maybe(details, key)))
        found |= scalars(_without_blocks(details))
        found |= _firing(details.get("firing"))
    return found


def _without_blocks(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name not in _NOT_LABELS}


def _firing(block: Any) -> dict[str, str]:
    if isinstance(block, str):
        return from_firing_text(block)
    if isinstance(block, Sequence):
        return common(scalars(_maybe(alert, "labels")) for alert in block if isinstance(alert, Mapping))
    return {}


def _object_in(text: str) -> dict[str, Any] | None:
    try:
        value = decode(text.encode("utf-8", "replace"))
    except BadInput:
        return None
    return value if isinstance(value, dict) else None
