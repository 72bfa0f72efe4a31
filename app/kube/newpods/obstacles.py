"""What may stand in a new pod's way besides quotas: what its template refers to, a refusal that lasts, nodes that cannot take it,
bounds of a LimitRange.

Used by `app.kube.newpods.gather`. Never takes what could not be read for missing."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.domain.cluster import Cluster
from app.domain.errors import AccessDenied, ObjectMissing
from app.domain.json import Obj
from app.domain.new_pods import Finding, Part, PodCheck
from app.domain.target import Kind
from app.domain.units import counted, duration
from app.domain.workload import KubeEvent
from app.kube.manifest import config_keys, containers_of, name_of, parse_quantity
from app.kube.newpods.goal import Amounts, Goal, all_containers, amount, of_container, pod_amounts
from app.kube.parse import fingerprint, parse_event
from app.kube.paths import RESOURCES
from app.kube.quoted import without_values

# What a pod template refers to by name, and whether it is there: configuration, pull Secrets, account, claims,
# priority.
#
# Used by `app.kube.newpods.gather`. Reads through the port, by name only; of a ConfigMap or Secret only the names of
# its keys are looked at, and a reference that may not be read is unknown rather than missing.

_DEFAULT_ACCOUNT = "default"
_BUILT_IN = ("system-cluster-critical", "system-node-critical")


@dataclass(frozen=True, slots=True)
class Reference:
    """One object that a new pod needs. `key` is one key of it, empty for the object itself; `who` needs it."""

    part: Part
    kind: Kind
    name: str
    who: str
    key: str = ""


def references_of(spec: Mapping[str, Any]) -> list[Reference]:
    """What the pod spec needs by name, each once, optional references aside."""
    found = [
        Reference(Part.CONFIGURATION, ref.kind, ref.name, f"container {container.name}", ref.key)
        for container in containers_of(spec)
        for ref in container.config
        if not ref.optional
    ]
    found += [
        Reference(Part.PULL_SECRETS, Kind.SECRET, name_of(ref["name"]), "imagePullSecrets")
        for ref in spec.get("imagePullSecrets") or ()
        if ref.get("name")
    ]
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or _DEFAULT_ACCOUNT
    found.append(Reference(Part.SERVICE_ACCOUNT, Kind.SERVICE_ACCOUNT, account, "the pod"))
    for volume in spec.get("volumes") or ():
        if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            found.append(Reference(Part.VOLUMES, Kind.PVC, name_of(claim), f"volume {volume['name']}"))
    priority = spec.get("priorityClassName")
    if priority and priority not in _BUILT_IN:
        found.append(Reference(Part.PRIORITY, Kind.PRIORITY_CLASS, name_of(priority), "the pod"))
    unique = {(r.part, r.kind, r.name, r.key): r for r in reversed(found)}
    return list(reversed(unique.values()))


async def reference_checks(cluster: Cluster, goal: Goal) -> list[PodCheck]:
    """One check for each kind of reference that the goal's template has. Raises TryLater kinds."""
    wanted = references_of(goal.spec)
    places = list(dict.fromkeys((r.kind, r.name) for r in wanted))
    read = await asyncio.gather(*(_read(cluster, goal.namespace, *place) for place in places))
    objects = dict(zip(places, read, strict=True))
    checks = [_check(r, objects[r.kind, r.name]) for r in wanted]
    checks += await _account_pulls(cluster, goal, wanted, objects)
    faults = [c for c in checks if c.finding is not Finding.OK]
    fine = [c.part for c in checks if c.finding is Finding.OK]
    bad = {c.part for c in faults}
    return [*faults, *(PodCheck(part, Finding.OK) for part in dict.fromkeys(fine) if part not in bad)]


