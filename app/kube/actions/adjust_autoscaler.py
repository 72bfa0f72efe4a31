"""Other bounds or another target for a workload's HorizontalPodAutoscaler.

Built by handlers. Pure. An autoscaler that KEDA makes is changed in its ScaledObject, or KEDA sets it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from app.domain.json import JsonValue, Obj, canonical
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.impossible import Impossible
from app.kube.manifest import same
from app.kube.parse import parse_ref

KEDA = "scaledobject.keda.sh/name"
"""The label by which KEDA marks an autoscaler of its own: the name of its ScaledObject."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is wanted; None or empty stays as it is. `utilization` is the target in percent of the request of `resource`, `average` the
    target of a pod as a quantity of it: an autoscaler has one of the two for a resource."""

    minimum: int | None = None
    maximum: int | None = None
    utilization: int | None = None
    resource: str = "cpu"
    average: str = ""


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
    for type_, value, what, unit in (
        ("Utilization", wanted.utilization, "utilization", " %"),
        ("AverageValue", wanted.average or None, "average", ""),
    ):
        if value is None:
            continue
        found = _target(spec, wanted.resource, type_, value)
        if found is None:
            return Impossible(
                f"autoscaler {name} has no target for the {what} of {wanted.resource}{_instead(spec, wanted.resource)}"
            )
        if not same(found.path, found.before, found.after):
            changes.append(found)
            words.append(f"target {wanted.resource} {what} from {found.before}{unit} to {found.after}{unit}")
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


_FIELDS: Final = {"Utilization": "averageUtilization", "AverageValue": "averageValue"}
"""Where a target of this type stands."""


def _target(spec: Obj, resource: str, type_: str, value: JsonValue) -> FieldChange | None:
    for at, target in _targets(spec, resource):
        if target.get("type") == type_:
            field = _FIELDS[type_]
            return FieldChange(f"/spec/metrics/{at}/resource/target/{field}", target.get(field), value)
    return None


def _targets(spec: Obj, resource: str) -> Iterator[tuple[int, Obj]]:
    for at, metric in enumerate(spec.get("metrics") or ()):
        own: Any = metric.get("resource") or {}
        if own.get("name") == resource:
            yield at, own.get("target") or {}


def _instead(spec: Obj, resource: str) -> str:
    """Which target it has; empty without one."""
    found = [(t.get("type"), t.get(_FIELDS.get(str(t.get("type")), ""))) for _, t in _targets(spec, resource)]
    if not found:
        return ""
    (type_, value), *_ = found
    return f"; it has a target of the type {type_} ({value})"


def _of_keda(workload: Workload, name: str, owner: str, wanted: Bounds) -> Impossible:
    given = {"minReplicaCount": wanted.minimum, "maxReplicaCount": wanted.maximum}
    patch = canonical({"spec": {k: v for k, v in given.items() if v is not None}})
    how = f"kubectl patch scaledobject {owner} -n {workload.target.namespace} --type merge -p '{patch}'"
    if wanted.utilization is not None or wanted.average:
        how = (
            f"kubectl edit scaledobject {owner} -n {workload.target.namespace} (its triggers hold the target)"
        )
    why = f"KEDA makes autoscaler {name} from ScaledObject {owner} and would set it back"
    return Impossible(why, f"{why}; change the ScaledObject: {how}")
