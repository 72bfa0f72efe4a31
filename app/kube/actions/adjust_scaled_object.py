"""Other bounds or another target in the ScaledObject from which KEDA makes a workload's autoscaler.

Built by handlers. Pure. KEDA carries the change over; `app.kube.scaled_objects` tells whether it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.domain.errors import BadInput
from app.domain.json import JsonValue, Obj
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.actions.adjust_autoscaler import Bounds
from app.kube.impossible import Impossible
from app.kube.look import HOLDS
from app.kube.manifest import parse_quantity
from app.kube.parse import parse_ref
from app.kube.scaled_objects import DEFAULT_MAX, DEFAULT_MIN, paused

_TYPES = ("cpu", "memory")


def adjust_scaled_object(workload: Workload, manifest: Obj, wanted: Bounds) -> Action | Impossible:
    """Set what differs of `wanted` on this ScaledObject, as it was just read."""
    name = f"ScaledObject {manifest['metadata']['name']}"
    if how := paused(manifest):
        why = f"{name} is paused ({how}): KEDA scales nothing until that annotation is taken away"
        return Impossible(why, f"{why}; then order it again")
    spec = manifest["spec"]
    low = (spec.get("minReplicaCount") or 0) if wanted.minimum is None else wanted.minimum
    high = spec.get("maxReplicaCount", DEFAULT_MAX) if wanted.maximum is None else wanted.maximum
    if no := _bounds(name, spec, low, high):
        return Impossible(no)
    found = _target(name, spec.get("triggers") or (), wanted)
    if isinstance(found, str):
        return Impossible(found)
    changes, words = _counts(spec, wanted)
    if found is not None and found.change.before != found.change.after:
        changes.append(found.change)
        words.append(found.words)
    else:
        found = None
    if not changes:
        return Impossible(f"{name} has these values already", stands=True)
    return Action(
        kind=ActionKind.ADJUST_SCALED_OBJECT,
        object=parse_ref(Kind.SCALED_OBJECT, manifest),
        target=workload.target,
        changes=tuple(changes),
        summary=f"Change {name} of {workload.target}, from which KEDA makes its autoscaler: {', '.join(words)}",
        pods_affected=0,
        reversible=True,
        undo=f"set {name} back; KEDA then sets its autoscaler back",
        params={"scaledObject": manifest["metadata"]["name"], "min": max(DEFAULT_MIN, low), "max": high}
        | (found.facts if found else {}),
        part={HOLDS: {found.change.path: found.holds}} if found else {},
    )


def doubt(manifest: Obj, action: Action) -> str:
    """What a person is asked before this action is taken; empty for nothing."""
    replicas = ((manifest["spec"].get("fallback")) or {}).get("replicas")
    after = {c.path: c.after for c in action.changes}.get("/spec/maxReplicaCount")
    if after is None or replicas is None or replicas <= after:
        return ""
    return f"its fallback wants {replicas} replicas when a trigger cannot be asked, and would get {after} at most"


def _bounds(name: str, spec: Obj, low: int, high: int) -> str:
    """Why KEDA would refuse these bounds; empty when it takes them."""
    if max(DEFAULT_MIN, low) > high:
        return f"{name} cannot hold at least {low} and at most {high} replicas"
    idle = spec.get("idleReplicaCount")
    if idle is not None and idle >= low:
        return f"{name} has idleReplicaCount {idle}, which has to be below minReplicaCount ({low})"
    return ""


def _counts(spec: Obj, wanted: Bounds) -> tuple[list[FieldChange], list[str]]:
    changes, words = [], []
    for key, value, default in (
        ("minReplicaCount", wanted.minimum, 0),
        ("maxReplicaCount", wanted.maximum, DEFAULT_MAX),
    ):
        before = spec.get(key)
        if value is None or value == (default if before is None else before):
            continue
        changes.append(FieldChange(f"/spec/{key}", before, value))
        zero = key == "minReplicaCount" and not before and spec.get("idleReplicaCount") is None
        more = " (it does not scale to 0 any more)" if zero else ""
        words.append(f"{key} from {f'{default} (default)' if before is None else before} to {value}{more}")
    return changes, words


class _Trigger(NamedTuple):
    """The target of a trigger: the change, what has to hold of the trigger for it, words, and facts for the verification."""

    change: FieldChange
    holds: dict[str, JsonValue]
    words: str
    facts: dict[str, JsonValue]


def _target(name: str, triggers: Sequence[Obj], wanted: Bounds) -> _Trigger | str | None:
    """The change of the one trigger that has this target, or why there is none; None where no target is wanted."""
    if wanted.metric:
        return (
            f"the metrics of KEDA's autoscaler come from the triggers of {name} ({_told(triggers)}); {_EDIT}"
        )
    if wanted.utilization is None and not wanted.average:
        return None
    type_, what = ("Utilization", "utilization") if wanted.utilization else ("AverageValue", "average")
    own = [at for at, one in enumerate(triggers) if one.get("type") == wanted.resource]
    if len(own) != 1:
        several = f"has {len(own)} triggers" if own else "has no trigger"
        return f"{name} {several} for {wanted.resource} (triggers: {_told(triggers)}); {_EDIT}"
    (at,) = own
    meta = triggers[at].get("metadata") or {}
    where = "metricType" if triggers[at].get("metricType") else "metadata/type"
    has, before = triggers[at].get("metricType") or meta.get("type"), meta.get("value")
    if has != type_ or not before:
        return f"{name} has no target for the {what} of {wanted.resource}; its trigger has one of the type {has} ({before})"
    after = str(wanted.utilization) if wanted.utilization else wanted.average
    unit = " %" if wanted.utilization else ""
    trigger = f"/spec/triggers/{at}"
    return _Trigger(
        FieldChange(f"{trigger}/metadata/value", before, before if _equal(before, after) else after),
        {f"{trigger}/type": wanted.resource, f"{trigger}/{where}": type_},
        f"target {wanted.resource} {what} from {before}{unit} to {after}{unit}",
        {"resource": wanted.resource, "type": type_, "target": wanted.utilization or wanted.average},
    )


_EDIT = "they are changed with kubectl edit scaledobject"


def _told(triggers: Sequence[Obj]) -> str:
    return ", ".join(str(one.get("type")) for one in triggers) or "none"


def _equal(one: str, other: str) -> bool:
    """Whether two texts are the same quantity: KEDA keeps what was written."""
    try:
        return parse_quantity(one) == parse_quantity(other)
    except BadInput:
        return one == other
