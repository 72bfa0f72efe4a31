"""Pods that their node put out or had no memory for, and what of that proves anything of a release. Pure.

A pod that outgrew a size of its own template took its time, and with any version: the pods of the one before may have filled theirs too,
and those that were put out are mostly gone.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from app.domain.evidence import Finding
from app.domain.json import Obj
from app.domain.workload import Pod, Terminated, killed_at, killed_within
from app.kube.lineage import lives, template_written_at, written_by_us
from app.kube.parse import parse_time
from remediations.causes.exits import runs_well
from remediations.causes.model import NEAR, Cause, Snapshot
from remediations.evidence.rollouts import Deployment, last_deployment
from remediations.evidence.usage import span

PUT_OUT = frozenset({"Evicted", "Preempting", "NodeLost", "Terminated", "Shutdown", "NodeShutdown"})
"""Reasons of pods that a node put out."""
OWN_SIZE = re.compile(
    r"Container (?P<container>\S+) exceeded its local ephemeral storage limit|usage exceeds the total limit of containers|"
    r"Usage of EmptyDir volume \"(?P<volume>[^\"]+)\" exceeds"
)
"""The kubelet's words on a pod that outgrew what its own template gives it, whatever the node has."""


_MAX_BEFORE = timedelta(days=1)
"""A pod that was put out longer ago says nothing of now: failed pods are listed until the cluster sweeps them up."""


def put_out_at(pod: Pod) -> datetime | None:
    """When a pod was put out; its readiness ended then, where nothing else tells."""
    ready = pod.condition("Ready")
    return ended_at(pod) or (ready.since if ready is not None and ready.status == "False" else None)


def ended_at(pod: Pod) -> datetime | None:
    """When the last of its containers ended, or it was told to go."""
    ends = [t.finished_at for c in pod.containers for t in (c.terminated,) if t is not None and t.finished_at]
    conditions = [c.since for c in pod.conditions if c.type == "DisruptionTarget" and c.since]
    return max([*ends, *conditions], default=None)


def _of_late(seen: Snapshot, pod: Pod) -> bool:
    """Also where nobody knows when."""
    when = put_out_at(pod)
    return when is None or seen.now - when <= _MAX_BEFORE


def filled_before(seen: Snapshot, cause: Cause, *, worse: bool) -> str:
    """Why nobody can tell that the release brought this eviction for the pod's own size. `worse`: it gave the pods less. Otherwise only pods
    of an older revision prove it, which serve beside for longer than it took the newer ones to fill up. Empty where all is known."""
    full = [p for p in seen.pods if p.reason in PUT_OUT and OWN_SIZE.search(p.message)]
    gone = [p for p in full if p.name in cause.pods]
    if not gone:
        return ""
    older = [p for p in full if not seen.newest(p) and _of_late(seen, p)]
    if older:
        when = put_out_at(older[0])
        ago = f" {span((seen.now - when).total_seconds())} ago" if when is not None else ""
        return f"pod {older[0].name} of an older revision was put out for its own size as well{ago}"
    if worse:
        return ""
    ends = [(put_out_at(p), p.created_at) for p in gone]
    took = [end - made for end, made in ends if end is not None]
    beside = [seen.now - p.created_at for p in seen.alive if p.ready and not seen.newest(p)]
    if took and len(took) == len(gone) and beside and max(beside) > max(took):
        return ""
    return "the last release made none of their sizes smaller, and whether the pods before it filled theirs as well is not known"


# Memory that fills takes its time: how long after a release what fills is new with it is told by how long the pods before it lived.

_MAX_FILLING = timedelta(hours=12)
"""What took longer to fill is nobody's release."""
_LONG = timedelta(hours=4)
"""Pods fill at different speeds, and an alert comes with the first that is full: another one shows that the release alone fills nothing once it has run for
twice as long as that took, or for so long."""


def fills_since(seen: Snapshot, last: Deployment, first: datetime, full: Collection[str]) -> bool:
    """Whether what was full for the first time at `first` may be new with the last rollout: the version before it was there for longer than that took,
    and no pod of the new one beside those that were `full` has run for so long that it had to be full as well."""
    took = first - (seen.now - timedelta(seconds=last.age))
    enough = max(took, min(2 * took, _LONG))
    others = [p for p in seen.alive if seen.newest(p) and p.name not in full]
    if any(seen.now - p.created_at >= enough and runs_well(seen, p) for p in others):
        return False
    records = lives(seen.revisions, template_written_at(seen.workload))
    before = [
        life.end - life.start
        for life in records
        if last.previous
        and life.revision.fingerprint == last.previous.fingerprint
        and life.start
        and life.end
    ]
    return took <= _MAX_FILLING and max(before, default=timedelta()) > took


_AT_START = timedelta(minutes=10)
"""A container that was killed sooner needed too much to begin with; one that ran for longer filled its memory."""


