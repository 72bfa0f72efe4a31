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
from app.domain.free_text import OF_PAGERDUTY, cut_raw, name_told, one_line
from app.domain.json import JsonValue
from app.domain.redact import Effort, annotation, work_bounded
from app.domain.subject import UNREAD, unread
from app.intake.body import decode, pointer, rfc3339
from app.intake.labels import MAX_ALERTS, Reading, alert_name, free_labels, object_in

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
_CEF = {
    "pagerduty_component": "source_component",
    "pagerduty_source": "source_origin",
    "pagerduty_group": "service_group",
    "pagerduty_class": "event_class",
}
"""What of the Common Event Format says where an event is from, and under which labels it is kept."""
_SENDERS = frozenset({"alertmanager", "prometheus", "grafana", "datadog", "vmalert", "mimir", "thanos"})
"""Such values that name only the tool that sent it."""
_RAW_LIMIT = 2_000
_MAX_ID = 255
_EFFORT = 2_000
"""What may be spent on hiding secrets in the annotations of an event, whatever else its body may cost."""
_WORK = 20_000
"""Units of `work_bounded`, on all that PagerDuty's API tells of one incident."""
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
    noted = one_line(kind, _NAME)
    known = dataclasses.replace(blank, dedupe_key=_text(event, "id") or blank.dedupe_key, note=noted)
    if _text(_maybe(event, "agent"), "id") in own_agents - {""}:
        return dataclasses.replace(known, note=f"{noted}: our own doing")
    if key := own_page(_title(event)):
        return dataclasses.replace(known, note=f"{noted}: of our own page", page=_page(event, kind, key))
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
        return dataclasses.replace(known, note=f"{noted}: of {occurred.isoformat()}, too old to act on")
    return dataclasses.replace(known, alerts=(alert,))


def _acknowledgement(event: Mapping[str, Any], kind: str) -> Acknowledgement | None:
    """What an incident's event says of who has it; None for one that says nothing, or that cannot be read. Whoever reassigns or
    reopens an incident that was acknowledged makes it triggered again, and its events carry that status. That it is resolved takes
    nothing from whoever had it: they had it to its end."""
    stands = kind == "incident.acknowledged"
    status = _text(_maybe(event, "data"), "status")
    lifts = (
        kind in ("incident.triggered", "incident.reopened", "incident.unacknowledged")
        or status == "triggered"
    )
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
    """Whoever bears it chose this name: it gets a beginning of its own, so that it is nobody's whom we know."""
    name = name_told(_text(_maybe(event, "agent"), "summary"), _NAME)
    return f"{OF_PAGERDUTY}{name}" if name else "somebody"


def _occurred(event: Mapping[str, Any]) -> datetime:
    occurred = rfc3339(event.get("occurred_at"))
    if occurred is None:
        raise BadInput("expected an RFC 3339 time", code="bad_time", where=pointer("event", "occurred_at"))
    return occurred


def _alert(event: Mapping[str, Any], status: AlertStatus, occurred: datetime, *, reopened: bool) -> Alert:
    data = _mapping(event, "data")
    incident = data if data.get("type") in ("incident", None) else _mapping(data, "incident")
    identity = _text(incident, "id")
    if not 0 < len(identity) <= _MAX_ID:
        raise BadInput(
            "an incident without an id, or with one that is too long",
            code="no_incident_id",
            where=pointer("event", "data", "id"),
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
        labels=_incident_labels(incident, title, status),
        annotations=_annotations(incident, title),
        ends_at=occurred if status is AlertStatus.RESOLVED else None,
    )


def _incident_labels(incident: Mapping[str, Any], title: str, status: AlertStatus) -> dict[str, str]:
    told = {
        "alertname": alert_name(title),
        "pagerduty_service": _text(_maybe(incident, "service"), "summary"),
        "pagerduty_urgency": _text(incident, "urgency"),
        "pagerduty_priority": _text(_maybe(incident, "priority"), "summary"),
    }
    found = Reading(told)
    for name, value in told.items():
        found.scalar(name, value)
    # An event names its incident only. Until PagerDuty's API has told the rest, what it is about is not known.
    rest = {UNREAD: unread(["the alerts in PagerDuty's API"])} if status is AlertStatus.FIRING else {}
    return free_labels(found.labels | rest)


def _annotations(incident: Mapping[str, Any], title: str) -> dict[str, str]:
    entries = {
        "summary": title,
        "pagerduty_url": _text(incident, "html_url"),  # shown, never fetched
        "pagerduty_number": str(incident.get("number") or ""),
    }
    effort = Effort(_EFFORT)
    return {name: annotation(name, value, MAX_BYTES, effort) for name, value in entries.items() if value}


def _unreadable(delivery: Delivery, error: BadInput, raw: JsonValue) -> Delivery:
    rejected = RejectedAlert(0, error.code, error.where, error.message, cut_raw(raw))
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
    """`alert` with the labels that all alerts of its PagerDuty incident share, without what looks like a secret; what they do not share, or
    do not tell, is named in UNREAD. Odd shapes add nothing else; never raises.

    The identity stays; what the webhook told stays, except a name that was only taken from the title. For a thread: whoever may send
    events to PagerDuty fills a hundred bodies.
    """
    with work_bounded(_WORK, hides=True):
        return _enriched(alert, alerts_json)


def _enriched(alert: Alert, alerts_json: Mapping[str, Any]) -> Alert:
    items = alerts_json.get("alerts")
    entries = [item for item in items if isinstance(item, Mapping)] if isinstance(items, Sequence) else []
    # A resolved member of the incident says nothing about what fires now, unless nothing else is there.
    firing = [item for item in entries if item.get("status") != "resolved"] or entries
    found = Reading()
    if not firing or len(entries) != len(items or ()):
        found.lose("an alert of the incident")
    found.shared([_reading(item) for item in firing[: MAX_ALERTS + 1]])
    labels = free_labels(found.labels)
    own = {name: value for name, value in alert.labels.items() if name not in ("alertname", UNREAD)}
    name = labels.get("alertname") or alert.name
    return dataclasses.replace(alert, labels={**labels, **own, **({"alertname": name} if name else {})})


def _reading(item: Mapping[str, Any]) -> Reading:
    """The labels in an alert's body."""
    body, found = _maybe(item, "body"), Reading()
    cef = _maybe(body, "cef_details")
    details = _details(found, body.get("details"))
    # A global integration puts them in the Common Event Format, beside or instead of the usual place.
    told = _details(found, cef.get("details"))
    fields = {name: _text(cef, field) for name, field in _CEF.items()}
    for name, value in fields.items():
        if value and value.lower() not in _SENDERS:
            found.scalar(name, value)
    if not details and not told and not any(fields.values()):
        found.lose("the details of an alert")
    if isinstance(item.get("severity"), str):
        found.scalar("severity", item["severity"])
    return found


def _details(found: Reading, details: Any) -> bool:
    """Take what is in an alert's details; whether there was anything."""
    if isinstance(details, str):
        details = object_in(details) or {"firing": details}
    if isinstance(details, Mapping):
        found.entries(details)
    return isinstance(details, Mapping) and bool(details)
