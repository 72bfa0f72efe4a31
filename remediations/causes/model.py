"""What an investigation works on and what it finds: the snapshot of a workload and of what its pods use, and causes.

Used by everything in this package. Pure data; nothing here reads the cluster. Of a Secret the snapshot has the names of its
keys and the times of its writes, never a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.workload import ConfigRef, ContainerState, KubeEvent, Pod, Revision, Workload
from app.kube.known_good import of_revision
from app.kube.newpods.goal import all_containers
from remediations.evidence.last_words import LastWords, heard
from remediations.evidence.usage import span

RECENT = timedelta(minutes=15)
"""How old an event may be to tell something about the present: the kubelet and the controllers repeat theirs sooner."""
NEAR = timedelta(hours=1)
"""Before an alert: what happened then fits it in time, for its rule waits, and rates climb."""
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
    TERMINATING = "terminating"
    UNSCHEDULABLE = "unschedulable"
    REJECTED = "rejected"
    NODE = "node"
    VOLUME = "volume"
    SANDBOX = "sandbox"
    CONFIG_MISSING = "config_missing"
    PULL_SECRET = "pull_secret"
    IMAGE_DENIED = "image_denied"
    IMAGE_MISSING = "image_missing"
    IMAGE_PULL = "image_pull"
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
    SERVICE_ENDPOINTS = "service_endpoints"
    AUTOSCALER = "autoscaler"
    DISRUPTION_BUDGET = "disruption_budget"
    NETWORK_POLICY = "network_policy"


Amount = Fraction | int


@dataclass(frozen=True, slots=True)
class Demand:
    """A test of a pod template: how much it has of what a cause needs, by name; 0 for what it does not name, and more is worse.

    A newer template can bring the cause by it only where it has more of something than the older one, which then would not show
    it. `acquits` is the sentence for the other case; `fields` are where the template says it, to be shown.
    """

    acquits: str
    of: Callable[[Obj], Mapping[str, Amount]]
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause, with the object that has to change or recover.

    `text` is one sentence with the cluster's own words, `advice` what a person does about it. `pods` show it, `revisions`
    are the names of the ReplicaSets whose pods cannot be made. `fields` are the parts of the pod spec of which any change can
    bring it (`containers[app]`, `volumes`), `demands` what else of a template can, and in which direction; no template can when both
    are empty. `doubt` says why a change of `fields` alone proves nothing; `said` are the cluster's whole words, to be searched. `objects` are the others whose change can bring it.
    `since` is the earliest moment at which it is known to have been there. `needs`: references that lead nowhere.
    """

    code: CauseCode
    object: str
    sureness: Sureness
    text: str
    advice: str = ""
    pods: tuple[str, ...] = ()
    revisions: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    demands: tuple[Demand, ...] = ()
    doubt: str = ""
    said: str = ""
    objects: tuple[tuple[Kind, str], ...] = ()
    since: datetime | None = None
    needs: tuple[ConfigRef, ...] = ()
    container: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A ConfigMap or Secret without its values. `keys` is None when it does not exist; `changed_at` and `by` are the newest write that
    it tells of: what only takes a key out moves no time. `immutable`: nobody can have done so. `hand`: the newest before of a person, if `by` is none."""

    kind: Kind
    name: str
    keys: frozenset[str] | None
    changed_at: datetime | None = None
    by: str = ""
    immutable: bool = False
    hand: tuple[datetime, str] | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A Service that is not the workload's own, and has no ready pod or does not exist: its name, its pods in words, since when the
    last of them has not been ready, None when that is not known, and its addresses in the cluster. One that has ready pods holds these
    as `ready`, and since when one of them has been: that they are ready does not prove that they answer; and what was `changed` of it lately."""

    name: str
    state: str
    since: datetime | None = None
    exists: bool = True
    addresses: tuple[str, ...] = ()
    ready: tuple[Obj, ...] = ()
    changed: str = ""

    def fits(self, began: datetime) -> bool | None:
        """Did it lose its pods near the time when the trouble began, or since? None where nobody knows; one that is away for longer did not
        bring what only began now."""
        return None if self.since is None else self.since >= began - NEAR

    def since_when(self, now: datetime) -> str:
        """Since when it is away, as one clause."""
        if self.since is None:
            return "since when is not known"
        return f"it has been away for {span((now - self.since).total_seconds())}"

    def named_in(self, words: str) -> bool:
        """Do these words have its name, or one of its addresses?"""
        found = (rf"(?<![\w.-]){re.escape(what)}(?![\w-])" for what in (self.name, *self.addresses))
        return any(re.search(pattern, words, re.IGNORECASE) for pattern in found)


