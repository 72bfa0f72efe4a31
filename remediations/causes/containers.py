"""Why the containers of scheduled pods do not run or are not ready: images, configuration, starts, ends, probes. Pure.

A restart that is long over is no cause, and a pod that has only just been made is still starting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.domain.json import Obj
from app.domain.redact import redact
from app.domain.target import Kind
from app.domain.units import say_memory
from app.domain.workload import ConfigRef, ContainerState, KubeEvent, Pod, Terminated
from app.kube.podspec import pod_memory_limit
from remediations.causes.exits import ARCHITECTURE, TOLD_TO_END, ending
from remediations.causes.images import WAITING, image_cause, pull_of
from remediations.causes.model import STARTING, Cause, CauseCode, Snapshot, Sureness, earliest
from remediations.evidence.units import count, short, span

_CANNOT_START = frozenset(
    {
        "CreateContainerError",
        "RunContainerError",
        "CreateContainerConfigError",
        "PreCreateHookError",
        "PostStartHookError",
    }
)
_RESET = timedelta(minutes=10)
"""After so long a run the kubelet forgets the restarts before it (Kubernetes, "Container restart policy")."""
_OFTEN = 3
_PROBES = (
    ("Startup", CauseCode.STARTUP_PROBE, "startupProbe"),
    ("Liveness", CauseCode.LIVENESS_PROBE, "livenessProbe"),
    ("Readiness", CauseCode.READINESS_PROBE, "readinessProbe"),
)
_PROBED = re.compile(
    r"(?P<which>\w+) probe (?:failed|errored(?: and resulted in \w+ state)?)(?:: *(?P<answer>.*))?", re.DOTALL
)
"""The kubelet's word on a probe that did not succeed; one that could not be asked counts as failed too."""


@dataclass(frozen=True, slots=True)
class _At:
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
        spec = self.seen.spec
        own = {c.get("name") for c in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))}
        foreign = "" if self.state.name in own or not self.seen.newest(self.pod) else " (put in by admission)"
        return f"{'init container' if self.state.init else 'container'} {self.state.name} of {self.pod.name}{foreign}"

    def probe(self, which: str) -> KubeEvent | None:
        """The newest event of a failed probe of this container."""
        found = self.seen.about("Pod", self.pod.name, "Unhealthy")
        mine = (e for e in found if e.container in ("", self.state.name))
        return next((e for e in mine if (m := _PROBED.match(e.message)) and m["which"] == which), None)

    def said(self) -> str:
        """What it said last, or the kubelet's word on it."""
        words = self.seen.words.get((self.pod.name, self.state.name), "")
        ended = self.state.terminated or self.state.last_terminated
        return words or short(redact(ended.message if ended else ""), 200)

    def cause(self, code: CauseCode, text: str, advice: str, **more: object) -> Cause:
        """A certain cause of this container, which any change of it can bring."""
        made = Cause(
            code, f"Pod {self.pod.name}", Sureness.CERTAIN, text, advice, (self.pod.name,), fields=(self.where, "volumes"),
            container=self.state.name,
        )  # fmt: skip
        return replace(made, **more)  # type: ignore[arg-type]


def container_causes(seen: Snapshot) -> Iterator[Cause]:
    """The cause of each container in trouble, of pods that have not ended; one a pod and container."""
    for pod in seen.alive:
        for state in pod.containers:
            at = _At(seen, pod, state)
            cause = _of(at)
            if cause is not None:
                known = earliest([cause.since, _since(at)])
                yield replace(cause, since=known)


def _of(at: _At) -> Cause | None:
    state = at.state
    if state.waiting in WAITING:
        return image_cause(at.seen, pull_of(at.seen, at.pod, state))
    if state.waiting in _CANNOT_START:
        return _start(at, state.waiting_message)
    ended = state.terminated or state.last_terminated
    if state.waiting == "CrashLoopBackOff" or state.terminated is not None:
        if ended is not None and (not state.init or ended.exit_code or ended.reason != "Completed"):
            return _end(at, ended)
        return None
    recent = ended is not None and _recent(at, ended)
    if ended is not None and recent and state.restarts and (ended.exit_code or not state.ready):
        return _end(at, ended)
    if state.running_since is not None and state.init:
        return _init_waits(at)
    return _unready(at) if state.running_since is not None and not state.ready else None


def _recent(at: _At, ended: Terminated) -> bool:
    """Is that end still part of the present? A run that has lasted longer than the back-off's reset is over it, unless the one
    before lasted as long: then it is on its way to the next."""
    if ended.finished_at is None or not at.state.ready:
        return True
    age = at.seen.now - ended.finished_at
    if age <= _RESET:
        return True
    cycle = ended.finished_at - ended.started_at if ended.started_at is not None else timedelta()
    return at.state.restarts >= _OFTEN and age < 1.5 * cycle


