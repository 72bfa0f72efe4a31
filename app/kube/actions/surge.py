"""How many pods a rolling update runs beyond the wanted number. Pure; used by builders that look at quotas."""

from __future__ import annotations

from app.domain.target import Kind
from app.domain.workload import Workload


def surge_pods(workload: Workload) -> int:
    """MaxSurge in pods, percentages rounded up as the controllers do; Deployments default to 25 %, others to 0."""
    spec = workload.manifest["spec"]
    if workload.target.kind is Kind.DEPLOYMENT:
        strategy = spec.get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return 0
        surge = (strategy.get("rollingUpdate") or {}).get("maxSurge", "25%")
    elif workload.target.kind is Kind.DAEMON_SET:
        surge = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("maxSurge", 0)
    else:
        return 0
    if isinstance(surge, str):
        return -(-workload.desired * int(surge.rstrip("%")) // 100)
    return int(surge)


def taken_down_at_once(workload: Workload) -> int:
    """The controller's own bound on pods that a rolling update makes unavailable at the same time, in pods.

    Deployment: maxUnavailable, default 25 %, rounded down, but 1 when nothing may surge either; Recreate takes all.
    DaemonSet: maxUnavailable, default 1, rounded up. StatefulSet: one after another, default 1; OnDelete takes none.
    """
    spec, desired = workload.manifest["spec"], workload.desired
    if workload.target.kind is Kind.DEPLOYMENT:
        strategy = spec.get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return desired
        down = _pods((strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%"), desired, up=False)
        return down if down or surge_pods(workload) else min(1, desired)
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return 0
    rolling = strategy.get("rollingUpdate") or {}
    return max(1, _pods(rolling.get("maxUnavailable", 1), desired, up=True))


def _pods(value: int | str, desired: int, *, up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        share = desired * int(value.rstrip("%"))
        return -(-share // 100) if up else share // 100
    return int(value)
