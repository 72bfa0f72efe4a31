"""KEDA's ScaledObjects: which of them scale a workload, what their bounds are, and whether the autoscaler that KEDA makes follows.

Asked by the handler of autoscalers, by `app.kube.look` and by `app.kube.actuator`. Reads through the port; never writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.domain.actuator import Effect
from app.domain.cluster import Cluster
from app.domain.errors import ObjectMissing, RemediatorError
from app.domain.json import Obj
from app.domain.plan import Action
from app.domain.target import Kind, Target
from app.kube.manifest import same, value_at

LABEL: Final = "scaledobject.keda.sh/name"
"""The label by which KEDA marks an autoscaler of its own: the name of its ScaledObject, cut at 63 characters."""
_GROUP: Final = "keda.sh/"
_PAUSED, _PAUSED_AT = "autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas"
_NO: Final = frozenset({"0", "f", "F", "false", "False", "FALSE"})
"""What KEDA reads as no; whatever else stands there pauses."""
DEFAULT_MIN, DEFAULT_MAX = 1, 100
"""What KEDA gives its autoscaler where the ScaledObject has no bounds, or a minimum of 0."""
FIELDS: Final = {"Utilization": "averageUtilization", "AverageValue": "averageValue"}
"""Where a target of this type stands in an autoscaler."""


def maker_of(hpa: Obj) -> str:
    """The name of the ScaledObject from which KEDA makes this autoscaler; empty for one that KEDA does not make."""
    meta = hpa["metadata"]
    for owner in meta.get("ownerReferences") or ():
        if owner.get("kind") == Kind.SCALED_OBJECT and str(owner.get("apiVersion", "")).startswith(_GROUP):
            return str(owner["name"])
    return str((meta.get("labels") or {}).get(LABEL, ""))


def scales(manifest: Obj, target: Target) -> bool:
    """Whether this ScaledObject is for this workload. Without a kind it is for a Deployment."""
    of = (manifest.get("spec") or {}).get("scaleTargetRef") or {}
    return (of.get("kind") or Kind.DEPLOYMENT.value, of.get("name")) == (target.kind.value, target.name)


async def of_target(cluster: Cluster, target: Target) -> tuple[Obj, ...]:
    """All ScaledObjects that are for this workload; none where the cluster does not have the kind. Raises the port's read errors."""
    try:
        listed = await cluster.list_objects(Kind.SCALED_OBJECT, target.namespace)
    except ObjectMissing:
        return ()
    return tuple(m for m in listed if scales(m, target))


def paused(manifest: Obj) -> str:
    """How somebody has paused it, by the annotation; empty when KEDA scales."""
    notes = manifest["metadata"].get("annotations") or {}
    if _PAUSED_AT in notes:
        return f"{_PAUSED_AT}: {notes[_PAUSED_AT]}"
    if _PAUSED in notes and notes[_PAUSED] not in _NO:
        return f"{_PAUSED}: {notes[_PAUSED]}"
    return ""


async def followed(cluster: Cluster, action: Action) -> Effect:
    """Whether KEDA has carried the change over to its own autoscaler. Raises nothing of ours."""
    ref = action.object
    name = f"ScaledObject {ref.name}"
    try:
        scaler = await cluster.get(Kind.SCALED_OBJECT, ref.namespace, ref.name)
        listed = await cluster.list_objects(Kind.HPA, ref.namespace)
    except ObjectMissing:
        return Effect(False, f"{name} is gone, and KEDA's autoscaler with it", over=True)
    except RemediatorError as error:
        return Effect(None, f"whether KEDA follows {name} could not be read: {error.message}")
    why = (
        f"; see whether KEDA runs: kubectl describe scaledobject {ref.name} -n {ref.namespace}{_said(scaler)}"
    )
    if how := paused(scaler):
        why = f"; it was paused since ({how})"
    own = next((m for m in listed if maker_of(m) == ref.name), None)
    if own is None:
        return Effect(False, f"KEDA has no autoscaler for {name}{why}")
    hpa = f"KEDA's autoscaler {own['metadata']['name']}"
    behind = _behind(own["spec"], action)
    if behind:
        return Effect(False, f"{hpa} does not follow {name}: {'; '.join(behind)}{why}")
    return Effect(True, f"{hpa} follows {name}")


def _behind(spec: Obj, action: Action) -> list[str]:
    """What the autoscaler has otherwise than the action set it."""
    changed = {c.path for c in action.changes}
    wanted: Mapping[str, Any] = action.params
    found = []
    for path, field, key in (
        ("/spec/minReplicaCount", "minReplicas", "min"),
        ("/spec/maxReplicaCount", "maxReplicas", "max"),
    ):
        has = spec.get(field, DEFAULT_MIN)
        if path in changed and has != wanted[key]:
            found.append(f"{field} is {has}, not {wanted[key]}")
    if "resource" in wanted:
        resource, type_, value = wanted["resource"], str(wanted["type"]), wanted["target"]
        has = [t.get(FIELDS[type_]) for t in _targets(spec.get("metrics") or (), str(resource))]
        if not any(same(f"/{FIELDS[type_]}", one, value) for one in has):
            found.append(f"the target of {resource} is {has[0] if has else 'absent'}, not {value}")
    return found


def _targets(metrics: Sequence[Obj], resource: str) -> list[Obj]:
    """Targets for a resource, of the pods or of one container of theirs."""
    own = [m.get("resource") or m.get("containerResource") or {} for m in metrics]
    return [one.get("target") or {} for one in own if one.get("name") == resource]


def _said(manifest: Obj) -> str:
    """What KEDA says itself where it could not make the autoscaler."""
    conditions = value_at(manifest, "/status/conditions") or ()
    ready: Obj = next((c for c in conditions if c.get("type") == "Ready"), {})
    return f" (KEDA says: {ready.get('message', '')})" if ready.get("status") == "False" else ""
