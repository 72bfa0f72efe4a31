"""Alerts as we understand them, whoever sent them, and the delivery that brought them.

Owns identity: an *episode* is one continuous firing of one alert, keyed by source, start and fingerprint
(Alertmanager's fingerprint is equal across episodes, so the start belongs to the key).
Never does I/O and never reads the clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from app.domain.json import JsonValue, canonical
from app.domain.subject import (
    NAMES,
    NAMESPACE,
    POD,
    WORKLOAD_LABELS,
    LabelNames,
    workload_of_any_kind,
)
from app.domain.target import owners_by_name


class Source(StrEnum):
    """Where a delivery came from."""

    ALERTMANAGER = "alertmanager"
    PAGERDUTY = "pagerduty"
    ORCHESTRATION = "orchestration"
    MANUAL = "manual"
    HEARTBEAT = "heartbeat"
    """This service itself: an alert that always fires is no longer heard of."""


class AlertStatus(StrEnum):
    """Alertmanager's two words."""

    FIRING = "firing"
    RESOLVED = "resolved"


@lru_cache(maxsize=256)  # the alerts of a storm began at the same few evaluations
def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert in one delivery. Times are timezone-aware UTC; `ends_at` is None while it fires. Where the sender told no
    start (`start_told`), `starts_at` is when it was heard of, and the alert is the one that fires already, if one does."""

    source: Source
    fingerprint: str
    status: AlertStatus
    starts_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    ends_at: datetime | None = None
    generator_url: str = ""
    start_told: bool = True

    @property
    def name(self) -> str:
        """The label `alertname` (`short`), empty when the sender gave none."""
        return short(self.labels.get("alertname", ""))

    @property
    def namespace(self) -> str:
        """The label `namespace`, empty when the sender gave none."""
        return self.labels.get("namespace", "")

    @property
    def episode(self) -> str:
        """Episode key; starts with the start time so that new keys land at one end of the index."""
        return f"{_stamp(self.starts_at)}/{self.source}/{self.fingerprint}"


_GRAFANA_REASON = "grafana_state_reason"
_NOT_MEASURED = ("Error", "NoData")


def not_measured(annotations: Mapping[str, str]) -> str:
    """Why Grafana says that its rule fires although nothing was measured: `Error` or `NoData`, as the rule treats those as firing.
    Empty for an alert that was measured, and for any other sender's."""
    reason = annotations.get(_GRAFANA_REASON, "")
    return reason[:80] if any(word in reason for word in _NOT_MEASURED) else ""


def ended_unmeasured(annotations: Mapping[str, str]) -> str:
    """Why Grafana says that an alert is over although nothing was measured to be well: its series is missing, its rule was deleted,
    changed or paused, or could not be evaluated. Empty for an end that was measured."""
    return annotations.get(_GRAFANA_REASON, "")[:80]


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A sender's word on whether a person has taken this alert (`stands`): who (as shown to people) and since when."""

    alert: Alert
    by: str
    at: datetime
    stands: bool


class PageWord(StrEnum):
    """What PagerDuty says of a page of our own."""

    ACKNOWLEDGED = "acknowledged"
    RELEASED = "released"
    """Nobody has it any more: reassigned, reopened, or its acknowledgement ran out."""
    RESOLVED = "resolved"
    """By a person; that our own end of it resolved it is no word."""


@dataclass(frozen=True, slots=True)
class PageNews:
    """PagerDuty's word on the page with this key: who said it (as shown to people) and when."""

    key: str
    word: PageWord
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RejectedAlert:
    """An alert of a delivery that could not be understood: kept with the reason, never dropped."""

    index: int
    code: str
    where: str
    reason: str
    raw: JsonValue


@dataclass(frozen=True, slots=True)
class ManualRequest:
    """A person's or script's order: which remediation on which target, and why.

    `may_approve` is False for callers who may order and not approve: their order is never its own approval. `schedule` is the rule whose
    schedule ordered it, empty for a person: it runs under that rule, and nobody approved it.
    """

    remediation: str
    target: str
    params: Mapping[str, JsonValue]
    reason: str
    requested_by: str
    dry_run: bool = False
    may_approve: bool = False
    schedule: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One authenticated request: what is committed before it is answered with 202.

    `dedupe_key` is the sender's own id of the delivery (X-Webhook-Id, Idempotency-Key) or empty;
    `body_digest` tells whether two requests under one key are the same. `names` says how its labels are read.
    """

    source: Source
    received_at: datetime
    sender: str
    alerts: tuple[Alert, ...] = ()
    rejected: tuple[RejectedAlert, ...] = ()
    group_key: str = ""
    truncated_alerts: int = 0
    dedupe_key: str = ""
    body_digest: str = ""
    note: str = ""
    names: LabelNames = NAMES
    manual: ManualRequest | None = None
    acknowledgement: Acknowledgement | None = None
    page: PageNews | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a committed delivery became. `replayed`: the same dedupe key and body was stored before."""

    delivery_id: str
    incident_ids: tuple[str, ...]
    run_ids: tuple[str, ...] = ()
    replayed: bool = False


def target_hint(labels: Mapping[str, str]) -> str:
    """The workload an alert seems to be about, from its labels alone: `Kind/name` or empty.

    Used only to group alerts into incidents before the cluster is asked; the resolved target decides everything else.
    A pod name is reduced to its owner by the name pattern of ReplicaSets, StatefulSets and DaemonSets, so that the
    pods of one rollout meet in one incident. `labels` are those of the subject (`LabelNames.subject`).
    """
    for label, kind in WORKLOAD_LABELS.items():
        if value := labels.get(label):
            return f"{kind}/{value}"
    if value := workload_of_any_kind(labels):
        return f"Workload/{value}"
    pod = labels.get(POD, "")
    return f"Pod/{_owner_of(pod)}" if pod else ""


def _owner_of(pod: str) -> str:
    found = owners_by_name(pod)
    return found[0][1] if found else pod


def incident_key(alert: Alert, names: LabelNames = NAMES) -> str:
    """Alerts with the same key belong to one open incident: alert name, namespace and target hint."""
    subject = names.subject(alert.labels)
    about = short(target_hint(subject)) or alert.fingerprint
    return f"{alert.name}|{short(subject.get(NAMESPACE, ''))}|{about}"


_LONGEST_NAME = 256  # characters; Kubernetes has 253 at the most


def short(name: str) -> str:
    """A name as columns, keys and indexes hold it: a longer one than any that is real by its beginning and its digest, so that two stay two."""
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
    return f"{name[: _LONGEST_NAME - 33]}…{digest[:32]}"


IN_TRAIL = 4_096
"""Characters of an alert's annotations, as JSON, up to which its record in the trail holds them whole. The episode holds them whole in
any case: what a sender writes at length is kept once."""
_SHOWN = ("summary", "description", "runbook_url")
_BEGINNINGS = (1_000, 150)  # characters of these that are kept where they are too long


def as_many_as_fit(annotations: Mapping[str, str]) -> dict[str, str]:
    """Of annotations what a record in the trail holds: what the timeline shows, or its beginning, then what is short."""
    told, left = dict[str, str](), IN_TRAIL
    for name in sorted(annotations, key=lambda name: (name not in _SHOWN, len(annotations[name]))):
        text = annotations[name]
        for most in _BEGINNINGS if name in _SHOWN else ():
            if _size(name, text) > left // 2:
                text = f"{annotations[name][:most]}…"
        if (size := _size(name, text)) <= left:
            told[name] = text
            left -= size
    return told


def _size(name: str, text: str) -> int:
    return len(canonical({name: text}))
