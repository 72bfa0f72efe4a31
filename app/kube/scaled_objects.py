"""KEDA's ScaledObjects: which of them scale a workload, what their bounds are, and whether the autoscaler that KEDA makes follows; and
what a VerticalPodAutoscaler sizes.

Asked by the handler of autoscalers, by `app.kube.owners`, `app.kube.look` and `app.kube.actuator`. Reads through the port; never writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.domain.actuator import Effect
from app.domain.cluster import Cluster
from app.domain.errors import ObjectMissing, RemediatorError
from app.domain.json import Obj
from app.domain.owner import HELD_AT, Owner, Relation
from app.domain.plan import Action
from app.domain.target import Kind, Target
from app.domain.units import say_memory
from app.domain.workload import Workload
from app.kube.manifest import parse_memory, same, value_at
from app.kube.quoted import told_by

LABEL: Final = "scaledobject.keda.sh/name"
"""The label by which KEDA marks an autoscaler of its own: the name of its ScaledObject, cut at 63 characters."""
_GROUP: Final = "keda.sh/"
_PAUSED = "autoscaling.keda.sh/paused"
_NO: Final = frozenset({"0", "f", "F", "false", "False", "FALSE"})
"""What KEDA reads as no; whatever else stands there pauses."""
_LONGEST_NOTE = 40
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
    if HELD_AT in notes:
        return f"{HELD_AT}: {told_by(notes[HELD_AT], _LONGEST_NOTE)}"
    if _PAUSED in notes and notes[_PAUSED] not in _NO:
        return f"{_PAUSED}: {told_by(notes[_PAUSED], _LONGEST_NOTE)}"
    return ""


def said(manifest: Obj) -> str:
    """What stands in the way of its scaling, as it says itself: paused, a trigger that fails, replicas of a fallback; empty for nothing."""
    told = [f"paused by {how}"] if (how := paused(manifest)) else []
    conditions = {c.get("type"): c for c in value_at(manifest, "/status/conditions") or ()}
    for type_, bad in (("Ready", "False"), ("Fallback", "True")):
        one = conditions.get(type_) or {}
        if one.get("status") == bad:
            words = ": ".join(filter(None, (one.get("reason"), told_by(one.get("message"), 160))))
            told.append(f"{type_} is {bad}{f', {words}' if words else ''}")
    return "; ".join(told)


def at_zero(manifest: Obj) -> tuple[str, bool]:
    """What it says of a workload of its own without replicas, in one clause, and whether that is what it is set to."""
    if how := paused(manifest):
        held_above = how.startswith(f"{HELD_AT}: ") and how != f"{HELD_AT}: 0"
        return f"it is paused ({how})", not held_above
    if told := said(manifest):
        return told, False
    spec = manifest.get("spec") or {}
    least, idle = spec.get("minReplicaCount") or 0, spec.get("idleReplicaCount")
    if least and idle != 0:
        return f"its minReplicaCount is {least}", False
    bound = "idleReplicaCount 0" if idle == 0 else "minReplicaCount 0"
    conditions = value_at(manifest, "/status/conditions") or ()
    active = next((c.get("status") for c in conditions if c.get("type") == "Active"), None)
    if active == "False":
        return f"it sees no load ({bound})", True
    return f"it {'sees load' if active == 'True' else 'does not tell whether it sees load'} ({bound})", False


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
    return f" (KEDA says: {told_by(ready.get('message'))})" if ready.get("status") == "False" else ""


# What a VerticalPodAutoscaler sets of a workload's pods. Pure.

_MODES = {"Off": "", "Initial": "when a pod is made"}
"""What bounds a mode: it does nothing, or leaves pods that run alone. A new template makes new pods, which its admission sizes in every
mode but Off."""


def sizer_of(workload: Workload, manifest: Obj) -> Owner | None:
    """This VerticalPodAutoscaler of the workload, where it sets the memory limit of a container; None where it only recommends, or leaves
    memory or limits as the template has them."""
    target, spec = workload.target, manifest["spec"]
    mode = (spec.get("updatePolicy") or {}).get("updateMode", "Recreate")
    policies = (spec.get("resourcePolicy") or {}).get("containerPolicies") or ()
    parts = tuple(c.name for c in workload.containers if not c.init and _limits(policies, c.name))
    when = _MODES.get(mode)
    if when == "" or not parts:
        return None
    recommended = []
    status = (manifest.get("status") or {}).get("recommendation") or {}
    for one in status.get("containerRecommendations") or ():
        wanted = one.get("target") or {}
        told = [say_memory(parse_memory(wanted["memory"]))] if "memory" in wanted else []
        told += [f"{wanted['cpu']} CPU"] if "cpu" in wanted else []
        recommended.append(f"{one['containerName']} {' and '.join(told)}")
    most = [
        f"{p['containerName']} at most {say_memory(parse_memory(p['maxAllowed']['memory']))}"
        for p in policies
        if "memory" in (p.get("maxAllowed") or {})
    ]
    advises = f"recommends {', '.join(recommended)}" if recommended else ""
    return Owner(
        Relation.SIZES,
        target.kind,
        "VerticalPodAutoscaler",
        "autoscaling.k8s.io",
        target.namespace,
        manifest["metadata"]["name"],
        note="; ".join(filter(None, (when, advises, ", ".join(most)))),
        parts=parts,
    )


def _limits(policies: Sequence[Obj], container: str) -> bool:
    """Whether it sets the memory limit of this container: the container's own policy counts, else the one for all others."""
    of = {str(p.get("containerName")): p for p in policies}
    policy = of.get(container, of.get("*", {}))
    controlled = policy.get("controlledResources")
    return (
        policy.get("mode") != "Off"
        and (controlled is None or "memory" in controlled)
        and policy.get("controlledValues") != "RequestsOnly"
    )
