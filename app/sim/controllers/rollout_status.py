"""A Deployment's status: replica numbers and the conditions Available, Progressing and ReplicaFailure.

Pure; called by the Deployment controller. The rules for when a rollout progresses, completes or times out follow
kube-controller-manager's.
"""

from __future__ import annotations

from app.domain.json import Obj
from app.sim.controllers.intstr import absolute
from app.sim.kinds import seconds_of, stamp
from app.sim.world import condition


def deployment_status(
    deployment: Obj, newest: Obj | None, sets: list[Obj], at: float
) -> tuple[Obj, float | None]:
    """The status as of `at`, and when the progress deadline has to be looked at again."""
    status = _numbers(deployment, newest, sets)
    old = deployment.get("status", {})
    conditions = [_available(deployment, status, old, at)]
    progressing = _progressing(deployment, newest, status, at)
    if progressing is not None:
        conditions.append(progressing)
    for replica_set in sets:
        for c in replica_set.get("status", {}).get("conditions", []):
            if c["type"] == "ReplicaFailure" and len(conditions) < 3:
                conditions.append({**c, "lastUpdateTime": c["lastTransitionTime"]})
    status["conditions"] = conditions
    deadline = None
    if progressing is not None and progressing["reason"] in {"ReplicaSetUpdated", "NewReplicaSetCreated"}:
        deadline = (
            seconds_of(progressing["lastUpdateTime"]) + deployment["spec"]["progressDeadlineSeconds"] + 1
        )
    return {k: v for k, v in status.items() if v != 0}, deadline


def with_created(deployment: Obj, newest: Obj, at: float) -> list[Obj]:
    """The conditions right after this ReplicaSet was made: whatever rollout was told of before, its own has begun."""
    old: list[Obj] = deployment.get("status", {}).get("conditions", [])
    created, others = _created(deployment, newest, at), [c for c in old if c["type"] != "Progressing"]
    return [*others, created]


def _created(deployment: Obj, newest: Obj, at: float) -> Obj:
    """Of one that says so already nothing moves, not even the name."""
    old = deployment.get("status", {}).get("conditions", [])
    same = (c for c in old if c["type"] == "Progressing" and c.get("reason") == "NewReplicaSetCreated")
    text = f'Created new replica set "{newest["metadata"]["name"]}"'
    new, _ = condition(old, "Progressing", True, "NewReplicaSetCreated", text, at)
    return next(same, None) or _dated(deployment, new, at)


def _numbers(deployment: Obj, newest: Obj | None, sets: list[Obj]) -> Obj:
    def total(field: str) -> int:
        return sum(int(s.get("status", {}).get(field, 0)) for s in sets)

    available = total("availableReplicas")
    wanted = sum(int(s["spec"]["replicas"]) for s in sets)
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": total("replicas"),
        "updatedReplicas": newest.get("status", {}).get("replicas", 0) if newest is not None else 0,
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted - available),
    }


def _dated(deployment: Obj, new: Obj, at: float) -> Obj:
    """With lastUpdateTime, which moves when status or reason do."""
    old = next(
        (c for c in deployment.get("status", {}).get("conditions", []) if c["type"] == new["type"]), None
    )
    same = old is not None and old["status"] == new["status"] and old.get("reason") == new.get("reason")
    return {**new, "lastUpdateTime": old["lastUpdateTime"] if old is not None and same else stamp(at)}


def _available(deployment: Obj, status: Obj, old: Obj, at: float) -> Obj:
    spec = deployment["spec"]
    rolling = spec["strategy"].get("rollingUpdate")
    allowed = absolute(rolling["maxUnavailable"], spec["replicas"], up=False) if rolling else 0
    enough = status["availableReplicas"] >= spec["replicas"] - allowed
    reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
    text = f"Deployment {'has' if enough else 'does not have'} minimum availability."
    new, _ = condition(old.get("conditions", []), "Available", enough, reason, text, at)
    return _dated(deployment, new, at)


def _progressing(deployment: Obj, newest: Obj | None, status: Obj, at: float) -> Obj | None:
    conditions = deployment.get("status", {}).get("conditions", [])
    current: Obj | None = next((c for c in conditions if c["type"] == "Progressing"), None)
    reason = current.get("reason") if current is not None else None
    if deployment["spec"].get("paused"):
        if reason == "ProgressDeadlineExceeded":
            return current
        return _unknown(deployment, "DeploymentPaused", "Deployment is paused", at)
    if newest is None:
        return current
    name = newest["metadata"]["name"]
    if (
        current is not None
        and status["replicas"] == status["updatedReplicas"]
        and reason == "NewReplicaSetAvailable"
    ):
        return current
    if _complete(deployment, status):
        text, word, good = f'ReplicaSet "{name}" has successfully progressed.', "NewReplicaSetAvailable", True
    elif current is None:
        return _created(deployment, newest, at)
    elif _moved(deployment.get("status", {}), status):
        text, word, good = f'ReplicaSet "{name}" is progressing.', "ReplicaSetUpdated", True
    elif reason == "ProgressDeadlineExceeded" or _timed_out(deployment, current, at):
        text, word = f'ReplicaSet "{name}" has timed out progressing.', "ProgressDeadlineExceeded"
        good = False
    elif reason == "DeploymentPaused":
        return _unknown(deployment, "DeploymentResumed", "Deployment is resumed", at)
    else:
        return current
    new, _ = condition(conditions, "Progressing", good, word, text, at)
    dated = _dated(deployment, new, at)
    return {**dated, "lastUpdateTime": stamp(at)} if word == "ReplicaSetUpdated" else dated


def _unknown(deployment: Obj, reason: str, text: str, at: float) -> Obj:
    """While a rollout is paused, and until the next progress after that, nobody can tell."""
    conditions = deployment.get("status", {}).get("conditions", [])
    new, _ = condition(conditions, "Progressing", None, reason, text, at)
    return _dated(deployment, new, at)


def _complete(deployment: Obj, status: Obj) -> bool:
    desired = deployment["spec"]["replicas"]
    return bool(status["updatedReplicas"] == status["replicas"] == status["availableReplicas"] == desired)


def _moved(old: Obj, new: Obj) -> bool:
    def outdated(status: Obj) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grown = any(
        new[field] > old.get(field, 0) for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return grown or outdated(new) < outdated(old)


def _timed_out(deployment: Obj, current: Obj, at: float) -> bool:
    if current.get("reason") == "NewReplicaSetAvailable":
        return False
    limit = seconds_of(current["lastUpdateTime"]) + deployment["spec"]["progressDeadlineSeconds"]
    return bool(limit < at)
