"""Rolling: how many pods a workload's own controller takes down at the same time when its template changes.

The number behind the blast radius gate. Called by the flow when it gathers facts. Pure; reads the manifest of a snapshot.
Defaults and rounding are those of the Kubernetes API: a Deployment rounds maxUnavailable down (25 % unless set, and 1 when
it may not surge either), a DaemonSet rounds up (1 unless set), a StatefulSet replaces one at a time unless set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.domain.target import Kind
from app.domain.workload import Workload
from app.policy.facts import Replicas


def replicas_of(workload: Workload) -> Replicas:
    """The pods of a workload with the bound of its rolling update."""
    return Replicas(workload.desired, workload.ready, workload.updated, at_once(workload))


def at_once(workload: Workload) -> int | None:
    """Pods down at the same time at worst; None when the manifest says something that is not understood."""
    spec = workload.manifest.get("spec") or {}
    strategy = spec.get("strategy" if workload.target.kind is Kind.DEPLOYMENT else "updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    kind = strategy.get("type", "RollingUpdate")
    if kind == "OnDelete":
        return 0
    if kind == "Recreate":
        return workload.desired
    if kind != "RollingUpdate":
        return None
    match workload.target.kind:
        case Kind.DEPLOYMENT:
            return _deployment(rolling, workload.desired)
        case Kind.STATEFUL_SET | Kind.DAEMON_SET:
            bound = _pods(rolling.get("maxUnavailable", 1), workload.desired, up=True)
            return None if bound is None else min(bound, workload.desired)
        case _:
            return None


def _deployment(rolling: Mapping[str, Any], desired: int) -> int | None:
    bound = _pods(rolling.get("maxUnavailable", "25%"), desired, up=False)
    surge = _pods(rolling.get("maxSurge", "25%"), desired, up=True)
    if bound is None or surge is None:
        return None
    return min(desired, bound if bound or surge else 1)


def _pods(value: object, desired: int, *, up: bool) -> int | None:
    """A number of pods or a share of the desired ones. None when it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return max(0, value)
    share = value.removesuffix("%") if isinstance(value, str) and value.endswith("%") else ""
    if not (share.isascii() and share.isdigit()):
        return None
    product = desired * int(share)
    return -(-product // 100) if up else product // 100