def not_ready_since(pods: Sequence[Pod]) -> datetime | None:
    """When the last of them stopped being ready. One that nobody took up yet was made when the one before it went."""
    found = [(p, p.condition("Ready")) for p in pods]
    times = [p.created_at if c is None else c.since for p, c in found]
    return max((t for t in times if t is not None), default=None)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at a workload and at what its pods use. `controllers` are the ReplicaSets of a Deployment; `specs` the pods'
    specs by name; `selected` how many pods the selector of a Service chooses, and how many of them are ready, by its name; `slices` its EndpointSlices; `claims` the PersistentVolumeClaims by name, None for one that does not exist; `words` what containers
    said last, by pod and container; `neighbours` the Services that these words name: those without a ready pod, and those that have one again. `put_out` are events about
    pods that are gone: preempted, or evicted by an updater; `down` are Services beside whose pods stopped being ready lately, looked for where
    words may follow from that; `pulling` the pods whose image is being pulled,
    `scaling` what the autoscaler of nodes said about pods. `template_of` names the object whose template the workload only is, `scalers` are the
    ScaledObjects of one that is stopped.
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
    selected: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    slices: Mapping[str, tuple[Obj, ...]] = field(default_factory=dict)
    policies: tuple[Obj, ...] = ()
    quotas: tuple[Obj, ...] = ()
    limit_ranges: tuple[Obj, ...] = ()
    nodes: tuple[Obj, ...] = ()
    words: Mapping[tuple[str, str], LastWords] = field(default_factory=dict)
    neighbours: tuple[Neighbour, ...] = ()
    down: tuple[Neighbour, ...] = ()
    put_out: tuple[KubeEvent, ...] = ()
    pulling: frozenset[str] = frozenset()
    scaling: tuple[KubeEvent, ...] = ()
    budgets: tuple[Obj, ...] = ()
    vpas: tuple[Obj, ...] = ()
    scalers: tuple[Obj, ...] = ()
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
    def whole(self) -> bool:
        """Nothing is missing or not ready, and something is wanted."""
        enough = self.ready >= self.workload.desired > 0 and self.ready == len(self.alive)
        return enough and not self.unmade

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

    def mounts(self, container: str) -> tuple[str, ...]:
        """Where the present template gives this container volumes."""
        own: Obj = next((c for c in all_containers(self.spec) if c.get("name") == container), {})
        paths = (m.get("mountPath") for m in own.get("volumeMounts") or ())
        return tuple(str(path).rstrip("/") for path in paths if path)

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
        mine = (e for e in self.events if e.about == where and self.fresh(e))
        return [e for e in mine if not reasons or e.reason in reasons]

    def fresh(self, event: KubeEvent) -> bool:
        """True for an event that tells something about the present."""
        return event.last_seen is None or event.last_seen >= self.now - RECENT


_SUFFIX = re.compile(r"-[a-z0-9]{1,10}$")


def maker_of(pod: str) -> str:
    """What a pod's name says of the object that made it: also of a pod that is gone."""
    return _SUFFIX.sub("", pod)


def log_of(container: str) -> str:
    """What the log of a container is called among the sources that could not be read."""
    return f"log of {container}"


