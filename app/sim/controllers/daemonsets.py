"""The DaemonSet controller: one pod a node, replaced a few at a time. Called by the world.

Not modelled: node selectors, taints and surge.
"""

from __future__ import annotations

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.controllers import revisions
from app.sim.controllers.intstr import absolute
from app.sim.controllers.pods import PodMaker, is_active, is_ready, is_terminating
from app.sim.controllers.revisions import HASH
from app.sim.objects import Key
from app.sim.patch import clone
from app.sim.world import World

_GENERATION = "deprecated.daemonset.template.generation"


class DaemonSets:
    """Reconciles DaemonSets."""

    def __init__(self, world: World, maker: PodMaker) -> None:
        self._world = world
        self._maker = maker

    def reconcile(self, key: Key) -> None:
        """Create, remove and replace pods, then write the status."""
        daemon = self._world.store.find(key)
        if daemon is None:
            return
        update = revisions.current(self._world, daemon)
        self._stamp_generation(daemon, int(update["revision"]))
        nodes = [n["metadata"]["name"] for n in self._world.store.all(Kind.NODE)]
        pods = self._maker.pods_of(daemon)
        by_node = {p["spec"].get("nodeName", ""): p for p in pods}
        for node in nodes:
            if node not in by_node:
                labels = {
                    HASH: revisions.label_of(update),
                    "pod-template-generation": str(update["revision"]),
                }
                self._maker.create(daemon, daemon["spec"]["template"], labels, node=node)
        for node, pod in by_node.items():
            if node not in nodes and not is_terminating(pod):
                self._maker.delete(daemon, pod)
        self._replace(daemon, by_node, update, len(nodes))
        self._write_status(key, update, len(nodes))

    def _stamp_generation(self, daemon: Obj, revision: int) -> None:
        if daemon["metadata"].get("annotations", {}).get(_GENERATION) != str(revision):
            changed = clone(daemon)
            changed["metadata"].setdefault("annotations", {})[_GENERATION] = str(revision)
            self._world.store.update(changed, "kube-controller-manager")

    def _replace(self, daemon: Obj, by_node: dict[str, Obj], update: Obj, nodes: int) -> None:
        strategy = daemon["spec"]["updateStrategy"]
        if strategy["type"] != "RollingUpdate":
            return
        allowed = max(1, absolute(strategy["rollingUpdate"]["maxUnavailable"], nodes, up=True))
        wanted = revisions.label_of(update)
        serving = sum(is_ready(p) and not is_terminating(p) for p in by_node.values())
        old = [
            p
            for p in by_node.values()
            if p["metadata"]["labels"].get(HASH) != wanted and not is_terminating(p)
        ]
        # A node whose pod has just gone counts as down too.
        budget = allowed - (nodes - serving)
        # An old pod that does not work costs nothing: it is replaced first and always.
        for pod in sorted(old, key=is_ready):
            if is_ready(pod):
                if budget <= 0:
                    return
                budget -= 1
            self._maker.delete(daemon, pod)

    def _write_status(self, key: Key, update: Obj, nodes: int) -> None:
        daemon = self._world.store.get(key)
        pods = [p for p in self._maker.pods_of(daemon) if is_active(p)]
        ready = sum(map(is_ready, pods))
        wanted = revisions.label_of(update)
        status = {
            "currentNumberScheduled": len(pods),
            "desiredNumberScheduled": nodes,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "numberAvailable": ready,
            "numberUnavailable": max(0, nodes - ready),
            "updatedNumberScheduled": sum(p["metadata"]["labels"].get(HASH) == wanted for p in pods),
            "observedGeneration": daemon["metadata"]["generation"],
        }
        optional = {"numberAvailable", "numberUnavailable", "updatedNumberScheduled"}
        self._world.set_status(daemon, {k: v for k, v in status.items() if v or k not in optional})
        in_use = {f"{key.name}-{p['metadata']['labels'].get(HASH, '')}" for p in pods}
        revisions.prune(self._world, daemon, in_use | {update["metadata"]["name"]})
