"""The StatefulSet controller: numbered pods, one after the other, with OrderedReady's known trap.

Called by the world. In OrderedReady mode a pod that never becomes ready blocks everything behind it, also the update that
would repair it; only deleting that pod helps, here as in a real cluster.
"""

from __future__ import annotations

from app.domain.json import Obj
from app.sim.controllers import revisions
from app.sim.controllers.pods import PodMaker, is_active, is_ready, is_terminating
from app.sim.controllers.revisions import HASH
from app.sim.objects import Key
from app.sim.world import World


class StatefulSets:
    """Reconciles StatefulSets."""

    def __init__(self, world: World, maker: PodMaker) -> None:
        self._world = world
        self._maker = maker

    def reconcile(self, key: Key) -> None:
        """Take one step, as far as the order allows, then write the status."""
        stateful = self._world.store.find(key)
        if stateful is None:
            return
        update = revisions.current(self._world, stateful)
        base = self._base_revision(stateful, update)
        pods = {_ordinal(p): p for p in self._maker.pods_of(stateful)}
        if self._sustain(stateful, pods, update, base):
            self._update(stateful, pods, update)
        self._write_status(key, update, base)

    def _base_revision(self, stateful: Obj, update: Obj) -> Obj:
        name = stateful.get("status", {}).get("currentRevision", update["metadata"]["name"])
        known = {r["metadata"]["name"]: r for r in revisions.history(self._world, stateful)}
        return known.get(name, update)

    def _sustain(self, stateful: Obj, pods: dict[int, Obj], update: Obj, base: Obj) -> bool:
        """Create what is missing and remove what is too many; True when all pods stand and the update may go on."""
        replicas = stateful["spec"]["replicas"]
        ordered = stateful["spec"]["podManagementPolicy"] == "OrderedReady"
        for ordinal in range(replicas):
            pod = pods.get(ordinal)
            if pod is None:
                revision = update if ordinal >= _partition(stateful) else base
                self._create(stateful, ordinal, revision)
            elif is_active(pod) and is_ready(pod):
                continue
            if ordered:
                return False
        surplus = sorted((o for o in pods if o >= replicas), reverse=True)
        for ordinal in surplus:
            if not is_terminating(pods[ordinal]):
                self._maker.delete(stateful, pods[ordinal])
            if ordered:
                return False
        return not surplus

    def _create(self, stateful: Obj, ordinal: int, revision: Obj) -> None:
        name = f"{stateful['metadata']['name']}-{ordinal}"
        template = revisions.template_of(revision)
        template["spec"].setdefault("hostname", name)
        if stateful["spec"].get("serviceName"):
            template["spec"].setdefault("subdomain", stateful["spec"]["serviceName"])
        labels = {
            HASH: revisions.label_of(revision),
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
        }
        self._maker.create(stateful, template, labels, name=name)

    def _update(self, stateful: Obj, pods: dict[int, Obj], update: Obj) -> None:
        """Replace outdated pods from the highest number down, one at a time."""
        if stateful["spec"]["updateStrategy"]["type"] != "RollingUpdate":
            return
        wanted = revisions.label_of(update)
        for ordinal in sorted(pods, reverse=True):
            if ordinal < _partition(stateful):
                return
            pod = pods[ordinal]
            if is_terminating(pod):
                return
            if pod["metadata"]["labels"].get(HASH) != wanted:
                self._maker.delete(stateful, pod)
                return
            if not is_ready(pod):
                return

    def _write_status(self, key: Key, update: Obj, base: Obj) -> None:
        stateful = self._world.store.get(key)
        pods = [p for p in self._maker.pods_of(stateful) if is_active(p)]
        new, old = revisions.label_of(update), revisions.label_of(base)

        def wearing(label: str) -> int:
            return sum(p["metadata"]["labels"].get(HASH) == label for p in pods)

        ready = sum(map(is_ready, pods))
        replicas = stateful["spec"]["replicas"]
        done = (
            wearing(new) == replicas == ready
            and stateful["spec"]["updateStrategy"]["type"] == "RollingUpdate"
        )
        current = update if done and _partition(stateful) == 0 else base
        status = {
            "observedGeneration": stateful["metadata"]["generation"],
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentReplicas": wearing(revisions.label_of(current)) if current is update else wearing(old),
            "updatedReplicas": wearing(new),
            "currentRevision": current["metadata"]["name"],
            "updateRevision": update["metadata"]["name"],
            "collisionCount": 0,
        }
        always = {"replicas", "availableReplicas", "collisionCount"}
        self._world.set_status(stateful, {k: v for k, v in status.items() if v or k in always})
        in_use = {p["metadata"]["labels"].get(HASH, "") for p in pods}
        revisions.prune(
            self._world, stateful, in_use | {update["metadata"]["name"], current["metadata"]["name"]}
        )


def _partition(stateful: Obj) -> int:
    return int(stateful["spec"]["updateStrategy"].get("rollingUpdate", {}).get("partition", 0))


def _ordinal(pod: Obj) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])