async def _read(cluster: Cluster, namespace: str, kind: Kind, name: str) -> Obj | None | AccessDenied:
    """The object, None when it is not there, or why it may not be read. Values do not leave this function."""
    try:
        found = await cluster.get(kind, namespace, name)
    except ObjectMissing:
        return None
    except AccessDenied as error:
        return error
    if kind not in (Kind.CONFIG_MAP, Kind.SECRET):
        return found
    return {"metadata": {"name": name}, "data": dict.fromkeys(config_keys(found))}


def _check(ref: Reference, found: Obj | None | AccessDenied) -> PodCheck:
    if isinstance(found, AccessDenied):
        return _unread(ref)
    if found is None:
        text = f"{ref.who} needs {ref.kind} {ref.name}, which does not exist"
        return PodCheck(ref.part, Finding.MISSING, text, f"{ref.kind} {ref.name} exists")
    if ref.key and ref.key not in found["data"]:
        text = f"{ref.who} needs key {ref.key} of {ref.kind} {ref.name}, which does not have it"
        return PodCheck(ref.part, Finding.MISSING, text, f"{ref.kind} {ref.name} has the key {ref.key}")
    if ref.kind is Kind.PVC and (fault := _claim_fault(found)):
        text = f"{ref.who} needs {ref.kind} {ref.name}, which {fault}"
        return PodCheck(ref.part, Finding.MISSING, text, f"{ref.kind} {ref.name} can be mounted")
    return PodCheck(ref.part, Finding.OK)


def _unread(ref: Reference) -> PodCheck:
    """A right that is not granted. The account `default` is made anew by its controller, and to read a PriorityClass is an
    optional right."""
    plural = RESOURCES[ref.kind].plural
    text = f"{ref.kind} {ref.name} may not be read"
    optional = ref.kind is Kind.PRIORITY_CLASS or (ref.kind, ref.name) == (
        Kind.SERVICE_ACCOUNT,
        _DEFAULT_ACCOUNT,
    )
    finding = Finding.UNTOLD if optional else Finding.UNKNOWN
    return PodCheck(ref.part, finding, text, f"the right to get {plural} is granted")


def _claim_fault(claim: Obj) -> str:
    """A claim that waits for its first pod is fine; one that is lost or being deleted is not."""
    if "deletionTimestamp" in claim["metadata"]:
        return "is being deleted"
    if (claim.get("status") or {}).get("phase") == "Lost":
        return "has lost its volume"
    return ""


async def _account_pulls(
    cluster: Cluster, goal: Goal, wanted: Sequence[Reference], objects: Mapping[tuple[Kind, str], Any]
) -> list[PodCheck]:
    """Pull Secrets of the ServiceAccount hold for pods whose spec names none."""
    if any(r.part is Part.PULL_SECRETS for r in wanted):
        return []
    name = next(r.name for r in wanted if r.kind is Kind.SERVICE_ACCOUNT)
    account = objects[Kind.SERVICE_ACCOUNT, name]
    if not isinstance(account, dict):
        return []
    refs = [
        Reference(Part.PULL_SECRETS, Kind.SECRET, name_of(ref["name"]), f"ServiceAccount {name}")
        for ref in account.get("imagePullSecrets") or ()
        if ref.get("name")
    ]
    read = await asyncio.gather(*(_read(cluster, goal.namespace, r.kind, r.name) for r in refs))
    return [_check(ref, found) for ref, found in zip(refs, read, strict=True)]


# Whether the cluster refused pods of this very template a short while ago, and still does. Pure.
#
# Used by `app.kube.newpods.gather`. A refusal stands in an Event FailedCreate about the pods' controller: of a
# Deployment the ReplicaSet with the goal's template, else the workload itself. It is over once the controller has all
# its pods, or has made one since. Never takes the refusal of another revision for this one's.

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


# Whether any node could take a new pod, as far as its own object tells. Pure.
#
# Used by `app.kube.newpods.gather`, where nodes may be read. Looked at: ready, cordoned, taints, node selector,
# required node affinity, and whether the node is big enough at all. What other pods use up, volumes and topology are
# the scheduler's.

