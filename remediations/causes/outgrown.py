"""Pods that their node put out, and what of that proves anything of a release. Pure.

A pod that outgrew a size of its own template took its time, and with any version: the pods of the one before may have filled theirs too,
and those that were put out are mostly gone.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from app.domain.workload import Pod
from remediations.causes.model import Cause, Snapshot
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
