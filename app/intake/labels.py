"""Labels out of foreign text and objects: what PagerDuty and Event Orchestration carry instead of a label set.

What can be a label is taken, under the name that Prometheus would give it; what cannot, or is told differently in two places, is
named in the label `UNREAD`, so that no rule takes an alert whose names were lost for one that names nothing. The values come
from the sender as they are; nothing here decides what they permit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.domain.effort import affordable
from app.domain.errors import BadInput
from app.domain.free_text import one_line
from app.domain.redact import REDACTED, annotation, redact
from app.domain.secret_names import is_secret_name
from app.domain.subject import NAMES, UNREAD, could_name, unread
from app.intake.body import decode

MAX_LABELS = 64
MAX_VALUE = 1024
MAX_NAME = 128
MAX_NAMES = 1_000
"""Names in one place among which the labels are chosen; those that say what the alert is about are kept beyond it."""
MAX_ALERTS = 1_000
"""Alerts of one group that are compared: of a larger one nothing is taken, as the rest may tell otherwise."""
MAX_LOST = 100
"""Names of what was lost that are kept; the others are counted."""
_UNCOMPARED = "more alerts than are compared"
_UNREAD_REST = "more than is read"
_FOR_ONE, _CHARACTERS = 8, 1_024
"""Names and values, and characters of a text of lines, that cost as much as one look at a text."""
_DEEPEST = 3
_INNERMOST = 2  # alerts within alerts
_TOLD_NAME = 60
_TELLING = frozenset({"alertname", "severity", *NAMES.places})
_BLOCKS = frozenset({"firing", "alerts"})
_COUNTS = frozenset({"num_firing", "num_resolved", "resolved"})
"""Counters and blocks of Alertmanager's PagerDuty template, not labels."""
_TAGS = frozenset({"tags", "ddtags"})
_CONTAINERS = frozenset(
    ("labels", "commonLabels", "groupLabels", "custom_details", "details", "payload", "event", "parameters")
)
_KUBERNETES = frozenset({"kubernetes", "k8s", "kube"})
_NO_NAME = re.compile(r"[^A-Za-z0-9_]", re.ASCII)
_TITLE = re.compile(r"\[(?:FIRING|RESOLVED)(?::\d+)?\]\s+(\S+)")
_LINE = re.compile(r"\s*[-*]\s+([^\s=:]+)\s*[=:]\s?(.*)")
_HEADING = re.compile(r"\*{0,8}labels\*{0,8}:?\*{0,8}", re.IGNORECASE)


