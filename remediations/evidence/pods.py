"""What is wrong with a workload's pods, container by container: crashes, out-of-memory kills, images, configuration; and whether more
pods would help.

Called by the handlers. Works on the snapshots of `app.kube.read` and on what others found; never changes anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.cluster import Cluster, LogQuery
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.evidence import Trouble as Counted
from app.domain.gated import Gated
from app.domain.json import JsonValue
from app.domain.workload import ContainerState, Pod, Terminated, Workload
from app.kube.read import read_pods
from remediations.evidence.error_words import Nature
from remediations.evidence.natures import share_of
from remediations.evidence.other_sides import OTHER_SIDES
from remediations.evidence.usage import changed_neighbours, count, measured, percent, short
from remediations.evidence.used_up import FULL_GC, LATE, MEMORY_FULL, STALLED, USED_UP
from remediations.shared import share_counted

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_CANNOT_START = frozenset(
    {"CrashLoopBackOff", "RunContainerError", "CreateContainerError", "CreateContainerConfigError"}
)
# CreateContainerConfigError also stands for e.g. a user that may not be root, which no ConfigMap heals.
_CONFIG_WORDS = re.compile(r"not found|couldn't find key|non-existent config key|^$", re.IGNORECASE)
_SHOWN = 8
ON_NODE, SINCE_START, ON_SOME = ALONE = ("errors.node", "errors.since_start", "errors.some")
"""Which pods alone have the errors, and what tells them apart, if anything does; the last only says which."""
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


def log_queries(pod: Pod, window: float, most: int) -> Iterator[LogQuery]:
    """What to ask for the logs of its containers, at most so many bytes each."""
    states = {c.name: c for c in pod.containers}
    for spec in pod.specs:
        state = states.get(spec.name)
        if state is None or not _has_run(state):
            continue  # a container that never ran has no log; asking gives an error and not an empty text
        query = LogQuery(
            pod.ref.namespace,
            pod.name,
            spec.name,
            since_seconds=max(1, round(window)),
            limit_bytes=most,
        )
        yield query
        if state.restarts:
            # The previous run of a crashing container is what tells why, however long ago it began.
            yield replace(query, previous=True, since_seconds=None)


def _has_run(state: ContainerState) -> bool:
    running = not state.waiting and state.terminated is None
    return running or state.restarts > 0 or state.terminated is not None or state.last_terminated is not None


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
        "ran_before_kill": [s for t in by_fault[Fault.OUT_OF_MEMORY] if (s := _ran(t.container)) is not None],
    }
    return Finding("pods.state", ", ".join(parts), data=data, details=tuple(t.text for t in found[:_SHOWN]))


def _ran(state: ContainerState) -> float | None:
    """How many seconds a container ran before it was killed for memory the last time; None where nobody tells."""
    killed = state.oom_killed
    if killed is None or killed.started_at is None or killed.finished_at is None:
        return None
    return (killed.finished_at - killed.started_at).total_seconds()


# Would more pods help? For it speaks what was measured of the present ones, against it what their errors are about, and what changed.
#
# Asked by each ladder that scales out. Without a measure that the pods are at their own limit, or with anything that speaks against
# it, more pods are a question: they make more connections, ask more often, and load what is down.

_FEW, _SOME = 3, 0.1
"""So many error lines that speak of something else, or so small a part of them, are noise of the network."""


def enough(lines: int, every: int) -> bool:
    """Whether so many lines of all are more than the network's noise."""
    return lines >= _FEW and lines >= _SOME * every


