"""Carrying out one action, at most once, on the cluster port.

Called through `app.kube.actuator`: `check`, then `dry_run`, then `apply`; `undo` lives in `app.kube.undo`. Each may
be run again after a crash at any instruction. Never decides, never records, never repeats a write with an unclear
outcome without reading back.

What the caller has to know of `apply`: a returned result is final; a raised TryLater means that nothing was written and
that the same call may be made again.
"""

from __future__ import annotations

from dataclasses import replace

from app.domain import half_way
from app.domain.actuator import Applied, CheckResult, Mark, Sleep, Undone
from app.domain.cluster import FIELD_MANAGER, OPT, Cluster
from app.domain.errors import (
    ClusterRefused,
    DisruptionBlocked,
    ObjectChanged,
    ObjectInvalid,
    ObjectMissing,
    OutcomeUnclear,
    TryLater,
)
from app.domain.json import Obj
from app.domain.outcome import ActionResult
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, ObjectRef
from app.kube.look import (
    POD_KINDS,
    generation_of,
    marker_of,
    moved,
    new_owner,
    obstacle,
    require_values,
    undo_id,
)
from app.kube.manifest import operations, same, value_at
from app.kube.owners import who_changed, written_at
from app.kube.parse import parse_ref
from app.kube.readback import Finding, between_attempts, not_applied, pod_gone, read_back, real_sleep, removed
from app.kube.sizer import newer_sizer
from app.kube.undo import undo

__all__ = [
    "Applied",
    "CheckResult",
    "Undone",
    "apply",
    "check",
    "dry_run",
    "in_place",
    "undo",
    "undo_id",
]

_ATTEMPTS = 5


async def check(cluster: Cluster, action: Action, action_id: str = "") -> CheckResult:
    """Read the object afresh: same uid, not paused, every field still as the action expects it.

    Raises the port's read errors except ObjectMissing.
    """
    require_values(action)
    ref = action.object
    try:
        manifest = await cluster.get(ref.kind, ref.namespace, ref.name)
    except ObjectMissing:
        return CheckResult(None, f"{ref} is gone", ObjectMissing.code)
    fresh = parse_ref(ref.kind, manifest)
    if action_id and fresh.uid == ref.uid and marker_of(manifest) == action_id:
        return CheckResult(fresh, "this action was applied already", done=True)
    if half_way.goes_by_what_it_finds(action):
        return _as_found(manifest, action, fresh)
    if no := obstacle(manifest, action):
        return CheckResult(None, no, ObjectChanged.code)
    if sizer := await newer_sizer(cluster, action):
        return CheckResult(None, sizer, ObjectChanged.code)
    text = f"{ref} is as it was when this was decided"
    return CheckResult(fresh, text, mark=_mark(manifest), seen=manifest)


def _as_found(manifest: Obj, action: Action, fresh: ObjectRef) -> CheckResult:
    """A stop from the size that the object has now, whoever set it, or the start of what was stopped: what has the size already that it is
    to have needs nothing, and one that somebody has started has theirs."""
    now, stops = int((manifest.get("spec") or {}).get("replicas", 1)), action.params.get("to") == 0
    starts = action.params.get("from") == 0 and not stops
    if stops and action.changes:
        action = half_way.from_size(action, now)
    elif starts and now:
        action = half_way.started_by_others(action, now)
    elif starts and _stopped_since(manifest, action):
        action = half_way.stopped_by_others(action)
    done = (starts and now > 0) or not action.changes
    if no := obstacle(manifest, replace(action, changes=()) if done else action):
        return CheckResult(None, no, ObjectChanged.code)
    text = f"{action.object} is at {now} replicas"
    if done:
        writers = who_changed(manifest, "/spec/replicas")
        by = f" (set by {writers[0][0]})" if writers else ""
        text = f"{text} already{by}"
        if not now:
            text = f"{text}: it is left so until somebody starts it ({half_way.left_at_0(action)})"
    return CheckResult(fresh, text, done=done, mark=_mark(manifest), seen=manifest, action=action)


def _stopped_since(manifest: Obj, action: Action) -> bool:
    """Somebody has stopped it once more since we did, having started it: 0 replicas alone do not tell whose they are."""
    counted = half_way.counted(action)
    writers = who_changed(manifest, "/spec/replicas", exact=True)
    moved = bool(counted) and generation_of(manifest) != counted
    return moved and any(who != FIELD_MANAGER for who, _ in writers)


def _mark(manifest: Obj) -> Mark | None:
    marker = marker_of(manifest)
    return Mark(marker, written_at(manifest, FIELD_MANAGER)) if marker else None


async def in_place(cluster: Cluster, action: Action, action_id: str) -> str:
    """For a recorded intent without an outcome: a sentence when the action did happen, empty when it did not.

    Raises the port's read errors except ObjectMissing.
    """
    if action.kind in POD_KINDS:
        gone = await removed(cluster, action.object)
        return f"{action.summary}: the pod is gone or terminating" if gone else ""
    ref = action.object
    try:
        manifest = await cluster.get(ref.kind, ref.namespace, ref.name)
    except ObjectMissing:
        return ""
    if manifest["metadata"].get("uid") != ref.uid or marker_of(manifest) != action_id:
        return ""
    return _applied(action, manifest, "was applied already").text