class Reading:
    """Labels as they are found, the first of a name counts; and the names of what was lost on the way."""

    def __init__(self, ignored: Iterable[str] = (), level: int = 0) -> None:
        """`ignored` are names that are no labels: they are taken where they can be, and are never lost. `level`: of how many alerts
        around it this is a part."""
        self.found: dict[str, str] = {}
        self.lost: dict[str, None] = {}
        self.uncounted = 0
        self._level = level
        self._ignored = _COUNTS | frozenset(ignored)

    @property
    def labels(self) -> dict[str, str]:
        """As many as a label set reasonably has, those that say what the alert is about first; with UNREAD where some were lost."""
        names = sorted(self.found, key=lambda name: name not in _TELLING and name not in self._ignored)
        chosen = {name: self.found[name] for name in names[:MAX_LABELS]}
        more = self.uncounted + max(0, len(names) - MAX_LABELS)
        lost = [*self.lost, *([f"{more} more"] if more else [])]
        return chosen | ({UNREAD: unread(lost)} if lost else {})

    def lose(self, name: str) -> None:
        """What could not be read, by its name or in words."""
        if len(self.lost) < MAX_LOST:
            self.lost.setdefault(one_line(name, _TOLD_NAME))
        else:
            self.uncounted += 1

    def scalar(self, name: str, value: object) -> None:
        """One label; one that another place tells differently stays as it was first told."""
        label = as_label(name)
        text = str(value).lower() if isinstance(value, bool) else str(value).strip()
        if not name.isascii() and is_secret_name(name):  # the label does not say it any more
            text = REDACTED
        if (
            not label
            or not text
            or len(text) > MAX_VALUE
            or not self._has_place(label)
            or (self.found.setdefault(label, text) != text and could_name(label, text))
        ):
            self._lose_label(name, label)

    def entries(self, data: Mapping[str, Any], *, anywhere: bool = False, depth: int = 0) -> None:
        """What an object tells: alerts listed in it, then its own entries, then those of the objects in it that hold labels, or
        with `anywhere` of all."""
        if not affordable(1 + len(data) // _FOR_ONE):
            self.lost.setdefault(_UNREAD_REST)
            return
        for name in sorted(_BLOCKS & data.keys()):
            self.firing(data[name], data.get("num_firing"))
        rest = {name: _one_of(name, value) for name, value in data.items() if name not in _BLOCKS | _COUNTS}
        objects = {name: _inner(name, value, anywhere=anywhere) for name, value in rest.items()}
        for name, value in rest.items():
            if objects[name] is None and not isinstance(value, Mapping | list) and name not in _TAGS:
                self.scalar(name, "" if value is None else value)
        for name, value in rest.items():
            inner = objects[name]
            if inner is not None and depth < _DEEPEST:
                self.entries(inner, depth=depth + 1)
            elif name in _TAGS:
                self._tags(value)
            elif isinstance(value, Mapping | list) and value:
                self._lose_label(name, as_label(name))

    def firing(self, block: Any, count: Any = None) -> None:
        """The labels that all alerts of a list share: objects with labels, or Alertmanager's text. An incident stands for a whole
        group; a label in which its alerts differ would name only one of them."""
        if not isinstance(block, Sequence) or not block:
            return
        if self._level == _INNERMOST or not affordable(
            len(block) // _CHARACTERS if isinstance(block, str) else 0
        ):
            self.lost.setdefault(_UNCOMPARED)
        elif isinstance(block, str):
            sets = _blocks_of(block, self._level + 1)
            if block.strip() and (not sets or str(count or len(sets)) != str(len(sets))):
                self.lose("alerts that fire")
            self.shared(sets)
        else:
            self.shared([self._alert(item) for item in block[: MAX_ALERTS + 1]])

    def _alert(self, item: Any) -> Reading:
        one = Reading(self._ignored, self._level + 1)
        labels = item.get("labels") if isinstance(item, Mapping) else None
        one.entries(labels) if isinstance(labels, Mapping) else one.lose("an alert without labels")
        return one

    def shared(self, readings: Sequence[Reading]) -> None:
        """Take what all of these tell alike; what one tells otherwise, or not at all, is lost. Each value is looked at once, not each name in
        each reading: a sender may have thousands of alerts that all tell names of their own."""
        work = len(readings) + sum(len(reading.found) for reading in readings) // _FOR_ONE
        if len(readings) > MAX_ALERTS or not affordable(work):
            self.lost.setdefault(_UNCOMPARED)
            return
        told: dict[str, list[str]] = {}
        for reading in readings:
            for name, value in reading.found.items():
                told.setdefault(name, []).append(value)
        for name, values in told.items():
            if len(values) == len(readings) and values.count(values[0]) == len(values):
                self.scalar(name, values[0])
            elif any(could_name(name, value) for value in dict.fromkeys(values)):
                self._lose_label(name, name)
        for reading in readings:
            self._lose_as(reading)

    def _lose_as(self, reading: Reading) -> None:
        """What another reading lost, which is told as it is to be already."""
        self.uncounted += reading.uncounted
        for name in reading.lost:
            if name in self.lost or len(self.lost) < MAX_LOST:
                self.lost.setdefault(name)
            else:
                self.uncounted += 1

    def _has_place(self, label: str) -> bool:
        return len(self.found) < MAX_NAMES or label in self.found or label in _TELLING

    def _tags(self, value: object) -> None:
        """Datadog's `key:value` tags, as a list or as one text."""
        tags = (
            value if isinstance(value, list) else re.split(r"[,\n]", value) if isinstance(value, str) else []
        )
        if not affordable(len(tags) // _FOR_ONE):
            self.lost.setdefault(_UNREAD_REST)
            return
        told: dict[str, str] = {}
        for tag in tags:
            name, colon, text = str(tag).strip().partition(":")
            label = as_label(name)
            if not colon or not label or told.setdefault(label, text) != text:
                told.pop(label, None)
                self.lose(name or "tags")
        for label, text in told.items():
            self.scalar(label, text)

    def _lose_label(self, name: str, label: str) -> None:
        if name not in self._ignored and could_name(label, "?"):
            self.lose(name)


def as_label(name: str) -> str:
    """The name as Prometheus maps it, such as `k8s_namespace_name`; empty for one that is none."""
    plain = name.strip() if len(name) <= MAX_NAME else ""
    mapped = _NO_NAME.sub("_", plain)
    return f"_{mapped}" if mapped[:1].isdigit() else mapped if mapped.strip("_") else ""


def free_labels(found: Mapping[str, str]) -> dict[str, str]:
    """Labels out of fields that people fill in, unlike those of an alerting rule: without what looks like a secret."""
    told = {name: annotation(name, value, MAX_VALUE) for name, value in found.items()}
    if "value" in told and any(is_secret_name(found.get(name, "")) for name in ("name", "key")):
        told["value"] = REDACTED
    return told


def alert_name(title: str) -> str:
    """The alert's name in a title: the word after `[FIRING:2]` in Alertmanager's default title, else the title itself."""
    if match := _TITLE.match(title.strip()):
        return match[1]
    return redact(title.strip(), longest=MAX_VALUE - 2)


def object_in(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None for any other."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = decode(text.encode("utf-8", "replace"))
    except BadInput:
        return None
    return value if isinstance(value, dict) else None


def _inner(name: str, value: Any, *, anywhere: bool) -> Mapping[str, Any] | None:
    """The object behind an entry that holds labels: itself, JSON in a text, or pairs of `key` and `value`."""
    if not anywhere and name not in _CONTAINERS and name not in _KUBERNETES:
        return None
    if isinstance(value, str):
        return object_in(value)
    if isinstance(value, list):
        return _pairs(value)
    return value if isinstance(value, Mapping) else None


def _pairs(items: list[Any]) -> dict[str, Any] | None:
    pairs = [i for i in items if isinstance(i, Mapping) and isinstance(i.get("key"), str)]
    return {pair["key"]: pair.get("value") for pair in pairs} or None


def _one_of(name: str, value: Any) -> Any:
    """A list of one text is that text."""
    one = isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) and name not in _TAGS
    return value[0] if one else value


def _blocks_of(text: str, level: int) -> list[Reading]:
    """One reading for each `Labels` heading of Alertmanager's default list, of its ` - name = value` lines; one more than are compared at most."""
    alerts: list[Reading] = []
    in_labels = False
    for line in text.splitlines():
        heading = line.strip()
        if _HEADING.fullmatch(heading):
            if len(alerts) > MAX_ALERTS:
                break
            in_labels = True
            alerts.append(Reading(level=level))
        elif heading.endswith(":") and not heading.startswith(("-", "*")):
            in_labels = False
        elif in_labels and (match := _LINE.fullmatch(line)):
            alerts[-1].scalar(match[1], match[2])
    return alerts
