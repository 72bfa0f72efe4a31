"""What is wrong with a workload's pods, container by container: crashes, out-of-memory kills, images, configuration.

Called by the handlers. Works on the snapshots of `app.kube.read`; never changes anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.cluster import Cluster
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue
from app.domain.workload import ContainerState, Pod, Revision, Terminated, Workload
from app.kube.read import read_pods
from remediations.evidence.units import count, memory, millicores

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_CANNOT_START = frozenset(
    {"CrashLoopBackOff", "RunContainerError", "CreateContainerError", "CreateContainerConfigError"}
)
# CreateContainerConfigError also stands for e.g. a user that may not be root, which no ConfigMap heals.
_CONFIG_WORDS = re.compile(r"not found|couldn't find key|non-existent config key|^$", re.IGNORECASE)
_SHOWN = 8
_SIGNALS = {137: "SIGKILL, not for memory", 139: "SIGSEGV", 143: "SIGTERM", 134: "SIGABRT"}


class Fault(StrEnum):
    """Why a container does not run as it should; worst understood first."""

    OUT_OF_MEMORY = "out_of_memory"
    IMAGE = "image"
    CONFIG = "config"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One container in trouble; `at` is when it last ended, `message` the kubelet's or the container's own words."""

    pod: Pod
    container: ContainerState
    fault: Fault
    at: datetime | None
    message: str

    @property
    def text(self) -> str:
        """One row: pod, container, state and numbers."""
        state = self.container
        parts = [state.waiting] if state.waiting else []
        ended = _ended(state)
        if ended is not None and self.fault in (Fault.CRASH, Fault.OUT_OF_MEMORY):
            parts.append(_ending(ended))
        if state.restarts:
            parts.append(count(state.restarts, "restart"))
        return f"{self.pod.name}/{state.name}: {', '.join(parts) or 'not running'}"


def _ended(state: ContainerState) -> Terminated | None:
    return state.terminated or state.last_terminated


def _ending(ended: Terminated) -> str:
    if ended.reason == "OOMKilled":
        return "OOMKilled"
    signal = _SIGNALS.get(ended.exit_code)
    return f"exit code {ended.exit_code}" + (f" ({signal})" if signal else "")


async def pods_of(cluster: Cluster, workload: Workload) -> list[Pod] | Finding:
    """The workload's pods, or the unknown finding `pods.state` that says why they cannot be read."""
    try:
        return await read_pods(cluster, workload)
    except (ClusterRefused, TryLater) as e:
        return unread_pods(e.message)


async def pods_state(cluster: Cluster, workload: Workload, since: datetime) -> Finding:
    """The finding `pods.state`, read now; what ended before `since` and runs again is over."""
    pods = await pods_of(cluster, workload)
    return pods if isinstance(pods, Finding) else pods_finding(workload, pods, troubles(pods, since))


def unread_pods(why: str) -> Finding:
    """The unknown finding `pods.state`."""
    return Finding("pods.state", f"The pods could not be read: {why}", Certainty.UNKNOWN)


def troubles(pods: Sequence[Pod], since: datetime) -> list[Trouble]:
    """All containers in trouble, of pods that are not terminating. What ended before `since` and runs again is over."""
    found = []
    for pod in pods:
        for state in () if pod.terminating else pod.containers:
            fault = _fault(state, since)
            if fault is not None:
                ended = _ended(state)
                message = state.waiting_message or (ended.message if ended else "")
                found.append(Trouble(pod, state, fault, ended.finished_at if ended else None, message))
    return found


def _fault(state: ContainerState, since: datetime) -> Fault | None:
    if state.waiting in _IMAGE:
        return Fault.IMAGE
    if state.waiting == "CreateContainerConfigError" and _CONFIG_WORDS.search(state.waiting_message):
        return Fault.CONFIG
    killed = state.oom_killed
    if killed is not None and _recent(killed, since):
        return Fault.OUT_OF_MEMORY
    if state.waiting in _CANNOT_START:
        return Fault.CRASH
    if state.terminated is not None:
        return Fault.CRASH if state.terminated.exit_code and _recent(state.terminated, since) else None
    # Between two crashes there is no waiting reason: only restarts and the last state tell.
    last = state.last_terminated
    crashed = last is not None and last.exit_code != 0 and _recent(last, since)
    return Fault.CRASH if crashed and state.restarts else None


