"""The HorizontalPodAutoscaler: clamps to its limits and follows CPU use, each 15 seconds. Called by the world.

A manual scale below the minimum, above the maximum or against the measured use is reverted, as in a real cluster.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.controllers.pods import is_active, is_ready
from app.sim.kinds import stamp
from app.sim.objects import Key
from app.sim.ownership import SCALE
from app.sim.patch import clone
from app.sim.quantity import cpu
from app.sim.selectors import matches
from app.sim.world import World, condition

PERIOD = 15.0
"""Seconds between two looks."""
SCALE_DOWN_WINDOW = 300.0
"""Seconds for which the highest recommendation still counts before anything shrinks."""
_TOLERANCE = 0.1

CpuUse = Callable[[Obj], int | None]
"""Millicores that a pod uses now; None when nothing is known of it."""


class Autoscalers:
    """Reconciles HorizontalPodAutoscalers."""

    def __init__(self, world: World, cpu_use: CpuUse) -> None:
        self._world = world
        self._cpu_use = cpu_use
        self._due: dict[Key, float] = {}
        self._advice: dict[Key, list[tuple[float, int]]] = {}

    def reconcile(self, key: Key) -> None:
        """Look when the period is over; other wake-ups are ignored."""
        if self._world.time < self._due.get(key, 0.0):
            return
        autoscaler = self._world.store.find(key)
        if autoscaler is None:
            self._due.pop(key, None)
            return
        self._due[key] = self._world.time + PERIOD
        self._world.later(key, self._due[key])
        reference = autoscaler["spec"]["scaleTargetRef"]
        target = self._world.store.find(Key(Kind(reference["kind"]), key.namespace, reference["name"]))
        if target is not None:
            self._look(key, autoscaler, target)

    def _look(self, key: Key, autoscaler: Obj, target: Obj) -> None:
        spec, present = autoscaler["spec"], int(target["spec"]["replicas"])
        low, high = int(spec["minReplicas"]), int(spec["maxReplicas"])
        use = self._utilization(target)
        active, why, desired = True, "ValidMetricFound", present
        if present == 0 and low > 0:
            active, why = False, "ScalingDisabled"
        elif present > high:
            desired = high
        elif present < low:
            desired = low
        elif use is None:
            active, why = False, "FailedGetResourceMetric"
        else:
            desired = self._stabilized(key, _wanted(autoscaler, target, use), present)
            desired = min(high, max(low, desired))
        if desired != present:
            self._scale(autoscaler, target, desired)
        self._write_status(autoscaler, (present, desired), use, (active, why))

    def _scale(self, autoscaler: Obj, target: Obj, desired: int) -> None:
        changed = clone(target)
        changed["spec"]["replicas"] = desired
        self._world.store.update(changed, "kube-controller-manager", subresource=SCALE)
        note = f"New size: {desired}; reason: "
        low = autoscaler["spec"]["minReplicas"]
        if target["spec"]["replicas"] < low:
            note += "Current number of replicas below Spec.MinReplicas"
        elif target["spec"]["replicas"] > autoscaler["spec"]["maxReplicas"]:
            note += "Current number of replicas above Spec.MaxReplicas"
        elif desired > target["spec"]["replicas"]:
            note += "cpu resource utilization (percentage of request) above target"
        else:
            note += "All metrics below target"
        self._world.event(autoscaler, "SuccessfulRescale", note, component="horizontal-pod-autoscaler")

    def _utilization(self, target: Obj) -> int | None:
        """CPU use of the ready pods in percent of their requests; None when it cannot be told."""
        used = requested = 0
        for pod in self._world.store.all(Kind.POD, target["metadata"]["namespace"]):
            labels = pod["metadata"].get("labels", {})
            if not (is_active(pod) and is_ready(pod) and matches(target["spec"]["selector"], labels)):
                continue
            use, request = self._cpu_use(pod), _cpu_request(pod)
            if use is None or request == 0:
                return None
            used, requested = used + use, requested + request
        return round(used * 100 / requested) if requested else None

    def _stabilized(self, key: Key, wanted: int, present: int) -> int:
        """Shrink only to the highest number that was advised within the window."""
        since = self._world.time - SCALE_DOWN_WINDOW
        # The size found at first counts as advice, as in the real controller's start-up.
        advice = self._advice.setdefault(key, [(self._world.time, present)])
        advice[:] = [*((t, n) for t, n in advice if t >= since), (self._world.time, wanted)]
        return max(wanted, min(present, max(n for _, n in advice)))

    def _write_status(
        self, autoscaler: Obj, sizes: tuple[int, int], use: int | None, activity: tuple[bool, str]
    ) -> None:
        present, desired = sizes
        autoscaler = self._world.store.get(
            Key(Kind.HPA, autoscaler["metadata"]["namespace"], autoscaler["metadata"]["name"])
        )
        old = autoscaler.get("status", {})
        conditions = old.get("conditions", [])
        states = [
            ("AbleToScale", True, "SucceededRescale" if desired != present else "ReadyForNewScale"),
            ("ScalingActive", activity[0], activity[1]),
            ("ScalingLimited", desired in _limits(autoscaler), "DesiredWithinRange"),
        ]
        status = {
            "currentReplicas": present,
            "desiredReplicas": desired,
            "conditions": [condition(conditions, t, s, r, "", self._world.time)[0] for t, s, r in states],
        }
        if use is not None:
            current = {"averageUtilization": use}
            status["currentMetrics"] = [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
        if desired != present:
            status["lastScaleTime"] = stamp(self._world.time)
        elif "lastScaleTime" in old:
            status["lastScaleTime"] = old["lastScaleTime"]
        self._world.set_status(autoscaler, status)


def _limits(autoscaler: Obj) -> tuple[int, int]:
    return autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]


def _wanted(autoscaler: Obj, target: Obj, use: int) -> int:
    goals = [
        m["resource"]["target"].get("averageUtilization")
        for m in autoscaler["spec"].get("metrics", [])
        if m.get("type") == "Resource" and m["resource"]["name"] == "cpu"
    ]
    goal = next(filter(None, goals), 80)
    present = int(target["spec"]["replicas"])
    ratio = use / goal
    return present if abs(ratio - 1) <= _TOLERANCE else math.ceil(present * ratio)


def _cpu_request(pod: Obj) -> int:
    return sum(
        cpu(c.get("resources", {}).get("requests", {}).get("cpu", 0)) for c in pod["spec"]["containers"]
    )
