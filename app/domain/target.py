"""Targets: the workload an alert is about, and references to exact objects.

Owns how a target is named and parsed, and which names the cluster gives to what belongs to one. Never reads the cluster.
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
    ENDPOINT_SLICE = "EndpointSlice"
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
    def of_key(cls, key: str) -> Target:
        """Read our own `key` back, of any kind."""
        namespace, kind, name = key.split("/")
        return cls(namespace, Kind(kind), name)

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


_SAFE = frozenset("bcdfghjklmnpqrstvwxz2456789")  # the alphabet of generated name suffixes
_SUFFIX, _HASH = 5, range(6, 11)  # characters of a pod's suffix and of a ReplicaSet's hash
_MINUTE = 8  # of the minute in the name of a CronJob's Job


def owners_by_name(pod: str) -> tuple[tuple[str, str], ...]:
    """Kind and name of the workloads that a pod of this name can belong to, the likeliest first; none when the name was not
    generated. Pods are named ReplicaSet-suffix (the ReplicaSet Deployment-hash), DaemonSet-suffix or StatefulSet-ordinal. Eight
    digits are no hash but the minute in the name of a CronJob's Job."""
    stem, _, last = pod.rpartition("-")
    if not stem:
        return ()
    found: list[tuple[str, str]] = []
    if len(last) == _SUFFIX and set(last) <= _SAFE:
        name, _, middle = stem.rpartition("-")
        minute = len(middle) == _MINUTE and middle.isdigit()
        if name and len(middle) in _HASH and set(middle) <= _SAFE and not minute:
            found.append(("Deployment", name))
        found.append(("DaemonSet", stem))
    if last.isascii() and last.isdigit() and (last == "0" or last[0] != "0"):
        found.append(("StatefulSet", stem))
    return tuple(found)


_LONGEST_STEM = 58
"""Of a longer name a pod's has the beginning alone, before its suffix."""


def could_be_named(pod: str, kind: str, name: str) -> bool:
    """Whether the cluster can have named a pod of this workload so: a StatefulSet's NAME-ordinal, a Deployment's NAME-hash-suffix, any
    other's NAME-suffix."""
    if kind == "StatefulSet":
        return (kind, name) in owners_by_name(pod)
    stem, suffix = pod[:-_SUFFIX], pod[-_SUFFIX:]
    own, cut = f"{name}-", len(stem) == _LONGEST_STEM
    if len(suffix) != _SUFFIX or not set(suffix) <= _SAFE or not stem.startswith(own[:_LONGEST_STEM]):
        return False
    rest = stem[len(own) :]
    if kind != "Deployment" or not rest:
        return not rest and (kind != "Deployment" or cut)
    made, least = rest.removesuffix("-"), 1 if cut else _HASH[0]
    minute = len(made) == _MINUTE and made.isdigit()
    return (cut or rest[-1] == "-") and least <= len(made) <= _HASH[-1] and set(made) <= _SAFE and not minute


def could_be_replica_set(replica_set: str, name: str) -> bool:
    """Whether a Deployment of this name can have named its ReplicaSet so."""
    made = replica_set.removeprefix(f"{name}-")
    return made != replica_set and len(made) in _HASH and set(made) <= _SAFE


def runs_by_name(pod: str) -> tuple[tuple[str, str], ...]:
    """Kind and name of the Jobs that a pod of this name can belong to: pods are named Job-suffix or, of an indexed Job,
    Job-index-suffix."""
    stem, _, last = pod.rpartition("-")
    if not stem or len(last) != _SUFFIX or not set(last) <= _SAFE:
        return ()
    name, _, middle = stem.rpartition("-")
    numbered = bool(name) and middle.isascii() and middle.isdigit()
    return (("Job", stem), *((("Job", name),) if numbered else ()))
