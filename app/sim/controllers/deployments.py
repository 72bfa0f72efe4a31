"""The Deployment controller: one ReplicaSet a template, revisions, rolling update or recreate, clean-up.

Called by the world; the rules follow kube-controller-manager's. Not modelled: proportional scaling of several ReplicaSets
in the middle of a rollout (the newest takes the difference) and minReadySeconds (ready means available).
"""

from __future__ import annotations

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.controllers.intstr import absolute
from app.sim.controllers.pods import as_key, is_active, owner_reference
from app.sim.controllers.rollout_status import deployment_status, with_created
from app.sim.kinds import seconds_of
from app.sim.naming import template_hash
from app.sim.objects import Key
from app.sim.patch import clone
from app.sim.world import World

REVISION = "deployment.kubernetes.io/revision"
_HISTORY = "deployment.kubernetes.io/revision-history"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MAXIMUM = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    _HISTORY,
    _DESIRED,
    _MAXIMUM,
}
HASH = "pod-template-hash"
_MANAGER = "kube-controller-manager"
_COMPONENT = "deployment-controller"


def without_hash(template: Obj) -> Obj:
    """A pod template without the pod-template-hash label."""
    metadata = template.get("metadata", {})
    labels = {k: v for k, v in metadata.get("labels", {}).items() if k != HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def revision_of(replica_set: Obj) -> int:
    """The revision number of a ReplicaSet, 0 when it has none."""
    return int(replica_set["metadata"].get("annotations", {}).get(REVISION, "0"))


class Deployments:
    """Reconciles Deployments."""

    def __init__(self, world: World) -> None:
        self._world = world

    def reconcile(self, key: Key) -> None:
        """Bring the ReplicaSets one step nearer to the Deployment, then write its status."""
        deployment = self._world.store.find(key)
        if deployment is None:
            return
        sets = self._owned(deployment)
        newest = _matching(deployment, sets)
        if deployment["spec"].get("paused"):
            self._scale_only(deployment, newest, sets)
        else:
            newest = self._newest(deployment, newest, sets)
            if deployment["spec"]["strategy"]["type"] == "Recreate":
                self._recreate(deployment, newest)
            elif not self._grow(deployment, newest):
                self._shrink_old(deployment, newest)
        self._finish(key)

    def _owned(self, deployment: Obj) -> list[Obj]:
        return self._world.store.owned(deployment["metadata"]["uid"], Kind.REPLICA_SET)

    def _finish(self, key: Key) -> None:
        deployment = self._world.store.get(key)
        sets = self._owned(deployment)
        newest = _matching(deployment, sets)
        status, deadline = deployment_status(deployment, newest, sets, self._world.time)
        if deadline is not None:
            self._world.later(key, deadline)
        self._world.set_status(deployment, status)
        self._clean_up(deployment, newest, sets)

    def _newest(self, deployment: Obj, newest: Obj | None, sets: list[Obj]) -> Obj:
        """The ReplicaSet of the present template, created when there is none, with its revision up to date."""
        others = [s for s in sets if newest is None or s["metadata"]["uid"] != newest["metadata"]["uid"]]
        revision = max((revision_of(s) for s in others), default=0) + 1
        if newest is None:
            newest = self._world.store.create(self._replica_set(deployment, revision, sets), _MANAGER)
            self._said_scaled(deployment, newest, 0, newest["spec"]["replicas"])
            self._set_revision(deployment, revision, with_created(deployment, newest, self._world.time))
        else:
            newest = self._annotate(deployment, newest, revision)
            self._set_revision(deployment, revision_of(newest))
        return newest

    def _replica_set(self, deployment: Obj, revision: int, sets: list[Obj]) -> Obj:
        template = clone(without_hash(deployment["spec"]["template"]))
        code = template_hash(template)
        labels = {**template["metadata"].get("labels", {}), HASH: code}
        template["metadata"]["labels"] = labels
        selector = clone(deployment["spec"]["selector"])
        selector["matchLabels"] = {**selector.get("matchLabels", {}), HASH: code}
        metadata = deployment["metadata"]
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{metadata['name']}-{code}",
                "namespace": metadata["namespace"],
                "labels": dict(labels),
                "annotations": {
                    **_copied(deployment),
                    **_replica_annotations(deployment),
                    REVISION: str(revision),
                },
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "replicas": _room(deployment, 0, sets),
                "selector": selector,
                "template": template,
            },
            "status": {"replicas": 0},
        }

    def _annotate(self, deployment: Obj, newest: Obj, revision: int) -> Obj:
        changed = clone(newest)
        annotations = changed["metadata"].setdefault("annotations", {})
        annotations.update({**_copied(deployment), **_replica_annotations(deployment)})
        present = revision_of(newest)
        if revision > present:
            if present:
                history = [*filter(None, annotations.get(_HISTORY, "").split(",")), str(present)]
                annotations[_HISTORY] = ",".join(history)
            annotations[REVISION] = str(revision)
        return self._world.store.update(changed, _MANAGER)

    def _set_revision(self, deployment: Obj, revision: int, conditions: list[Obj] | None = None) -> None:
        changed = clone(self._world.store.get(as_key(Kind.DEPLOYMENT, deployment)))
        changed["metadata"].setdefault("annotations", {})[REVISION] = str(revision)
        changed.setdefault("status", {}).update({} if conditions is None else {"conditions": conditions})
        self._world.store.update(changed, _MANAGER, subresource="status")

    def _scale(self, deployment: Obj, replica_set: Obj, replicas: int) -> bool:
        old = replica_set["spec"]["replicas"]
        changed = clone(self._world.store.get(as_key(Kind.REPLICA_SET, replica_set)))
        changed["spec"]["replicas"] = replicas
        changed["metadata"].setdefault("annotations", {}).update(_replica_annotations(deployment))
        self._world.store.update(changed, _MANAGER)
        if old != replicas:
            self._said_scaled(deployment, replica_set, old, replicas)
        return bool(old != replicas)

    def _said_scaled(self, deployment: Obj, replica_set: Obj, old: int, new: int) -> None:
        if old != new:
            way = "up" if new > old else "down"
            note = f"Scaled {way} replica set {replica_set['metadata']['name']} from {old} to {new}"
            self._world.event(deployment, "ScalingReplicaSet", note, component=_COMPONENT)

    def _scale_only(self, deployment: Obj, newest: Obj | None, sets: list[Obj]) -> None:
        """A paused Deployment rolls nothing out, but is still scaled."""
        active = [s for s in sets if s["spec"]["replicas"] > 0]
        target = newest if newest is not None or not active else active[-1]
        if target is not None:
            others = sum(s["spec"]["replicas"] for s in active if s is not target)
            self._scale(deployment, target, max(0, deployment["spec"]["replicas"] - others))

    def _recreate(self, deployment: Obj, newest: Obj) -> None:
        old = _others(newest, self._owned(deployment))
        for replica_set in old:
            self._scale(deployment, replica_set, 0)
        pods = [p for s in old for p in self._world.store.owned(s["metadata"]["uid"], Kind.POD)]
        if not any(map(is_active, pods)):
            self._scale(deployment, newest, deployment["spec"]["replicas"])

    def _grow(self, deployment: Obj, newest: Obj) -> bool:
        """Scale the newest ReplicaSet within maxSurge; True when something changed."""
        desired, present = deployment["spec"]["replicas"], newest["spec"]["replicas"]
        if present > desired:
            return self._scale(deployment, newest, desired)
        if present == desired:
            return self._scale(deployment, newest, desired)
        return self._scale(deployment, newest, present + _room(deployment, present, self._owned(deployment)))

    def _shrink_old(self, deployment: Obj, newest: Obj) -> None:
        """Scale old ReplicaSets down within maxUnavailable: first what is not available anyway."""
        desired = deployment["spec"]["replicas"]
        sets = self._owned(deployment)
        old = [s for s in _others(newest, sets) if s["spec"]["replicas"] > 0]
        minimum = desired - _max_unavailable(deployment)
        waiting = newest["spec"]["replicas"] - _available(
            self._world.store.get(as_key(Kind.REPLICA_SET, newest))
        )
        room = sum(s["spec"]["replicas"] for s in sets) - minimum - waiting
        if not old or room <= 0:
            return
        sizes = {s["metadata"]["name"]: int(s["spec"]["replicas"]) for s in old}
        for replica_set in old:
            name = replica_set["metadata"]["name"]
            cut = min(room, max(0, sizes[name] - _available(replica_set)))
            sizes[name] -= cut
            room -= cut
        spare = sum(map(_available, sets)) - minimum
        for replica_set in old:
            name = replica_set["metadata"]["name"]
            cut = max(0, min(spare, sizes[name]))
            sizes[name] -= cut
            spare -= cut
        for replica_set in old:
            self._scale(deployment, replica_set, sizes[replica_set["metadata"]["name"]])

    def _clean_up(self, deployment: Obj, newest: Obj | None, sets: list[Obj]) -> None:
        """Forget the oldest empty ReplicaSets beyond revisionHistoryLimit."""
        idle = [
            s
            for s in _others(newest, sets)
            if s["spec"]["replicas"] == 0 and not s.get("status", {}).get("replicas")
        ]
        idle.sort(key=revision_of)
        excess = len(idle) - deployment["spec"]["revisionHistoryLimit"]
        for replica_set in idle[: max(0, excess)]:
            self._world.store.delete(as_key(Kind.REPLICA_SET, replica_set))


