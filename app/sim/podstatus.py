"""A pod's status as the kubelet reports it. Pure; called by the kubelet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from app.domain.json import Obj
from app.sim.containers import Container, Phase
from app.sim.kinds import stamp
from app.sim.world import condition


def pod_status(pod: Obj, containers: Sequence[Container], started: float, at: float) -> Obj:
    """The status of a scheduled pod as of `at`."""
    mains = [c for c in containers if not c.init]
    inits = [c for c in containers if c.init]
    initialized = all(c.done for c in inits)
    ready = bool(mains) and all(c.ready(at) for c in mains)
    running = initialized and any(c.started_at for c in mains)
    unready = [c.name for c in mains if not c.ready(at)]
    why = "" if ready else f"containers with unready status: [{' '.join(unready)}]"
    words = [
        ("PodReadyToStartContainers", True, "", ""),
        ("Initialized", initialized, "" if initialized else "ContainersNotInitialized", ""),
        ("Ready", ready, "" if ready else "ContainersNotReady", why),
        ("ContainersReady", ready, "" if ready else "ContainersNotReady", why),
        ("PodScheduled", True, "", ""),
    ]
    old = pod.get("status", {}).get("conditions", [])
    status: Obj = {
        "phase": _phase(mains, inits, running=running),
        "observedGeneration": pod["metadata"]["generation"],
        "conditions": [{**condition(old, *word, at)[0], "lastProbeTime": None} for word in words],
        "hostIP": "127.0.0.1",
        "podIP": ip_of(pod["metadata"]["uid"]),
        "startTime": stamp(started),
        "qosClass": pod["status"]["qosClass"],
        "containerStatuses": [_container(c, at) for c in mains],
    }
    if inits:
        status["initContainerStatuses"] = [_container(c, at) for c in inits]
    return status


def _phase(mains: Sequence[Container], inits: Sequence[Container], *, running: bool) -> str:
    """Of a pod whose containers are not started again: over once all have ended, or an init container badly."""
    if any(c.final and not c.done for c in inits):
        return "Failed"
    if mains and all(c.final for c in mains):
        bad = any((c.ended or {}).get("exitCode") for c in mains)
        return "Failed" if bad else "Succeeded"
    return "Running" if running else "Pending"


def ip_of(uid: str) -> str:
    """The address of the pod with this uid."""
    first, second, *_ = hashlib.sha256(uid.encode()).digest()
    return f"10.244.{first}.{second}"


def unschedulable(pod: Obj, text: str, at: float) -> Obj:
    """The status of a pod for which there is no node, for the reason in `text`."""
    new, _ = condition(pod["status"].get("conditions", []), "PodScheduled", False, "Unschedulable", text, at)
    return {**pod["status"], "phase": "Pending", "conditions": [{**new, "lastProbeTime": None}]}


def _container(container: Container, at: float) -> Obj:
    started = container.phase is Phase.RUNNING
    return {
        "name": container.name,
        "state": _state(container),
        "lastState": {"terminated": container.last} if container.last is not None else {},
        "ready": container.ready(at) or container.done,
        "restartCount": container.restarts,
        "image": container.image,
        "imageID": f"{container.image}@sha256:{container.identity[-64:]}" if container.identity else "",
        **({"containerID": container.identity} if container.identity else {}),
        "started": started and container.ready(at),
    }


def _state(container: Container) -> Obj:
    if container.phase is Phase.RUNNING:
        return {"running": {"startedAt": stamp(container.started_at)}}
    if container.phase is Phase.TERMINATED:
        return {"terminated": container.ended}
    waiting = {"reason": container.reason}
    return {"waiting": {**waiting, "message": container.message} if container.message else waiting}
