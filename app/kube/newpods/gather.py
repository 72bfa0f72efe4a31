"""Could a new pod start? The reads that the checks need, side by side, their answers put together, and the room that ResourceQuotas leave.

Called by the flow, for a decision and again right before each write. Never writes; the dry run of a pod changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
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
from app.kube.manifest import claims_of
from app.kube.newpods.crowding import Crowd, crowding_checks
from app.kube.newpods.goal import (
    Amounts,
    Goal,
    amount,
    canonical,
    goal_of,
    keeps_apart,
    makes_pods,
    meets_others,
    pod_of,
    quality,
    quota_use,
    unset,
)
from app.kube.newpods.obstacles import (
    completed,
    daemon_check,
    limits_check,
    nodes_check,
    reference_checks,
    refused_check,
    short_of_pods,
)
from app.kube.newpods.traffic import traffic_checks
from app.kube.parse import controller_of, parse_pod, plain_template
from app.kube.paths import RESOURCES
from app.kube.read import pod_manifests, replica_sets_of

# Reads what the checks need, side by side, and puts their answers together. Called by the flow, for a decision and
# again right before each write.
#
# Reads through the port; the dry run of a pod is the one request that is no read, and changes nothing. A read that is
# not granted is a check that says so; a read that failed in passing is the caller's to hear of (TryLater kinds),
# because then nothing was proven.

_ENDED = ("Succeeded", "Failed")
_NO_DRY_RUN = "does not support dry run"
_FULL = "exceeded quota"
"""How the API server refuses a pod for a ResourceQuota, the last thing that it asks."""


async def new_pods(cluster: Cluster, workload: Workload, actions: Sequence[Action], now: datetime) -> NewPods:
    """What is known of whether the new pods of these actions could start. Raises TryLater kinds."""
    goal = goal_of(workload, actions)
    pods = [
        m
        for m in await pod_manifests(cluster, workload)
        if (m.get("status") or {}).get("phase") not in _ENDED
    ]
    if not makes_pods(goal, len(pods)):
        return NewPods()
    traffic = await traffic_checks(cluster, goal) if meets_others(goal) else []
    if _runs_already(goal, await replica_sets_of(cluster, workload), pods):
        return NewPods(tuple(traffic))
    references, (room, asks), refused, admitted, nodes = await asyncio.gather(
        reference_checks(cluster, goal),
        _room(cluster, goal, pods),
        _refused(cluster, goal, now),
        _admitted(cluster, goal),
        _nodes(cluster, goal, pods),
    )
    if not asks and _FULL in admitted.text and all(c.finding is Finding.OK for c in room):
        admitted = PodCheck(
            Part.ADMISSION, Finding.UNTOLD, "a dry run makes a pod beside those whose room the step takes"
        )
    checks = [*references, *room, refused, admitted, *nodes, *traffic]
    order = list(Part)
    checks.sort(key=lambda c: order.index(c.part))
    return NewPods(tuple(checks), _all_down(goal))


def _runs_already(goal: Goal, replica_sets: Sequence[Obj], pods: Sequence[Obj]) -> bool:
    """Whether all pods of what a Deployment goes to are there and ready, as a rollout away from it never came far: then the controller
    only takes the others down, and makes none. A template is the same with its restart; one that is restarted makes new pods."""
    if not goal.rolls or goal.anew:
        return False
    wanted = plain_template(goal.template)
    for made in replica_sets:
        if plain_template(made["spec"]["template"]) == wanted:
            own = [p for p in pods if (controller_of(p) or {}).get("uid") == made["metadata"]["uid"]]
            stay = sum(p.ready and not p.terminating for p in map(parse_pod, own))
            if min(stay, made["spec"].get("replicas", 1)) >= goal.replicas:
                return True
    return False


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


async def _room(cluster: Cluster, goal: Goal, present: Sequence[Obj]) -> tuple[list[PodCheck], bool]:
    """LimitRanges first: their defaults are part of what a quota counts. And whether the step asks for any room at all."""
    ranges, quotas = await asyncio.gather(
        _listed(cluster, Kind.LIMIT_RANGE, goal.namespace),
        _listed(cluster, Kind.RESOURCE_QUOTA, goal.namespace),
    )
    spec = completed(goal.spec, [] if isinstance(ranges, AccessDenied) else ranges)
    pods = Pods(
        spec,
        {m["metadata"]["name"]: m["spec"] for m in present},
        frozenset(m["metadata"]["name"] for m in present if "deletionTimestamp" in m["metadata"]),
    )
    limits = (
        _unread(Part.LIMITS, Kind.LIMIT_RANGE)
        if isinstance(ranges, AccessDenied)
        else limits_check(spec, ranges)
    )
    quota = (
        _unread(Part.QUOTA, Kind.RESOURCE_QUOTA)
        if isinstance(quotas, AccessDenied)
        else quota_check(goal, pods, quotas)
    )
    return [limits, quota], asks_for_room(goal, pods)


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


# Whether the namespace's ResourceQuotas leave room for a step's new pods. Pure.
#
# A quota counts what its scopes match. At worst the pods that surge run beside all
# old ones, and in the end all pods are of the new size; both have to fit, as a quota refuses pods and not the
# workload: what does not fit is a rollout that stands still, or pods that were taken down and do not come back.
# A rollout that stands still holds its own surge already: no controller makes a pod beyond that, so the next
# rollout, back or on, takes what the pods beyond the wanted number give back.

_BYTES = ("memory", "storage")


@dataclass(frozen=True, slots=True)
class Pods:
    """The new pod's completed spec, the specs of the workload's present pods by name, and the names of those that are on their way out,
    which hold their room still and are none of the controller's any more."""

    new: Obj
    present: Mapping[str, Obj]
    leaving: frozenset[str] = frozenset()

    @property
    def use(self) -> Mapping[str, Amounts]:
        """What each present pod uses of quotas."""
        return {name: quota_use(spec) for name, spec in self.present.items()}


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
        more = _more(goal, key, new, present, _spare(goal, pods))
        left = amount(key, text) - amount(key, used.get(resource, "0"))
        if more > left and left < 0:
            return (
                f"it is exceeded already, {_shown(key, -left)} {key} beyond {_shown(key, amount(key, text))}"
            )
        if more > left:
            room = f"{_shown(key, max(0, left))} of {_shown(key, amount(key, text))} {key} left"
            return f"they need {_shown(key, more)} more {key}, and it has {room}"
    return ""


def asks_for_room(goal: Goal, pods: Pods) -> bool:
    """Whether the step uses more of anything than now at any moment: where it never does, a full quota is no word against it."""
    new = quota_use(pods.new)
    return any(_more(goal, key, new, pods.use, _spare(goal, pods)) for key in new)


def _spare(goal: Goal, pods: Pods) -> int:
    """How many of the pods that may surge are there already, of a rollout that stands still."""
    return min(goal.surge, max(0, len(pods.present.keys() - pods.leaving) - goal.replicas))


def _more(goal: Goal, key: str, new: Amounts, present: Mapping[str, Amounts], spare: int) -> int:
    """What is used more than now at the worst moment, 0 when it is never more. A pod that is deleted comes back: it needs
    what it has now, which an exceeded quota does not give it again (a number below zero is left then)."""
    own = sum(use[key] for use in present.values())
    in_the_end = goal.replicas * new[key] - own
    if not goal.rolls:
        back = sum(present[name][key] for name in goal.removed if name in present)
        return max(in_the_end, len(goal.removed) * new[key] - back, 0)
    given_back = sum(sorted(use[key] for use in present.values())[:spare])
    return max(in_the_end, goal.surge * new[key] - given_back, 0)


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