def earliest(times: Sequence[datetime | None]) -> datetime | None:
    """The first of those that are known."""
    return min((t for t in times if t is not None), default=None)


_TAKEN_UP = timedelta(seconds=1)
"""Between two times of the same write, which are told in whole seconds."""


def never_ready(pod: Pod) -> bool:
    """Has this pod not been ready at any time? The kubelet sets Ready to False as it takes the pod up, and that time stays until the status
    changes: a later one means that it was ready in between. Where the kubelet's time is not told, the time of creation stands for it."""
    ready = pod.condition("Ready")
    if ready is None or ready.status != "False" or ready.since is None:
        return False
    if pod.taken_at is not None:
        return ready.since - pod.taken_at <= _TAKEN_UP
    return ready.since - pod.created_at < STARTING / 4


PROBED = re.compile(
    r"(?P<which>\w+) probe (?:failed|errored(?: and resulted in \w+ state)?)(?:: *(?P<answer>.*))?", re.DOTALL
)
"""The kubelet's word on a probe that did not succeed; one that could not be asked counts as failed too."""


_SURROUNDINGS = ("volumes", "securityContext", "serviceAccountName", "automountServiceAccountToken", "hostNetwork", "hostPID", "hostIPC",
                 "dnsPolicy", "dnsConfig", "hostAliases", "hostname", "subdomain", "enableServiceLinks", "shareProcessNamespace",
                 "runtimeClassName")  # fmt: skip
"""Parts of a pod spec beside the containers that a running container feels."""


@dataclass(frozen=True, slots=True)
class At:
    """One container of one pod."""

    seen: Snapshot
    pod: Pod
    state: ContainerState

    @property
    def where(self) -> str:
        """Its part of the pod spec."""
        return f"{'initContainers' if self.state.init else 'containers'}[{self.state.name}]"

    @property
    def name(self) -> str:
        """As sentences name it."""
        own = {c.get("name") for c in all_containers(self.seen.spec)}
        foreign = "" if self.state.name in own or not self.seen.newest(self.pod) else " (put in by admission)"
        kind = "sidecar" if self.sidecar else "init container" if self.state.init else "container"
        return f"{kind} {self.state.name} of {self.pod.name}{foreign}"

    @property
    def sidecar(self) -> bool:
        """An init container that runs on beside the others (`restartPolicy: Always`), with probes of its own."""
        return self.state.sidecar

    def asked_for(self, *probes: str) -> bool:
        """Has it one of these probes?"""
        return any(self.own.get(probe) for probe in probes)

    @property
    def own(self) -> Obj:
        """Its part of its pod's own spec."""
        spec = self.seen.specs.get(self.pod.name) or self.seen.spec
        return next((c for c in all_containers(spec) if c.get("name") == self.state.name), {})

    def probe(self, which: str) -> KubeEvent | None:
        """The newest event of a failed probe of this container."""
        found = self.seen.about("Pod", self.pod.name, "Unhealthy")
        mine = (e for e in found if e.container in ("", self.state.name))
        return next((e for e in mine if (m := PROBED.match(e.message)) and m["which"] == which), None)

    def heard(self) -> LastWords:
        """What it said last, or the kubelet's word on it."""
        words = self.seen.words.get((self.pod.name, self.state.name))
        ended = self.state.terminated or self.state.last_terminated
        return words or heard(ended.message if ended else "")

    def said(self) -> str:
        """The same as one line for people."""
        return self.heard().shown

    def cause(self, code: CauseCode, text: str, advice: str, **more: object) -> Cause:
        """A certain cause of this container, which any change of what it runs can bring."""
        made = Cause(
            code, f"Pod {self.pod.name}", Sureness.CERTAIN, text, advice, (self.pod.name,), fields=(self.where, *_SURROUNDINGS),
            container=self.state.name,
        )  # fmt: skip
        return replace(made, **more)  # type: ignore[arg-type]
