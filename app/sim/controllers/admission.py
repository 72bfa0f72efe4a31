"""LimitRange and ResourceQuota: what they do to a new pod. They refuse pods, never the workload's template.

Called by the pod maker and by direct pod creation. Writes the quota's used numbers; never creates pods.
"""

from __future__ import annotations

from collections import Counter

from app.domain.errors import AccessDenied
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.objects import Key
from app.sim.quantity import amount
from app.sim.world import World


class Admission:
    """The admission plugins LimitRanger and ResourceQuota."""

    def __init__(self, world: World) -> None:
        self._world = world

    def admit(self, pod: Obj) -> None:
        """Fill in a LimitRange's defaults, in place, and refuse what exceeds a maximum or a quota (AccessDenied, as
        the API server answers 403)."""
        namespace = pod["metadata"]["namespace"]
        name = pod["metadata"].get("name", pod["metadata"].get("generateName", ""))
        for limit_range in self._world.store.all(Kind.LIMIT_RANGE, namespace):
            for item in limit_range["spec"]["limits"]:
                if item["type"] == "Container":
                    _limit(pod, item, name)
        for quota in self._world.store.all(Kind.RESOURCE_QUOTA, namespace):
            self._charge(quota, pod, name)

    def reconcile(self, key: Key) -> None:
        """Recount the used numbers of one quota."""
        quota = self._world.store.find(key)
        if quota is not None:
            self._world.set_status(quota, self._status(quota))

    def _status(self, quota: Obj) -> Obj:
        used = self._used(quota["metadata"]["namespace"])
        hard = quota["spec"]["hard"]
        return {"hard": dict(hard), "used": {k: _shown(k, used[_canonical(k)]) for k in hard}}

    def _used(self, namespace: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for pod in self._world.store.all(Kind.POD, namespace):
            if pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}:
                total.update(_demand(pod))
        return total

    def _charge(self, quota: Obj, pod: Obj, name: str) -> None:
        used, wanted = self._used(pod["metadata"]["namespace"]), _demand(pod)
        hard = quota["spec"]["hard"]
        over = []
        for resource, limit in hard.items():
            key = _canonical(resource)
            if key in wanted and used[key] + wanted[key] > amount(key, limit):
                over.append(
                    (
                        f"{resource}={_shown(key, wanted[key])}",
                        f"{resource}={_shown(key, used[key])}",
                        f"{resource}={limit}",
                    )
                )
        if over:
            requested, have, limited = (",".join(column) for column in zip(*over, strict=True))
            raise AccessDenied(
                f'pods "{name}" is forbidden: exceeded quota: {quota["metadata"]["name"]}, '
                f"requested: {requested}, used: {have}, limited: {limited}"
            )


def _limit(pod: Obj, item: Obj, name: str) -> None:
    for container in pod["spec"]["containers"]:
        resources = container.setdefault("resources", {})
        for field, key in (("limits", "default"), ("requests", "defaultRequest")):
            for resource, value in item.get(key, {}).items():
                resources.setdefault(field, {}).setdefault(resource, value)
        for resource, highest in item.get("max", {}).items():
            limit = resources.get("limits", {}).get(resource)
            if limit is None:
                why = f"maximum {resource} usage per Container is {highest}. No limit is specified"
            elif amount(resource, limit) > amount(resource, highest):
                why = f"maximum {resource} usage per Container is {highest}, but limit is {limit}"
            else:
                continue
            raise AccessDenied(f'pods "{name}" is forbidden: {why}')


def _demand(pod: Obj) -> Counter[str]:
    demand: Counter[str] = Counter({"pods": 1})
    for container in pod["spec"]["containers"]:
        resources = container.get("resources", {})
        requests = {**resources.get("limits", {}), **resources.get("requests", {})}
        for field, values in (("requests", requests), ("limits", resources.get("limits", {}))):
            for resource, value in values.items():
                demand[f"{field}.{resource}"] += amount(resource, value)
    return demand


def _canonical(resource: str) -> str:
    """`memory` in a quota means `requests.memory`."""
    return f"requests.{resource}" if resource in {"cpu", "memory"} else resource


def _shown(resource: str, value: int) -> str:
    if resource.endswith("cpu"):
        return str(value // 1000) if value % 1000 == 0 else f"{value}m"
    if resource.endswith("memory"):
        for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if value and value % size == 0:
                return f"{value // size}{unit}"
    return str(value)
