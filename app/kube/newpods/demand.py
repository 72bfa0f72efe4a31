"""What one pod asks of a namespace: resources as the API server counts them for quotas and scheduling.

Used by the checks of quotas, LimitRanges and nodes. Pure. Rules: the pod's sum is that of its containers and its native
sidecars (init containers that always restart); an init container counts by its peak, with the sidecars before it; pod-level
resources take the place of the sum; the runtime's overhead comes on top. CPU in millicores, everything else in its own unit.
Source: Kubernetes, "Resource Quotas", "Sidecar Containers" and "Pod Overhead" of the documentation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from app.domain.json import Obj
from app.kube.quantity import parse_cpu, parse_memory

Amounts = Counter[str]
"""By resource name (`cpu`, `memory`, `nvidia.com/gpu`)."""
_IN_QUOTAS = ("cpu", "memory", "ephemeral-storage")


def amount(resource: str, text: Any) -> int:
    """Millicores for what ends in `cpu`, the plain rounded-up number for everything else."""
    return parse_cpu(text) if resource.rpartition(".")[2] == "cpu" else parse_memory(text)


def pod_amounts(spec: Mapping[str, Any], field: str) -> Amounts:
    """`requests` or `limits` of the whole pod. A missing request equals the limit."""
    total: Amounts = Counter()
    for container in spec.get("containers") or ():
        total.update(of_container(container, field))
    sidecars: Amounts = Counter()
    peak: Amounts = Counter()
    for container in spec.get("initContainers") or ():
        own = of_container(container, field)
        if container.get("restartPolicy") == "Always":
            sidecars.update(own)
            own = Counter()
        for name in (*own, *sidecars):
            peak[name] = max(peak[name], own[name] + sidecars[name])
    total.update(sidecars)
    for name, most in peak.items():
        total[name] = max(total[name], most)
    total.update(_pod_level(spec, field, total))
    overhead = spec.get("overhead") or {}
    if field == "requests":
        total.update({name: amount(name, text) for name, text in overhead.items()})
    else:  # where there is no limit the overhead makes none
        total.update({name: amount(name, text) for name, text in overhead.items() if total[name]})
    return total


def _pod_level(spec: Mapping[str, Any], field: str, total: Amounts) -> Amounts:
    """What has to be added so that pod-level resources take the place of the containers' sum."""
    resources = spec.get("resources") or {}
    own = dict(resources.get(field) or {})
    if field == "requests":
        own = {**{k: v for k, v in (resources.get("limits") or {}).items() if k not in total}, **own}
    more: Amounts = Counter()
    for name, text in own.items():
        more[name] = amount(name, text) - total[name]
    return more


def of_container(container: Mapping[str, Any], field: str) -> Amounts:
    """`requests` or `limits` of one container. A missing request equals the limit."""
    resources = container.get("resources") or {}
    given = dict(resources.get(field) or {})
    if field == "requests":
        given = {**(resources.get("limits") or {}), **given}
    return Counter({name: amount(name, text) for name, text in given.items()})


def quota_use(spec: Mapping[str, Any]) -> Amounts:
    """What one pod adds to each resource that a quota may bound, in the quota's canonical names."""
    use: Amounts = Counter({"pods": 1, "count/pods": 1})
    for field in ("requests", "limits"):
        for name, number in pod_amounts(spec, field).items():
            if field == "requests" or name in _IN_QUOTAS:
                use[f"{field}.{name}"] += number
    return use


def canonical(resource: str) -> str:
    """`memory` in a quota means `requests.memory`."""
    return f"requests.{resource}" if resource in _IN_QUOTAS or resource.startswith("hugepages-") else resource


def unset(spec: Mapping[str, Any], resource: str) -> tuple[str, ...]:
    """Containers that do not set this compute resource of a quota, which a quota on it demands of each; none where the pod
    sets it for all of them."""
    field, _, name = canonical(resource).partition(".")
    if field not in ("requests", "limits") or name not in ("cpu", "memory"):
        return ()
    if name in ((spec.get("resources") or {}).get(field) or {}):
        return ()
    return tuple(c["name"] for c in all_containers(spec) if name not in of_container(c, field))


def all_containers(spec: Mapping[str, Any]) -> Iterable[Obj]:
    """Init containers and containers."""
    return (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))


def quality(spec: Mapping[str, Any]) -> str:
    """BestEffort, Burstable or Guaranteed, as the API server classes it."""
    pod = spec.get("resources") or {}
    resources = [pod] if pod else [c.get("resources") or {} for c in all_containers(spec)]
    relevant = [
        ({k: v for k, v in (r.get("limits") or {}).items() if k in ("cpu", "memory")}, r) for r in resources
    ]
    asked = [(r.get("requests") or {}) for _, r in relevant]
    if not any(limits for limits, _ in relevant) and not any(
        name in requests for requests in asked for name in ("cpu", "memory")
    ):
        return "BestEffort"
    for limits, given in relevant:
        requests = {**limits, **(given.get("requests") or {})}
        if set(limits) != {"cpu", "memory"}:
            return "Burstable"
        if any(amount(n, requests[n]) != amount(n, limits[n]) for n in limits):
            return "Burstable"
    return "Guaranteed"
