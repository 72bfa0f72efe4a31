"""ControllerRevisions: the history of templates of StatefulSets and DaemonSets.

Called by their two controllers. A revision's data is the strategic merge patch that restores the template.
"""

from __future__ import annotations

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.controllers.pods import as_key, owner_reference
from app.sim.naming import template_hash
from app.sim.patch import clone
from app.sim.world import World

HASH = "controller-revision-hash"
_MANAGER = "kube-controller-manager"


def history(world: World, owner: Obj) -> list[Obj]:
    """The owner's revisions, oldest first."""
    found = world.store.owned(owner["metadata"]["uid"], Kind.CONTROLLER_REVISION)
    return sorted(found, key=lambda r: int(r["revision"]))


def current(world: World, owner: Obj) -> Obj:
    """The revision of the owner's present template: found, moved to the front, or created."""
    data = {"spec": {"template": {**clone(owner["spec"]["template"]), "$patch": "replace"}}}
    revisions = history(world, owner)
    number = int(revisions[-1]["revision"]) + 1 if revisions else 1
    same = next((r for r in revisions if r["data"] == data), None)
    if same is None:
        return world.store.create(_revision(owner, data, number), _MANAGER)
    if same is not revisions[-1]:
        return world.store.update({**clone(same), "revision": number}, _MANAGER)
    return same


def prune(world: World, owner: Obj, in_use: set[str]) -> None:
    """Forget the oldest revisions that no pod uses, beyond revisionHistoryLimit."""
    idle = [r for r in history(world, owner) if r["metadata"]["name"] not in in_use]
    excess = len(idle) - owner["spec"]["revisionHistoryLimit"]
    for revision in idle[: max(0, excess)]:
        world.store.delete(as_key(Kind.CONTROLLER_REVISION, revision))


def template_of(revision: Obj) -> Obj:
    """The pod template that a revision holds."""
    template: Obj = {k: clone(v) for k, v in revision["data"]["spec"]["template"].items() if k != "$patch"}
    return template


def label_of(revision: Obj) -> str:
    """The value of controller-revision-hash on pods of a revision."""
    return str(revision["metadata"]["labels"][HASH])


def _revision(owner: Obj, data: Obj, number: int) -> Obj:
    code = template_hash(data)
    name = f"{owner['metadata']['name']}-{code}"
    # A DaemonSet labels its pods with the bare hash, a StatefulSet with the revision's whole name.
    label = code if owner["kind"] == Kind.DAEMON_SET else name
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": {**owner["spec"]["template"].get("metadata", {}).get("labels", {}), HASH: label},
            "annotations": dict(owner["metadata"].get("annotations", {})),
            "ownerReferences": [owner_reference(owner)],
        },
        "data": data,
        "revision": number,
    }
