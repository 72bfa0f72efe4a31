"""Nodes that answer, and whose pods alone fail: what such a node says of itself, and what failing pods have in common beside their template: during a
rollout new pods and new nodes are often the same ones. Pure, but for the few nodes that are read where only their pods have the errors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from app.domain.accusing import Sign
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Finding
from app.domain.json import Obj
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.domain.workload import Pod
from app.kube.lineage import template_written_at
from app.kube.parse import parse_time
from app.kube.quoted import told_by
from remediations.causes.alike import words_of
from remediations.causes.compared import names_having
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
from remediations.causes.suspects import named_by
from remediations.evidence.error_words import PLACE
from remediations.evidence.logs import MAX_PODS, ErrorLog
from remediations.evidence.pods import ON_NODE, ON_SOME
from remediations.evidence.rollouts import last_deployment
from remediations.evidence.usage import count, span

MIN_ALIKE = 2
"""Pods of one node that show the same: a single one has a node as well."""
_MAX_NODES = 3  # of failing pods, that are read
_AILS = {
    "NetworkUnavailable": "has no network",
    "DiskPressure": "is short of disk",
    "PIDPressure": "is short of process ids",
    "MemoryPressure": "is short of memory",
}
"""Conditions of a node that answers and whose pods fail all the same."""
_UNREACHED = re.compile(
    r"temporary failure|\bE(?:AI_AGAIN|HOSTUNREACH|NETUNREACH|NETDOWN)\b|no route to host|network is (?:unreachable|down)|server misbehaving|:53: i/o timeout",
    re.IGNORECASE,
)
"""No way to anybody, and no answer from DNS: whatever a program asks for, it does not bring that by itself."""
_NETWORK = re.compile(
    r"name resolution|name or service not known|no such host|nodename nor servname|\bE(?:NOTFOUND|TIMEDOUT)\b|getaddrinfo|gaierror|unknown ?host|"
    r"(?:could not|couldn.t|failed to|cannot) resolve|connect\w{0,12}\W{0,3}(?:attempt )?(?:has |operation )?tim(?:ed|e)[ -]?out|i/o timeout|max retries exceeded|"
    r"tim(?:ed|e)[ -]?out (?:while )?connecting",
    re.IGNORECASE,
)
_ANSWERED = re.compile(
    r"no such host|\bE?NOTFOUND\b|\bNXDOMAIN\b|name or service not known|nodename nor servname",
    re.IGNORECASE,
)
"""DNS was asked, and answered that there is no such name: that came over the node's network."""
_CLOCK = re.compile(
    r"not (?:yet )?valid (?:yet|before|until)|(?:is )?not yet valid|current time \S{1,40} is (?:before|after)|used before issued|clock (?:skew|drift)|TimeTooSkewed",
    re.IGNORECASE,
)
_DISK = re.compile(
    r"no space left|\bENOSPC\b|disk quota|(?:disk|volume|filesystem) (?:is )?full|not enough space",
    re.IGNORECASE,
)
_PROCESSES = re.compile(
    r"resource temporarily unavailable|\bEAGAIN\b|cannot allocate memory|can.t start new thread|unable to create \w{0,10} ?\w{0,10} ?thread|pthread_create|fork:",
    re.IGNORECASE,
)
_FITS: Final[Mapping[str, tuple[re.Pattern[str], ...]]] = {
    "NetworkUnavailable": (_UNREACHED, _NETWORK),
    "DiskPressure": (_DISK,),
    "PIDPressure": (_PROCESSES,),
}
"""What programs say where a node has such a condition."""


def ails(node: Obj, *but: str) -> tuple[str, datetime | None]:
    """What a node that answers says of itself, and since when; empty where that is nothing, or only what is left out."""
    for one in (node.get("status") or {}).get("conditions") or ():
        if one.get("type") in _AILS and one.get("type") not in but and one.get("status") == "True":
            reason = told_by(one.get("reason", ""), 80)
            said = f"{_AILS[one['type']]} ({one['type']}{f': {reason}' if reason else ''})"
            return said, parse_time(one.get("lastTransitionTime"))
    return "", None


def _lacks(node: Obj, words: str) -> tuple[str, datetime | None]:
    """The same, of what these words can come from."""
    lines = [line for line in words.splitlines() if not _ANSWERED.search(line)]
    fits = {one for one, ps in _FITS.items() if any(p.search(line) for line in lines for p in ps)}
    return ails(node, *(one for one in _AILS if one not in fits))


