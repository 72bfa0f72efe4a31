"""A StatefulSet or a DaemonSet in place of the Deployment of `world`: its own revisions, pods and status."""

from __future__ import annotations

import copy
from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind
from tests.unit.causes.world import SPACE, WEB, World, at


class SetWorld(World):
    """Pods are `new-0` to `new-2`, as in the world of the Deployment; those of a StatefulSet have ordinals of their own there."""

    def __init__(self, kind: Kind, **strategy: Any) -> None:
        super().__init__()
        self.kind = kind
        self.spec = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": strategy}}

    def pod(self, name: str, *, revision: int = 2, made: float = 30.0, ready: bool = True) -> Obj:
        found = super().pod(name, revision=revision, made=made, ready=ready)
        labels = found["metadata"]["labels"]
        labels["controller-revision-hash"] = (
            f"{WEB}-r{revision}" if self.kind is Kind.STATEFUL_SET else f"r{revision}"
        )
        return found

    def manifest(self) -> Obj:
        deployment = super().manifest()
        alive = list(self.pods.values())
        updated = sum(p["metadata"]["labels"]["pod-template-hash"] == "r2" for p in alive)
        ready = deployment["status"]["readyReplicas"]
        current = "web-r2" if self.done else "web-r1"
        status: Obj = {"observedGeneration": 2, "replicas": len(alive), "readyReplicas": ready, "updatedReplicas": updated,
                       "currentRevision": current, "updateRevision": "web-r2", "availableReplicas": ready}  # fmt: skip
        if self.kind is Kind.DAEMON_SET:
            status = {"observedGeneration": 2, "desiredNumberScheduled": self.replicas, "numberReady": ready,
                      "updatedNumberScheduled": updated, "numberAvailable": ready}  # fmt: skip
            deployment["spec"].pop("replicas")
        return {**deployment, "kind": self.kind.value, "status": status}

    def _replica_set(self, number: int, template: Obj, made: float) -> Obj:
        owner = {
            "apiVersion": "apps/v1",
            "kind": self.kind.value,
            "name": WEB,
            "uid": "web",
            "controller": True,
        }
        return {
            "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number,
            "metadata": {
                "name": f"web-r{number}", "namespace": SPACE, "uid": f"r{number}", "resourceVersion": "1",
                "creationTimestamp": at(minutes=made), "labels": {"app": WEB}, "ownerReferences": [owner],
            },
            "data": {"spec": {"template": {**copy.deepcopy(template), "$patch": "replace"}}},
        }  # fmt: skip

    def _build(self) -> None:
        owner = {
            "apiVersion": "apps/v1",
            "kind": self.kind.value,
            "name": WEB,
            "uid": "web",
            "controller": True,
        }
        for pod in self.pods.values():
            pod["metadata"]["ownerReferences"] = [owner]
        super()._build()
        for name in self.pods:
            self.cluster.objects["Pod", SPACE, name]["metadata"]["labels"].pop("pod-template-hash", None)
