"""The webhook body of Alertmanager becomes a Delivery. The hot path: every alert of a storm comes through here.

Version 4 of Prometheus' and Mimir's Alertmanager, and version 1 of Grafana's, which adds fields to the same shape. Strict
about what the service cannot do without (status and labels of an alert), indifferent to everything else: fields appear with
new releases. One alert that cannot be understood is kept as a RejectedAlert; its neighbours proceed. Firing and resolved
are decided per alert, because one message mixes both. Written by hand instead of as a pydantic model, which would refuse the
whole list for one bad element.
"""

from __future__ import annotations

import re
from datetime import datetime
from itertools import islice
from typing import Any

from app.domain.alert import Alert, AlertStatus, Delivery, RejectedAlert, Source
from app.domain.errors import BadInput
from app.domain.json import canonical
from app.domain.redact import annotation, redact_value
from app.intake.body import decode, pointer
from app.intake.fingerprint import fingerprint
from app.intake.times import rfc3339

VERSIONS = frozenset({"4", "1"})
"""Alertmanager's, and that of Grafana's own."""
MAX_BYTES = 16 * 1024 * 1024
"""Bytes of a body: 5,000 alerts with long annotations."""
_STATUS = {"firing": AlertStatus.FIRING, "resolved": AlertStatus.RESOLVED}
_FINGERPRINT = re.compile(r"[0-9A-Za-z]{1,64}", re.ASCII)
_HALF = re.compile("[\ud800-\udfff]")
MAX_ALERTS = 10_000
"""Alerts of one body that are read; what comes after them is counted as cut off. A receiver's `max_alerts` sets its own."""
MAX_LABELS = 128
MAX_NAME = 256
MAX_VALUE = 4_096
MAX_ANNOTATION = 10_000
MAX_URL = 2_048
_TOLD_SINGLY = 20
_MAX_RAW = 2_000
_MAX_TRUNCATED = 2**31 - 1  # what the store's column holds


class _Unusable(Exception):
    """Why one alert cannot be used: code, path below the alert, reason."""

    def __init__(self, code: str, path: tuple[str, ...], reason: str) -> None:
        super().__init__(reason)
        self.code, self.path, self.reason = code, path, reason


def parse(body: bytes, *, received_at: datetime, sender: str, max_bytes: int = MAX_BYTES) -> Delivery:
    """One webhook request. `sender` is the authenticated name. Beyond MAX_ALERTS the rest is counted as truncated.

    Raises BadInput when the body as a whole cannot be used: not JSON, no list of alerts.
    """
    data = decode(body, max_bytes=max_bytes, halves=True)
    if type(data) is not dict:
        raise BadInput("expected a JSON object", code="not_an_object", where="body")
    items = [] if data.get("alerts", 0) is None else data.get("alerts")  # Go writes an empty list as null
    if type(items) is not list:
        raise BadInput("expected a list", code="invalid_field", where="/alerts")
    alerts: list[Alert] = []
    rejected: list[RejectedAlert] = []
    more, cut = 0, max(0, len(items) - MAX_ALERTS)
    for index, item in enumerate(islice(items, MAX_ALERTS)):
        try:
            alerts.append(_alert(item, received_at))
        except _Unusable as fault:
            if len(rejected) == _TOLD_SINGLY:
                more += 1
                continue
            where = pointer("alerts", index, *fault.path)
            rejected.append(RejectedAlert(index, fault.code, where, fault.reason, _raw(item)))
    if more:
        reason = f"{more} more alerts of this body could not be understood"
        rejected.append(RejectedAlert(len(items), "more_rejected", "/alerts", reason, None))
    if cut:
        # Refusing the body would refuse it for ever: the same group comes again with its next change.
        reason = (
            f"{len(items)} alerts are more than the {MAX_ALERTS} that are read of a body: group by more labels, "
            "or set max_alerts in the webhook receiver"
        )
        rejected.append(RejectedAlert(MAX_ALERTS, "too_many_alerts", "/alerts", reason, None))
    return Delivery(
        source=Source.ALERTMANAGER,
        received_at=received_at,
        sender=sender,
        alerts=tuple(alerts),
        rejected=tuple(rejected),
        group_key=_text(data, "groupKey")[:MAX_VALUE],
        truncated_alerts=min(_truncated(data.get("truncatedAlerts")) + cut, _MAX_TRUNCATED),
        note=_note(data),
    )


