"""Whether the Services and NetworkPolicies in front of a workload still fit its new pods, where a step changes their labels or ports.

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
from app.kube.parse import selects, serves
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
    """The faults only: Services that choose the pods of now and would not choose, or not reach, the new ones."""
    now, then = _labels(goal.workload.manifest["spec"]["template"]), _labels(goal.template)
    had, have = ports_of(goal.workload.manifest["spec"]["template"]), ports_of(goal.template)
    return [
        _fault(f"Service {_name(service)}", text)
        for service in services
        if serves(service, now)
        for text in _of_service(service, (now, then), (had, have))
    ]


def _of_service(
    service: Obj,
    labels: tuple[Mapping[str, str], Mapping[str, str]],
    ports: tuple[frozenset[str], frozenset[str]],
) -> Iterator[str]:
    then, (had, have) = labels[1], ports
    if not serves(service, then):
        selector: Mapping[str, Any] = (service.get("spec") or {}).get("selector") or {}
        wrong = ", ".join(
            f"{key}={value}" for key, value in sorted(selector.items()) if then.get(key) != value
        )
        yield f"would choose none of the new pods: it selects {in_one_line(wrong, _SHOWN)}"
        return
    for port in (service.get("spec") or {}).get("ports") or ():
        target = str(port.get("targetPort", port.get("port")))
        if target in had and target not in have:
            said = in_one_line(f"{port.get('port')} to {target}", _SHOWN)
            yield f"sends port {said}, which the new pods do not have"


def policy_checks(goal: Goal, policies: Sequence[Obj]) -> list[PodCheck]:
    """The faults only: NetworkPolicies that let something through to or from the pods of now, and not the new ones, which others cut off; and those
    that cut off the new ones alone."""
    now, then = _labels(goal.workload.manifest["spec"]["template"]), _labels(goal.template)
    before = [p for p in policies if _selects(p, now)]
    after = [p for p in policies if _selects(p, then)]
    lost = [p for p in before if p not in after and any(_directions(p) & _directions(o) for o in after)]
    new = [p for p in after if p not in before]
    return [
        *(
            _fault(
                f"NetworkPolicy {_name(p)}", "does not let through what the new pods need: it selects others"
            )
            for p in lost
        ),
        *(_fault(f"NetworkPolicy {_name(p)}", "selects the new pods and not those of now") for p in new),
    ]


def _fault(what: str, text: str) -> PodCheck:
    remedy = f"{what} is set to fit the pods of the template that comes back, with it or before it"
    return PodCheck(Part.TRAFFIC, Finding.MISSING, f"{what} {text}", remedy)


def _labels(template: Obj) -> dict[str, str]:
    return dict((template.get("metadata") or {}).get("labels") or {})


def _name(manifest: Obj) -> str:
    return in_one_line(str(manifest["metadata"]["name"]), _SHOWN)


def _selects(policy: Obj, labels: Mapping[str, str]) -> bool:
    return selects((policy.get("spec") or {}).get("podSelector"), labels)


def _directions(policy: Obj) -> frozenset[str]:
    spec = policy.get("spec") or {}
    return frozenset(spec.get("policyTypes") or ("Ingress", *(["Egress"] if spec.get("egress") else [])))