_HARD = ("NoSchedule", "NoExecute")


def nodes_check(spec: Mapping[str, Any], nodes: Sequence[Obj]) -> PodCheck:
    """Fine when one node could take the pod; else what is wrong with how many of them."""
    faults = Counter(node_fault(spec, node) for node in nodes)
    if faults[""] or not nodes:
        finding = Finding.OK if faults[""] else Finding.UNTOLD
        return PodCheck(Part.NODES, finding, "" if faults[""] else "the cluster shows no node")
    told = ", ".join(f"{count} {fault}" for fault, count in faults.most_common())
    text = f"none of {counted(len(nodes), 'node')} could take a new pod: {told}"
    return PodCheck(Part.NODES, Finding.MISSING, text, "a node is ready, allowed and big enough for the pod")


def node_fault(spec: Mapping[str, Any], node: Obj) -> str:
    """Why this node does not take the pod, empty when it may."""
    labels = node["metadata"].get("labels") or {}
    conditions = {c["type"]: c["status"] for c in (node.get("status") or {}).get("conditions") or ()}
    if conditions.get("Ready") != "True":
        return "not ready"
    tolerations = spec.get("tolerations") or ()
    if (node.get("spec") or {}).get("unschedulable") and not _tolerated(_CORDON, tolerations):
        return "cordoned"
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint.get("effect") in _HARD and not _tolerated(taint, tolerations):
            return f"with the taint {taint['key']}:{taint['effect']}"
    for key, value in (spec.get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            return f"without the label {key}={value}"
    if not _affine(spec, node):
        return "outside of the required node affinity"
    return _too_small(spec, node)


_CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def untolerated(spec: Mapping[str, Any], node: Obj) -> str:
    """The first taint of the node that turns this pod away, as the scheduler writes it (`{key: value}`); empty when there is none, and
    for a node that is cordoned, which the scheduler tells in other words."""
    tolerations, own = spec.get("tolerations") or (), node.get("spec") or {}
    if own.get("unschedulable") and not _tolerated(_CORDON, tolerations):
        return ""
    for taint in own.get("taints") or ():
        if taint.get("effect") in _HARD and not _tolerated(taint, tolerations):
            return f"{{{taint['key']}: {taint.get('value', '')}}}"
    return ""


def _tolerated(taint: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    return any(
        t.get("effect") in (None, "", taint.get("effect"))
        and (t.get("key") in (None, "") or t.get("key") == taint.get("key"))
        and (t.get("operator") == "Exists" or t.get("value", "") == taint.get("value", ""))
        for t in tolerations
    )


def _affine(spec: Mapping[str, Any], node: Obj) -> bool:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term(term: Mapping[str, Any], node: Obj) -> bool:
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    rules = [(r, labels) for r in term.get("matchExpressions") or ()]
    rules += [(r, fields) for r in term.get("matchFields") or ()]
    return bool(rules) and all(_holds(rule, values) for rule, values in rules)


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    has, values = labels.get(rule["key"]), list(rule.get("values") or ())
    match rule["operator"]:
        case "In":
            return has in values
        case "NotIn":
            return has not in values
        case "Exists":
            return has is not None
        case "DoesNotExist":
            return has is None
        case "Gt" | "Lt":
            if has is None or not has.lstrip("-").isdigit():
                return False
            return int(has) > int(values[0]) if rule["operator"] == "Gt" else int(has) < int(values[0])
        case _:
            return False


def _too_small(spec: Mapping[str, Any], node: Obj) -> str:
    offered = (node.get("status") or {}).get("allocatable") or {}
    for name, wanted in pod_amounts(spec, "requests").items():
        if wanted and (name not in offered or amount(name, offered[name]) < wanted):
            return f"too small ({name})"
    return ""


def daemon_check(placed: Sequence[str], nodes: Sequence[Obj]) -> PodCheck:
    """The nodes that a DaemonSet's pods are on: on one that is not ready the rollout stands still, and one that is cordoned is
    in somebody's hands, although a pod of a DaemonSet is put there all the same."""
    ours = [n for n in nodes if n["metadata"]["name"] in set(placed)]
    down = [n["metadata"]["name"] for n in ours if node_fault(_NO_WISHES, n) == "not ready"]
    if down:
        text = f"not ready, so that no new pod starts there: node {', '.join(down)}"
        return PodCheck(Part.NODES, Finding.MISSING, text, f"node {', '.join(down)} is ready")
    cordoned = [n["metadata"]["name"] for n in ours if (n.get("spec") or {}).get("unschedulable")]
    if cordoned:
        text = f"cordoned, so somebody takes it out of service: node {', '.join(cordoned)}"
        return PodCheck(Part.NODES, Finding.UNKNOWN, text, f"node {', '.join(cordoned)} is uncordoned")
    return PodCheck(Part.NODES, Finding.OK)


_NO_WISHES: Mapping[str, Any] = {"tolerations": [{"operator": "Exists"}]}


# What LimitRanges do to a new pod: defaults that they fill in, and bounds that refuse it. Pure.
#
# Source: Kubernetes, "Limit Ranges": a container's default limit and request are
# filled in where it has none, then minimum, maximum and the ratio of limit to request hold for each container, and
# for the pod's sum.


def completed(spec: Obj, limit_ranges: Sequence[Obj]) -> Obj:
    """A copy of the pod spec as it is stored: a limit without a request is its own request, then these LimitRanges' defaults
    fill in what is missing."""
    result: Obj = copy.deepcopy(spec)
    for container in all_containers(result):
        resources = container.setdefault("resources", {})
        for name, text in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, text)
        for _, item in _items(limit_ranges, "Container"):
            for field, key in (("limits", "default"), ("requests", "defaultRequest")):
                for name, text in (item.get(key) or {}).items():
                    resources.setdefault(field, {}).setdefault(name, text)
    return result


def limits_check(spec: Obj, limit_ranges: Sequence[Obj]) -> PodCheck:
    """Whether a pod of this completed spec keeps all bounds."""
    for name, item in _items(limit_ranges, "Container"):
        for container in all_containers(spec):
            amounts = of_container(container, "requests"), of_container(container, "limits")
            for text in _breaches(item, *amounts):
                return _bound_missed(name, f"container {container['name']}", text)
    for name, item in _items(limit_ranges, "Pod"):
        for text in _breaches(item, pod_amounts(spec, "requests"), pod_amounts(spec, "limits")):
            return _bound_missed(name, "a new pod", text)
    return PodCheck(Part.LIMITS, Finding.OK)


def _bound_missed(name: str, who: str, text: str) -> PodCheck:
    told = f"LimitRange {name} refuses {who}: {text}"
    return PodCheck(
        Part.LIMITS, Finding.MISSING, told, f"LimitRange {name} or the pod's resources are changed"
    )


def _items(limit_ranges: Sequence[Obj], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for manifest in limit_ranges:
        for item in manifest["spec"].get("limits") or ():
            if item.get("type") == kind:
                yield manifest["metadata"]["name"], item


def _breaches(item: Mapping[str, Any], requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, text in (item.get("min") or {}).items():
        if name not in requests:
            yield f"no {name} request, and the minimum is {text}"
        elif requests[name] < amount(name, text):
            yield f"its {name} request is below the minimum of {text}"
    for name, text in (item.get("max") or {}).items():
        if name not in limits:
            yield f"no {name} limit, and the maximum is {text}"
        elif limits[name] > amount(name, text):
            yield f"its {name} limit is above the maximum of {text}"
    for name, text in (item.get("maxLimitRequestRatio") or {}).items():
        if not requests[name] or limits[name] > requests[name] * parse_quantity(text):
            yield f"its {name} limit is more than {text} times its request"
