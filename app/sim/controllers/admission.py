"""What admission does to a new pod: its account and priority, LimitRange, Pod Security, ResourceQuota. All of them refuse pods,
never the workload's template.

Called by the pod maker and by direct pod creation. Writes the quota's used numbers; never creates pods.
"""

from __future__ import annotations

from collections import Counter

from app.domain.errors import AccessDenied
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.controllers.pod_security import violation
from app.sim.objects import Key
from app.sim.patch import clone
from app.sim.quantity import amount
from app.sim.world import World

_BUILT_IN = ("system-cluster-critical", "system-node-critical")


class Admission:
    """The admission plugins ServiceAccount, LimitRanger, Priority, PodSecurity and ResourceQuota, in their order."""

    def __init__(self, world: World) -> None:
        self._world = world

    def admit(self, pod: Obj) -> None:
        """Fill in a LimitRange's defaults, in place, and refuse what names nothing, breaks the namespace's Pod Security or
        exceeds a maximum or a quota (AccessDenied, as the API server answers 403)."""
        namespace = pod["metadata"]["namespace"]
        name = pod["metadata"].get("name", pod["metadata"].get("generateName", ""))
        self._account(pod, name)
        for limit_range in self._world.store.all(Kind.LIMIT_RANGE, namespace):
            for item in limit_range["spec"]["limits"]:
                if item["type"] == "Container":
                    _limit(pod, item, name)
                if item["type"] == "Pod":
                    _limit_pod(pod, item, name)
        self._priority(pod, name)
        space = self._world.store.find(Key(Kind.NAMESPACE, "", namespace))
        if space is not None and (why := violation(space["metadata"].get("labels") or {}, pod["spec"])):
            raise AccessDenied(f'pods "{name}" is forbidden: violates PodSecurity {why}')
        for quota in self._world.store.all(Kind.RESOURCE_QUOTA, namespace):
            self._charge(quota, pod, name)

    def _account(self, pod: Obj, name: str) -> None:
        """The pod's ServiceAccount exists; its pull Secrets are the pod's where it names none."""
        namespace = pod["metadata"]["namespace"]
        account = pod["spec"].setdefault("serviceAccountName", "default")
        found = self._world.store.find(Key(Kind.SERVICE_ACCOUNT, namespace, account))
        if found is None:
            raise AccessDenied(
                f'pods "{name}" is forbidden: error looking up service account {namespace}/{account}: '
                f'serviceaccount "{account}" not found'
            )
        if found.get("imagePullSecrets") and not pod["spec"].get("imagePullSecrets"):
            pod["spec"]["imagePullSecrets"] = clone(found["imagePullSecrets"])

    def _priority(self, pod: Obj, name: str) -> None:
        wanted = pod["spec"].get("priorityClassName")
        if not wanted or wanted in _BUILT_IN:
            return
        found = self._world.store.find(Key(Kind.PRIORITY_CLASS, "", wanted))
        if found is None:
            text = f"no PriorityClass with name {wanted} was found"
            raise AccessDenied(f'pods "{name}" is forbidden: {text}')
        pod["spec"]["priority"] = found["value"]

    def reconcile(self, key: Key) -> None:
        """Recount the used numbers of one quota."""
        quota = self._world.store.find(key)
        if quota is not None:
            self._world.set_status(quota, self._status(quota))

    def _status(self, quota: Obj) -> Obj:
        used = self._used(quota)
        hard = quota["spec"]["hard"]
        return {"hard": dict(hard), "used": {k: _shown(k, used[_canonical(k)]) for k in hard}}

    def _used(self, quota: Obj) -> Counter[str]:
        total: Counter[str] = Counter()
        for pod in self._world.store.all(Kind.POD, quota["metadata"]["namespace"]):
            if pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"} and counts(quota, pod):
                total.update(_demand(pod))
        return total

    def _charge(self, quota: Obj, pod: Obj, name: str) -> None:
        if not counts(quota, pod):
            return
        used, wanted = self._used(quota), _demand(pod)
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
        for resource, lowest in item.get("min", {}).items():
            request = {**resources.get("limits", {}), **resources.get("requests", {})}.get(resource)
            if request is not None and amount(resource, request) >= amount(resource, lowest):
                continue
            told = "No request is specified" if request is None else f"but request is {request}"
            why = (
                f"minimum {resource} usage per Container is {lowest}{'. ' if request is None else ', '}{told}"
            )
            raise AccessDenied(f'pods "{name}" is forbidden: {why}')
        for resource, highest in item.get("max", {}).items():
            limit = resources.get("limits", {}).get(resource)
            if limit is None:
                why = f"maximum {resource} usage per Container is {highest}. No limit is specified"
            elif amount(resource, limit) > amount(resource, highest):
                why = f"maximum {resource} usage per Container is {highest}, but limit is {limit}"
            else:
                continue
            raise AccessDenied(f'pods "{name}" is forbidden: {why}')


def _limit_pod(pod: Obj, item: Obj, name: str) -> None:
    demand = _demand(pod)
    for resource, highest in item.get("max", {}).items():
        if demand[f"limits.{resource}"] > amount(resource, highest):
            shown = _shown(resource, demand[f"limits.{resource}"])
            why = f"maximum {resource} usage per Pod is {highest}, but limit is {shown}"
            raise AccessDenied(f'pods "{name}" is forbidden: {why}')


def counts(quota: Obj, pod: Obj) -> bool:
    """Whether all scopes of the quota match the pod. Of the scopes that quotas on pods can have, the one on affinity across
    namespaces never matches here."""
    spec = quota["spec"]
    rules = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes", [])]
    rules += spec.get("scopeSelector", {}).get("matchExpressions", [])
    return all(_in_scope(rule, pod["spec"]) for rule in rules)


def _in_scope(rule: Obj, spec: Obj) -> bool:
    resources = [c.get("resources", {}) for c in spec["containers"]]
    best_effort = not any(r.get("limits") or r.get("requests") for r in resources)
    ends, priority = "activeDeadlineSeconds" in spec, spec.get("priorityClassName", "")
    words = {
        "Terminating": ends,
        "NotTerminating": not ends,
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
    }
    if rule["scopeName"] != "PriorityClass":
        return words.get(rule["scopeName"], False)
    values = rule.get("values", [])
    by_operator = {"In": priority in values, "NotIn": priority not in values, "DoesNotExist": not priority}
    return by_operator.get(rule["operator"], bool(priority))


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
