"""What an investigation works on and what it finds: the snapshot of a workload and of what its pods use, and causes.

Used by everything in this package. Pure data; nothing here reads the cluster. Of a Secret the snapshot has the names of its
keys and the times of its writes, never a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.workload import ConfigRef, KubeEvent, Pod, Revision, Workload
from remediations.evidence.pods import of_revision

RECENT = timedelta(minutes=15)
"""How old an event may be to tell something about the present: the kubelet and the controllers repeat theirs sooner."""
STARTING = timedelta(minutes=2)
"""How long a pod without any error may take before "not ready yet" counts as trouble."""
PULLING = timedelta(minutes=10)
"""The same while its image is being pulled: as long as a Deployment's default deadline."""


class Sureness(StrEnum):
    """How sure a cause is. Certain: the cluster says it of this very object. Likely: what is seen fits, and nothing speaks
    against it. Possible: it would explain what is seen, and something else would as well."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class CauseCode(StrEnum):
    """The closed list of causes, in the order of the way of a pod: what stands earlier explains what stands later."""

    SCALED_TO_ZERO = "scaled_to_zero"
    PAUSED = "paused"
    QUOTA = "quota"
    LIMIT_RANGE = "limit_range"
    POD_SECURITY = "pod_security"
    WEBHOOK = "webhook"
    SERVICE_ACCOUNT = "service_account"
    PRIORITY_CLASS = "priority_class"
    CREATE_REFUSED = "create_refused"
    UNSCHEDULABLE = "unschedulable"
    NODE = "node"
    VOLUME = "volume"
    SANDBOX = "sandbox"
    CONFIG_MISSING = "config_missing"
    PULL_SECRET = "pull_secret"
    IMAGE_DENIED = "image_denied"
    IMAGE_MISSING = "image_missing"
    REGISTRY = "registry"
    ARCHITECTURE = "architecture"
    SECURITY_CONTEXT = "security_context"
    CANNOT_START = "cannot_start"
    OUT_OF_MEMORY = "out_of_memory"
    DEPENDENCY = "dependency"
    RIGHT = "right"
    STARTUP_PROBE = "startup_probe"
    LIVENESS_PROBE = "liveness_probe"
    CRASH = "crash"
    ENDS = "ends"
    INIT_WAITS = "init_waits"
    READINESS_PROBE = "readiness_probe"
    READINESS_GATE = "readiness_gate"
    PREEMPTED = "preempted"
    EVICTED = "evicted"
    RESIZE = "resize"
    NOT_READY = "not_ready"
    SERVICE_SELECTOR = "service_selector"
    SERVICE_PORT = "service_port"
    AUTOSCALER = "autoscaler"
    DISRUPTION_BUDGET = "disruption_budget"
    NETWORK_POLICY = "network_policy"


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause, with the object that has to change or recover.

    `text` is one sentence with the cluster's own words, `advice` what a person does about it. `pods` show it, `revisions`
    are the names of the ReplicaSets whose pods cannot be made. `fields` are the parts of the pod spec whose change can bring
    it (`containers[app]`, `volumes`), empty when no template can; `objects` are the others whose change can. `since` is the
    earliest moment at which it is known to have been there. `needs`: references that lead nowhere.
    """

    code: CauseCode
    object: str
    sureness: Sureness
    text: str
    advice: str = ""
    pods: tuple[str, ...] = ()
    revisions: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    objects: tuple[tuple[Kind, str], ...] = ()
    since: datetime | None = None
    needs: tuple[ConfigRef, ...] = ()
    container: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A ConfigMap or Secret without its values. `keys` is None when it does not exist; `changed_at` and `by` are its newest
    write."""

    kind: Kind
    name: str
    keys: frozenset[str] | None
    changed_at: datetime | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A Service that is not the workload's own and has no ready pod: its name, its pods in words, and since when the last of them
    has not been ready, None when that is not known."""

    name: str
    state: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at a workload and at what its pods use. `controllers` are the ReplicaSets of a Deployment; `specs` the pods'
    specs by name; `selected` how many pods the selector of a Service chooses, by its name; `claims` the PersistentVolumeClaims by name, None for one that does not exist; `words` what containers
    said last, by pod and container; `neighbours` the Services without a ready pod that these words name. `put_out` are events about
    pods that are gone: preempted, or evicted by an updater; `pulling` the pods whose image is being pulled. `template_of` names the object whose template the workload only is.
    `unread` says of each source that could not be read why."""

    workload: Workload
    now: datetime
    fired_at: datetime
    pods: tuple[Pod, ...] = ()
    specs: Mapping[str, Obj] = field(default_factory=dict)
    revisions: tuple[Revision, ...] = ()
    controllers: tuple[Obj, ...] = ()
    events: tuple[KubeEvent, ...] = ()
    kept: Mapping[tuple[Kind, str], Kept] = field(default_factory=dict)
    claims: Mapping[str, Obj | None] = field(default_factory=dict)
    service_account: Obj | None = None
    autoscaler: Obj | None = None
    services: tuple[Obj, ...] = ()
    selected: Mapping[str, int] = field(default_factory=dict)
    policies: tuple[Obj, ...] = ()
    quotas: tuple[Obj, ...] = ()
    limit_ranges: tuple[Obj, ...] = ()
    nodes: tuple[Obj, ...] = ()
    words: Mapping[tuple[str, str], str] = field(default_factory=dict)
    neighbours: tuple[Neighbour, ...] = ()
    put_out: tuple[KubeEvent, ...] = ()
    pulling: frozenset[str] = frozenset()
    budgets: tuple[Obj, ...] = ()
    vpas: tuple[Obj, ...] = ()
    template_of: str = ""
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> tuple[Pod, ...]:
        """Pods that have not ended and are not ending. Those of an old ReplicaSet that is being removed are no fault."""
        return tuple(p for p in self.pods if not p.over)

    @property
    def ready(self) -> int:
        """Pods that are ready."""
        return sum(p.ready for p in self.alive)

    @property
    def missing(self) -> int:
        """Pods that are wanted and do not exist."""
        return max(0, self.workload.desired - len(self.alive))

    @property
    def unmade(self) -> int:
        """Pods that a ReplicaSet of a Deployment wants and has not made; also while older ones are enough of them."""
        return sum(
            max(0, (m.get("spec") or {}).get("replicas", 0) - status.get("replicas", 0))
            for m in self.controllers
            if (status := m.get("status"))
        )

    @property
    def current(self) -> Revision | None:
        """The revision of the present template."""
        return next((r for r in self.revisions if r.current), None)

    @property
    def spec(self) -> Obj:
        """The pod spec of the present template."""
        spec: Obj = self.workload.manifest["spec"]["template"].get("spec") or {}
        return spec

    def newest(self, pod: Pod) -> bool:
        """True when the pod was made from the present template (a restart of it is the same). True also when the revisions
        are not known, because then nothing sets it apart."""
        current = self.current
        if current is None:
            return True
        family = [r for r in self.revisions if r.fingerprint == current.fingerprint]
        return any(of_revision(pod, r) for r in family)

    def about(self, kind: str, name: str, *reasons: str) -> list[KubeEvent]:
        """Recent events about this object, newest first, of these reasons when any are given."""
        where = f"{kind}/{name}"
        return [
            e
            for e in self.events
            if e.about == where and (not reasons or e.reason in reasons) and self.fresh(e)
        ]

    def fresh(self, event: KubeEvent) -> bool:
        """True for an event that tells something about the present."""
        return event.last_seen is None or event.last_seen >= self.now - RECENT


def earliest(times: Sequence[datetime | None]) -> datetime | None:
    """The first of those that are known."""
    known = [t for t in times if t is not None]
    return min(known) if known else None