def _alert(item: Any, received_at: datetime) -> Alert:
    if type(item) is not dict:
        raise _Unusable("not_an_object", (), "expected a JSON object")
    labels = _labels(item.get("labels"))
    said = item.get("status")
    status = _STATUS.get(said) or _STATUS.get(said.strip().lower()) if type(said) is str else None
    if status is None:
        raise _Unusable("bad_status", ("status",), "expected firing or resolved")
    starts_at = rfc3339(item.get("startsAt"))
    ends_at = None
    if status is AlertStatus.RESOLVED:
        # The end is for reading only: a resolved alert with an unreadable one ended when we heard of it.
        ends_at = rfc3339(item.get("endsAt")) or received_at
    return Alert(
        Source.ALERTMANAGER,
        _identity(item.get("fingerprint"), labels),
        status,
        starts_at or received_at,
        labels,
        _annotations(item.get("annotations")),
        ends_at,
        annotation("", _text(item, "generatorURL"), MAX_URL),
        starts_at is not None,
    )


def _labels(value: Any) -> dict[str, str]:
    if type(value) is not dict or not value:
        raise _Unusable("no_labels", ("labels",), "expected an object with at least one label")
    if len(value) > MAX_LABELS:
        raise _Unusable("too_many_labels", ("labels",), f"expected at most {MAX_LABELS} labels")
    for name, text in value.items():
        if type(text) is not str:
            return _labels(_as_texts(value))
        if _has_half(name) or _has_half(text):
            path = ("labels",) if _has_half(name) else ("labels", name[:MAX_NAME])
            raise _Unusable("bad_label", path, "half of a surrogate pair is no text")
        if len(name) > MAX_NAME or len(text) > MAX_VALUE:
            reason = f"a label's name has at most {MAX_NAME} characters and its value {MAX_VALUE}"
            raise _Unusable("label_too_long", ("labels", name[:MAX_NAME]), reason)
    return value


def _as_texts(labels: dict[str, Any]) -> dict[str, str]:
    """Labels that a template left as numbers or empty: a number or boolean in JSON's words, and none for null."""
    for name, value in labels.items():
        if isinstance(value, dict | list):
            raise _Unusable("bad_label", ("labels", name[:MAX_NAME]), "expected a string")
    return {
        name: value if type(value) is str else canonical(value)
        for name, value in labels.items()
        if value is not None
    }


def _annotations(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        return {}
    # Shown to people, never decided by: an odd value is shown as its JSON instead of losing the alert.
    return {
        (short := _whole(name[:MAX_NAME])): annotation(
            short, _whole(text if type(text) is str else canonical(text)), MAX_ANNOTATION
        )
        for name, text in islice(value.items(), MAX_LABELS)
    }


def _raw(item: Any) -> Any:
    """The item as it was sent, or the beginning of its text when that is long; without what looks like a secret."""
    text = canonical(item)
    return redact_value(item if len(text) <= _MAX_RAW else text[:_MAX_RAW])


def _identity(value: Any, labels: dict[str, str]) -> str:
    """The sender's fingerprint, or that of the labels where it gives none that is one."""
    if type(value) is str and _FINGERPRINT.fullmatch(value) is not None:
        return value
    return fingerprint(labels)


def _truncated(value: Any) -> int:
    # Advisory: an odd count must not cost the alerts beside it.
    return min(value, _MAX_TRUNCATED) if type(value) is int and value > 0 else 0


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    return _whole(value) if type(value) is str else ""


def _has_half(text: str) -> bool:
    return not text.isascii() and _HALF.search(text) is not None


def _whole(text: str) -> str:
    """`text` with U+FFFD for every half of a surrogate pair: what is only shown must not cost its alert."""
    return text if text.isascii() else _HALF.sub("\N{REPLACEMENT CHARACTER}", text)


def _note(data: dict[str, Any]) -> str:
    receiver, reason = unquote_receiver(_text(data, "receiver")), _text(data, "notification_reason")
    # Advisory: what counts is the shape of the alerts, so another version is remembered and its alerts are read.
    version = data.get("version")
    known = type(version) is str and version in VERSIONS
    other = "" if known else f'version {_whole(canonical(version))[:40]} instead of "4"'
    return "; ".join(part for part in (receiver and f"receiver {receiver}", reason, other) if part)


def unquote_receiver(name: str) -> str:
    r"""The receiver's name as configured: Alertmanager sends it through Go's regexp.QuoteMeta (`team\.ops`)."""
    return re.sub(r"\\([\\.+*?()|\[\]{}^$])", r"\1", name) if "\\" in name else name
