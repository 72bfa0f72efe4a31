"""Targets: the workload an alert is about, and references to exact objects.

Owns how a target is named and parsed. Never reads the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.domain.errors import BadInput


class Kind(StrEnum):
    """The object kinds this service reads or writes."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"
    REPLICA_SET = "ReplicaSet"
    CONTROLLER_REVISION = "ControllerRevision"
    POD = "Pod"
    NODE = "Node"
    NAMESPACE = "Namespace"
    HPA = "HorizontalPodAutoscaler"
    PDB = "PodDisruptionBudget"
    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"
    EVENT = "Event"
    LIMIT_RANGE = "LimitRange"
    RESOURCE_QUOTA = "ResourceQuota"
    SERVICE = "Service"
    JOB = "Job"
    CRON_JOB = "CronJob"
    SERVICE_ACCOUNT = "ServiceAccount"
    PVC = "PersistentVolumeClaim"
    PRIORITY_CLASS = "PriorityClass"
    ROLLOUT = "Rollout"
    VPA = "VerticalPodAutoscaler"
    SCALED_OBJECT = "ScaledObject"
    NETWORK_POLICY = "NetworkPolicy"
    CERTIFICATE = "Certificate"
    CERTIFICATE_REQUEST = "CertificateRequest"
    ISSUER = "Issuer"
    CLUSTER_ISSUER = "ClusterIssuer"
    ACME_ORDER = "Order"


WORKLOAD_KINDS = (Kind.DEPLOYMENT, Kind.STATEFUL_SET, Kind.DAEMON_SET)
_BY_LOWER = {k.value.lower(): k for k in Kind}


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A workload by name: what rules, locks, budgets and people talk about."""

    namespace: str
    kind: Kind
    name: str

    @property
    def key(self) -> str:
        """Stable text form, `namespace/Kind/name`; the key of locks and budgets."""
        return f"{self.namespace}/{self.kind}/{self.name}"

    def __str__(self) -> str:
        return self.key

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `NAMESPACE/KIND/NAME` (kind in any case). Raises BadInput."""
        parts = text.split("/")
        if len(parts) != 3 or not all(parts):
            raise BadInput("expected NAMESPACE/KIND/NAME", code="bad_target", where=text)
        kind = _BY_LOWER.get(parts[1].lower())
        if kind is None or kind not in (*WORKLOAD_KINDS, Kind.POD):
            allowed = ", ".join((*WORKLOAD_KINDS, Kind.POD))
            raise BadInput(f"kind must be one of {allowed}", code="bad_target", where=text)
        return cls(parts[0], kind, parts[2])


NAMESPACE_NAME = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
OBJECT_NAME = "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
"""What the API server takes for names (RFC 1123: a label, a subdomain), as regular expressions without their ends."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One exact object: the uid tells a re-created namesake apart, the generation tells an edited spec."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int = 0

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"