def _of_place(words: str) -> bool:
    """Do they speak of what a node may not give its pods: its network, DNS, a disk, the time?"""
    return any(p.search(words) for p in (_UNREACHED, _NETWORK, _CLOCK, PLACE))


def _of_now(since: datetime | None, began: datetime) -> bool:
    """Whether such a condition came before what began then, and not long before: what it keeps away from the node it has kept away since, so that pods which
    were placed there with it put up with it."""
    return since is not None and began - NEAR <= since <= began


def away(name: str) -> str:
    """What a person does about such a node."""
    return f"cordon and drain node {name}, so that its pods move, and repair it"


def ailing(seen: Snapshot, pod: Pod, nodes: Mapping[str, Obj]) -> Cause | None:
    """Its node answers and says itself that it lacks something, since about when its pods fail, and only those do. Who is killed for memory tells more
    of that, and a program that accuses itself fails anywhere. Where no pod of its version is elsewhere, the others are older ones: then its pods have to
    speak of what the node lacks, and to be younger than that."""
    told = {name: ails(node, "MemoryPressure") for name, node in nodes.items()}
    said, since = told.get(pod.node, ("", None))
    alike = [p for p in seen.alive if p.node and seen.newest(p) is seen.newest(pod)]
    there = [p for p in alike if told.get(p.node, ("",))[0]]
    well = [p for p in alike if p not in there]
    words = [w for (n, _), w in seen.words.items() if n in {p.name for p in there}]
    apart = not well
    if apart:
        said, since = _lacks(nodes.get(pod.node, {}), "\n".join(f"{w.shown}\n{w.text}" for w in words))
        well = [p for p in seen.alive if p.node and p not in there]
        there = [p for p in seen.alive if p.node in {t.node for t in there}]
    if not said or since is None or not well or any(p.ready for p in there) or not all(p.ready for p in well):
        return None
    events = seen.about("Pod", pod.name, "BackOff", "Unhealthy")
    ready = pod.condition("Ready")
    began = earliest([e.first_seen for e in events] or [ready.since if ready else None]) or pod.created_at
    fits = since <= began + STARTING and (never_ready(pod) or began - since <= NEAR)
    own = any(w.sign is Sign.OWN and not w.follows for w in words)
    if not fits or own or (apart and not _of_now(since, began)):
        return None
    others = "an older revision" if apart else "the same version"
    return Cause(
        code=CauseCode.NODE,
        object=f"Node {pod.node}",
        sureness=Sureness.CERTAIN,
        text=f"node {pod.node} of pod {pod.name} {said}, and pods of {others} on other nodes run well",
        advice=away(pod.node),
        pods=(pod.name,),
        since=began,
    )


def placed(seen: Snapshot, cause: Cause) -> Cause:
    """The cause, with the node that all of its pods have in common, where pods of the same version run well on others and none does on it; or those of
    older ones, where what its container said may come from a node."""
    pods = [p for p in seen.alive if p.name in cause.pods]
    nodes, versions = {p.node for p in pods}, {seen.newest(p) for p in pods}
    if not pods or not cause.container:
        return cause
    ready = [p for p in seen.alive if p.ready and p.name not in cause.pods]
    well = [p for p in ready if seen.newest(p) in versions]
    if not well and all(versions):
        return _beside_older(seen, cause, pods, ready)
    if len(pods) < MIN_ALIKE or len(nodes) != 1:
        return cause
    (node,) = nodes
    if not node or not well or any(p.node == node for p in well):
        return cause
    text = (
        f"{cause.text}; all of them are on node {node}, and pods of the same version on other nodes run well"
    )
    return replace(cause, text=text, advice=f"see first what is wrong with node {node}; {cause.advice}")


def _beside_older(seen: Snapshot, cause: Cause, pods: Sequence[Pod], older: Sequence[Pod]) -> Cause:
    said = [w for w in words_of(seen, cause.container, cause.pods) if w.sign is not Sign.OWN]
    words = "\n".join(f"{w.shown}\n{w.text}" for w in said)
    where = _apart(seen, pods, older, {m["metadata"]["name"]: m for m in seen.nodes}, words)
    if not where:
        return cause
    text = f"{cause.text}; {'it is' if len(pods) == 1 else 'all of them are'} on {where}, where no healthy pod is"
    advice = f"see first what is wrong with {where}; {cause.advice}"
    return replace(cause, text=text, advice=advice, doubt=f"{where} explains it as well as the release does")


