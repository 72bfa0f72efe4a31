"""Nodes that answer, and whose pods alone fail: what such a node says of itself, and what failing pods have in common beside their template. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from app.domain.accusing import Sign
from app.domain.json import Obj
from app.domain.workload import Pod
from app.kube.parse import parse_time
from app.kube.quoted import told_by
from remediations.causes.model import (
    NEAR,
    STARTING,
    Cause,
    CauseCode,
    Snapshot,
    Sureness,
    earliest,
    never_ready,
)

MIN_ALIKE = 2
"""Pods of one node that show the same: a single one has a node as well."""
_AILS = {
    "NetworkUnavailable": "has no network",
    "DiskPressure": "is short of disk",
    "PIDPressure": "is short of process ids",
    "MemoryPressure": "is short of memory",
}
"""Conditions of a node that answers and whose pods fail all the same."""


def ails(node: Obj, *but: str) -> tuple[str, datetime | None]:
    """What a node that answers says of itself, and since when; empty where that is nothing, or only what is left out."""
    for one in (node.get("status") or {}).get("conditions") or ():
        if one.get("type") in _AILS and one.get("type") not in but and one.get("status") == "True":
            reason = told_by(one.get("reason", ""), 80)
            said = f"{_AILS[one['type']]} ({one['type']}{f': {reason}' if reason else ''})"
            return said, parse_time(one.get("lastTransitionTime"))
    return "", None


def away(name: str) -> str:
    """What a person does about such a node."""
    return f"cordon and drain node {name}, so that its pods move, and repair it"


def ailing(seen: Snapshot, pod: Pod, nodes: Mapping[str, Obj]) -> Cause | None:
    """Its node answers and says itself that it lacks something, since about when its pods fail, and only those do. Who is killed for memory tells more
    of that, and a program that accuses itself fails anywhere."""
    told = {name: ails(node, "MemoryPressure") for name, node in nodes.items()}
    said, since = told.get(pod.node, ("", None))
    alike = [p for p in seen.alive if p.node and seen.newest(p) is seen.newest(pod)]
    there = [p for p in alike if told.get(p.node, ("",))[0]]
    well = [p for p in alike if p not in there]
    if not said or since is None or not well or any(p.ready for p in there) or not all(p.ready for p in well):
        return None
    events = seen.about("Pod", pod.name, "BackOff", "Unhealthy")
    ready = pod.condition("Ready")
    began = earliest([e.first_seen for e in events] or [ready.since if ready else None]) or pod.created_at
    fits = since <= began + STARTING and (never_ready(pod) or began - since <= NEAR)
    own = any(
        w.sign is Sign.OWN and not w.follows
        for (n, _), w in seen.words.items()
        if n in {p.name for p in there}
    )
    if not fits or own:
        return None
    return Cause(
        code=CauseCode.NODE,
        object=f"Node {pod.node}",
        sureness=Sureness.CERTAIN,
        text=f"node {pod.node} of pod {pod.name} {said}, and pods of the same version on other nodes run well",
        advice=away(pod.node),
        pods=(pod.name,),
        since=began,
    )


def placed(seen: Snapshot, cause: Cause) -> Cause:
    """The cause, with the node that all of its pods have in common, where pods of the same version run well on others and none does on it."""
    pods = [p for p in seen.alive if p.name in cause.pods]
    nodes, versions = {p.node for p in pods}, {seen.newest(p) for p in pods}
    if len(pods) < MIN_ALIKE or len(nodes) != 1 or not cause.container:
        return cause
    (node,) = nodes
    well = [p for p in seen.alive if p.ready and seen.newest(p) in versions and p.name not in cause.pods]
    if not node or not well or any(p.node == node for p in well):
        return cause
    text = (
        f"{cause.text}; all of them are on node {node}, and pods of the same version on other nodes run well"
    )
    return replace(cause, text=text, advice=f"see first what is wrong with node {node}; {cause.advice}")
