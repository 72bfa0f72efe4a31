"""Why a pod has no node: the scheduler's words, taken apart, and what the nodes and the autoscaler of nodes say to them. Pure.

The scheduler names, for all nodes together, how many were turned down for what; each part points at another repair. Newer ones name no
taint: which it is, the nodes tell. Words that are not known are told as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.workload import KubeEvent, Pod
from app.kube.manifest import claims_of
from app.kube.newpods.obstacles import untolerated
from app.kube.quoted import told_by
from remediations.causes import demands, sizes
from remediations.causes.demands import claims as mounted_claims
from remediations.causes.model import STARTING, Cause, CauseCode, Demand, Snapshot, Sureness, earliest
from remediations.evidence.usage import short, span

_UNSCHEDULABLE = ("Unschedulable", "SchedulerError")
_SCHEDULER = "default-scheduler"


@dataclass(frozen=True, slots=True)
class _Part:
    """One reason for which nodes were turned down."""

    words: str
    advice: str
    demands: tuple[Demand, ...] = ()


def scheduling_causes(seen: Snapshot) -> Iterator[Cause]:
    """One cause for each different set of reasons, with all pods that have it. A pod for which a node is being added waits for that,
    and is no cause yet."""
    by_words: dict[tuple[str, ...], tuple[list[Pod], str]] = {}
    for pod in seen.alive:
        said = _said(seen, pod)
        if said and not node_comes(seen, pod):
            parts = tuple(p.words for p in parts_of(said, *_places(seen, pod))) or (said,)
            by_words.setdefault(parts, ([], said))[0].append(pod)
    for pods, said in by_words.values():
        yield _cause(seen, pods, said)


ADDING, NOT_ADDING = ("TriggeredScaleUp", "Nominated"), ("NotTriggerScaleUp",)
"""Reasons of events about pods: of the cluster autoscaler and of Karpenter."""
_COMING = timedelta(minutes=10)
"""How long a new node may take after it was asked for."""


def _scaling(seen: Snapshot, pod: Pod) -> KubeEvent | None:
    """The newest word of the autoscaler of nodes on this pod."""
    mine = [e for e in seen.scaling if e.about == f"Pod/{pod.name}" and e.last_seen is not None]
    return max(mine, key=lambda e: e.last_seen or seen.now, default=None)


def node_comes(seen: Snapshot, pod: Pod) -> bool:
    """Whether a node is being added for this pod."""
    event = _scaling(seen, pod)
    if pod.node or event is None or event.reason not in ADDING or event.last_seen is None:
        return False
    return seen.now - event.last_seen < _COMING


def _places(seen: Snapshot, pod: Pod) -> tuple[Mapping[str, Any], Sequence[Obj]]:
    return seen.specs.get(pod.name) or seen.spec, seen.nodes


def wants_taints(seen: Snapshot) -> bool:
    """Whether the scheduler speaks of taints and names none, so that the nodes have to be read."""
    said = (_said(seen, pod) for pod in seen.alive)
    return any(not m["taint"] for text in said for m in _TAINT.finditer(text))


def _said(seen: Snapshot, pod: Pod) -> str:
    if pod.node:
        return ""
    condition = pod.condition("PodScheduled")
    if condition is not None and condition.status == "False" and condition.reason == "SchedulingGated":
        return "scheduling is gated: " + (told_by(condition.message) or "a scheduling gate is set")
    if (
        condition is not None
        and condition.status == "False"
        and condition.reason in _UNSCHEDULABLE
        and condition.message
    ):
        return told_by(condition.message, 500)
    events = seen.about("Pod", pod.name, "FailedScheduling", "FailedResourceClaimCreation")
    if events:
        return told_by(events[0].message, 500)
    spec, _ = _places(seen, pod)
    other = spec.get("schedulerName") or _SCHEDULER
    if condition is None and other != _SCHEDULER and seen.now - pod.created_at >= STARTING:
        return f"no scheduler has looked at it: its schedulerName is {other}"
    return ""


def _cause(seen: Snapshot, pods: list[Pod], said: str) -> Cause:
    parts = parts_of(said, *_places(seen, pods[0]))
    claim = _CLAIM.search(said)
    since = earliest([p.created_at for p in pods])
    names = tuple(p.name for p in pods)
    if claim and not any(p.demands for p in parts if p.words != _UNBOUND):
        return _volume(seen, claim["name"], names, said)
    if any(p.words == _UNBOUND for p in parts):
        return _volume(seen, "", names, said)
    if _SINGLE.search(said):
        return _shared(seen, pods, said)
    words = "; ".join(dict.fromkeys(p.words for p in parts)) or said
    total = _TOTAL.match(said)
    who = f"of {total['all']} nodes none takes pod {names[0]}" if total else f"pod {names[0]} gets no node"
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    scaling, advice = _autoscaler_says(seen, pods[0])
    volume = demands.volumes_told(seen.specs.get(names[0]) or seen.spec, seen.claims) or "the pod's volume"
    wishes = [p.advice.replace("{volume}", volume) for p in parts if p.advice] or [
        "make a node fit the pod, or the pod fit a node"
    ]
    return Cause(
        code=CauseCode.UNSCHEDULABLE,
        object=f"Pod {names[0]}",
        sureness=Sureness.CERTAIN,
        text=f"{who}{more}: {words}{_added(seen, pods[0]) if 'nodeSelector' in words else ''}{scaling}",
        advice="; or ".join(dict.fromkeys([*wishes, *advice])),
        pods=names,
        demands=tuple(d for p in parts for d in p.demands),
        since=since,
    )


def _added(seen: Snapshot, pod: Pod) -> str:
    """What the pod's nodeSelector has that its template has not: a person would look for it there."""
    have, meant = ((spec or {}).get("nodeSelector") or {} for spec in (seen.specs.get(pod.name), seen.spec))
    more = ", ".join(f"{k}={v}" for k, v in sorted(have.items()) if meant.get(k) != v)
    if not more or not seen.newest(pod):
        return ""
    return f" ({more} is not of the pod template: what changes pods as they are made added it)"


