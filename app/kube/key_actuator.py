"""The actuator of keys: one value of a Secret becomes another of the same Secret's list, once, and back.

Called by the flow through `app.domain.actuator`. The write is the cluster's usual patch, bound to the resourceVersion and marked; what is
special is who may not be overruled (a controller that keeps the Secret, a person who took the key out of the list) and the undo: the
former key first, then a restart of the pods that began with the new one. Either half of an undo is found by its mark, so that a
process that dies between the two goes on with the second. No value is in a text of this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.actuator import Applied, CheckResult, Clients, Effect, Means, Permission, Undone
from app.domain.cluster import FIELD_MANAGER, Cluster
from app.domain.errors import ClusterRefused, Held, ObjectChanged, ObjectMissing
from app.domain.json import Obj
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import Action, ActionKind
from app.domain.secret import plain
from app.domain.target import WORKLOAD_KINDS, Kind
from app.domain.workload import Workload
from app.kube import apply
from app.kube.actions.rollout_restart import RESTART_PATH, rollout_restart
from app.kube.actions.rotate_key import KeyList
from app.kube.actuator import KubeActuator
from app.kube.guarded import Guarded
from app.kube.impossible import Impossible
from app.kube.look import marker_of, undo_id
from app.kube.manifest import value_at
from app.kube.owners import written_at
from app.kube.parse import parse_time
from app.kube.read import read_pods, read_workload
from app.kube.secrets import closed

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class KeyActuator:
    """See the port."""

    kinds: frozenset[ActionKind] = frozenset({ActionKind.ROTATE_KEY})

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:  # noqa: ARG002 - the port's
        """The Secret, which the rule names, and the workload, which an undo restarts."""
        if on is Kind.SECRET or on in WORKLOAD_KINDS:
            return (Permission("get", on), Permission("patch", on))
        return ()

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:
        """As for any object; besides, nobody keeps the Secret and the new key is still in the list."""
        found = await apply.check(clients.cluster, action, action_id)
        if found.ref is None or found.done:
            return found
        no = closed(found.seen) or _unlisted(found.seen, action)
        return CheckResult(None, no, ObjectChanged.code) if no else found

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str:
        """See the port."""
        return await apply.in_place(clients.cluster, action, action_id)

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:
        """The very patch as a server-side dry run, admission included."""
        return await KubeActuator().dry_run(clients, action, action_id, found)

    async def apply(self, means: Means, action: Action, action_id: str, found: CheckResult) -> Applied:
        """As any patch; each request looks once more whether the Secret may be changed to this key, so that one that somebody withdraws
        meanwhile is not taken. Raises Held then, too."""

        async def ask() -> None:
            ref = action.object
            manifest = await means.clients.cluster.get(ref.kind, ref.namespace, ref.name)
            if no := closed(manifest) or _unlisted(manifest, action):
                raise Held(no)
            await means.ask()  # last: that read may take its time

        return await KubeActuator().apply(replace(means, ask=ask), action, action_id, found)

    async def undo(self, means: Means, action: Action, action_id: str) -> Undone:
        """The former key, then the restart. FAILED when the key is back and its pods could not be restarted."""
        cluster = Guarded(means.clients.cluster, means.ask)
        if no := await _not_ours(cluster, action):
            return Undone(
                UndoResult.CONFLICT, f"the former {action.part['active']} is not put back: {no}", (no,)
            )
        back = await apply.undo(cluster, action, action_id, sleep=means.sleep)
        if back.result is not UndoResult.UNDONE:
            return back
        try:
            return await _restart(cluster, means, action, f"{undo_id(action_id)}/restart")
        except ObjectMissing:
            text = f"undone: put the former {action.part['active']} back; {action.target} is gone"
            return Undone(UndoResult.UNDONE, text)
        except ClusterRefused as error:
            return _not_restarted(action, str(error))

    async def effect(self, clients: Clients, action: Action) -> Effect | None:  # noqa: ARG002 - the port's
        """Rollout and alert tell."""
        return None


async def _not_ours(cluster: Cluster, action: Action) -> str:
    """Why the Secret is not written to take it back: a controller keeps it by now, or the former key was taken out of the list, so
    that it may be one that was withdrawn. A Secret that is gone is told by the undo itself."""
    ref = action.object
    try:
        manifest = await cluster.get(ref.kind, ref.namespace, ref.name)
    except ObjectMissing:
        return ""
    if no := closed(manifest):
        return no
    if plain(action.changes[0].before) in KeyList.from_json(action.part).keys(manifest):
        return ""
    return f"it is not in the list of {action.object} any more"


def _unlisted(manifest: Obj, action: Action) -> str:
    """Somebody took the key out of the list since the plan: it may be one that was withdrawn."""
    if plain(action.changes[0].after) in KeyList.from_json(action.part).keys(manifest):
        return ""
    return f"the key to rotate to is not in the list of {action.object} any more"


async def _restart(cluster: Cluster, means: Means, action: Action, marker: str) -> Undone:
    """Restart the pods that may have taken the new key. Raises ClusterRefused, TryLater and Held."""
    workload = await read_workload(cluster, action.target)
    if marker_of(workload.manifest) == marker:
        return Undone(UndoResult.UNDONE, f"undone: {action.undo}")
    if not await _began_since(cluster, workload, action):
        text = f"undone: put the former {action.part['active']} back; no pod of {action.target} began with the new one"
        return Undone(UndoResult.UNDONE, text)
    secret = await cluster.get(Kind.SECRET, action.object.namespace, action.object.name)
    built = rollout_restart(workload, _after(workload, secret, action))
    if isinstance(built, Impossible):
        return _not_restarted(action, built.why)
    done = await apply.apply(cluster, built, marker, built.object, sleep=means.sleep)
    if done.result is ActionResult.APPLIED:
        return Undone(UndoResult.UNDONE, f"undone: {action.undo}")
    return _not_restarted(action, done.text)


def _not_restarted(action: Action, why: str) -> Undone:
    text = f"the former {action.part['active']} is back in {action.object}, but {action.target} was not restarted: {why}"
    return Undone(UndoResult.FAILED, text)


async def _began_since(cluster: Cluster, workload: Workload, action: Action) -> bool:
    """Whether a container of the workload began with the new key or may have: by the restart of the same step, by a later one, or by
    itself."""
    planned = parse_time(str(action.params["restarted_at"]))
    restarted = _restarted_at(workload)
    if planned is None or (restarted is not None and restarted >= planned):
        return True
    pods = await read_pods(cluster, workload)
    began = [c.running_since for pod in pods for c in pod.containers]
    return any(at is None or at >= planned for at in began)


def _restarted_at(workload: Workload) -> datetime | None:
    said: Any = value_at(workload.manifest, RESTART_PATH)
    try:
        return parse_time(said) if isinstance(said, str) else None
    except ValueError:
        return None


def _after(workload: Workload, secret: Obj, action: Action) -> datetime:
    """The time of this restart: when the Secret was written back, by the API server's clock, and later than the restart before."""
    times = [
        written_at(secret, FIELD_MANAGER),
        _restarted_at(workload),
        parse_time(str(action.params["restarted_at"])),
    ]
    known = [at for at in times if at is not None]
    return max(known).replace(microsecond=0) + _SECOND


__all__ = ["KeyActuator"]