def _since(at: _At) -> datetime | None:
    """The earliest moment at which this container is known to have been in trouble."""
    ended = [
        t.finished_at
        for t in (at.state.terminated, at.state.last_terminated)
        if t is not None and t.exit_code
    ]
    told = [
        e.first_seen
        for e in at.seen.about("Pod", at.pod.name, "BackOff", "Failed", "Unhealthy", "FailedMount")
    ]
    ready = at.pod.condition("Ready")
    never = ready is not None and ready.status == "False" and ready.since is not None
    began = (
        at.pod.created_at
        if never and ready and ready.since and ready.since - at.pod.created_at < STARTING / 4
        else None
    )
    return earliest([*ended, *told, began])


_NO_OBJECT = re.compile(r'(?P<kind>configmap|secret) "(?P<name>[^"]+)" not found', re.IGNORECASE)
_NO_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>ConfigMap|Secret) [^/\s]+/(?P<name>\S+)")
_KEY = re.compile(r"references non-existent (?P<kind>config|secret) key: (?P<key>\S+)")
_RUNS_AS_ROOT = re.compile(r"runAsNonRoot|run as root|cannot verify user is non-root", re.IGNORECASE)


def missing_ref(said: str) -> ConfigRef | None:
    """The ConfigMap, Secret or key that the kubelet's words miss."""
    if found := _NO_KEY.search(said):
        return ConfigRef(Kind(found["kind"]), found["name"], found["key"])
    if found := _NO_OBJECT.search(said):
        return ConfigRef(
            Kind.CONFIG_MAP if found["kind"].lower() == "configmap" else Kind.SECRET, found["name"]
        )
    return None


def missing_config(seen: Snapshot, ref: ConfigRef, pods: tuple[str, ...], who: str) -> Cause:
    """The cause of a reference that leads nowhere: the object does not exist, or does not have the key."""
    kept = seen.kept.get((ref.kind, ref.name))
    exists = bool(ref.key) if kept is None else kept.keys is not None
    what = f"{ref.kind} {ref.name}" + (f" key {ref.key}" if ref.key else "")
    need = f"{ref.kind} {ref.name}, which does not exist"
    if exists:
        need = f"key {ref.key} of {ref.kind} {ref.name}, which does not have it"
    return Cause(
        code=CauseCode.CONFIG_MISSING,
        object=f"{ref.kind} {ref.name}",
        sureness=Sureness.CERTAIN,
        text=f"{who} needs {need}",
        advice=f"create {what} in namespace {seen.workload.target.namespace}; the pods start by themselves then",
        pods=pods,
        fields=(
            "containers[*].env",
            "containers[*].envFrom",
            "initContainers[*].env",
            "initContainers[*].envFrom",
            "volumes",
        ),
        objects=((ref.kind, ref.name),),
        needs=(ref,),
    )


def _start(at: _At, said: str) -> Cause:
    told = short(redact(said), 300)
    if at.state.waiting == "CreateContainerConfigError" and (ref := missing_ref(said)):
        kept = at.seen.kept.get((ref.kind, ref.name))
        found = missing_config(at.seen, ref, (at.pod.name,), f"container {at.state.name}")
        if kept is not None and kept.keys is not None and (not ref.key or ref.key in kept.keys):
            text = f"container {at.state.name} waited for {ref.kind} {ref.name}, which is there now"
            return replace(found, text=text, advice="", needs=(), container=at.state.name)
        return replace(found, container=at.state.name)
    if _RUNS_AS_ROOT.search(said):
        fields = (f"{at.where}.securityContext", f"{at.where}.image", "securityContext")
        return at.cause(
            CauseCode.SECURITY_CONTEXT,
            f"{at.name} may not run as root: {told}",
            f"build the image for another user, or set runAsUser ({told})",
            fields=fields,
        )
    if ARCHITECTURE.search(said):
        return _architecture(at, told)
    return at.cause(
        CauseCode.CANNOT_START,
        f"{at.name} cannot start ({at.state.waiting}): {told or 'without a reason'}",
        f"correct what keeps {at.state.name} from starting: {told or at.state.waiting}",
    )


def _architecture(at: _At, said: str) -> Cause:
    fields = (f"{at.where}.image", "nodeSelector", "affinity")
    text = f"{at.name} is built for another architecture than its node's: {said}"
    return at.cause(
        CauseCode.ARCHITECTURE,
        text,
        "build the image for the node's architecture, or choose nodes of another one",
        fields=fields,
    )


