"""Undoing one action, field by field, as long as our change is still the one in place.

Called through `app.kube.actuator`. May be run twice. Never touches anything when
somebody else has changed one of the fields since, has paused the rollout, or an autoscaler sizes what was scaled: a half undone change is nobody's intention, so all is left as it is
and the conflict is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from app.domain import half_way
from app.domain.actuator import Sleep, Undone
from app.domain.cluster import Cluster
from app.domain.errors import ClusterRefused, ObjectChanged, ObjectMissing, OutcomeUnclear, TryLater
from app.domain.json import Obj
from app.domain.outcome import UndoResult
from app.domain.plan import Action, FieldChange
from app.domain.target import ObjectRef
from app.kube.look import displaced, generation_of, marker_of, moved, new_owner, require_values, undo_id
from app.kube.manifest import operations, pointer, same, value_at
from app.kube.owners import who_changed
from app.kube.readback import Finding, between_attempts, not_applied, read_back, real_sleep
from app.kube.sizer import newer_sizer

_ATTEMPTS = 5


class Now(StrEnum):
    """How a field that was changed stands now."""

    OURS = "still ours"
    BEFORE = "as it was before"
    OTHER = "not ours any more"


class FieldNow(NamedTuple):
    """One field of an action's object. `text` says what it is and who changed it, where it is not ours any more."""

    change: FieldChange
    now: Now
    text: str = ""

    @property
    def path(self) -> str:
        """Where it is."""
        return self.change.path


async def foresee(
    cluster: Cluster, action: Action, action_id: str, *, dry_run: bool = True
) -> tuple[str, list[FieldNow]]:
    """What the undo would find now, without writing: why it would leave all as it is, empty when it would write; and each field. With
    `dry_run` what it would write is sent as one, so that what the server refuses is known. Raises the cluster's read errors."""
    if not action.reversible or not action.changes:
        return action.undo, []
    require_values(action)
    ref = action.object
    try:
        manifest = await cluster.get(ref.kind, ref.namespace, ref.name)
    except ObjectMissing:
        return _gone(ref), []
    if over := _over(manifest, action, undo_id(action_id)):
        return over.text, []
    fields = await _fields_now(cluster, manifest, action)
    stays = _stopped(manifest, action) or await _stays(cluster, action, fields)
    if stays is None:
        back = _back(manifest, fields, undo_id(action_id))
        return (await _refused(cluster, action, back) if dry_run else ""), fields
    return (_NOT_OURS if stays.text.startswith(_NOT_OURS) else stays.text), fields  # the fields tell which


async def undo(cluster: Cluster, action: Action, action_id: str, *, sleep: Sleep = real_sleep) -> Undone:
    """Put every field back to what it was before the action `action_id` (the action's id, or `undo_id` of it).

    FAILED means that the server refused, or that the answer stayed unknown. Raises TryLater, also when the object kept changing, or when
    reading back shows that a request whose answer was lost did nothing: nothing was written, the call may be repeated.
    """
    if not action.reversible or not action.changes:
        return Undone(UndoResult.NOTHING, action.undo)
    require_values(action)
    try:
        return await _undo(cluster, action, undo_id(action_id), sleep)
    except ObjectMissing:
        return Undone(UndoResult.NOTHING, _gone(action.object))
    except ClusterRefused as error:
        return Undone(UndoResult.FAILED, f"the undo was refused: {error}")


async def _undo(cluster: Cluster, action: Action, marker: str, sleep: Sleep) -> Undone:
    ref = action.object
    looked_at: Obj | None = None
    for attempt in range(_ATTEMPTS):
        await between_attempts(attempt, sleep)
        manifest = await cluster.get(ref.kind, ref.namespace, ref.name)
        if over := _over(manifest, action, marker):
            return over
        looked_at = looked_at or manifest
        if owner := new_owner(looked_at, manifest, ref):
            raise TryLater(owner, where=str(ref))  # the flow looks at everything again, marks and owners too
        try:
            return await _write_back(cluster, action, manifest, marker)
        except ObjectChanged as error:
            if half_way.goes_by_what_it_finds(action):
                raise TryLater(
                    error.message, where=error.where
                ) from error  # the size that it has by now is to be known first
            continue
        except OutcomeUnclear as error:
            bound = replace(ref, resource_version=manifest["metadata"]["resourceVersion"])
            finding, _ = await read_back(cluster, bound, marker, sleep)
            if finding is Finding.HAPPENED:
                return Undone(UndoResult.UNDONE, f"undone: {action.undo}; reading back confirms it")
            if finding is Finding.UNREADABLE:
                return Undone(
                    UndoResult.FAILED, f"sent without an answer, and {ref} cannot be read back: {error}"
                )
            # Certainly not done. Who has come meanwhile is not asked here: the flow looks at everything again.
            raise not_applied(error) from error
    raise TryLater(f"{ref} changed again before each of {_ATTEMPTS} attempts", where=str(ref))