async def dry_run(
    cluster: Cluster, action: Action, action_id: str, ref: ObjectRef, seen: Obj | None = None
) -> str:
    """Send the very patch as a server-side dry run, admission included; returns a sentence when it is accepted.

    Raises ClusterRefused when the server refuses it, or when an admission rule would turn our values into others (ObjectInvalid,
    `admission_changed`). Raises TryLater, also when the object is not as in `ref` any more.
    """
    require_values(action)
    if action.kind in POD_KINDS:
        await _remove(cluster, action, dry_run=True)
        return "the dry run was accepted"
    result = await _dry_run_result(cluster, action, action_id, ref, seen)
    if result is None:
        return "this action was applied already"
    if bent := _bent(result, action):
        text = f"an admission rule changes the values: {bent}"
        raise ObjectInvalid(text, code="admission_changed", where=str(ref))
    return "the dry run was accepted"


async def _dry_run_result(
    cluster: Cluster, action: Action, action_id: str, ref: ObjectRef, seen: Obj | None
) -> Obj | None:
    """The object as the dry run would leave it; None when the action is in place. A status that moves in between is
    no reason against it, as in `apply`."""
    looked_at = seen
    for _ in range(_ATTEMPTS):
        try:
            manifest = seen or await cluster.get(ref.kind, ref.namespace, ref.name)
        except ObjectMissing as error:
            raise TryLater(f"{ref} is gone", where=str(ref)) from error
        seen = None  # it is as it was looked at only once
        looked_at = looked_at or manifest
        if manifest["metadata"].get("uid") == ref.uid and marker_of(manifest) == action_id:
            return None
        if no := _moved_on(
            looked_at, manifest, action, ref
        ):  # the cluster refused nothing: it is looked at anew
            raise TryLater(no, where=str(ref))
        patch = operations(manifest, action.changes, action_id)
        try:
            return await cluster.patch(ref.kind, ref.namespace, ref.name, patch, dry_run=True)
        except ObjectChanged:
            continue  # its spec is the same, or the next look says so
    raise TryLater(f"{ref} changed again before each of {_ATTEMPTS} attempts", where=str(ref))


def _bent(result: Obj, action: Action) -> str:
    """Fields that do not hold our value. Whole templates are left out: the server completes them with defaults."""
    return "; ".join(
        moved(result, c.path, c.after)
        for c in action.changes
        if not isinstance(c.after, dict) and not same(c.path, value_at(result, c.path), c.after)
    )


async def apply(
    cluster: Cluster,
    action: Action,
    action_id: str,
    ref: ObjectRef,
    seen: Obj | None = None,
    *,
    sleep: Sleep = real_sleep,
) -> Applied:
    """Carry the action out once. `ref` and `seen` are what `check` returned; without `seen` the object is read here.

    The patch is bound to the resourceVersion of the object as seen, so that the server refuses it when anything moved
    since, and carries our marker; when only the status moved in between, it is bound anew, at most five times. `sleep`
    spaces the looks after a lost answer. Raises TryLater (throttled, not reachable, or certainly not applied): nothing was
    written, the call may be repeated.
    """
    require_values(action)
    try:
        if action.kind in POD_KINDS:
            return await _remove_pod(cluster, action, sleep)
        return await _patch(cluster, action, action_id, (ref, seen), sleep)
    except DisruptionBlocked as error:
        text, wait = str(error), error.retry_after
        return Applied(ActionResult.REFUSED, text, code=error.code, passing=True, retry_after=wait)
    except ClusterRefused as error:
        # Whose the object is by now, or that it is gone, is for the next look to tell: the cluster refused nothing.
        passing = isinstance(error, ObjectMissing | ObjectChanged)
        return Applied(ActionResult.REFUSED, str(error), code=error.code, passing=passing)


async def _patch(
    cluster: Cluster, action: Action, action_id: str, found: tuple[ObjectRef, Obj | None], sleep: Sleep
) -> Applied:
    ref, seen = found
    looked_at = seen
    for attempt in range(_ATTEMPTS):
        await between_attempts(attempt, sleep)
        manifest = seen or await cluster.get(ref.kind, ref.namespace, ref.name)
        seen = None  # it is as it was looked at only once
        looked_at = looked_at or manifest
        if manifest["metadata"].get("uid") == ref.uid and marker_of(manifest) == action_id:
            return _applied(action, manifest, "was applied already")
        if no := _moved_on(looked_at, manifest, action, ref):  # the gates have to hear of it
            return Applied(ActionResult.REFUSED, no, code=ObjectChanged.code, passing=True)
        patch = operations(manifest, action.changes, action_id)
        try:
            wrote = await cluster.patch(ref.kind, ref.namespace, ref.name, patch)
            return replace(_applied(action, wrote, "applied"), generation=generation_of(wrote), left=wrote)
        except ObjectChanged:
            continue  # then looked at again from the start: the marker, then every field
        except OutcomeUnclear as error:
            bound = replace(ref, resource_version=manifest["metadata"]["resourceVersion"])
            return await _found(cluster, action, action_id, (bound, error), sleep)
    text = f"{ref} changed again before each of {_ATTEMPTS} attempts"
    return Applied(ActionResult.REFUSED, text, code=ObjectChanged.code, passing=True)


