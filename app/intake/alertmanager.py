"""The webhook body of Alertmanager becomes a Delivery. The hot path: every alert of a storm comes through here.

Version 4 of Prometheus' and Mimir's Alertmanager, and version 1 of Grafana's, which adds fields to the same shape. Strict
about what the service cannot do without (status and labels of an alert), indifferent to everything else: fields appear with
new releases. One alert that cannot be understood is kept as a RejectedAlert; its neighbours proceed. Firing and resolved
are decided per alert, because one message mixes both. Written by hand instead of as a pydantic model, which would refuse the
whole list for one bad element.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import islice
from typing import Any

from app.domain.alert import Alert, AlertStatus, Delivery, RejectedAlert, Source
from app.domain.effort import affordable
from app.domain.errors import BadInput
from app.domain.free_text import cut_raw, one_line
from app.domain.json import beginning, canonical
from app.domain.redact import Effort, annotation
from app.domain.secret_names import is_plain_name
from app.domain.subject import NAMES, UNREAD, could_name, unread
from app.intake.body import decode, pointer, rfc3339
from app.intake.fingerprint import fingerprint

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
MAX_OF_ALL = 65_536
"""Characters of all labels of one alert, and of all its annotations: each is kept for each alert, read for each decision, and the labels stand in the audit trail for good."""
MAX_URL = 2_048
_LOOKED_AT = MAX_ANNOTATION + 2_000
"""Characters of a text that is only shown: a password is seen whole before the text is cut."""
_EFFORT, _EFFORT_ANYWAY, _BYTES_OF_ONE, _EFFORT_OF_ALERT = 250_000, 2_000, 3, 500
"""What may be spent on hiding secrets in the texts of a body, at most and whatever its length, and in an alert whatever its length; bytes and
characters that allow one more. Alerts as Alertmanager sends them need 20 or less each; lines of logs and traces need one for each three characters or
more, up to ten."""
_ITEMS_FOR_ONE = 4  # alerts, whatever is in them
UNREAD_NOTES = "unread_annotations"
"""An annotation that says how many others were not taken."""
_SHOWN_FIRST = ("summary", "title", "message")
_TELLING = frozenset({"alertname", "severity", *NAMES.places})
_TOLD_SINGLY = 20
_MAX_NOTE = 300
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
    data = decode(body, max_bytes=max_bytes, lenient=True)
    if type(data) is not dict:
        listed = "; a list of alerts is what Prometheus sends to Alertmanager, whose webhook belongs here"
        text = f"expected a JSON object{listed if type(data) is list else ''}"
        raise BadInput(text, code="not_an_object", where="body")
    items = [] if data.get("alerts", 0) is None else data.get("alerts")  # Go writes an empty list as null
    if type(items) is not list:
        raise BadInput("expected a list", code="invalid_field", where="/alerts")
    alerts, rejected = list[Alert](), list[RejectedAlert]()
    more, cut = 0, max(0, len(items) - MAX_ALERTS)
    affordable(len(items) // _ITEMS_FOR_ONE)  # a few bytes may be thousands, with nothing to search
    left = min(_EFFORT, _EFFORT_ANYWAY + len(body) // _BYTES_OF_ONE)
    for index in range(min(len(items), MAX_ALERTS)):
        item, items[index] = items[index], None  # freed one by one, not all in one go
        try:
            effort = Effort(min(left, _EFFORT_OF_ALERT + _characters(item) // _BYTES_OF_ONE))
            given = effort.left
            alerts.append(_alert(item, data.get("status"), received_at, effort))
            left -= given - max(effort.left, 0)
        except _Unusable as fault:
            if len(rejected) == _TOLD_SINGLY:
                more += 1
                continue
            where = pointer("alerts", index, *fault.path)
            rejected.append(RejectedAlert(index, fault.code, where, fault.reason, cut_raw(item)))
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
        group_key=annotation("", _text(data, "groupKey"), MAX_VALUE, Effort(max(left, 0))),
        truncated_alerts=min(_truncated(data.get("truncatedAlerts")) + cut, _MAX_TRUNCATED),
        note=_note(data),
    )


def _alert(item: Any, of_all: Any, received_at: datetime, effort: Effort) -> Alert:
    """`of_all` is the status of the whole body, for an alert that says none."""
    if type(item) is not dict:
        raise _Unusable("not_an_object", (), "expected a JSON object")
    labels = _labels(item.get("labels"))
    said = item.get("status")
    status = _status(of_all if said is None else said)
    if status is None:
        raise _Unusable("bad_status", ("status",), "expected firing or resolved")
    if said is None and (ended := rfc3339(item.get("endsAt"))) and ended <= received_at:
        status = AlertStatus.RESOLVED  # a body that fires has alerts beside that are over
    link = annotation("", _text(item, "generatorURL"), MAX_URL, effort)
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
        _annotations(item.get("annotations"), effort),
        ends_at,
        link,
        starts_at is not None,
    )


def _status(said: Any) -> AlertStatus | None:
    return _STATUS.get(said) or _STATUS.get(said.strip().lower()) if type(said) is str else None


def _labels(value: Any) -> dict[str, str]:
    if type(value) is not dict or not value:
        raise _Unusable("no_labels", ("labels",), "expected an object with at least one label")
    labels: dict[str, Any] = value if len(value) <= MAX_LABELS else _first(value)
    for name, text in labels.items():
        if type(text) is not str:
            return _labels(_as_texts(labels))
        if _has_half(name[: MAX_NAME + 1]) or _has_half(text[: MAX_VALUE + 1]):
            path = ("labels",) if _has_half(name[: MAX_NAME + 1]) else ("labels", name[:MAX_NAME])
            raise _Unusable("bad_label", path, "half of a surrogate pair is no text")
        if len(name) > MAX_NAME or len(text) > MAX_VALUE:
            return _labels(_cut(labels))
    return (
        labels if sum(map(len, labels.values())) + sum(map(len, labels)) <= MAX_OF_ALL else _fitting(labels)
    )


def _fitting(labels: dict[str, str]) -> dict[str, str]:
    """As many labels as are read of an alert whose labels are long all together, chosen as where there are too many."""
    chosen, left = dict[str, str](), MAX_OF_ALL
    for name in sorted(labels, key=lambda name: name not in _TELLING):
        left -= len(name) + len(labels[name])
        if left >= 0 or name in _TELLING:
            chosen[name] = labels[name]
    return {name: text for name, text in labels.items() if name in chosen} | _lost(labels.keys() - chosen)


def _first(labels: dict[str, Any]) -> dict[str, Any]:
    """As many labels as are read: those that say what the alert is about before all others, the others in the sender's order."""
    telling = [name for name in labels if name in _TELLING]
    chosen = set([*telling, *(name for name in labels if name not in _TELLING)][: MAX_LABELS - 1])
    return {name: value for name, value in labels.items() if name in chosen} | _lost(labels.keys() - chosen)