# During a rollout: only pods of the newest version fail, and only on nodes that no healthy pod is on.


def _apart(
    seen: Snapshot, bad: Sequence[Pod], well: Sequence[Pod], nodes: Mapping[str, Obj], words: str
) -> str:
    """The nodes of the pods that fail, in words, where these explain what they say as well as their template does: two pods share one, what
    they say is no program's fault, or each node is new or lacks what they miss. Empty otherwise, and where a healthy pod is on one of them."""
    names = sorted({p.node for p in bad})
    here = {p.node for p in seen.alive if p.ready and p not in bad}
    if not names or "" in names or not well or not here.isdisjoint(names) or not _of_place(words):
        return ""
    told = [_tells(seen, nodes.get(name, {}), bad, well, words) for name in names]
    shared = len(names) == 1 and (len(bad) >= MIN_ALIKE or _strict(words))
    if not shared and not all(told):
        return ""
    each = [f"{name}{f' ({of})' if of else ''}" for name, of in zip(names, told, strict=True)][:_MAX_NODES]
    return f"node{'' if len(names) == 1 else 's'} {' and '.join(each)}"


def _strict(words: str) -> bool:
    return any(p.search(words) for p in (_UNREACHED, _CLOCK, _DISK))


def _tells(seen: Snapshot, node: Obj, bad: Sequence[Pod], well: Sequence[Pod], words: str) -> str:
    """What sets a node apart: it lacks what they miss, or is younger than every pod that does well."""
    said, since = _lacks(node, words)
    made = parse_time((node.get("metadata") or {}).get("creationTimestamp"))
    young = (
        made is not None
        and made >= min(p.created_at for p in bad) - NEAR
        and all(p.created_at < made for p in well)
    )
    age = f"made {span((seen.now - made).total_seconds())} ago" if young and made is not None else ""
    lacks = f"{said} since {span((seen.now - since).total_seconds())}" if said and since else said
    return ", ".join(filter(None, (age, lacks)))


async def read_nodes(scene: Scene, names: Collection[str], most: int = _MAX_NODES) -> dict[str, Obj]:
    """These nodes, as far as they may be read: without them, what the pods have in common is told."""
    asked = [
        scene.cluster.list_objects(Kind.NODE, "", "", f"metadata.name={n}") for n in sorted(names)[:most]
    ]
    try:
        listed = await asyncio.gather(*asked)
    except (ClusterRefused, TryLater):
        return {}
    return {m["metadata"]["name"]: m for found in listed for m in found if m["metadata"]["name"] in names}


async def newest_apart(scene: Scene, seen: Snapshot, log: ErrorLog, read: Sequence[Pod]) -> list[Finding]:
    """The same of the newest version, beside older pods: where most errors speak of what a node may not give, and none of what the release changed."""
    groups = [g for g in log.groups if g.sign is not Sign.OWN and _of_place(g.said)]
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    mainly = 2 * sum(g.count for g in groups) >= log.errors - log.unclear > 0
    if not groups or not mainly or last is None or log.accuse is Sign.OWN or named_by(last, log):
        return []
    has = frozenset[str]().union(*(names_having(seen, log, g) for g in groups))
    bad = [p for p in read if p.name in has]
    well = [p for p in read if p.ready and p.name not in has and p.node]
    if not bad or not all(map(seen.newest, bad)) or any(map(seen.newest, well)):
        return []
    found = await read_nodes(scene, {p.node for p in bad})
    words = "\n".join(g.said for g in groups)
    where = _apart(seen, bad, well, found, words)
    if not where:
        return []
    began = max(filter(None, (log.beginning.after, min(p.created_at for p in bad))))
    lacking = [_lacks(found.get(p.node, {}), words)[1] for p in bad]
    ill = all(_of_now(since, began) for since in lacking)
    have, do = "has" if len(bad) == 1 else "have", "does" if len(well) == 1 else "do"
    text = f"Only {count(len(bad), 'pod')} on {where} {have} these errors, and {count(len(well), 'pod')} of an older revision on other nodes {do} not"
    explains = "explain" if where.startswith("nodes") else "explains"
    text += "" if ill else f": that {explains} them as well as the release does"
    names = sorted({p.node for p in bad})
    advice = away(names[0]) if ill else f"see first what is wrong with {where}"
    return [Finding(ON_NODE, text, data={"node": names[0], "ill": ill, "advice": advice})]


# Which pods have the errors where only some of them do, and whether they share a zone: told, and no reason for or against a step.

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