def _autoscaler_says(seen: Snapshot, pod: Pod) -> tuple[str, list[str]]:
    """What the autoscaler of nodes said about this pod, and what a person does about it."""
    event = _scaling(seen, pod)
    if event is None:
        return "", []
    said = told_by(event.message, 200)
    if event.reason in NOT_ADDING:
        return f"; the cluster autoscaler adds no node ({said})", [
            "let the cluster autoscaler add a node that fits"
        ]
    ago = span((seen.now - (event.last_seen or seen.now)).total_seconds())
    return f"; a node was asked for {ago} ago and has not come ({said})", [
        "find out why the new node does not come"
    ]


def _shared(seen: Snapshot, pods: list[Pod], said: str) -> Cause:
    """Another pod uses a volume that is for one pod alone."""
    claims = sorted(n for p in pods for n in claims_of(seen.specs.get(p.name) or {}))
    what = f"PersistentVolumeClaim {claims[0]}" if len(set(claims)) == 1 else f"Pod {pods[0].name}"
    rest = "; ".join(p.words for p in parts_of(said, *_places(seen, pods[0])))
    return Cause(
        code=CauseCode.VOLUME,
        object=what,
        sureness=Sureness.CERTAIN,
        text=f"pod {pods[0].name} gets no node: {rest}",
        advice="let the pod that has the volume end (ReadWriteOncePod is for one pod), or use strategy Recreate",
        pods=tuple(p.name for p in pods),
        demands=(mounted_claims(claims, [p.name for p in pods]),),
        objects=tuple((Kind.PVC, n) for n in dict.fromkeys(claims)),
        since=earliest([p.created_at for p in pods]),
    )


def _volume(seen: Snapshot, name: str, pods: tuple[str, ...], said: str) -> Cause:
    namespace = seen.workload.target.namespace
    unbound = sorted(n for n, c in seen.claims.items() if c is None or _phase(c) != "Bound")
    name = name or (unbound[0] if unbound else "")
    exists = seen.claims[name] is not None if name in seen.claims else not _GONE.search(said)
    events = seen.about(Kind.PVC, name, "ProvisioningFailed", "FailedBinding") if name else []
    why = f": {told_by(events[0].message, 200)}" if events else ""
    what = f"PersistentVolumeClaim {name}" if name else "a PersistentVolumeClaim"
    state = f"is {_phase(seen.claims.get(name) or {}) or 'not bound'}" if exists else "does not exist"
    return Cause(
        code=CauseCode.VOLUME,
        object=what,
        sureness=Sureness.CERTAIN,
        text=f"{what}, which pod {pods[0]} mounts, {state}{why}",
        advice=f"create {what} in namespace {namespace}"
        if not exists
        else f"get {what} bound{_storage(seen, name)}",
        pods=pods,
        demands=(mounted_claims([name] if name else [], pods),),
        objects=((Kind.PVC, name),) if name else (),
        since=earliest([p.created_at for p in seen.pods if p.name in pods]),
    )


def _phase(claim: object) -> str:
    status = claim.get("status") if isinstance(claim, dict) else None
    return str((status or {}).get("phase", ""))


