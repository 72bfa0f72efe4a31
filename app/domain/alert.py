"""Alerts as we understand them, whoever sent them, and the delivery that brought them.

Owns identity: an *episode* is one continuous firing of one alert, keyed by source, start and fingerprint
(Alertmanager's fingerprint is equal across episodes, so the start belongs to the key).
Never does I/O and never reads the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from app.domain.json import JsonValue


class Source(StrEnum):
    """Where a delivery came from."""

    ALERTMANAGER = "alertmanager"
    PAGERDUTY = "pagerduty"
    ORCHESTRATION = "orchestration"
    MANUAL = "manual"


class AlertStatus(StrEnum):
    """Alertmanager's two words."""

    FIRING = "firing"
    RESOLVED = "resolved"


@lru_cache(maxsize=256)  # the alerts of a storm began at the same few evaluations
def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert in one delivery. Times are timezone-aware UTC; `ends_at` is None while it fires."""

    source: Source
    fingerprint: str
    status: AlertStatus
    starts_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    ends_at: datetime | None = None
    generator_url: str = ""

    @property
    def name(self) -> str:
        """The label `alertname`, empty when the sender gave none."""
        return self.labels.get("alertname", "")

    @property
    def namespace(self) -> str:
        """The label `namespace`, empty when the sender gave none."""
        return self.labels.get("namespace", "")

    @property
    def episode(self) -> str:
        """Episode key; starts with the start time so that new keys land at one end of the index."""
        return f"{_stamp(self.starts_at)}/{self.source}/{self.fingerprint}"


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
    """A person's or script's order: which remediation on which target, and why."""

    remediation: str
    target: str
    params: Mapping[str, JsonValue]
    reason: str
    requested_by: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One authenticated request: what is committed before it is answered with 202.

    `dedupe_key` is the sender's own id of the delivery (X-Webhook-Id, Idempotency-Key) or empty;
    `body_digest` tells whether two requests under one key are the same.
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
    manual: ManualRequest | None = None


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
    pods of one rollout meet in one incident.
    """
    for label, kind in _HINT_LABELS:
        if value := labels.get(label):
            return f"{kind}/{value}"
    pod = labels.get("pod", "")
    return f"Pod/{_owner_of(pod)}" if pod else ""


_HINT_LABELS = (
    ("deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("daemonset", "DaemonSet"),
    ("horizontalpodautoscaler", "HorizontalPodAutoscaler"),
)
_SAFE = frozenset("bcdfghjklmnpqrstvwxz2456789")  # the alphabet of generated name suffixes


def _owner_of(pod: str) -> str:
    parts = pod.split("-")
    generated = len(parts) > 1 and len(parts[-1]) == 5 and set(parts[-1]) <= _SAFE
    if generated and len(parts) > 2 and 6 <= len(parts[-2]) <= 10 and set(parts[-2]) <= _SAFE:
        return "-".join(parts[:-2])
    if generated or (len(parts) > 1 and parts[-1].isdigit()):
        return "-".join(parts[:-1])
    return pod


def incident_key(alert: Alert) -> str:
    """Alerts with the same key belong to one open incident: alert name, namespace and target hint."""
    return f"{alert.name}|{alert.namespace}|{target_hint(alert.labels) or alert.fingerprint}"
