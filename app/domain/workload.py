"""What we know of a workload and its pods: typed, frozen snapshots taken at one moment.

Built from manifests by `app.kube.read`; used by handlers, gates and messages. Quantities are integers: memory in bytes,
CPU in millicores. Never reads the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.json import Obj
from app.domain.target import Kind, ObjectRef, Target


@dataclass(frozen=True, slots=True)
class ConfigRef:
    """A ConfigMap or Secret that a container needs. `key` is empty when all of it is used."""

    kind: Kind
    name: str
    key: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container of the pod template."""

    name: str
    image: str
    init: bool = False
    memory_limit: int | None = None
    memory_request: int | None = None
    cpu_limit: int | None = None
    cpu_request: int | None = None
    config: tuple[ConfigRef, ...] = ()
    sidecar: bool = False

    @property
    def first(self) -> bool:
        """It ends before the others start; a sidecar, which is listed with those that do, runs on beside them (`restartPolicy: Always`)."""
        return self.init and not self.sidecar


@dataclass(frozen=True, slots=True)
class Terminated:
    """How a container ended. OOMKilled is told by `reason`; exit code 137 alone is any SIGKILL."""

    reason: str
    exit_code: int
    finished_at: datetime | None
    message: str = ""
    started_at: datetime | None = None

    @property
    def how(self) -> str:
        """`OOMKilled`, or its exit code in words."""
        return self.reason if self.reason == "OOMKilled" else f"exit code {self.exit_code}"


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container of a pod now; `waiting` is the waiting reason (CrashLoopBackOff, ImagePullBackOff, ...) or empty,
    `running_since` when its present run began, None when it does not run. `image_id` is what the image's name stood for when it was started, as
    the kubelet tells it (a digest), empty where it does not. `started`: its startup probe has succeeded, or it has none."""

    name: str
    init: bool
    ready: bool
    restarts: int
    waiting: str = ""
    waiting_message: str = ""
    terminated: Terminated | None = None
    last_terminated: Terminated | None = None
    running_since: datetime | None = None
    image_id: str = ""
    sidecar: bool = False
    started: bool = False

    @property
    def first(self) -> bool:
        """It ends before the others start; a sidecar runs on beside them."""
        return self.init and not self.sidecar

    @property
    def calm(self) -> bool:
        """It runs and is ready, and no end of it is told."""
        ends = self.terminated or self.last_terminated
        return self.ready and self.running_since is not None and not (self.waiting or ends or self.first)

    @property
    def oom_killed(self) -> Terminated | None:
        """The OOM kill in the state or the last state, if there was one."""
        for t in (self.terminated, self.last_terminated):
            if t is not None and t.reason == "OOMKilled":
                return t
        return None


@dataclass(frozen=True, slots=True)
class PodCondition:
    """One condition of a pod's status. `since` is when its status last changed."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. `owner` is its controller (a ReplicaSet for Deployments); `reason` and `message` are those of the whole pod,
    e.g. of an eviction; `ends_at` is when a terminating one should be gone, its grace period included, and `finalizers` hold it longer;
    `memory_limit` is that of the pod as a whole in bytes (pod-level resources). `taken_at` is when its node took it up, which is when
    all its conditions are set for the first time."""

    ref: ObjectRef
    phase: str
    ready: bool
    node: str
    created_at: datetime
    labels: Mapping[str, str]
    containers: tuple[ContainerState, ...]
    specs: tuple[ContainerSpec, ...]
    owner: ObjectRef | None = None
    terminating: bool = False
    ends_at: datetime | None = None
    finalizers: tuple[str, ...] = ()
    template_hash: str = ""
    conditions: tuple[PodCondition, ...] = ()
    reason: str = ""
    message: str = ""
    memory_limit: int | None = None
    taken_at: datetime | None = None

    @property
    def name(self) -> str:
        """Pod name."""
        return self.ref.name

    @property
    def over(self) -> bool:
        """True for a pod that has ended or is ending: nothing of it will become ready."""
        return self.terminating or self.phase in ("Succeeded", "Failed")

    def condition(self, kind: str) -> PodCondition | None:
        """The condition of this type."""
        return next((c for c in self.conditions if c.type == kind), None)

    @property
    def gated(self) -> bool:
        """Its containers are ready, and a readiness gate keeps it from being so."""
        told = self.condition("Ready")
        return told is not None and told.status == "False" and told.reason == "ReadinessGatesNotReady"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a workload's template.

    `template` has the pod-template-hash label and restart annotations removed; `fingerprint` is the digest of that,
    so a mere restart has the fingerprint of its predecessor (protocol fact: a restart makes a revision).
    `earlier` are the numbers it had before: a template that comes back keeps its object and gets a new number. `marks` are
    the labels and annotations of the stored revision and of its template. `restarted_at` is its restart annotation. `emptied_at` is when
    the last of its pods was told to go, where its ReplicaSet tells.
    """

    number: int
    name: str
    created_at: datetime
    images: tuple[str, ...]
    template: Obj
    fingerprint: str
    current: bool = False
    change_cause: str = ""
    earlier: tuple[int, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)
    restarted_at: str = ""
    emptied_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler whose scaleTargetRef is the workload. `others` are the names of further ones: then none of them scales
    it. `never_up`: somebody has told it not to scale up. `idle`: why it does not scale, as it says, as it cannot see its
    metrics or, where it is `unable`, cannot read or write the scale; empty where it does. `idle_since` is from when on, as far as it tells."""

    ref: ObjectRef
    min_replicas: int
    max_replicas: int
    desired: int
    last_action: str = ""
    others: tuple[str, ...] = ()
    never_up: bool = False
    idle: str = ""
    idle_since: datetime | None = None
    unable: bool = False


class Manager(StrEnum):
    """Who else writes this object and would revert our change."""

    ARGO_CD = "argocd"
    FLUX = "flux"
    HELM = "helm"
    HPA = "hpa"


class RolloutState(StrEnum):
    """The words of `kubectl rollout status`."""

    COMPLETE = "complete"
    PROGRESSING = "progressing"
    FAILED = "failed"
    PAUSED = "paused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """State of the rollout and a sentence with its numbers."""

    state: RolloutState
    text: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet at one moment. Replica numbers are pods."""

    target: Target
    ref: ObjectRef
    paused: bool
    desired: int
    ready: int
    updated: int
    available: int
    observed_generation: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    selector: str
    containers: tuple[ContainerSpec, ...]
    manifest: Obj = field(repr=False)
    managers: tuple[Manager, ...] = ()
    autoscaler: Autoscaler | None = None

    @property
    def unavailable(self) -> int:
        """Pods wanted and not ready."""
        return max(0, self.desired - self.ready)

    @property
    def pod_labels(self) -> Mapping[str, str]:
        """The labels of its template, which its pods have."""
        labels: Mapping[str, str] = (self.manifest["spec"]["template"].get("metadata") or {}).get(
            "labels"
        ) or {}
        return labels


@dataclass(frozen=True, slots=True)
class KubeEvent:
    """A Kubernetes Event about an object, `Kind/name`; `container` is the one it is about, empty for none."""

    reason: str
    message: str
    type: str
    count: int
    last_seen: datetime | None
    about: str
    first_seen: datetime | None = None
    container: str = ""


def killed_at(pod: Pod) -> datetime | None:
    """When a container of the pod was last killed for memory; None when none was, or nobody tells when."""
    ends = [k.finished_at for c in pod.containers if (k := c.oom_killed) is not None and k.finished_at]
    return max(ends, default=None)


def killed_within(pods: Iterable[Pod], now: datetime, span: timedelta) -> list[Pod]:
    """Those of which a container was killed for memory so lately."""
    return [p for p in pods if (at := killed_at(p)) is not None and now - at <= span]
