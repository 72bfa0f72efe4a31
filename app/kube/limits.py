"""What bounds the memory of a namespace's pods: LimitRange rules, quota headroom, and disruption budgets.

Called by `app.kube.read` (which builds them) and by the actions (which obey them). Pure. Memory in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind, ObjectRef
from app.kube.manifest import parse_memory, parse_quantity
from app.kube.parse import parse_ref


@dataclass(frozen=True, slots=True)
class MemoryRule:
    """One rule of a LimitRange about memory; `per` is Container or Pod. `ratio` bounds limit divided by request; `default` is the limit that containers
    get which set none."""

    name: str
    per: str
    maximum: int | None = None
    ratio: float | None = None
    default: int | None = None


@dataclass(frozen=True, slots=True)
class QuotaRoom:
    """One memory resource (`limits.memory`, `requests.memory`) of a ResourceQuota."""

    name: str
    resource: str
    hard: int
    used: int

    @property
    def left(self) -> int:
        """Bytes still free; negative when the quota was lowered below what runs."""
        return self.hard - self.used


@dataclass(frozen=True, slots=True)
class DisruptionBudget:
    """A PodDisruptionBudget that selects the workload's pods; numbers are pods."""

    ref: ObjectRef
    allowed: int
    healthy: int
    wanted: int


_OTHER_PODS = frozenset({"Terminating", "BestEffort"})
"""Quota scopes that never hold the pods of a workload with a memory limit."""


def memory_rules(manifest: Obj) -> list[MemoryRule]:
    """The memory rules of one LimitRange."""
    rules = []
    for item in manifest["spec"].get("limits") or ():
        maximum = (item.get("max") or {}).get("memory")
        ratio = (item.get("maxLimitRequestRatio") or {}).get("memory")
        if item.get("type") in ("Container", "Pod") and (maximum is not None or ratio is not None):
            rules.append(
                MemoryRule(
                    manifest["metadata"]["name"],
                    item["type"],
                    None if maximum is None else parse_memory(maximum),
                    None if ratio is None else float(parse_quantity(ratio)),
                )
            )
    return rules


def memory_defaults(manifest: Obj) -> list[MemoryRule]:
    """The limits that one LimitRange gives to containers that set none."""
    found = [
        (i.get("default") or {}).get("memory")
        for i in manifest["spec"].get("limits") or ()
        if i.get("type") == "Container"
    ]
    name = manifest["metadata"]["name"]
    return [MemoryRule(name, "Container", default=parse_memory(text)) for text in found if text is not None]


def quota_rooms(manifest: Obj) -> list[QuotaRoom]:
    """Memory headroom of one ResourceQuota; `memory` is the API's other word for `requests.memory`."""
    spec, status = manifest["spec"], manifest.get("status") or {}
    if _OTHER_PODS & set(spec.get("scopes") or ()):
        return []
    hard: dict[str, Any] = status.get("hard") or spec.get("hard") or {}
    used: dict[str, Any] = status.get("used") or {}
    return [
        QuotaRoom(
            manifest["metadata"]["name"],
            "requests.memory" if resource == "memory" else resource,
            parse_memory(amount),
            parse_memory(used.get(resource, "0")),
        )
        for resource, amount in hard.items()
        if resource in ("limits.memory", "requests.memory", "memory")
    ]


def disruption_budget(manifest: Obj) -> DisruptionBudget:
    """A PodDisruptionBudget of policy/v1."""
    status = manifest.get("status") or {}
    return DisruptionBudget(
        parse_ref(Kind.PDB, manifest),
        status.get("disruptionsAllowed", 0),
        status.get("currentHealthy", 0),
        status.get("desiredHealthy", 0),
    )
