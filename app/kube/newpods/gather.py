"""Could a new pod start? The reads that the checks need, side by side, their answers put together, and the room that quotas and
LimitRanges leave.

Called by the flow, for a decision and again right before each write. Never writes; the dry run of a pod changes nothing."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.cluster import Cluster
from app.domain.errors import AccessDenied, ClusterRefused, ObjectMissing, TryLater
from app.domain.json import Obj
from app.domain.new_pods import Finding, NewPods, Part, PodCheck
from app.domain.plan import Action
from app.domain.target import Kind
from app.domain.units import say_memory
from app.domain.workload import Workload
from app.kube.manifest import claims_of, parse_quantity
from app.kube.newpods.crowding import Crowd, crowding_checks
from app.kube.newpods.goal import (
    Amounts,
    Goal,
    all_containers,
    amount,
    canonical,
    goal_of,
    keeps_apart,
    meets_others,
    of_container,
    pod_amounts,
    pod_of,
    quality,
    quota_use,
    unset,
)
from app.kube.newpods.obstacles import (
    daemon_check,
    nodes_check,
    reference_checks,
    refused_check,
    short_of_pods,
)
from app.kube.newpods.traffic import traffic_checks
from app.kube.paths import RESOURCES
from app.kube.read import pod_manifests, replica_sets_of

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
                return _missing(name, f"container {container['name']}", text)
    for name, item in _items(limit_ranges, "Pod"):
        for text in _breaches(item, pod_amounts(spec, "requests"), pod_amounts(spec, "limits")):
            return _missing(name, "a new pod", text)
    return PodCheck(Part.LIMITS, Finding.OK)


def _missing(name: str, who: str, text: str) -> PodCheck:
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


# Whether the namespace's ResourceQuotas leave room for a step's new pods. Pure.
#
# A quota counts what its scopes match. At worst the pods that surge run beside all
# old ones, and in the end all pods are of the new size; both have to fit, as a quota refuses pods and not the
# workload: what does not fit is a rollout that stands still, or pods that were taken down and do not come back.

_BYTES = ("memory", "storage")


@dataclass(frozen=True, slots=True)
class Pods:
    """The new pod's completed spec, and the specs of the workload's present pods by name."""

    new: Obj
    present: Mapping[str, Obj]


def quota_check(goal: Goal, pods: Pods, quotas: Sequence[Obj]) -> PodCheck:
    """Whether all quotas have room; names the first that has not, with its numbers."""
    for quota in quotas:
        if text := _fault(goal, pods, quota):
            name = quota["metadata"]["name"]
            told = f"ResourceQuota {name} refuses new pods: {text}"
            return PodCheck(Part.QUOTA, Finding.MISSING, told, f"ResourceQuota {name} leaves room for them")
    return PodCheck(Part.QUOTA, Finding.OK)


def _fault(goal: Goal, pods: Pods, quota: Obj) -> str:
    spec, status = quota["spec"], quota.get("status") or {}
    if not matches(spec, pods.new) or not makes_pods(goal, len(pods.present)):
        return ""
    hard: Mapping[str, Any] = status.get("hard") or spec.get("hard") or {}
    used: Mapping[str, Any] = status.get("used") or {}
    present = {name: quota_use(s) for name, s in pods.present.items() if matches(spec, s)}
    new = quota_use(pods.new)
    for resource, text in hard.items():
        key = canonical(resource)
        if bare := unset(pods.new, resource):
            return f"container {', '.join(bare)} sets no {key}, which it demands"
        if key not in new:
            continue
        more = _more(goal, key, new, present)
        left = amount(key, text) - amount(key, used.get(resource, "0"))
        if more > left and left < 0:
            return (
                f"it is exceeded already, {_shown(key, -left)} {key} beyond {_shown(key, amount(key, text))}"
            )
        if more > left:
            room = f"{_shown(key, max(0, left))} of {_shown(key, amount(key, text))} {key} left"
            return f"they need {_shown(key, more)} more {key}, and it has {room}"
    return ""


def makes_pods(goal: Goal, present: int) -> bool:
    """Whether any pod is made beyond the present ones, or in the place of one."""
    return goal.rolls or bool(goal.removed) or goal.replicas > present


def _more(goal: Goal, key: str, new: Amounts, present: Mapping[str, Amounts]) -> int:
    """What is used more than now at the worst moment, 0 when it is never more. A pod that is deleted comes back: it needs
    what it has now, which an exceeded quota does not give it again (a number below zero is left then)."""
    own = sum(use[key] for use in present.values())
    in_the_end = goal.replicas * new[key] - own
    if not goal.rolls:
        back = sum(present[name][key] for name in goal.removed if name in present)
        return max(in_the_end, len(goal.removed) * new[key] - back, 0)
    return max(in_the_end, goal.surge * new[key], 0)


def matches(quota: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether all scopes of a quota's spec match a pod of this spec."""
    rules = [{"scopeName": s, "operator": "Exists"} for s in quota.get("scopes") or ()]
    rules += (quota.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_fits(rule, spec) for rule in rules)


