"""The actuator of the cluster's own objects: patches of fields, pods deleted or evicted.

Called by the flow through `app.domain.actuator`. `app.kube.apply` and `app.kube.undo` do the work; here they get the holds in
front of every request, and refusals of the API server become words.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.actuator import Applied, CheckResult, Clients, Effect, Means, Permission, Undone
from app.domain.errors import ClusterRefused
from app.domain.outcome import ActionResult
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind
from app.kube import apply, scaled_objects
from app.kube.guarded import Guarded
from app.kube.look import generation_of
from app.kube.verbs import ACTIONS, permissions_for


@dataclass(frozen=True, slots=True)
class KubeActuator:
    """See the port."""

    kinds: frozenset[ActionKind] = ACTIONS

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:
        """See the port."""
        return permissions_for(kind, on)

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:
        """See the port."""
        return await apply.check(clients.cluster, action, action_id)

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str:
        """See the port."""
        return await apply.in_place(clients.cluster, action, action_id)

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:
        """The very patch or removal as a server-side dry run, admission included."""
        if found.done and found.action is not None:
            return ""
        try:
            await apply.dry_run(clients.cluster, action, action_id, found.ref or action.object, found.seen)
        except ClusterRefused as error:
            return str(error)
        return ""

    async def apply(self, means: Means, action: Action, action_id: str, found: CheckResult) -> Applied:
        """See the port."""
        if found.done and found.action is not None:
            left = found.seen
            return Applied(ActionResult.APPLIED, found.text, generation=generation_of(left), left=left)
        cluster, ref = Guarded(means.clients.cluster, means.ask), found.ref or action.object
        return await apply.apply(cluster, action, action_id, ref, found.seen, sleep=means.sleep)

    async def undo(self, means: Means, action: Action, action_id: str) -> Undone:
        """See the port."""
        cluster = Guarded(means.clients.cluster, means.ask)
        return await apply.undo(cluster, action, action_id, sleep=means.sleep)

    async def effect(self, clients: Clients, action: Action) -> Effect | None:
        """The rollout tells; of KEDA's object whether its autoscaler follows."""
        if action.kind is not ActionKind.ADJUST_SCALED_OBJECT:
            return None
        return await scaled_objects.followed(clients.cluster, action)