class Errors:
    """What the finding `errors.grouped` says, for decisions."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        finding = diagnosis.finding("errors.grouped")
        self.unknown = finding.text if finding and finding.certainty is Certainty.UNKNOWN else ""
        """Why the logs could not be read."""
        data: Any = finding.data if finding and not self.unknown else {}
        self.none = "errors" in data and not data["errors"]
        """The logs could be read and have no error lines."""
        self.total: int = data.get("errors", 0)
        self._groups: Sequence[Any] = data.get("groups", ())
        self._warned: Sequence[Any] = data.get("warned", ())
        self._natures: Mapping[str, int] = data.get("natures", {})
        self._unclear: int = data.get("unclear", 0)
        self.of_nobody = self._unclear > 0.9 * self.total  # they accuse nobody, not even the program
        self._changed = changed_neighbours(diagnosis)
        self.place = next(filter(None, map(diagnosis.finding, (ON_NODE, SINCE_START))), None)
        """What tells the pods apart that alone have them, if it is known: their node, or what they started with."""
        self.some = diagnosis.finding(ON_SOME)
        """Which pods have them, where others do not and nothing else tells them apart."""
        self.ill = self.place is not None and self.place.data["ill"] is True

    @property
    def lately(self) -> str:
        """What was changed lately of Services that the errors name, in brackets; empty for nothing."""
        return f" ({'; '.join(self._changed)})" if self._changed else ""

    @property
    def top(self) -> str:
        """The most frequent error in words, empty when there is none."""
        return self._told(self._groups[0]) if self._groups else ""

    @property
    def said(self) -> str:
        """The whole most frequent error, to be searched for names."""
        return str(self._groups[0]["said"]) if self._groups else ""

    @property
    def used_up(self) -> str:
        """The most frequent error that says that connections, a pool or a quota are used up; empty when none does."""
        return next((self._told(g) for g in self._speaking_of(USED_UP)), "")

    @property
    def memory_full(self) -> str:
        """The most frequent error that says that a pod's own memory is full; empty when none does, or runtimes tidied up their heaps once each."""
        found = list(self._speaking_of(MEMORY_FULL))
        few = max([_FEW - 1, *(int(g["pods"]) for g in found)])
        once = sum(g["count"] for g in found) <= few and all(FULL_GC.search(str(g["said"])) for g in found)
        return "" if once else self._told(found[0])

    @property
    def stalled(self) -> str:
        """The most frequent error that says that a database waits for itself; empty when so few do that it is its everyday."""
        found = list(self._speaking_of(STALLED))
        return self._told(found[0]) if self._often(found) else ""

    @property
    def of_another_side(self) -> str:
        """The most frequent error that names no fault and speaks of another side; empty when so few do that it is everyday."""
        found = [g for g in self._speaking_of(OTHER_SIDES) if not g.get("accuses_program")]
        return self._told(found[0]) if self._often(found) else ""

    def warned(self, natures: Collection[Nature]) -> str:
        """The most frequent line below the level of an error that is of one of these natures; empty when so few are that it is everyday."""
        found = [g for g in self._warned if g["nature"] in natures]
        return self._told(found[0]) if self._often(found) else ""

    def _often(self, found: Sequence[Any]) -> bool:
        return enough(sum(g["count"] for g in found), self.total + sum(g["count"] for g in self._warned))

    @property
    def only_late(self) -> bool:
        """What the pods call answers nothing worse than too late."""
        told = (str(g["said"]) for g in (*self._groups, *self._warned) if g["nature"] == Nature.ANSWER)
        return all(LATE.search(text) for text in told)

    def _speaking_of(self, words: Gated) -> Iterator[Any]:
        return (g for g in (*self._groups, *self._warned) if words.search(f"{g['type']} {g['said']}"))

    def share(self, nature: Nature) -> float:
        """Part of the error lines of this nature, of those that accuse somebody."""
        return share_of(nature, {n: self.count(n) for n in Nature}, self._unclear)

    def count(self, *natures: Nature) -> int:
        """Error lines of these natures."""
        return sum(self._natures.get(nature.value, 0) for nature in natures)

    def of(self, natures: Collection[Nature]) -> str:
        """The most frequent error of one of these natures."""
        return next((self._told(g) for g in self._groups if g["nature"] in natures), "")

    def _told(self, group: Any) -> str:
        of = "lines that are no errors" if group in self._warned else f"of {self.total:,} error lines"
        return f'"{short(group["key"], 120)}" ({group["count"]:,} {of})'


def at_their_limit(
    diagnosis: Diagnosis, cpu_high: float, throttling_high: float
) -> tuple[list[str], list[str]]:
    """The signs that the pods themselves have as much to do as they can, and what was measured and shows none; each with its
    threshold."""
    measures = (
        ("CPU", measured(diagnosis, "usage.pods", "cpu_share"), cpu_high, " of the limit"),
        # Without a limit a pod may use what its node has left: the sign is that it needs all that it was given for sure.
        ("CPU", measured(diagnosis, "usage.pods", "cpu_of_request"), 1.0, " of the request"),
        ("CPU throttling", measured(diagnosis, "metrics.throttling"), throttling_high, ""),
    )
    signs, seen = list[str](), list[str]()
    for what, value, least, of in measures:
        if value is not None:
            text = f"{what} {percent(value)}{of} (high from {percent(least)})"
            (signs if value >= least else seen).append(text)
    return signs, seen


def load_counted(diagnosis: Diagnosis, cpu_high: float) -> tuple[Counted, ...]:
    """What more pods are for, where the pods are at their limit."""
    found = share_counted("CPU of the limit", measured(diagnosis, "usage.pods", "cpu_share"), cpu_high)
    return tuple(replace(one, of_load=True) for one in found)
