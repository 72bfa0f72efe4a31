"""The ReplicaSet controller: as many pods as spec.replicas says. Called by the world; knows nothing of Deployments."""

from __future__ import annotations

from app.domain.json import Obj
from app.sim.controllers.pods import PodMaker, is_active, is_ready, restarts
from app.sim.objects import Key
from app.sim.selectors import matches
from app.sim.world import World, condition


class ReplicaSets:
    """Reconciles ReplicaSets."""

    def __init__(self, world: World, maker: PodMaker) -> None:
        self._world = world
        self._maker = maker

    def reconcile(self, key: Key) -> None:
        """Create or delete pods, then write the status."""
        replica_set = self._world.store.find(key)
        if replica_set is None:
            return
        pods = [p for p in self._maker.pods_of(replica_set) if is_active(p)]
        missing = replica_set["spec"]["replicas"] - len(pods)
        refusal = ""
        for _ in range(missing):
            refusal = self._maker.create(replica_set, replica_set["spec"]["template"], {})
            if refusal:
                break
        if missing < 0:
            for pod in _least_missed_first(pods)[:-missing]:
                self._maker.delete(replica_set, pod)
        self._write_status(key, refusal)

    def _write_status(self, key: Key, refusal: str) -> None:
        replica_set = self._world.store.get(key)
        pods = [p for p in self._maker.pods_of(replica_set) if is_active(p)]
        ready = sum(map(is_ready, pods))
        labels = {"matchLabels": replica_set["spec"]["template"]["metadata"]["labels"]}
        status: Obj = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(matches(labels, p["metadata"].get("labels", {})) for p in pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": replica_set["metadata"]["generation"],
        }
        old = replica_set.get("status", {}).get("conditions", [])
        if refusal:
            failure, _ = condition(old, "ReplicaFailure", True, "FailedCreate", refusal, self._world.time)
            status["conditions"] = [failure]
        self._world.set_status(
            replica_set, {k: v for k, v in status.items() if v or k in {"replicas", "observedGeneration"}}
        )


def _least_missed_first(pods: list[Obj]) -> list[Obj]:
    """Pods that do no work go first: not ready, then often restarted, then the youngest."""
    youngest = sorted(pods, key=lambda p: str(p["metadata"]["creationTimestamp"]), reverse=True)
    return sorted(youngest, key=lambda p: (is_ready(p), -restarts(p)))
