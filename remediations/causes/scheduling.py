"""Why a pod has no node: the scheduler's words, taken apart. Pure.

The scheduler names, for all nodes together, how many were turned down for what; each part points at another repair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.domain.redact import redact
from app.domain.target import Kind
from app.domain.workload import Pod
from remediations.causes.model import Cause, CauseCode, Snapshot, Sureness, earliest
from remediations.evidence.units import short

_UNSCHEDULABLE = ("Unschedulable", "SchedulerError")
_PLACES = ("nodeSelector", "affinity")


@dataclass(frozen=True, slots=True)
class _Part:
    """One reason for which nodes were turned down."""

    words: str
    advice: str
    fields: tuple[str, ...] = ()


def scheduling_causes(seen: Snapshot) -> Iterator[Cause]:
    """One cause for each different set of reasons, with all pods that have it."""
    by_words: dict[tuple[str, ...], tuple[list[Pod], str]] = {}
    for pod in seen.alive:
        said = _said(seen, pod)
        if said:
            parts = tuple(p.words for p in parts_of(said)) or (said,)
            by_words.setdefault(parts, ([], said))[0].append(pod)
    for pods, said in by_words.values():
        yield _cause(seen, pods, said)


def _said(seen: Snapshot, pod: Pod) -> str:
    if pod.node:
        return ""
    condition = pod.condition("PodScheduled")
    if condition is not None and condition.status == "False" and condition.reason == "SchedulingGated":
        return "scheduling is gated: " + (condition.message or "a scheduling gate is set")
    if (
        condition is not None
        and condition.status == "False"
        and condition.reason in _UNSCHEDULABLE
        and condition.message
    ):
        return short(redact(condition.message), 500)
    events = seen.about("Pod", pod.name, "FailedScheduling")
    return short(redact(events[0].message), 500) if events else ""


def _cause(seen: Snapshot, pods: list[Pod], said: str) -> Cause:
    parts = parts_of(said)
    claim = _CLAIM.search(said)
    since = earliest([p.created_at for p in pods])
    names = tuple(p.name for p in pods)
    if claim and not any(p.fields for p in parts if p.words != _UNBOUND):
        return _volume(seen, claim["name"], names, said)
    if any(p.words == _UNBOUND for p in parts):
        return _volume(seen, "", names, said)
    words = "; ".join(dict.fromkeys(p.words for p in parts)) or said
    total = _TOTAL.match(said)
    who = f"of {total['all']} nodes none takes pod {names[0]}" if total else f"pod {names[0]} gets no node"
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Cause(
        code=CauseCode.UNSCHEDULABLE,
        object=f"Pod {names[0]}",
        sureness=Sureness.CERTAIN,
        text=f"{who}{more}: {words}",
        advice="; or ".join(dict.fromkeys(p.advice for p in parts))
        or "make a node fit the pod, or the pod fit a node",
        pods=names,
        fields=tuple(dict.fromkeys(f for p in parts for f in p.fields)),
        since=since,
    )


def _volume(seen: Snapshot, name: str, pods: tuple[str, ...], said: str) -> Cause:
    namespace = seen.workload.target.namespace
    unbound = sorted(n for n, c in seen.claims.items() if c is None or _phase(c) != "Bound")
    name = name or (unbound[0] if unbound else "")
    exists = seen.claims[name] is not None if name in seen.claims else not _GONE.search(said)
    events = seen.about(Kind.PVC, name, "ProvisioningFailed", "FailedBinding") if name else []
    why = f": {short(redact(events[0].message), 200)}" if events else ""
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
        fields=("volumes", "volumeClaimTemplates"),
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
_TAINT = re.compile(r"(?P<n>\d+) node\(s\) had (?:untolerated )?taint(?:s)? (?P<taint>\{[^}]*\})")
_SHORT = re.compile(r"(?P<n>\d+) Insufficient (?P<what>[\w./-]*\w)")
_RULES: tuple[tuple[re.Pattern[str], str, str, tuple[str, ...]], ...] = (
    (re.compile(r"(?P<n>\d+) node\(s\) were unschedulable"), "{n} are cordoned", "uncordon a node", ()),
    (
        re.compile(
            r"(?P<n>\d+) node\(s\) didn't match (?:Pod's )?node (?:affinity/)?selector|(?P<m>\d+) node\(s\) didn't match Pod's node affinity"
        ),
        "{n} do not match the pod's nodeSelector or node affinity",
        "label a node as the pod's nodeSelector and node affinity want it, or change these",
        _PLACES,
    ),
    (
        re.compile(
            r"(?P<n>\d+) node\(s\) didn't (?:match|satisfy) (?:existing pods )?(?:pod )?anti-affinity",
            re.IGNORECASE,
        ),
        "{n} have a pod that the anti-affinity keeps apart",
        "add a node, or loosen the anti-affinity",
        ("affinity",),
    ),
    (
        re.compile(r"(?P<n>\d+) node\(s\) didn't match pod affinity", re.IGNORECASE),
        "{n} have no pod that the affinity wants",
        "start what the pod affinity wants, or loosen it",
        ("affinity",),
    ),
    (
        re.compile(r"(?P<n>\d+) node\(s\) didn't (?:match|satisfy) pod topology spread", re.IGNORECASE),
        "{n} break the topology spread constraints",
        "add a node in the missing zone, or loosen topologySpreadConstraints",
        ("topologySpreadConstraints",),
    ),
    (
        re.compile(r"(?P<n>\d+) node\(s\) didn't have free ports"),
        "{n} have the pod's host port in use",
        "free the host port, or do without it",
        ("containers[*].ports", "hostNetwork"),
    ),
    (
        re.compile(r"(?P<n>\d+) node\(s\) had volume node affinity conflict"),
        "{n} cannot reach the pod's volume (volume node affinity)",
        "bring a node into the volume's zone",
        ("volumes", "volumeClaimTemplates"),
    ),
    (
        re.compile(r"(?P<n>\d+) node\(s\) exceed max volume count"),
        "{n} have no room for another volume",
        "add a node",
        (),
    ),
    (re.compile(r"(?P<n>\d+) Too many pods"), "{n} have no room for another pod", "add a node", ()),
    (
        re.compile(
            r"(?P<n>\d+) node\(s\) didn't find available persistent volumes to bind|(?P<m>)unbound immediate PersistentVolumeClaims"
        ),
        _UNBOUND,
        "get its PersistentVolumeClaims bound",
        ("volumes", "volumeClaimTemplates"),
    ),
    (
        re.compile(r"(?P<n>)scheduling is gated[^,]*"),
        "a scheduling gate holds it",
        "let the controller that set the scheduling gate remove it",
        ("schedulingGates",),
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


def parts_of(said: str) -> list[_Part]:
    """The scheduler's sentence as its parts; what it says about preemption is left out."""
    words = _PREEMPTION.sub("", said)
    found = [_taint(m) for m in _TAINT.finditer(words)]
    found += [
        _Part(
            f"{m['n']} have not enough {m['what']}",
            f"add a node with room for {m['what']}, or ask for less",
            ("containers[*].resources", "initContainers[*].resources", "resources"),
        )
        for m in _SHORT.finditer(words)
    ]
    for pattern, text, advice, fields in _RULES:
        if m := pattern.search(words):
            number = m["n"] or m.groupdict().get("m") or ""
            found.append(_Part(text.format(n=number).strip(), advice, fields))
    return found


def _taint(m: re.Match[str]) -> _Part:
    key = m["taint"].strip("{}").partition(":")[0]
    if key in _NODE_TAINTS:
        words, advice = _NODE_TAINTS[key]
        return _Part(f"{m['n']} are {words}", advice)
    text = f"{m['n']} have taint {m['taint']}, which the pod does not tolerate"
    return _Part(text, f"remove taint {key} from a node, or let the pod tolerate it", ("tolerations",))
