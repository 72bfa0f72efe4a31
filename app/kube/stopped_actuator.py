"""The actuator that waits until no pod of a workload is left, and writes nothing.

Called by the flow through `app.domain.actuator`, between an action that scales to 0 and one that must not meet a client of before. A
pod that is terminating still runs, so it counts until it is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.domain.actuator import Applied, CheckResult, Clients, Effect, Means, Partly, Permission, Progress
from app.domain.errors import ObjectChanged
from app.domain.inside import NothingToUndo, another_workload, inside, pods_left
from app.domain.json import JsonValue
from app.domain.outcome import ActionResult
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind
from app.domain.units import counted
from app.domain.workload import Workload

_EVERY: Final = 3.0
_TRIES: Final = 200
"""Looks until it is given up: ten minutes."""
_UNDO: Final = "nothing to undo: it only waits"


def confirm_stopped(workload: Workload) -> Action:
    """The action that waits for the end of the workload's pods."""
    target = workload.target
    return inside(
        ActionKind.CONFIRM_STOPPED,
        (workload.ref, target),
        (f"Confirm that no pod of {target} is left", _UNDO),
        params={},
        part={"selector": workload.selector},
    )


@dataclass(frozen=True, slots=True)
class StoppedActuator(NothingToUndo):
    """See the port."""

    kinds: frozenset[ActionKind] = frozenset({ActionKind.CONFIRM_STOPPED})

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:  # noqa: ARG002 - the port's
        """Pods are read by every remediation."""
        return ()

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:  # noqa: ARG002
        """The workload is the same, and stands at 0."""
        if (changed := await another_workload(clients, action)) is not None:
            return changed
        ref = action.object
        manifest = await clients.cluster.get(ref.kind, ref.namespace, ref.name)
        if (manifest.get("spec") or {}).get("replicas") != 0:
            return CheckResult(None, f"{ref} is not at 0 replicas any more", ObjectChanged.code)
        return CheckResult(ref, f"{ref} is at 0 replicas")

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str:  # noqa: ARG002
        """Empty always: to look again does no harm."""
        return ""

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:  # noqa: ARG002
        """There is nothing that could be refused."""
        return ""

    async def apply(
        self,
        means: Means,
        action: Action,
        action_id: str,  # noqa: ARG002
        found: CheckResult,  # noqa: ARG002
    ) -> Applied | Progress:
        """Look; none left is done."""
        left, tries = await pods_left(means.clients, action), int(str(means.so_far.get("tries", 0)))
        if not left:
            return Applied(ActionResult.APPLIED, f"no pod of {action.target} is left")
        words = f"{counted(len(left), 'pod')} still there: {', '.join(left[:3])}"
        if tries >= _TRIES:
            return Applied(ActionResult.REFUSED, words, code="not_stopped")
        return Progress(words, {"tries": tries + 1}, _EVERY)

    async def partly(
        self,
        clients: Clients,  # noqa: ARG002 - the port's
        action: Action,  # noqa: ARG002
        action_id: str,  # noqa: ARG002
        state: Mapping[str, JsonValue],  # noqa: ARG002
    ) -> Partly | None:
        """None: it changes nothing."""
        return None

    async def effect(self, clients: Clients, action: Action) -> Effect | None:  # noqa: ARG002 - the port's
        """It was for the actions that followed."""
        return None
