"""What actions have in common that change something inside of a workload or make something beside it: sessions, tables, a Job.

Called by their actuators. The workload itself and its pods stay as they are, and nothing is taken back. Reads through the clients alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.actuator import CheckResult, Clients, Means, Undone
from app.domain.errors import ObjectChanged, ObjectMissing
from app.domain.json import JsonValue
from app.domain.outcome import UndoResult
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, ObjectRef, Target

Facts = Mapping[str, JsonValue]
_ENDED = frozenset({"Succeeded", "Failed"})


def inside(
    kind: ActionKind, on: tuple[ObjectRef, Target], words: tuple[str, str], *, params: Facts, part: Facts
) -> Action:
    """An action that touches no pod and no field of the object. `words` are its summary and why there is nothing to undo."""
    (ref, target), (summary, undo) = on, words
    return Action(
        kind=kind,
        object=ref,
        target=target,
        changes=(),
        summary=summary,
        pods_affected=0,
        reversible=False,
        undo=undo,
        params=params,
        part=part,
    )


class NothingToUndo:
    """The undo of an actuator whose actions cannot be taken back."""

    __slots__ = ()

    async def undo(self, means: Means, action: Action, action_id: str) -> Undone:  # noqa: ARG002 - the port's
        """Nothing to undo, and why."""
        return Undone(UndoResult.NOTHING, action.undo)


async def another_workload(clients: Clients, action: Action) -> CheckResult | None:
    """Why the action may not be carried out any more: its workload is gone, or another one under the same name. None when it is
    the same. Raises the cluster's read errors."""
    ref = action.object
    try:
        manifest = await clients.cluster.get(ref.kind, ref.namespace, ref.name)
    except ObjectMissing:
        return CheckResult(None, f"{ref} is gone", ObjectMissing.code)
    if manifest["metadata"].get("uid") != ref.uid:
        return CheckResult(
            None, f"{ref} was deleted and created again since the decision", ObjectChanged.code
        )
    return None


async def pods_left(clients: Clients, action: Action) -> list[str]:
    """Names of the pods that run or are still ending, by the selector in the action's part. Raises the cluster's read errors."""
    pods = await clients.cluster.list_objects(Kind.POD, action.object.namespace, str(action.part["selector"]))
    return sorted(p["metadata"]["name"] for p in pods if (p.get("status") or {}).get("phase") not in _ENDED)