def _cut(labels: dict[str, Any]) -> dict[str, Any]:
    """Labels as long as they are read: a query in a label must not cost its alert. A name that long cannot be asked for."""
    kept = {
        name: text if type(text) is not str or len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
        for name, text in labels.items()
        if len(name) <= MAX_NAME
    }
    return kept | _lost(labels.keys() - kept.keys())


def _lost(names: AbstractSet[str]) -> dict[str, str]:
    """The label that says that some were not taken, where they could name what the alert is about."""
    lost = sorted(name for name in names if could_name(name[: MAX_NAME + 1], "?"))
    return {UNREAD: unread(lost)} if lost else {}


def _as_texts(labels: dict[str, Any]) -> dict[str, str]:
    """Labels that a template left as numbers or empty: a number or boolean in JSON's words, and none for null."""
    for name, value in labels.items():
        if isinstance(value, dict | list):
            raise _Unusable("bad_label", ("labels", name[:MAX_NAME]), "expected a string")
    told = {
        name: value if type(value) is str else canonical(value)
        for name, value in labels.items()
        if value is not None
    }
    return told | _lost(labels.keys() - told.keys()) if told else {}


def _characters(item: Any) -> int:
    """Of all texts of an alert's annotations, as far as they are looked at."""
    notes = item.get("annotations") if type(item) is dict else None
    if type(notes) is not dict:
        return 0
    some = islice(notes.values(), MAX_LABELS)
    return sum(min(len(text), _LOOKED_AT) for text in some if type(text) is str)


def _annotations(value: Any, effort: Effort) -> dict[str, str]:
    """Shown to people, never decided by: an odd value is shown as its JSON instead of losing the alert. What says most, and what is short, comes
    first: where too much is to be looked at, the long ones are hidden."""
    if type(value) is not dict:
        return {}
    texts = {
        name: _whole(text[:_LOOKED_AT] if type(text) is str else beginning(text, _LOOKED_AT))
        for name, text in islice(sorted(value.items(), key=_tells_less), MAX_LABELS)
    }
    first = sorted(texts, key=lambda name: (name not in _SHOWN_FIRST, len(texts[name])))
    told, left = dict[str, str](), MAX_OF_ALL
    for name in first:
        if left > 0 or not texts[name]:
            told[name] = annotation(name[:MAX_NAME], texts[name], min(MAX_ANNOTATION, left), effort)
            left -= len(told[name]) + min(len(name), MAX_NAME)
    shown = {_told_name(name, effort): told[name] for name in value if name in told}  # as they came
    lost = len(value) - len(shown)  # also those whose names are told alike
    return shown | {UNREAD_NOTES: f"{lost} of {len(value)} annotations were not taken"} if lost else shown


def _tells_less(note: tuple[str, Any]) -> bool:
    return note[0] not in _SHOWN_FIRST


def _told_name(name: str, effort: Effort) -> str:
    """The name of an annotation, which is a stranger's text too."""
    return name if is_plain_name(name) else one_line(_whole(name[:MAX_NAME]), MAX_NAME, effort)


def _identity(value: Any, labels: dict[str, str]) -> str:
    """The sender's fingerprint, or that of the labels where it gives none that is one."""
    if type(value) is str and _FINGERPRINT.fullmatch(value) is not None:
        return value
    return fingerprint({name: text for name, text in labels.items() if name != UNREAD})


def _truncated(value: Any) -> int:
    # Advisory: an odd count must not cost the alerts beside it.
    return min(value, _MAX_TRUNCATED) if type(value) is int and value > 0 else 0


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    return _whole(value[:_LOOKED_AT]) if type(value) is str else ""


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
    other = "" if known else f'version {_whole(beginning(version, 40)[:40])} instead of "4"'
    parts = (receiver and f"receiver {receiver}", reason, other)
    return "; ".join(one_line(part, _MAX_NOTE) for part in parts if part)


def unquote_receiver(name: str) -> str:
    r"""The receiver's name as configured: Alertmanager sends it through Go's regexp.QuoteMeta (`team\.ops`)."""
    return re.sub(r"\\([\\.+*?()|\[\]{}^$])", r"\1", name) if "\\" in name else name
