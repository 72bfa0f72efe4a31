"""Whether the Services and NetworkPolicies in front of a workload still fit its new pods, where a step changes their labels or ports: a
doubt that only a person can settle, as nobody tells from here what is sent over which of them.

Used by `app.kube.newpods.gather`. A template that moved together with a Service goes back alone: pods that are ready then, and that nothing
sends a request to, look well to everybody but their users. What Istio, Gateways or another namespace's policies route is not looked at.
Source: Kubernetes, "Service" (a named targetPort is that of the pod) and "Network Policies" (policies add up; a pod that one selects is
isolated in the directions that this one has).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.domain.cluster import Cluster
from app.domain.errors import AccessDenied
from app.domain.json import Obj
from app.domain.new_pods import Finding, Part, PodCheck
from app.domain.redact import in_one_line
from app.domain.target import Kind
from app.kube.newpods.goal import Goal, ports_of
from app.kube.parse import selects
from app.kube.paths import RESOURCES

_SHOWN = 120


async def traffic_checks(cluster: Cluster, goal: Goal) -> list[PodCheck]:
    """What stands in front of the pods, for a step that changes what others find them by. Raises TryLater kinds."""
    services, policies = await asyncio.gather(
        _listed(cluster, Kind.SERVICE, goal.namespace), _listed(cluster, Kind.NETWORK_POLICY, goal.namespace)
    )
    if services is None:
        return [_unread(Finding.UNKNOWN, Kind.SERVICE)]
    if policies is None:
        return [*service_checks(goal, services), _unread(Finding.UNTOLD, Kind.NETWORK_POLICY)]
    faults = [*service_checks(goal, services), *policy_checks(goal, policies)]
    return faults or [PodCheck(Part.TRAFFIC, Finding.OK)]


async def _listed(cluster: Cluster, kind: Kind, namespace: str) -> list[Obj] | None:
    try:
        return await cluster.list_objects(kind, namespace)
    except AccessDenied:
        return None


def _unread(finding: Finding, kind: Kind) -> PodCheck:
    plural = RESOURCES[kind].plural
    return PodCheck(
        Part.TRAFFIC, finding, f"{plural} may not be listed", f"the right to list {plural} is granted"
    )


def service_checks(goal: Goal, services: Sequence[Obj]) -> list[PodCheck]:
    """The doubts only: where no Service that chooses the pods of now would choose the new ones, or where one sends to a port that moved."""
    now, then = _labels(goal.workload.manifest["spec"]["template"]), _labels(goal.template)
    chosen = [s for s in services if _chooses(s, now) and (s.get("spec") or {}).get("type") != "ExternalName"]
    still = [service for service in chosen if _chooses(service, then)]
    if chosen and not still:
        return [
            _doubt(f"Service {_name(s)}", f"would choose none of the new pods: it selects {_wrong(s, then)}")
            for s in chosen
        ]
    gone = _moved(goal)
    return [
        _doubt(f"Service {_name(service)}", f"sends port {said}, which the new pods do not have")
        for service in still
        for said in _sent(service, gone)
    ]


def _moved(goal: Goal) -> frozenset[str]:
    """Ports of the pods of now that the new ones have under another number or name. A port that the release only added, or only declares, is
    none: a declaration opens no port."""
    had, have = ports_of(goal.workload.manifest["spec"]["template"]), ports_of(goal.template)
    return had - have if have - had else frozenset()


def _sent(service: Obj, gone: frozenset[str]) -> Iterator[str]:
    for port in (service.get("spec") or {}).get("ports") or ():
        if (target := str(port.get("targetPort", port.get("port")))) in gone:
            yield in_one_line(f"{port.get('port')} to {target}", _SHOWN)


def _chooses(service: Obj, labels: Mapping[str, str]) -> bool:
    """By the labels of a template: what a controller gives each pod besides, such as its name or number, is left out."""
    selector: Mapping[str, Any] = (service.get("spec") or {}).get("selector") or {}
    own = {key: value for key, value in selector.items() if key not in _OF_EACH_POD}
    return bool(own) and all(labels.get(key) == value for key, value in own.items())


_OF_EACH_POD = frozenset(
    {
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "pod-template-hash",
        "controller-revision-hash",
    }
)


def _wrong(service: Obj, then: Mapping[str, str]) -> str:
    selector: Mapping[str, Any] = (service.get("spec") or {}).get("selector") or {}
    found = (f"{k}={v}" for k, v in sorted(selector.items()) if k not in _OF_EACH_POD and then.get(k) != v)
    return in_one_line(", ".join(found), _SHOWN)


def policy_checks(goal: Goal, policies: Sequence[Obj]) -> list[PodCheck]:
    """The doubts only: NetworkPolicies that let something through to or from the pods of now, and not the new ones, which others cut off;
    that cut off the new ones alone; that let in a port alone which moved; and those of others that let in the pods of now alone."""
    now, then = _labels(goal.workload.manifest["spec"]["template"]), _labels(goal.template)
    before = [p for p in policies if _selects(p, now)]
    after = [p for p in policies if _selects(p, then)]
    doubts = [
        _doubt(f"NetworkPolicy {_name(p)}", "lets through what the new pods need, and selects others")
        for p in before
        if p not in after and any(_lost(p, after, way) for way in _WAYS)
    ]
    doubts += [
        _doubt(f"NetworkPolicy {_name(p)}", "selects the new pods and not those of now")
        for p in after
        if p not in before and any(_cuts(p, [o for o in after if o is not p], way) for way in _WAYS)
    ]
    gone, have = _moved(goal), ports_of(goal.template)
    ports = {
        str(port.get("port"))
        for p in after
        for rule in _rules(p, "Ingress")
        for port in rule.get("ports") or ()
    }
    every = any(not rule.get("ports") for p in after for rule in _rules(p, "Ingress"))
    if ports & gone and not ports & have and not every:
        doubts += [
            _doubt(f"NetworkPolicy {_name(p)}", "lets in no port that the new pods have")
            for p in after
            if _rules(p, "Ingress")
        ]
    return [
        *doubts,
        *(
            _doubt(f"NetworkPolicy {_name(p)}", "lets in, or out to, the pods of now and not the new ones")
            for p in policies
            if _peers(p, now, then)
        ),
    ]


_WAYS: Mapping[str, tuple[str, str]] = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}


def _rules(policy: Obj, way: str) -> list[Obj]:
    return list((policy.get("spec") or {}).get(_WAYS[way][0]) or ()) if way in _directions(policy) else []


def _lost(policy: Obj, after: Sequence[Obj], way: str) -> bool:
    """Does the direction stay closed to some of what this one opened? Policies add up."""
    rules = _rules(policy, way)
    closed = any(way in _directions(one) for one in after)
    left = [rule for one in after for rule in _rules(one, way)]
    return bool(rules) and closed and {} not in left and any(rule not in left for rule in rules)


def _cuts(policy: Obj, others: Sequence[Obj], way: str) -> bool:
    """Does it alone close the direction? Where others have closed it already, it can only open more."""
    closed = any(way in _directions(one) for one in others)
    return way in _directions(policy) and not closed and {} not in _rules(policy, way)


def _peers(policy: Obj, now: Mapping[str, str], then: Mapping[str, str]) -> bool:
    """Does a rule of it name the pods of now, and none of its rules the new ones?"""
    peers = [
        peer
        for way, (_, field) in _WAYS.items()
        for rule in _rules(policy, way)
        for peer in rule.get(field) or ()
    ]
    named = [
        peer["podSelector"] for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer
    ]
    return any(selects(one, now) for one in named) and not any(selects(one, then) for one in named)


def _doubt(what: str, text: str) -> PodCheck:
    remedy = f"{what} is set to fit the pods of the template that comes back, or a person knows better"
    return PodCheck(Part.TRAFFIC, Finding.UNKNOWN, f"{what} {text}", remedy)


def _labels(template: Obj) -> dict[str, str]:
    return dict((template.get("metadata") or {}).get("labels") or {})


def _name(manifest: Obj) -> str:
    return in_one_line(str(manifest["metadata"]["name"]), _SHOWN)


def _selects(policy: Obj, labels: Mapping[str, str]) -> bool:
    return selects((policy.get("spec") or {}).get("podSelector"), labels)


def _directions(policy: Obj) -> frozenset[str]:
    spec = policy.get("spec") or {}
    return frozenset(spec.get("policyTypes") or ("Ingress", *(["Egress"] if spec.get("egress") else [])))