def _fits(rule: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    ends = spec.get("activeDeadlineSeconds") is not None
    match rule["scopeName"]:
        case "Terminating":
            return ends
        case "NotTerminating":
            return not ends
        case "BestEffort":
            return quality(spec) == "BestEffort"
        case "NotBestEffort":
            return quality(spec) != "BestEffort"
        case "PriorityClass":
            return _priority(rule, spec.get("priorityClassName", ""))
        case "CrossNamespacePodAffinity":
            return _crosses(spec)
        case _:
            return False  # a scope of something else than pods


def _priority(rule: Mapping[str, Any], name: str) -> bool:
    values = rule.get("values") or ()
    match rule.get("operator"):
        case "In":
            return name in values
        case "NotIn":
            return name not in values
        case "DoesNotExist":
            return not name
        case _:
            return bool(name)


def _crosses(spec: Mapping[str, Any]) -> bool:
    affinity = spec.get("affinity") or {}
    terms: list[Mapping[str, Any]] = []
    for kind in ("podAffinity", "podAntiAffinity"):
        part = affinity.get(kind) or {}
        terms += part.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        preferred = part.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [p.get("podAffinityTerm") or {} for p in preferred]
    return any(t.get("namespaces") or t.get("namespaceSelector") is not None for t in terms)


def _shown(resource: str, number: int) -> str:
    if resource.endswith(_BYTES):
        return say_memory(number)
    if resource.endswith("cpu"):
        return f"{number / 1000:g} CPU" if number % 100 == 0 else f"{number} mCPU"
    return str(number)


# Reads what the checks need, side by side, and puts their answers together. Called by the flow, for a decision and
# again right before each write.
#
# Reads through the port; the dry run of a pod is the one request that is no read, and changes nothing. A read that is
# not granted is a check that says so; a read that failed in passing is the caller's to hear of (TryLater kinds),
# because then nothing was proven.

_ENDED = ("Succeeded", "Failed")
_NO_DRY_RUN = "does not support dry run"


async def new_pods(cluster: Cluster, workload: Workload, actions: Sequence[Action], now: datetime) -> NewPods:
    """What is known of whether the new pods of these actions could start. Raises TryLater kinds."""
    goal = goal_of(workload, actions)
    pods = [
        m
        for m in await pod_manifests(cluster, workload)
        if (m.get("status") or {}).get("phase") not in _ENDED
    ]
    present = {m["metadata"]["name"]: m["spec"] for m in pods}
    if not makes_pods(goal, len(present)):
        return NewPods()
    traffic = await traffic_checks(cluster, goal) if meets_others(goal) else []
    references, room, refused, admitted, nodes = await asyncio.gather(
        reference_checks(cluster, goal),
        _room(cluster, goal, present),
        _refused(cluster, goal, now),
        _admitted(cluster, goal),
        _nodes(cluster, goal, pods),
    )
    checks = [*references, *room, refused, admitted, *nodes, *traffic]
    order = list(Part)
    checks.sort(key=lambda c: order.index(c.part))
    return NewPods(tuple(checks), _all_down(goal))


def _all_down(goal: Goal) -> bool:
    """Also where pods may surge: a rollout with maxUnavailable 100 % does not wait for them."""
    ready = goal.workload.ready
    return bool(goal.rolls and ready and goal.at_once >= ready)


async def _listed(cluster: Cluster, kind: Kind, namespace: str, fields: str = "") -> list[Obj] | AccessDenied:
    try:
        return await cluster.list_objects(kind, namespace, fields=fields)
    except AccessDenied as error:
        return error


def _unread(part: Part, kind: Kind, *, optional: bool = False) -> PodCheck:
    plural = RESOURCES[kind].plural
    finding = Finding.UNTOLD if optional else Finding.UNKNOWN
    return PodCheck(part, finding, f"{plural} may not be listed", f"the right to list {plural} is granted")


async def _room(cluster: Cluster, goal: Goal, present: dict[str, Obj]) -> list[PodCheck]:
    """LimitRanges first: their defaults are part of what a quota counts."""
    ranges, quotas = await asyncio.gather(
        _listed(cluster, Kind.LIMIT_RANGE, goal.namespace),
        _listed(cluster, Kind.RESOURCE_QUOTA, goal.namespace),
    )
    spec = completed(goal.spec, [] if isinstance(ranges, AccessDenied) else ranges)
    limits = (
        _unread(Part.LIMITS, Kind.LIMIT_RANGE)
        if isinstance(ranges, AccessDenied)
        else limits_check(spec, ranges)
    )
    quota = (
        _unread(Part.QUOTA, Kind.RESOURCE_QUOTA)
        if isinstance(quotas, AccessDenied)
        else quota_check(goal, Pods(spec, present), quotas)
    )
    return [limits, quota]


async def _refused(cluster: Cluster, goal: Goal, now: datetime) -> PodCheck:
    makers = short_of_pods(goal, await replica_sets_of(cluster, goal.workload))
    events: list[Obj] = []
    for maker in makers:
        told = await _listed(
            cluster, Kind.EVENT, goal.namespace, fields=f"regarding.name={maker['metadata']['name']}"
        )
        if isinstance(told, AccessDenied):
            return _unread(Part.REFUSALS, Kind.EVENT)
        events += told
    return refused_check(makers, events, now)


async def _admitted(cluster: Cluster, goal: Goal) -> PodCheck:
    """A server-side dry run of the pod: Pod Security, admission policies and webhooks judge pods, and not only workloads.
    Asked for only where the right is granted, so that nobody's audit log fills with refused pods."""
    try:
        if not await cluster.can_i("create", Kind.POD, goal.namespace):
            text = "a dry run of a pod is not allowed"
            return PodCheck(Part.ADMISSION, Finding.UNTOLD, text, "the right to create pods is granted")
        await cluster.dry_run_pod(goal.namespace, pod_of(goal))
    except AccessDenied:
        return PodCheck(Part.ADMISSION, Finding.UNTOLD, "a dry run of a pod is not allowed")
    except ClusterRefused as error:
        if _NO_DRY_RUN in error.message:
            return PodCheck(Part.ADMISSION, Finding.UNTOLD, "an admission webhook knows no dry run")
        text = f"a dry run of a new pod was refused: {error.message}"
        return PodCheck(Part.ADMISSION, Finding.MISSING, text, "admission accepts such a pod")
    except TryLater as error:
        return PodCheck(Part.ADMISSION, Finding.UNKNOWN, f"the dry run of a pod failed: {error.message}")
    return PodCheck(Part.ADMISSION, Finding.OK)


async def _nodes(cluster: Cluster, goal: Goal, pods: Sequence[Obj]) -> list[PodCheck]:
    """Which node a DaemonSet's pod goes to is not free: its controller has chosen it."""
    try:
        nodes = await cluster.list_objects(Kind.NODE, "")
    except (AccessDenied, ObjectMissing, TryLater) as error:
        why = "may not be listed" if isinstance(error, AccessDenied) else "could not be read"
        nodes_unread = PodCheck(
            Part.NODES, Finding.UNTOLD, f"nodes {why}", "the right to list nodes is granted"
        )
        return [nodes_unread, *await _crowding(cluster, goal, pods, ())]
    if goal.workload.target.kind is Kind.DAEMON_SET:
        return [daemon_check([m["spec"].get("nodeName", "") for m in pods], nodes)]
    some = nodes_check(goal.spec, nodes)
    faults = await _crowding(cluster, goal, pods, nodes)
    told = some.finding is not Finding.OK or all(f.part is not Part.NODES for f in faults)
    return [*([some] if told else []), *faults]


async def _crowding(
    cluster: Cluster, goal: Goal, pods: Sequence[Obj], nodes: Sequence[Obj]
) -> list[PodCheck]:
    """What the template's own pods do to each other; read only where the template says anything of that."""
    if not keeps_apart(goal.spec):
        return []
    names = claims_of(goal.spec)
    sets = await replica_sets_of(cluster, goal.workload)
    claims = await asyncio.gather(*(_claim(cluster, goal.namespace, n) for n in names))
    return crowding_checks(goal, Crowd(pods, sets, nodes, dict(zip(names, claims, strict=True))))


async def _claim(cluster: Cluster, namespace: str, name: str) -> Obj:
    """The claim; empty where it is not there or may not be read, which the references tell."""
    try:
        return await cluster.get(Kind.PVC, namespace, name)
    except (AccessDenied, ObjectMissing):
        return {}