def _matching(deployment: Obj, sets: list[Obj]) -> Obj | None:
    wanted = without_hash(deployment["spec"]["template"])
    found = [s for s in sets if without_hash(s["spec"]["template"]) == wanted]
    return min(found, key=lambda s: seconds_of(s["metadata"]["creationTimestamp"]), default=None)


def _others(newest: Obj | None, sets: list[Obj]) -> list[Obj]:
    return [s for s in sets if newest is None or s["metadata"]["uid"] != newest["metadata"]["uid"]]


def _available(replica_set: Obj) -> int:
    return int(replica_set.get("status", {}).get("availableReplicas", 0))


def _copied(deployment: Obj) -> dict[str, str]:
    annotations: dict[str, str] = deployment["metadata"].get("annotations", {})
    return {k: v for k, v in annotations.items() if k not in _NOT_COPIED}


def _surge(deployment: Obj) -> int:
    spec = deployment["spec"]
    if spec["strategy"]["type"] == "Recreate":
        return 0
    return absolute(spec["strategy"]["rollingUpdate"]["maxSurge"], spec["replicas"], up=True)


def _max_unavailable(deployment: Obj) -> int:
    spec = deployment["spec"]
    number = absolute(spec["strategy"]["rollingUpdate"]["maxUnavailable"], spec["replicas"], up=False)
    return 1 if number == 0 and _surge(deployment) == 0 else min(number, spec["replicas"])


def _replica_annotations(deployment: Obj) -> dict[str, str]:
    desired = deployment["spec"]["replicas"]
    return {_DESIRED: str(desired), _MAXIMUM: str(desired + _surge(deployment))}


def _room(deployment: Obj, present: int, sets: list[Obj]) -> int:
    """How many more pods the newest ReplicaSet may have now."""
    desired = int(deployment["spec"]["replicas"])
    if deployment["spec"]["strategy"]["type"] == "Recreate" and any(s["spec"]["replicas"] for s in sets):
        return 0
    total = sum(int(s["spec"]["replicas"]) for s in sets)
    return max(0, min(desired + _surge(deployment) - total, desired - present))
