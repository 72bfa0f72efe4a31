"""Is an object still the one that an action was decided for? The look before touching, and its words.

Called by `app.kube.apply` and `app.kube.undo`. Pure; works on manifests just read.
"""

from __future__ import annotations

import json
from typing import Any

from app.domain.change import FieldChange, hidden, image_told
from app.domain.cluster import MARKER
from app.domain.json import Obj
from app.domain.plan import Action, ActionKind
from app.domain.redact import in_one_line
from app.domain.target import Kind, ObjectRef
from app.domain.units import few
from app.kube.manifest import annotation_path, same, value_at
from app.kube.owners import managers_of, who_changed
from app.kube.parse import controller_of
from app.kube.scaled_objects import paused, scales

POD_KINDS = frozenset({ActionKind.DELETE_POD, ActionKind.EVICT_POD})
AUTOSCALERS = frozenset(
    {ActionKind.RAISE_MIN_REPLICAS, ActionKind.ADJUST_AUTOSCALER, ActionKind.ADJUST_SCALED_OBJECT}
)
HOLDS = "holds"
"""The key of an action's `part` that says, by path of a change into a list that has no names, which other fields of the element have to be
as they were: so that another element in its place is never taken for it."""
_LONGEST = 80

_SUFFIX = "/undo"


def marker_of(manifest: Obj) -> str:
    """Id of our last action on this object, empty when there was none."""
    return str(value_at(manifest, annotation_path(MARKER)) or "")


def generation_of(manifest: Obj) -> int:
    """How often the spec was changed, as the API server counts; 0 for kinds of which it does not."""
    return int(manifest["metadata"].get("generation") or 0)


def require_values(action: Action) -> None:
    """Raise ValueError for a sealed action: what it shows in the place of hidden values must never reach a cluster."""
    if action.sealed:
        raise ValueError(f"a sealed action cannot be carried out: {action.summary}")


def obstacle(manifest: Obj, action: Action) -> str:
    """Why the action may not be carried out on this object now, empty when it may."""
    if manifest["metadata"].get("uid") != action.object.uid:
        return f"{action.object} was deleted and created again since the decision"
    if "deletionTimestamp" in manifest["metadata"]:
        return f"{action.object} is being deleted"
    if action.kind in POD_KINDS:
        owner = (controller_of(manifest) or {}).get("uid")
        wanted = action.params.get("owner_uid")
        return "" if owner == wanted else f"{action.object} does not belong to {action.target} any more"
    if (manifest.get("spec") or {}).get("paused"):
        return f"the rollout of {action.object} is paused"
    if action.kind in AUTOSCALERS and not _still_scales(manifest, action):
        return f"{action.object} does not scale {action.target} any more"
    if action.object.kind is Kind.SCALED_OBJECT and (how := paused(manifest)):
        return f"{action.object} is paused ({how})"
    return "; ".join(
        displaced(manifest, action, c) or moved(manifest, c.path, c.before)
        for c in action.changes
        if displaced(manifest, action, c) or not same(c.path, value_at(manifest, c.path), c.before)
    )


def new_owner(before: Obj, now: Obj, ref: ObjectRef) -> str:
    """That the object became somebody's between two looks; empty while it is whose it was. Marks and owner references move no generation."""
    found = managers_of(before, autoscaled=False)
    marks = [m.value for m in managers_of(now, autoscaled=False) if m not in found]
    old, new = controller_of(before) or {}, controller_of(now) or {}
    if new and new.get("uid") != old.get("uid"):
        marks.append(f"{new.get('kind', '')} {new.get('name', '')}".strip())
    owner = in_one_line(", ".join(marks), 2 * _LONGEST)
    return f"{ref} became {owner}'s since it was looked at" if owner else ""


def displaced(manifest: Obj, action: Action, change: FieldChange) -> str:
    """Why the element of a list in which this change lies is not the one of the plan; empty when it is."""
    holds: Any = action.part.get(HOLDS) or {}
    return "; ".join(
        moved(manifest, path, value)
        for path, value in holds.get(change.path, {}).items()
        if value_at(manifest, path) != value
    )


def _still_scales(manifest: Obj, action: Action) -> bool:
    return scales(manifest, action.target)


def moved(manifest: Obj, path: str, expected: Any) -> str:
    """A sentence on a field that is not as expected: what it is, and who changed it."""
    current = value_at(manifest, path)
    text = f"{path} is {_show_at(path, current)}, not {_show_at(path, expected)}"
    writers = who_changed(manifest, path)
    if not writers:
        return text
    who, at = writers[0]
    return f"{text} (last set by {who}{f' at {at:%Y-%m-%d %H:%M:%S} UTC' if at else ''})"


def _show_at(path: str, value: Any) -> str:
    return show(value if isinstance(value, dict) else hidden(path, value))


def show(value: Any) -> str:
    """A field value for people: short, and of a pod template only the images, for its environment may hold secrets."""
    if value is None:
        return "absent"
    if isinstance(value, dict):
        containers = (value.get("spec") or {}).get("containers") or ()
        images = ", ".join(few([image_told(str(c.get("image", ""))) for c in containers]))
        return f"a template with {images}" if images else "an object"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def undo_id(action_id: str) -> str:
    """The marker of the undo of an action; the marker itself stays as it is."""
    return action_id if action_id.endswith(_SUFFIX) else f"{action_id}{_SUFFIX}"
