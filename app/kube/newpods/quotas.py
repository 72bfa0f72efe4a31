"""Whether the namespace's ResourceQuotas leave room for a step's new pods. Pure.

Used by `app.kube.newpods.gather`. A quota counts what its scopes match. At worst the pods that surge run beside all old ones,
and in the end all pods are of the new size; both have to fit, as a quota refuses pods and not the workload: what does not fit
is a rollout that stands still, or pods that were taken down and do not come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.json import Obj
from app.domain.new_pods import Finding, Part, PodCheck
from app.domain.units import say_memory
from app.kube.newpods.demand import Amounts, amount, canonical, quality, quota_use, unset
from app.kube.newpods.goal import Goal

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