async def _write_back(cluster: Cluster, action: Action, manifest: Obj, marker: str) -> Undone:
    ref = action.object
    if stopped := _stopped(manifest, action):
        return stopped
    fields = await _fields_now(cluster, manifest, action)
    if stays := await _stays(cluster, action, fields):
        return stays
    wrote = await cluster.patch(ref.kind, ref.namespace, ref.name, _back(manifest, fields, marker))
    return Undone(UndoResult.UNDONE, f"undone: {action.undo}", generation=generation_of(wrote), left=wrote)


def _back(manifest: Obj, fields: Sequence[FieldNow], marker: str) -> list[Obj]:
    """The patch that puts back what is still ours."""
    ours = (one.change for one in fields if one.now is Now.OURS)
    return operations(manifest, [FieldChange(c.path, c.after, c.before) for c in ours], marker)


async def _refused(cluster: Cluster, action: Action, patch: list[Obj]) -> str:
    """Why the server would refuse this patch; empty when it would take it. The object may be another one by now: that says nothing."""
    ref = action.object
    try:
        await cluster.patch(ref.kind, ref.namespace, ref.name, patch, dry_run=True)
    except ObjectChanged:
        return ""
    except ClusterRefused as error:
        return f"the API server refuses it: {error.message}"
    return ""


_NOT_OURS = "left as it is, for it is not ours any more"


def _gone(ref: ObjectRef) -> str:
    return f"{ref} is gone, and our change with it"


def _over(manifest: Obj, action: Action, marker: str) -> Undone | None:
    """There is nothing to take back any more, or somebody has made it anew with what we had set."""
    ref = action.object
    if manifest["metadata"].get("uid") == ref.uid:
        return Undone(UndoResult.UNDONE, "was undone already") if marker_of(manifest) == marker else None
    if all(same(c.path, value_at(manifest, c.path), c.after) for c in action.changes):
        by = f"{ref} was created anew by somebody with what we had set, and that is theirs now: {action.summary}"
        return Undone(UndoResult.CONFLICT, f"left as it is: {by}", (by,))
    return Undone(UndoResult.NOTHING, f"{ref} was created anew, and our change went with the old one")


async def _stays(cluster: Cluster, action: Action, fields: Sequence[FieldNow]) -> Undone | None:
    """Why nothing of it is written back; None when it is."""
    ours = any(one.now is Now.OURS for one in fields)
    as_found = half_way.goes_by_what_it_finds(action)  # an autoscaler leaves alone what is at 0
    if ours and not as_found and (sizer := await newer_sizer(cluster, action)):
        return Undone(UndoResult.CONFLICT, f"left as it is: {sizer}", (sizer,))
    if conflicts := tuple(one.text for one in fields if one.now is Now.OTHER):
        return Undone(UndoResult.CONFLICT, f"{_NOT_OURS}: {'; '.join(conflicts)}", conflicts)
    return None if ours else Undone(UndoResult.NOTHING, "everything is as it was before the action")


def _stopped(manifest: Obj, action: Action) -> Undone | None:
    """Somebody stopped the rollout, so that what it has is theirs."""
    if not (manifest.get("spec") or {}).get("paused"):
        return None
    writers = who_changed(manifest, "/spec/paused")
    who, at = writers[0] if writers else ("somebody", None)
    when = f" at {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
    return Undone(
        UndoResult.CONFLICT, f"left as it is: the rollout of {action.object} is paused (by {who}{when})"
    )


async def _fields_now(cluster: Cluster, manifest: Obj, action: Action) -> list[FieldNow]:
    found, action = [], half_way.to_undo(action)
    stopped = half_way.goes_by_what_it_finds(action) and half_way.starts(action)
    for change in action.changes:
        current = value_at(manifest, change.path)
        if other := displaced(manifest, action, change):
            found.append(FieldNow(change, Now.OTHER, other))
        elif same(change.path, current, change.before):
            found.append(FieldNow(change, Now.BEFORE))
        elif (
            stopped
            or same(change.path, current, change.after)
            or await _equals_when_set(cluster, manifest, action.object, change)
        ):
            found.append(FieldNow(change, Now.OURS))
        else:
            found.append(FieldNow(change, Now.OTHER, moved(manifest, change.path, change.after)))
    return found


async def _equals_when_set(cluster: Cluster, manifest: Obj, ref: ObjectRef, change: FieldChange) -> bool:
    """Would setting our value now change nothing? The server answers by a dry run.

    Only for whole templates: the server and its admission rules complete them with defaults, so what is in place may
    be our template although it does not look equal.
    """
    if not isinstance(change.after, dict) or not isinstance(value_at(manifest, change.path), dict):
        return False
    version = manifest["metadata"]["resourceVersion"]
    patch = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        {"op": "replace", "path": pointer(manifest, change.path), "value": change.after},
    ]
    result = await cluster.patch(ref.kind, ref.namespace, ref.name, patch, dry_run=True)
    return same(change.path, value_at(result, change.path), value_at(manifest, change.path))
