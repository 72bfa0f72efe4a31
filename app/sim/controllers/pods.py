"""Making and removing pods on behalf of a controller, and the questions that all controllers ask of pods.

Called by the ReplicaSet, StatefulSet and DaemonSet controllers. Never decides how many pods there should be.
"""

from __future__ import annotations

from app.domain.errors import AccessDenied
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.controllers.admission import Admission
from app.sim.objects import Key, key_of
from app.sim.patch import clone
from app.sim.world import World

RETRY = 10.0
"""Seconds after which a refused pod is tried again (the real back-off starts faster and ends slower)."""


def owner_reference(owner: Obj) -> Obj:
    """The ownerReference of a controlling owner."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_terminating(pod: Obj) -> bool:
    """Is it being deleted?"""
    return "deletionTimestamp" in pod["metadata"]


def is_active(pod: Obj) -> bool:
    """Does it count for its controller: not finished and not being deleted?"""
    return not is_terminating(pod) and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}


def is_ready(pod: Obj) -> bool:
    """Is its Ready condition true?"""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def restarts(pod: Obj) -> int:
    """Restarts of all its containers."""
    return sum(int(s["restartCount"]) for s in pod.get("status", {}).get("containerStatuses", []))


class PodMaker:
    """Creates pods from a template through admission; deletes them with an Event."""

    def __init__(self, world: World, admission: Admission) -> None:
        self._world = world
        self._admission = admission

    def create(self, owner: Obj, template: Obj, extra_labels: Obj, *, name: str = "", node: str = "") -> str:
        """Create one pod; the empty text, or why admission refused it (also told in an Event on the owner)."""
        component = f"{owner['kind'].lower()}-controller"
        metadata = clone(template.get("metadata", {}))
        metadata["labels"] = {**metadata.get("labels", {}), **extra_labels}
        metadata["namespace"] = owner["metadata"]["namespace"]
        metadata.update({"name": name} if name else {"generateName": f"{owner['metadata']['name']}-"})
        metadata["ownerReferences"] = [owner_reference(owner)]
        spec = clone(template["spec"])
        if node:
            spec["nodeName"] = node
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        try:
            self._admission.admit(pod)
        except AccessDenied as refusal:
            self._world.event(
                owner,
                "FailedCreate",
                f"Error creating: {refusal.message}",
                component=component,
                warning=True,
            )
            self._world.later(key_of(owner), self._world.time + RETRY)
            return refusal.message
        pod["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
        created = self._world.store.create(pod, "kube-controller-manager")
        self._world.event(
            owner, "SuccessfulCreate", f"Created pod: {created['metadata']['name']}", component=component
        )
        return ""

    def delete(self, owner: Obj, pod: Obj) -> None:
        """Start the deletion of one pod."""
        self._world.store.terminate(key_of(pod))
        self._world.event(
            owner,
            "SuccessfulDelete",
            f"Deleted pod: {pod['metadata']['name']}",
            component=f"{owner['kind'].lower()}-controller",
        )

    def pods_of(self, owner: Obj) -> list[Obj]:
        """All pods of this owner, the terminating ones too, oldest first."""
        return self._world.store.owned(owner["metadata"]["uid"], Kind.POD)


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort, from the containers' requests and limits of CPU and memory."""
    resources = [c.get("resources", {}) for c in spec["containers"]]
    if not any(r.get("limits") or r.get("requests") for r in resources):
        return "BestEffort"
    for item in resources:
        limits = item.get("limits", {})
        requests = {**limits, **item.get("requests", {})}
        if not {"cpu", "memory"} <= limits.keys() or any(requests[k] != limits[k] for k in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def as_key(kind: Kind, obj: Obj) -> Key:
    """Key of a namespaced object whose kind is known."""
    return Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
