"""Whether the cluster refused pods of this very template a short while ago, and still does. Pure.

Used by `app.kube.newpods.gather`. A refusal stands in an Event FailedCreate about the pods' controller: of a Deployment the
ReplicaSet with the goal's template, else the workload itself. It is over once the controller has all its pods, or has made one
since. Never takes the refusal of another revision for this one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.json import Obj
from app.domain.new_pods import Finding, Part, PodCheck
from app.domain.target import Kind
from app.domain.units import duration
from app.domain.workload import KubeEvent
from app.kube.faults import without_values
from app.kube.newpods.goal import Goal
from app.kube.parse import fingerprint, parse_event

RECENT = timedelta(minutes=10)
"""How old a refusal may be; a controller tries again at least so often while it stands."""
_LONGEST = 300


def short_of_pods(goal: Goal, replica_sets: Sequence[Obj]) -> list[Obj]:
    """The controllers that make pods of the goal's template and have not made all of them: theirs are the events to read."""
    return [maker for maker in _makers(goal, replica_sets) if not _complete(maker)]


def refused_check(makers: Sequence[Obj], events: Sequence[Obj], now: datetime) -> PodCheck:
    """The newest refusal that still stands."""
    for maker in makers:
        name, kind = maker["metadata"]["name"], maker["kind"]
        about = [e for e in map(parse_event, events) if e.about == f"{kind}/{name}"]
        last = _newest(about, "FailedCreate")
        made = _newest(about, "SuccessfulCreate")
        if last is None or last.last_seen is None or now - last.last_seen > RECENT:
            continue
        if made is not None and made.last_seen is not None and made.last_seen > last.last_seen:
            continue
        ago = duration(now - last.last_seen)
        text = f"{kind} {name} was refused a pod {ago} ago: {without_values(last.message)[:_LONGEST]}"
        return PodCheck(Part.REFUSALS, Finding.MISSING, text, f"{kind} {name} can make pods again")
    return PodCheck(Part.REFUSALS, Finding.OK)


def _makers(goal: Goal, replica_sets: Sequence[Obj]) -> list[Obj]:
    """The controllers that make pods of the goal's template. The present template counts too, with more memory it is still the
    same pod; what a rollback leaves behind is no word against what it goes to."""
    target, present = goal.workload.target, goal.workload.manifest["spec"]["template"]
    if target.kind is not Kind.DEPLOYMENT:
        return [] if goal.another else [{**goal.workload.manifest, "kind": target.kind.value}]
    wanted = {fingerprint(t) for t in ((goal.template,) if goal.another else (goal.template, present))}
    return [{**m, "kind": "ReplicaSet"} for m in replica_sets if fingerprint(m["spec"]["template"]) in wanted]


def _complete(maker: Obj) -> bool:
    status, spec = maker.get("status") or {}, maker.get("spec") or {}
    if maker["kind"] == Kind.DAEMON_SET:
        return bool(status.get("currentNumberScheduled", 0) >= status.get("desiredNumberScheduled", 0))
    return bool(status.get("replicas", 0) >= spec.get("replicas", 1))


def _newest(events: Sequence[KubeEvent], reason: str) -> KubeEvent | None:
    of_reason = [(e.last_seen, e) for e in events if e.reason == reason and e.last_seen is not None]
    return max(of_reason, key=lambda pair: pair[0], default=(None, None))[1]