def _storage(seen: Snapshot, name: str) -> str:
    claim = seen.claims.get(name)
    storage = ((claim or {}).get("spec") or {}).get("storageClassName")
    return f" (StorageClass {storage})" if storage else ""


_UNBOUND = "its PersistentVolumeClaims are not bound"
_GONE = re.compile(r'persistentvolumeclaim "[^"]+" not found')
_CLAIM = re.compile(r'persistentvolumeclaim "(?P<name>[^"]+)"')
_TOTAL = re.compile(r"0/(?P<all>\d+) nodes are available")
_PREEMPTION = re.compile(r"\.? ?preemption: .*$", re.DOTALL)
_TAINT = re.compile(
    r"(?P<n>\d{1,9}) node\(s\) had (?:untolerated )?taint(?:s|\(s\))?(?: (?P<taint>\{[^}]*\}))?"
)
_SINGLE = re.compile(r"ReadWriteOncePod")
_SHORT = re.compile(r"(?P<n>\d{1,9}) Insufficient (?P<what>[\w./-]*\w)")
_RULES: tuple[tuple[re.Pattern[str], str, str, tuple[Demand, ...]], ...] = (
    (re.compile(r"(?P<n>\d{1,9}) node\(s\) were unschedulable"), "{n} are cordoned", "uncordon a node", ()),
    (
        re.compile(
            r"(?P<n>\d{1,9}) node\(s\) didn't match (?:Pod's )?node (?:affinity/)?selector|(?P<m>\d{1,9}) node\(s\) didn't match Pod's node affinity"
        ),
        "{n} do not match the pod's nodeSelector or node affinity",
        "label a node as the pod's nodeSelector and node affinity want it, or change these",
        (demands.selected_nodes(),),
    ),
    (
        re.compile(
            r"(?P<n>\d{1,9}) node\(s\) didn't (?:match|satisfy) (?:existing pods )?(?:pod )?anti-affinity",
            re.IGNORECASE,
        ),
        "{n} have a pod that the anti-affinity keeps apart",
        "add a node, or loosen the anti-affinity",
        (demands.kept_apart("podAntiAffinity"),),
    ),
    (
        re.compile(r"(?P<n>\d{1,9}) node\(s\) didn't match pod affinity", re.IGNORECASE),
        "{n} have no pod that the affinity wants",
        "start what the pod affinity wants, or loosen it",
        (demands.kept_apart("podAffinity"),),
    ),
    (
        re.compile(r"(?P<n>\d{1,9}) node\(s\) didn't (?:match|satisfy) pod topology spread", re.IGNORECASE),
        "{n} break the topology spread constraints",
        "add a node in the missing zone, or loosen topologySpreadConstraints",
        (demands.spread(),),
    ),
    (
        re.compile(r"(?P<n>\d{1,9}) node\(s\) didn't have free ports"),
        "{n} have the pod's host port in use",
        "free the host port, or do without it",
        (demands.host_ports(),),
    ),
    (
        re.compile(r"(?P<n>\d{1,9}) node\(s\) had volume node affinity conflict"),
        "{n} cannot reach the pod's volume (volume node affinity)",
        "bring a node to where {volume} is",
        (mounted_claims([]),),
    ),
    (
        re.compile(r"(?P<n>\d{1,9}) node\(s\) exceed max volume count"),
        "{n} have no room for another volume",
        "add a node",
        (),
    ),
    (re.compile(r"(?P<n>\d{1,9}) Too many pods"), "{n} have no room for another pod", "add a node", ()),
    (
        re.compile(
            r"(?P<n>\d{1,9}) node\(s\) didn't find available persistent volumes to bind|(?P<m>)unbound immediate PersistentVolumeClaims"
        ),
        _UNBOUND,
        "get its PersistentVolumeClaims bound",
        (mounted_claims([]),),
    ),
    (
        re.compile(
            r"(?P<n>\d{1,9}) nodes? has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
        ),
        "{n} has a pod that uses the volume, which is for one pod alone (ReadWriteOncePod)",
        "let the pod that has the volume end",
        (mounted_claims([]),),
    ),
    (
        re.compile(
            r"(?P<n>\d{1,9}) (?:node\(s\) )?cannot allocate all claims|(?P<m>\d{1,9}) node\(s\) .{0,300}resourceclaim",
            re.IGNORECASE,
        ),
        "{n} have no device that is free for the pod's resource claims",
        "free or add such a device (kubectl get resourceslices), or correct resourceClaims",
        (demands.listed("resourceClaims"),),
    ),
    (
        re.compile(
            r"(?P<n>)waiting for dynamic resource controller|resource ?claim(?: ?template)?(?:\.resource\.k8s\.io)? \"[^\"]+\" not found|"
            r"error looking up resource claim template",
            re.IGNORECASE,
        ),
        "its ResourceClaim has not been made{claims}",
        "create the ResourceClaimTemplate or ResourceClaim that resourceClaims names",
        (demands.listed("resourceClaims"),),
    ),
    (
        re.compile(r"(?P<n>)no scheduler has looked at it: its schedulerName is \S+"),
        "no scheduler of its schedulerName has looked at it",
        "start the scheduler that schedulerName names, or correct the name",
        (demands.valued("schedulerName"),),
    ),
    (
        re.compile(r"(?P<n>)scheduling is gated[^,]*"),
        "a scheduling gate holds it",
        "let the controller that set the scheduling gate remove it",
        (demands.listed("schedulingGates"),),
    ),
)
_NODE_TAINTS = {
    "node.kubernetes.io/unschedulable": ("cordoned", "uncordon a node"),
    "node.kubernetes.io/not-ready": ("not ready", "repair the nodes that are not ready"),
    "node.kubernetes.io/unreachable": ("unreachable", "repair the nodes that are unreachable"),
    "node.kubernetes.io/disk-pressure": ("short of disk", "free disk on the nodes"),
    "node.kubernetes.io/memory-pressure": ("short of memory", "free memory on the nodes"),
    "node.kubernetes.io/pid-pressure": ("short of process ids", "look at what runs on the nodes"),
    "node.kubernetes.io/network-unavailable": ("without a network", "repair the nodes' network"),
}