def _recent(ended: Terminated, since: datetime) -> bool:
    return ended.finished_at is None or ended.finished_at >= since


def of_revision(pod: Pod, revision: Revision) -> bool:
    """True when the pod was made from this revision of its workload."""
    if pod.owner is not None and pod.owner.name == revision.name:
        return True
    # Deployments and DaemonSets label their pods with the hash alone, StatefulSets with the revision's whole name.
    return bool(pod.template_hash) and (
        revision.name == pod.template_hash or revision.name.endswith(f"-{pod.template_hash}")
    )


def pods_finding(workload: Workload, pods: Sequence[Pod], found: Sequence[Trouble]) -> Finding:
    """The finding `pods.state`."""
    alive = [p for p in pods if not p.terminating]
    ready = sum(p.ready for p in alive)
    by_fault = {f: [t for t in found if t.fault is f] for f in Fault}
    names = {
        Fault.OUT_OF_MEMORY: "killed for memory",
        Fault.IMAGE: "without its image",
        Fault.CONFIG: "without its configuration",
        Fault.CRASH: "crashing",
    }
    # What ended a while ago and is ready again does not crash now.
    again = [t for t in by_fault[Fault.CRASH] if t.container.ready]
    shown = {**by_fault, Fault.CRASH: [t for t in by_fault[Fault.CRASH] if not t.container.ready]}
    parts = [f"{ready} of {count(workload.desired, 'pod')} ready"]
    parts += [f"{count(len(some), 'container')} {names[f]}" for f, some in shown.items() if some]
    parts += [
        f"{count(len(again), 'container')} that crashed and {'is' if len(again) == 1 else 'are'} ready again"
    ] * bool(again)
    restarts = max((c.restarts for p in alive for c in p.containers), default=0)
    if restarts:
        parts.append(f"at most {count(restarts, 'restart')}")
    data: dict[str, JsonValue] = {
        "desired": workload.desired,
        "pods": len(alive),
        "ready": ready,
        "most_restarts": restarts,
        "last_end": max((t.at.isoformat() for t in found if t.at), default=None),
        **{f.value: len(found) for f, found in by_fault.items()},
    }
    return Finding("pods.state", ", ".join(parts), data=data, details=tuple(t.text for t in found[:_SHOWN]))


def limits_finding(workload: Workload) -> Finding:
    """The finding `limits.containers`: what the template allows each container (runbook: Limits and Requests)."""
    rows = [
        f"{c.name}: memory {_pair(c.memory_request, c.memory_limit, memory)}, CPU {_pair(c.cpu_request, c.cpu_limit, millicores)}"
        for c in workload.containers
        if not c.init
    ]
    data: dict[str, JsonValue] = {
        c.name: {"memory_limit": c.memory_limit, "cpu_limit": c.cpu_limit}
        for c in workload.containers
        if not c.init
    }
    return Finding("limits.containers", "Requests and limits: " + "; ".join(rows), data=data)


def _pair(request: int | None, limit: int | None, text: Callable[[int], str]) -> str:
    asked = "no request" if request is None else text(request)
    return f"{asked} to {'no limit' if limit is None else text(limit)}"


def killed_finding(found: Sequence[Trouble]) -> Finding | None:
    """The finding `memory.killed`: which containers ran into which limit; data has their `containers`."""
    killed = [t for t in found if t.fault is Fault.OUT_OF_MEMORY]
    if not killed:
        return None
    limits = {s.name: s.memory_limit for t in killed for s in t.pod.specs}
    names = sorted({t.container.name for t in killed})
    of_pod = next((t.pod.memory_limit for t in killed if t.pod.memory_limit is not None), None)
    shown = ", ".join(f"{n} (limit {_limit(limits.get(n), of_pod)})" for n in names)
    pods = len({t.pod.name for t in killed})
    text = f"Killed for memory (OOMKilled) on {count(pods, 'pod')}: {shown}"
    data: dict[str, JsonValue] = {
        "containers": names,
        "pods": pods,
        "limits": {n: limits.get(n) for n in names},
    }
    return Finding("memory.killed", text, data=data, details=tuple(t.text for t in killed[:8]))


def _limit(limit: int | None, of_pod: int | None) -> str:
    if limit is not None:
        return memory(limit)
    return "none" if of_pod is None else f"of the whole pod {memory(of_pod)}"