def killed_before(seen: Snapshot, names: Collection[str]) -> list[Pod]:
    """Pods of older revisions, also those that are going, in which one of these containers was killed for memory so lately that they do not run well."""
    return [
        p
        for p in seen.pods
        if not seen.newest(p)
        and (end := _kill(p, names)) is not None
        and (end.finished_at is None or seen.now - end.finished_at <= _MAX_FILLING)
    ]


def shows_kills_too(seen: Snapshot, names: Collection[str]) -> Pod | None:
    """A pod of an older revision in which these containers were killed in the same way: the newest version alone is not what fills. Who is killed as it
    starts is not the same as who filled its memory in hours, and who had more to fill is not either."""
    ends = [end for p in seen.alive if seen.newest(p) and (end := _kill(p, names)) is not None]
    quick = bool(ends) and all(map(_at_start, ends))
    now = {c.name: c.memory_limit for c in seen.workload.containers}
    for pod in killed_before(seen, names):
        had = {s.name: s.memory_limit for s in pod.specs if s.name in names}
        more = any(size is None or size > limit for n, size in had.items() if (limit := now.get(n)))
        end = _kill(pod, names)
        if not more and end is not None and (not quick or _at_start(end)):
            return pod
    return None


def _kill(pod: Pod, names: Collection[str]) -> Terminated | None:
    return next((end for c in pod.containers if c.name in names and (end := c.oom_killed) is not None), None)


def _at_start(end: Terminated) -> bool:
    ran = end.finished_at - end.started_at if end.finished_at and end.started_at else None
    return ran is not None and ran < _AT_START


LEAKS = "memory.since"
"""Finding: that memory may leak since the last release. Data: `revision`."""
_NEARLY = 0.75
"""At its pace memory was at nothing when the pod began, but for what a program takes at once."""


def leak_of_release(seen: Snapshot, leak: Finding) -> Finding | None:
    """The finding `memory.since`: memory has grown for as long as the pods of the last release run, and only on these, and the version before was
    there for longer. None otherwise, and for what this service wrote itself."""
    names: Any = leak.data.get("of") or ()
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    pods = [p for p in seen.alive if p.name in names]
    if last is None or last.previous is None or not pods or not all(map(seen.newest, pods)):
        return None
    deployed = seen.now - timedelta(seconds=last.age)
    ran = (seen.now - max(map(_began, pods))).total_seconds()
    took: Any = leak.data.get("took_seconds") or 0
    if written_by_us(seen.workload, deployed) or took < _NEARLY * ran:
        return None
    own = {c.name for p in pods for c in p.containers}
    if not fills_since(seen, last, seen.now, names) or shows_kills_too(seen, own):
        return None
    name = f"revision {last.revision.number} ({last.change}), deployed {span(last.age)} ago"
    text = f"Memory has grown since the pods of {name}, began, and the version before it was there for longer"
    return Finding(LEAKS, text, data={"revision": last.revision.number})


def _began(pod: Pod) -> datetime:
    """When the newest run of its containers began: with that its memory began anew."""
    return max((c.running_since for c in pod.containers if c.running_since), default=pod.created_at)


# Who killed a container for memory: its limit, or the node, which had none left. The kernel's word is OOMKilled for both.

SYSTEM_OOM = "SystemOOM"
"""Reason of the kubelet's event about its node, once the kernel killed something there for want of memory."""
_AROUND = timedelta(minutes=5)


def short_node(seen: Snapshot, killed: Collection[str]) -> str:
    """That a node of these pods has no memory left, or had none when they were killed, in words; empty where that is not known of any."""
    nodes = {m["metadata"]["name"]: m for m in seen.nodes}
    for pod in killed_within(seen.alive, seen.now, NEAR):
        at = killed_at(pod)
        if pod.name not in killed or not pod.node or at is None:
            continue
        if told := _pressed(seen, nodes.get(pod.node) or {}, at) or _ran_out(seen, pod.node, at):
            return f"node {pod.node} {told}"
    return ""


def _pressed(seen: Snapshot, node: Obj, at: datetime) -> str:
    conditions = (node.get("status") or {}).get("conditions") or ()
    pressure: Obj = next((c for c in conditions if c.get("type") == "MemoryPressure"), {})
    since = parse_time(pressure.get("lastTransitionTime"))
    ago = span((seen.now - since).total_seconds()) if since is not None else ""
    if pressure.get("status") == "True":
        return f"is short of memory itself (MemoryPressure{f' for {ago}' if ago else ''})"
    if pressure.get("status") == "False" and since is not None and since > at:
        return f"was short of memory itself (MemoryPressure until {ago} ago)"
    return ""


def _ran_out(seen: Snapshot, node: str, at: datetime) -> str:
    for event in seen.events:
        first, last = event.first_seen or event.last_seen, event.last_seen or event.first_seen
        mine = event.about == f"Node/{node}" and event.reason == SYSTEM_OOM
        if mine and first and last and first - _AROUND <= at <= last + _AROUND:
            return f"ran out of memory itself (SystemOOM {span((seen.now - last).total_seconds())} ago)"
    return ""
