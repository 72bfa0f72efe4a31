"""Which pods have the errors where only some of them do, and whether they share a zone: told, and no reason for or against a step. Pure, but for
the nodes that are read for their zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.domain.evidence import Finding
from app.domain.json import Obj
from app.domain.remediation import Scene
from app.domain.workload import Pod
from remediations.causes.model import Snapshot
from remediations.causes.nodes import MIN_ALIKE, read_nodes
from remediations.evidence.logs import MAX_PODS, ErrorLog
from remediations.evidence.pods import ON_SOME
from remediations.evidence.usage import count

_TELLS = 5
"""So few lines are on one pod by chance."""
_NAMED = 3
_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")


async def on_some(scene: Scene, seen: Snapshot, log: ErrorLog) -> list[Finding]:
    """The finding `errors.some`, where pods of the same version beside those that have the most frequent error do not have it. Data: what a person does
    (`advice`)."""
    top = log.top
    if top is None or 2 * top.count < log.errors or top.count < _TELLS:
        return []
    read = [p for p in seen.alive if p.name in log.read]
    bad = sorted((p for p in read if p.name in top.names), key=lambda p: p.name)
    versions = {seen.newest(p) for p in bad}
    well = [p for p in read if p.ready and p.name not in top.names and seen.newest(p) in versions]
    if not bad or not well:
        return []
    zone = await _zone(scene, bad, well) if len(bad) >= MIN_ALIKE else ""
    names = ", ".join(p.name if zone or not p.node else f"{p.name} (on node {p.node})" for p in bad[:_NAMED])
    more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    who = f"{'pod' if len(bad) == 1 else 'pods'} {names}{more}"
    have, do = "has" if len(bad) == 1 else "have", "does" if len(well) == 1 else "do"
    theirs, elsewhere = (f", all in zone {zone}", " in other zones") if zone else ("", "")
    text = f"Only {who} {have} the most frequent error{theirs}, and {count(len(well), 'other pod')}{elsewhere} {do} not"
    advice = f"see first what is different in zone {zone}" if zone else f"see first what sets {who} apart"
    return [Finding(ON_SOME, text, data={"advice": advice})]


async def _zone(scene: Scene, bad: Sequence[Pod], well: Sequence[Pod]) -> str:
    """The zone that all of these are in, and none of the others; empty where there is none, or not all are known."""
    names = {p.node for p in (*bad, *well)}
    if "" in names or len(names) > MAX_PODS:
        return ""
    nodes = await read_nodes(scene, names, MAX_PODS)
    theirs, others = ({_zone_of(nodes.get(p.node, {})) for p in pods} for pods in (bad, well))
    (first, *more) = sorted(theirs)
    return first if first and not more and "" not in others and first not in others else ""


def _zone_of(node: Obj) -> str:
    labels: Mapping[str, str] = (node.get("metadata") or {}).get("labels") or {}
    return next((labels[key] for key in _ZONES if labels.get(key)), "")
