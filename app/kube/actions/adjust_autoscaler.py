"""Other bounds or another target for a workload's HorizontalPodAutoscaler.

Built by handlers. Pure. An autoscaler that KEDA makes is changed in its ScaledObject, or KEDA sets it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.domain.json import Obj, canonical
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.impossible import Impossible
from app.kube.parse import parse_ref

KEDA = "scaledobject.keda.sh/name"
"""The label by which KEDA marks an autoscaler of its own: the name of its ScaledObject."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is wanted; None stays as it is. `utilization` is the target in percent of the request of `resource`."""

    minimum: int | None = None
    maximum: int | None = None
    utilization: int | None = None
    resource: str = "cpu"


def adjust_autoscaler(workload: Workload, hpa: Obj, wanted: Bounds) -> Action | Impossible:
    """Set what differs of `wanted` on this autoscaler, as it was just read."""
    meta, spec = hpa["metadata"], hpa["spec"]
    name = meta["name"]
    if owner := (meta.get("labels") or {}).get(KEDA):
        return _of_keda(workload, name, owner, wanted)
    low = spec.get("minReplicas", 1) if wanted.minimum is None else wanted.minimum
    high = spec["maxReplicas"] if wanted.maximum is None else wanted.maximum
    if low > high:
        return Impossible(f"autoscaler {name} cannot hold at least {low} and at most {high} replicas")
    changes, words = [], []
    for path, key, value in (
        ("/spec/minReplicas", "minReplicas", low),
        ("/spec/maxReplicas", "maxReplicas", high),
    ):
        before = spec.get(key)
        if value != (1 if before is None else before):
            changes.append(FieldChange(path, before, value))
            words.append(f"{key} from {before if before is not None else '1 (default)'} to {value}")
    if wanted.utilization is not None:
        found = _utilization(spec, wanted)
        if found is None:
            return Impossible(f"autoscaler {name} has no target for the utilization of {wanted.resource}")
        if found.before != found.after:
            changes.append(found)
            words.append(f"target {wanted.resource} utilization from {found.before} % to {found.after} %")
    if not changes:
        return Impossible(f"autoscaler {name} has these values already", stands=True)
    return Action(
        kind=ActionKind.ADJUST_AUTOSCALER,
        object=parse_ref(Kind.HPA, hpa),
        target=workload.target,
        changes=tuple(changes),
        summary=f"Change autoscaler {name} of {workload.target}: {', '.join(words)}",
        pods_affected=0,
        reversible=True,
        undo=f"set autoscaler {name} back; it then scales by its own rules",
        params={"autoscaler": name, "min": low, "max": high},
    )


def _utilization(spec: Obj, wanted: Bounds) -> FieldChange | None:
    for at, metric in enumerate(spec.get("metrics") or ()):
        resource: Any = metric.get("resource") or {}
        target = resource.get("target") or {}
        if resource.get("name") == wanted.resource and target.get("type") == "Utilization":
            path = f"/spec/metrics/{at}/resource/target/averageUtilization"
            return FieldChange(path, target.get("averageUtilization"), wanted.utilization)
    return None


def _of_keda(workload: Workload, name: str, owner: str, wanted: Bounds) -> Impossible:
    given = {"minReplicaCount": wanted.minimum, "maxReplicaCount": wanted.maximum}
    patch = canonical({"spec": {k: v for k, v in given.items() if v is not None}})
    how = f"kubectl patch scaledobject {owner} -n {workload.target.namespace} --type merge -p '{patch}'"
    if wanted.utilization is not None:
        how = (
            f"kubectl edit scaledobject {owner} -n {workload.target.namespace} (its triggers hold the target)"
        )
    why = f"KEDA makes autoscaler {name} from ScaledObject {owner} and would set it back"
    return Impossible(why, f"{why}; change the ScaledObject: {how}")
