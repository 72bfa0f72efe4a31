"""An exact number of pods, up or down, as `kubectl scale` does. For orders: `scale` is what alerts may do.

Built by handlers. Pure. Never for a workload that an autoscaler sizes: it would set the number again within seconds.
"""

from __future__ import annotations

from app.domain.plan import Action
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.actions.scale import resized
from app.kube.impossible import Impossible


def set_replicas(workload: Workload, replicas: int) -> Action | Impossible:
    """Exactly `replicas` pods."""
    target = workload.target
    if target.kind is Kind.DAEMON_SET:
        return Impossible(f"{target} runs one pod a node: it has no replicas")
    if workload.autoscaler is not None:
        return Impossible(f"autoscaler {workload.autoscaler.ref.name} sets the replicas of {target}")
    if workload.desired == replicas:
        return Impossible(f"{target} has {replicas} replicas already", stands=True)
    return resized(workload, replicas)
