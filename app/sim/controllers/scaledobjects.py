"""The simulated KEDA: makes the autoscaler of each ScaledObject that has a trigger, and sets it back when somebody else changes it.
Called by the world.

Not modelled: scaling to 0 and from it by load, the metrics of triggers, fallback, formulas. The annotation `simulated/away` on a ScaledObject
says that KEDA does not see it.
"""

from __future__ import annotations

from typing import Any, Final

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.kinds import APIS
from app.sim.objects import Key
from app.sim.ownership import SCALE
from app.sim.patch import clone
from app.sim.world import World, condition

_WRITER: Final = "keda"
_NAME: Final = "scaledobject.keda.sh/name"
_PAUSED: Final = "autoscaling.keda.sh/paused"
_FIELDS: Final = {"Utilization": "averageUtilization", "AverageValue": "averageValue"}


class ScaledObjects:
    """Reconciles ScaledObjects."""

    def __init__(self, world: World) -> None:
        self._world = world

    def reconcile(self, key: Key) -> None:
        """Make its autoscaler what it says; none while it is paused."""
        found = self._world.store.find(key)
        if found is None:
            return
        notes = found["metadata"].get("annotations") or {}
        if "simulated/away" in notes or not found["spec"].get("triggers"):
            return
        name = f"keda-hpa-{key.name}"
        hpa = Key(Kind.HPA, key.namespace, name)
        there = self._world.store.find(hpa)
        if f"{_PAUSED}-replicas" in notes or notes.get(_PAUSED, "false") != "false":
            if there is not None:
                self._world.store.delete(hpa)
            return
        if bad := next((t for t in found["spec"]["triggers"] if not _readable(t)), None):
            text = f"the target of trigger {bad['type']} is not a number"
            ready, _ = condition([], "Ready", False, "ScaledObjectCheckFailed", text, self._world.time)
            self._world.set_status(found, {"conditions": [ready]}, _WRITER)
            return  # the autoscaler stays as it was
        self._woken(found)
        wanted = _autoscaler(found, name)
        if there is None:
            self._world.store.create(wanted, _WRITER)
        elif there["spec"] != wanted["spec"]:
            self._world.store.update({**clone(there), "spec": wanted["spec"]}, _WRITER)

    def _woken(self, found: Obj) -> None:
        """What stands at 0 gets its least number of pods: an autoscaler leaves it alone."""
        of, least = found["spec"]["scaleTargetRef"], found["spec"].get("minReplicaCount") or 0
        key = Key(Kind(of.get("kind", "Deployment")), found["metadata"]["namespace"], of["name"])
        target = self._world.store.find(key)
        if target is not None and target["spec"].get("replicas") == 0 and least:
            changed = clone(target)
            changed["spec"]["replicas"] = least
            self._world.store.update(changed, _WRITER, subresource=SCALE)


def _autoscaler(found: Obj, name: str) -> Obj:
    meta, spec = found["metadata"], found["spec"]
    of = spec["scaleTargetRef"]
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", **of}
    owner = {"apiVersion": APIS[Kind.SCALED_OBJECT].version, "kind": "ScaledObject", "name": meta["name"]}
    return {
        "apiVersion": APIS[Kind.HPA].version,
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {**(meta.get("labels") or {}), _NAME: meta["name"]},
            "annotations": dict(meta.get("annotations") or {}),  # KEDA hands them on, our mark among them
            "ownerReferences": [{**owner, "uid": meta["uid"], "controller": True}],
        },
        "spec": {
            "scaleTargetRef": reference,
            "minReplicas": spec.get("minReplicaCount") or 1,
            "maxReplicas": spec.get("maxReplicaCount", 100),
            "metrics": [_metric(at, trigger) for at, trigger in enumerate(spec["triggers"])],
        },
    }


def _readable(trigger: Obj) -> bool:
    value = str((trigger.get("metadata") or {}).get("value", ""))
    return trigger.get("metricType") != "Utilization" or value.isdecimal()


def _metric(at: int, trigger: Obj) -> Obj:
    kind, meta = trigger["type"], trigger.get("metadata") or {}
    if kind not in ("cpu", "memory"):
        target: Any = {"type": "AverageValue", "averageValue": meta.get("threshold", "1")}
        return {"type": "External", "external": {"metric": {"name": f"s{at}-{kind}"}, "target": target}}
    type_ = trigger.get("metricType") or meta["type"]
    value = int(meta["value"]) if type_ == "Utilization" else meta["value"]
    return {
        "type": "Resource",
        "resource": {"name": kind, "target": {"type": type_, _FIELDS[type_]: value}},
    }
