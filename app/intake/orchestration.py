"""PagerDuty Event Orchestration: the request of an automation action becomes a Delivery.

Its envelope is documented only as "parameters are put into the JSON payload", so the keys are looked for at the top
level, one level down, and further in what holds labels by its name. As with every PagerDuty request, nothing is refused once the secret is right: what cannot be
used is kept as a RejectedAlert.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from app.domain.alert import Alert, AlertStatus, Delivery, RejectedAlert, Source
from app.domain.errors import BadInput
from app.domain.free_text import cut_raw
from app.domain.json import JsonValue
from app.domain.redact import Effort, annotation, redact
from app.intake.body import decode, rfc3339
from app.intake.fingerprint import fingerprint
from app.intake.labels import Reading, free_labels

MAX_BYTES = 512 * 1024
_IDENTITY = ("dedup_key", "alert_key", "incident_key")
_START = ("starts_at", "startsAt", "created_at", "timestamp")
_STATUS = ("event_action", "status")
_TEXTS = ("summary", "description", "runbook_url", "title")
_ENVELOPE = frozenset(
    (*_IDENTITY, *_START, *_STATUS, *_TEXTS, "routing_key", "payload", "client", "client_url")
)
_OVER = frozenset({"resolve", "resolved", "acknowledge", "acknowledged"})
_RAW_LIMIT = 2_000
_EFFORT = 2_000
"""What may be spent on hiding secrets in the annotations of a request, whatever else its body may cost."""


def parse(
    body: bytes,
    *,
    received_at: datetime,
    sender: str = "orchestration",
    own_page: Callable[[str], str] = lambda _title: "",
) -> Delivery:
    """One request of an automation action. Never raises. What an event of a page of our own set off is noted and not acted on."""
    try:
        data = decode(body, max_bytes=MAX_BYTES)
        if not isinstance(data, Mapping):
            raise BadInput("expected a JSON object", code="not_an_object", where="body")
        entries = _entries(data)
        if any(own_page(text) for name, text in entries.items() if name in _TEXTS):
            return Delivery(Source.ORCHESTRATION, received_at, sender, note="of our own page")
        return _delivery(entries, received_at, sender)
    except BadInput as error:
        raw = body.decode("utf-8", "replace")[:_RAW_LIMIT]
        return _rejected(received_at, sender, error, raw)


def _delivery(entries: Mapping[str, str], received_at: datetime, sender: str) -> Delivery:
    if (state := _first(entries, _STATUS).lower()) in _OVER:
        # It fires actions for new alerts; an end reaches us through the V3 webhook or Alertmanager.
        return Delivery(Source.ORCHESTRATION, received_at, sender, note=f"{state}: nothing to do")
    labels = free_labels({name: value for name, value in entries.items() if name not in _ENVELOPE})
    if "alertname" not in labels:
        raise BadInput("no alertname in it", code="no_alertname", where="/alertname")
    effort = Effort(_EFFORT)
    alert = Alert(
        source=Source.ORCHESTRATION,
        fingerprint=_identity(_first(entries, _IDENTITY), labels),
        status=AlertStatus.FIRING,
        starts_at=rfc3339(_first(entries, _START)) or received_at,
        labels=labels,
        annotations={
            name: annotation(name, entries[name], MAX_BYTES, effort) for name in _TEXTS if name in entries
        },
    )
    return Delivery(Source.ORCHESTRATION, received_at, sender, alerts=(alert,))


def _entries(data: Mapping[str, Any]) -> dict[str, str]:
    """What the body tells; the top level wins, then the first that has the key. A list of objects with `key` and `value`, as the
    action names its parameters, counts as one object."""
    found = Reading(_ENVELOPE)
    found.entries(data, anywhere=True)
    return found.labels


def _first(entries: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((entries[name] for name in names if name in entries), "")


def _identity(key: str, labels: Mapping[str, str]) -> str:
    if not key:
        return fingerprint(labels)
    # PagerDuty allows 255 characters; a longer one, and one that gives a secret away, is shortened to something that still tells it apart.
    plain = len(key) <= 255 and redact(key) == key
    return key if plain else hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _rejected(received_at: datetime, sender: str, error: BadInput, raw: JsonValue) -> Delivery:
    rejected = RejectedAlert(0, error.code, error.where, error.message, cut_raw(raw))
    return Delivery(Source.ORCHESTRATION, received_at, sender, rejected=(rejected,))