_UNTOLD = re.compile(r"no new claims to deallocate|still not schedulable|\d{1,9}/\d{1,9} nodes are available")


def parts_of(said: str, spec: Mapping[str, Any], nodes: Sequence[Obj]) -> list[_Part]:
    """The scheduler's sentence as its parts; what it says about preemption is left out. A part that is not known stands as it is."""
    words = _PREEMPTION.sub("", said)
    found = [p for m in _TAINT.finditer(words) for p in _taints(m, spec, nodes)]
    found += [
        _Part(
            f"{m['n']} have not enough {m['what']}",
            f"add a node with room for {m['what']}, or ask for less",
            (sizes.asked(m["what"]),),
        )
        for m in _SHORT.finditer(words)
    ]
    for pattern, text, advice, tests in _RULES:
        if m := pattern.search(words):
            number = m["n"] or m.groupdict().get("m") or ""
            told = text.replace("{claims}", _claims(spec)).replace("{n}", number)
            found.append(_Part(told.strip(), advice, tests))
    patterns = (_TAINT, _SHORT, _UNTOLD, _CLAIM, *(pattern for pattern, *_ in _RULES))
    if not _TOTAL.match(words):
        return found
    rest = re.split(r", (?=\d|pod |waiting )", words.partition(": ")[2].rstrip(". "))
    return found + [_Part(short(r, 150), "") for r in rest if r and not any(p.search(r) for p in patterns)]


def _claims(spec: Mapping[str, Any]) -> str:
    """The names that `resourceClaims` of a pod refers to."""
    named = [
        f"ResourceClaimTemplate {c['resourceClaimTemplateName']}"
        if c.get("resourceClaimTemplateName")
        else f"ResourceClaim {c.get('resourceClaimName')}"
        for c in spec.get("resourceClaims") or ()
    ]
    return f" (from {', '.join(named)})" if named else ""


def _taints(m: re.Match[str], spec: Mapping[str, Any], nodes: Sequence[Obj]) -> list[_Part]:
    """The taint that the scheduler names; else those of the nodes that the pod does not tolerate, as far as nodes can be read."""
    if m["taint"]:
        return [_taint(m["n"], m["taint"])]
    found = Counter(told for node in nodes if (told := untolerated(spec, node)))
    if found:
        return [_taint(str(number), told) for told, number in found.most_common()]
    advice = "look at the taints of the nodes (kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints)"
    return [
        _Part(
            f"{m['n']} have a taint that the pod does not tolerate", advice, (demands.dropped("tolerations"),)
        )
    ]


def _taint(number: str, taint: str) -> _Part:
    key = taint.strip("{}").partition(":")[0]
    if key in _NODE_TAINTS:
        words, advice = _NODE_TAINTS[key]
        return _Part(f"{number} are {words}", advice)
    text = f"{number} have taint {taint}, which the pod does not tolerate"
    return _Part(
        text, f"remove taint {key} from a node, or let the pod tolerate it", (demands.untolerated(taint),)
    )