def _moved_on(looked_at: Obj, manifest: Obj, action: Action, ref: ObjectRef) -> str:
    """Why it is not the object that was looked at any more: its fields, whose it is, its spec; empty while it is."""
    return (
        obstacle(manifest, action)
        or _marked(looked_at, manifest, ref)
        or _newer_spec(looked_at, manifest, ref)
    )


def _marked(looked_at: Obj, manifest: Obj, ref: ObjectRef) -> str:
    """That it became somebody's since it was looked at, or that its owners have set or lifted their mark; empty for neither."""
    if owner := new_owner(looked_at, manifest, ref):
        return owner
    before, now = _opted(looked_at), _opted(manifest)
    return f"{OPT} of {ref} changed since it was looked at" if before != now else ""


def _opted(manifest: Obj) -> tuple[object, ...]:
    meta = manifest["metadata"]
    return tuple((meta.get(part) or {}).get(OPT) for part in ("labels", "annotations"))


def _newer_spec(looked_at: Obj, manifest: Obj, ref: ObjectRef) -> str:
    """Annotations of a Deployment count as a generation too: what was looked at tells whether its spec changed."""
    generation = generation_of(manifest)
    known = looked_at is not manifest and generation_of(looked_at) == ref.generation
    if generation == ref.generation or (known and looked_at.get("spec") == manifest.get("spec")):
        return ""
    return f"the spec of {ref} changed since the check (generation {generation}, was {ref.generation})"


async def _found(
    cluster: Cluster, action: Action, action_id: str, lost: tuple[ObjectRef, OutcomeUnclear], sleep: Sleep
) -> Applied:
    bound, error = lost
    finding, manifest = await read_back(cluster, bound, action_id, sleep)
    match finding:
        case Finding.HAPPENED:
            done = _applied(action, manifest, "applied; the answer was lost, reading back confirms it")
            # What is read back may have been changed since: our patch was bound to the object before, and counted it up once.
            spec = any(c.path.startswith("/spec") for c in action.changes)
            generation = bound.generation + spec if bound.generation else 0
            same_one = bool(generation) and generation_of(manifest) == generation
            return replace(done, generation=generation, left=manifest if same_one else None)
        case Finding.GONE:
            return Applied(ActionResult.REFUSED, f"{bound} is gone", code=ObjectMissing.code)
        case Finding.NOT_HAPPENED:
            raise not_applied(error)
        case _:
            text = f"sent without an answer ({error.message}), and {bound} cannot be read back"
            return Applied(ActionResult.UNCLEAR, text, code=error.code)


def _applied(action: Action, manifest: Obj, how: str) -> Applied:
    """A field that somebody changed right after us is told, not set again."""
    others = _bent(manifest, action)
    text = f"{action.summary}: {how}" + (f"; changed since: {others}" if others else "")
    return Applied(ActionResult.APPLIED, text, manifest["metadata"].get("resourceVersion", ""))


async def _remove(cluster: Cluster, action: Action, *, dry_run: bool = False) -> None:
    ref = action.object
    remove = cluster.delete_pod if action.kind is ActionKind.DELETE_POD else cluster.evict_pod
    await remove(ref.namespace, ref.name, ref.uid, dry_run=dry_run)


async def _remove_pod(cluster: Cluster, action: Action, sleep: Sleep) -> Applied:
    """Bound to the uid, a removal cannot hit a namesake, and a second one finds nothing to remove."""
    pod = replace(action.object, kind=Kind.POD)
    for _ in range(_ATTEMPTS):
        if await removed(cluster, pod):
            return Applied(ActionResult.APPLIED, f"{action.summary}: the pod is gone or terminating")
        try:
            await _remove(cluster, action)
            return Applied(ActionResult.APPLIED, f"{action.summary}: accepted")
        except (ObjectChanged, ObjectMissing):
            continue
        except OutcomeUnclear as error:
            match await pod_gone(cluster, pod, sleep):
                case Finding.HAPPENED:
                    return Applied(ActionResult.APPLIED, f"{action.summary}: the pod is gone or terminating")
                case Finding.NOT_HAPPENED:
                    raise not_applied(error) from error
                case _:
                    text = f"sent without an answer ({error.message}), and {pod} cannot be read back"
                    return Applied(ActionResult.UNCLEAR, text, code=error.code)
    return Applied(
        ActionResult.REFUSED, f"{pod} changed before each of {_ATTEMPTS} attempts", code="object_changed"
    )