def _end(at: _At, ended: Terminated) -> Cause:
    """What made a container end."""
    restarts = f", {count(at.state.restarts, 'restart')}" if at.state.restarts else ""
    if ended.reason == "OOMKilled":
        of = _limit_of(at)
        text = f"{at.name} was killed for memory (OOMKilled, {of}{restarts})"
        return at.cause(
            CauseCode.OUT_OF_MEMORY,
            text,
            f"raise the memory limit of {at.state.name} (the remediation out-of-memory does), or find what uses it",
        )
    said = at.said()
    if ended.reason in ("StartError", "ContainerCannotRun") or ARCHITECTURE.search(said):
        told = short(redact(ended.message), 300) or said
        if ARCHITECTURE.search(ended.message) or ARCHITECTURE.search(said):
            return _architecture(at, told)
        return at.cause(
            CauseCode.CANNOT_START,
            f"{at.name} cannot start ({ended.reason}): {told}",
            f"correct the command or the image of {at.state.name}: {told}",
        )
    if ended.exit_code in TOLD_TO_END:
        for words, code, field in _PROBES[:2]:
            if event := at.probe(words):
                return _probe(
                    at, event, (words, code, field), f"; the kubelet ended it ({ending(ended)}{restarts})"
                )
    words = f': said last "{said}"' if said else ""
    if ended.exit_code == 0 and not at.state.init:
        text = f"{at.name} ends by itself with exit code 0{restarts}{words}"
        return at.cause(CauseCode.ENDS, text, f"let the command of {at.state.name} run on, or make it a Job")
    about = f' about "{said}"' if said else ""
    target = at.seen.workload.target
    advice = f"read kubectl logs --previous of {target.name} in namespace {target.namespace} and fix the code or its input{about}"
    return at.cause(CauseCode.CRASH, f"{at.name} crashes with {ending(ended)}{restarts}{words}", advice)


def _limit_of(at: _At) -> str:
    """The limit that a container ran into: its own, that of its pod as a whole, or the node's end."""
    own = next((s.memory_limit for s in at.pod.specs if s.name == at.state.name), None)
    if own is not None:
        return f"limit {say_memory(own)}"
    whole = pod_memory_limit(at.seen.specs.get(at.pod.name) or at.seen.spec)
    return f"limit of the whole pod {say_memory(whole)}" if whole is not None else "no limit: it was the node"


def _probe(at: _At, event: KubeEvent, probe: tuple[str, CauseCode, str], more: str = "") -> Cause:
    which, code, field = probe
    said_so = _PROBED.match(event.message)
    answer = short(redact(said_so["answer"] or ""), 200) if said_so else ""
    spec = at.seen.specs.get(at.pod.name) or at.seen.spec
    listed = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    own: Obj = next((c for c in listed if c.get("name") == at.state.name), {})
    how = _asked(own.get(field) or {})
    text = f"{which.lower()} probe of {at.name} fails{f' ({how})' if how else ''}: {answer or 'without an answer'}{more}"
    said = at.said()
    advice = f"find out why {at.state.name} answers so{f', it said last {said!r}' if said else ''}, or correct its {field}"
    sure = Sureness.CERTAIN if event.container else Sureness.LIKELY
    return at.cause(code, text, advice, sureness=sure, since=event.first_seen)


def _asked(probe: dict[str, object]) -> str:
    """What a probe asks, e.g. `GET :8080/healthz`."""
    http, tcp, command, grpc = (probe.get(k) for k in ("httpGet", "tcpSocket", "exec", "grpc"))
    if isinstance(http, dict):
        return f"GET :{http.get('port')}{http.get('path', '/')}"
    if isinstance(tcp, dict):
        return f"TCP :{tcp.get('port')}"
    if isinstance(grpc, dict):
        return f"gRPC :{grpc.get('port')}"
    return (
        short(redact(" ".join(map(str, command.get("command") or ()))), 80)
        if isinstance(command, dict)
        else ""
    )


def _init_waits(at: _At) -> Cause | None:
    spec = at.seen.specs.get(at.pod.name) or {}
    own: dict[str, object] = next(
        (c for c in spec.get("initContainers") or () if c.get("name") == at.state.name), {}
    )
    sidecar = own.get("restartPolicy") == "Always"
    if sidecar or at.state.running_since is None or at.seen.now - at.state.running_since < STARTING:
        return None
    said = at.said()
    words = f': said last "{said}"' if said else ""
    age = span((at.seen.now - at.state.running_since).total_seconds())
    text = f"{at.name} has run for {age}, and nothing starts before it ends{words}"
    return at.cause(
        CauseCode.INIT_WAITS,
        text,
        f"give init container {at.state.name} what it waits for{words}",
        sureness=Sureness.LIKELY,
    )


def _unready(at: _At) -> Cause | None:
    """A container that runs and is not ready."""
    order = (_PROBES[0], _PROBES[2], _PROBES[1])
    began = at.state.running_since
    young = began is not None and at.seen.now - began < STARTING and not at.state.restarts
    for probe in order:
        event = at.probe(probe[0])
        if event is not None and not young:
            return _probe(at, event, probe)
    if young or began is None:
        return None
    said = at.said()
    words = f': said last "{said}"' if said else ""
    text = f"{at.name} runs for {span((at.seen.now - began).total_seconds())} and is not ready{words}"
    return at.cause(
        CauseCode.NOT_READY,
        text,
        f"find out why {at.state.name} is not ready: its readiness probe and its log tell",
        sureness=Sureness.POSSIBLE,
    )
