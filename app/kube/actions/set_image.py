"""Another image for one container of a workload, as `kubectl set image` does.

Built by handlers. Pure. What an image reference means to a registry is not asked here: a pod that cannot pull it says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.json import JsonValue
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.workload import ContainerSpec, Workload
from app.kube.impossible import Impossible
from app.kube.manifest import annotation_path, value_at
from app.kube.newpods.goal import refusal
from app.kube.parse import CHANGE_CAUSE

_CAUSE = annotation_path(CHANGE_CAUSE)


def set_image(
    workload: Workload, container: ContainerSpec, image: str, facts: Mapping[str, JsonValue]
) -> Action | Impossible:
    """Set the container's image, and the cause that the history tells where one stands there. `facts` go into the action's params beside the two images."""
    if no := refusal(workload, "a new image"):
        return no
    if container.image == image:
        return Impossible(
            f"container {container.name} of {workload.target} has the image {image} already", stands=True
        )
    path = f"/spec/template/spec/containers/[name={container.name}]/image"
    changes = [FieldChange(path, value_at(workload.manifest, path), image)]
    cause = value_at(workload.manifest, _CAUSE)
    if cause:  # it tells of the image before, and the new revision would bear it
        changes.append(FieldChange(_CAUSE, cause, f"{container.name} {image} (alert-remediator)"))
    return Action(
        kind=ActionKind.SET_IMAGE,
        object=workload.ref,
        target=workload.target,
        changes=tuple(changes),
        summary=f"Set the image of container {container.name} of {workload.target} from {container.image} to {image}{_unpinned(container.image, image)}",
        pods_affected=workload.desired,
        reversible=True,
        undo=f"set the image of container {container.name} back to {container.image}",
        params={**facts, "container": container.name, "from_image": container.image, "to_image": image},
    )


def _unpinned(present: str, image: str) -> str:
    """That a digest is given up; empty when none is."""
    if "@" not in present or "@" in image:
        return ""
    return "; the digest that pinned it goes, and what the tag alone means may change"
