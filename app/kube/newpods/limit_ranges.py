"""What LimitRanges do to a new pod: defaults that they fill in, and bounds that refuse it. Pure.

Used by `app.kube.newpods.gather`. Source: Kubernetes, "Limit Ranges": a container's default limit and request are filled in
where it has none, then minimum, maximum and the ratio of limit to request hold for each container, and for the pod's sum.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.domain.json import Obj
from app.domain.new_pods import Finding, Part, PodCheck
from app.kube.newpods.demand import Amounts, all_containers, amount, of_container, pod_amounts
from app.kube.quantity import parse_quantity


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
