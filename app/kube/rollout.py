"""The state of a rollout from a workload's own status, by the rules of `kubectl rollout status`.

Called by the verification and the handlers through `app.kube.read`. Pure; never reads pods.
"""

from __future__ import annotations

from typing import Any

from app.domain.target import Kind
from app.domain.workload import RolloutState, RolloutStatus, Workload
from app.kube.quoted import told_by


def rollout_status(workload: Workload) -> RolloutStatus:
    """COMPLETE only once the controller has seen the present generation and all its pods are available."""
    if workload.paused:
        return RolloutStatus(RolloutState.PAUSED, "the rollout is paused")
    if workload.observed_generation < workload.ref.generation:
        text = f"generation {workload.ref.generation} is not observed yet ({workload.observed_generation} is)"
        return RolloutStatus(RolloutState.PROGRESSING, text)
    match workload.target.kind:
        case Kind.DEPLOYMENT:
            return _deployment(workload)
        case Kind.STATEFUL_SET:
            return _stateful_set(workload)
        case _:
            return _daemon_set(workload)


def are_up(workload: Workload) -> bool:
    """Whether its pods have come up, as far as its status tells."""
    state = rollout_status(workload).state
    # Pods that are replaced as somebody deletes them are all there, or not.
    return (
        workload.ready >= workload.desired
        if state is RolloutState.UNKNOWN
        else state is RolloutState.COMPLETE
    )


def _deployment(workload: Workload) -> RolloutStatus:
    status = workload.manifest.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    progressing = conditions.get("Progressing") or {}
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return RolloutStatus(RolloutState.FAILED, f"no progress within the deadline{_failure(conditions)}")
    total = status.get("replicas", 0)
    if workload.updated < workload.desired:
        text = f"{workload.updated} of {workload.desired} pods are updated{_failure(conditions)}"
        return RolloutStatus(RolloutState.PROGRESSING, text)
    if total > workload.updated:
        old = total - workload.updated
        return RolloutStatus(RolloutState.PROGRESSING, f"{old} old pods are still to end")
    return _availability(workload, workload.updated)


def _failure(conditions: dict[str, Any]) -> str:
    """Pods that a quota or an admission rule refuses show only in this condition."""
    failure = conditions.get("ReplicaFailure") or {}
    return f": {told_by(failure.get('message'))}" if failure.get("status") == "True" else ""


def _stateful_set(workload: Workload) -> RolloutStatus:
    strategy = workload.manifest["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return RolloutStatus(RolloutState.UNKNOWN, "updates happen when pods are deleted (OnDelete)")
    status = workload.manifest.get("status") or {}
    if workload.ready < workload.desired:
        return RolloutStatus(
            RolloutState.PROGRESSING, f"{workload.ready} of {workload.desired} pods are ready"
        )
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    wanted = max(0, workload.desired - partition)
    moving = status.get("updateRevision") != status.get("currentRevision")
    if workload.updated < wanted or (moving and not partition):
        return RolloutStatus(RolloutState.PROGRESSING, f"{workload.updated} of {wanted} pods are updated")
    return RolloutStatus(RolloutState.COMPLETE, f"{workload.ready} of {workload.desired} pods are ready")


def _daemon_set(workload: Workload) -> RolloutStatus:
    strategy = workload.manifest["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return RolloutStatus(RolloutState.UNKNOWN, "updates happen when pods are deleted (OnDelete)")
    if workload.updated < workload.desired:
        text = f"{workload.updated} of {workload.desired} pods are updated"
        return RolloutStatus(RolloutState.PROGRESSING, text)
    return _availability(workload, workload.desired)


def _availability(workload: Workload, wanted: int) -> RolloutStatus:
    text = f"{workload.available} of {wanted} pods are available"
    if workload.available < wanted:
        return RolloutStatus(RolloutState.PROGRESSING, text)
    return RolloutStatus(RolloutState.COMPLETE, text)
