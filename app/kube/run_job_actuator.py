"""The actuator of Jobs that are waited for: what follows in the plan needs what the Job did.

Called by the flow through `app.domain.actuator`. It makes the Job as `app.kube.job_actuator` does, once, and then tells how far it is
until it has ended: complete is done, failed is refused with its own words. A process that dies meanwhile finds the Job by its
mark; one that is gone is not made again. Nothing is undone here: what such a Job leaves behind is in its action's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from app.domain.actuator import Applied, CheckResult, Clients, Effect, Means, Partly, Permission, Progress
from app.domain.inside import NothingToUndo, another_workload
from app.domain.json import JsonValue, Obj
from app.domain.outcome import ActionResult
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, ObjectRef, Target
from app.kube.job_actuator import JobActuator, create_job, find_job, job_name
from app.kube.jobs import how_it_stands
from app.kube.look import marker_of

_KIND: Final = ActionKind.RUN_JOB
_MAKER: Final = JobActuator()
_EVERY: Final = 5.0
"""Seconds between two looks at a Job that is at work."""
_MADE: Final = "made"
"""In the state of its progress: the Job that was made, so that one that vanished is not made again."""


def run_job(ref: ObjectRef, target: Target, job: Obj, summary: str, undo: str) -> Action:
    """The action that makes this Job beside the workload and waits until it is complete."""
    return replace(create_job(ref, target, job, summary, undo), kind=_KIND)


@dataclass(frozen=True, slots=True)
class RunJobActuator(NothingToUndo):
    """See the port."""

    kinds: frozenset[ActionKind] = frozenset({_KIND})

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:  # noqa: ARG002 - the port's
        """As for every Job."""
        return _MAKER.rights(ActionKind.CREATE_JOB, on)

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:  # noqa: ARG002
        """The workload is the same. A Job of that name is ours or somebody else's: `apply` tells, which knows our mark."""
        if (changed := await another_workload(clients, action)) is not None:
            return changed
        job = await find_job(clients.cluster, action)
        there = "no Job" if job is None else "a Job"
        return CheckResult(action.object, f"there is {there} {job_name(action)}", seen=job)

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str | Progress:
        """Our Job is complete, or still at work. One that failed is told by `apply`, which makes no second one."""
        job = await find_job(clients.cluster, action)
        if job is None or marker_of(job) != action_id:
            return ""
        stands = await how_it_stands(clients.cluster, job)
        if stands.good:
            return f"{action.summary}: {stands.text}"
        return "" if stands.over else Progress(stands.text, seconds=_EVERY)

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:
        """The very Job as a server-side dry run, unless there is one by now."""
        if found.seen is not None:
            return ""
        return await _MAKER.dry_run(clients, action, action_id, found)

    async def apply(
        self, means: Means, action: Action, action_id: str, found: CheckResult
    ) -> Applied | Progress:
        """Make it, or say how the one ended that we made."""
        job, name = await find_job(means.clients.cluster, action), job_name(action)
        if job is None and means.so_far.get(_MADE) == name:
            text = f"Job {name} was made and is gone, deleted by somebody: how it ended is not known, and it is not made again"
            return Applied(ActionResult.REFUSED, text, code="job_gone")
        if job is None:
            made = await _MAKER.apply(means, action, action_id, found)
            if made.result is not ActionResult.APPLIED:
                return made
            return Progress(f"Job {name} was created", {_MADE: name}, _EVERY)
        if marker_of(job) != action_id:
            return Applied(ActionResult.REFUSED, f"there is a Job {name} of somebody else")
        stands = await how_it_stands(means.clients.cluster, job)
        if stands.good:
            return Applied(ActionResult.APPLIED, f"{action.summary}: {stands.text}")
        if stands.over:
            return Applied(ActionResult.REFUSED, stands.text, code="job_failed")
        return Progress(stands.text, {_MADE: name}, _EVERY)

    async def partly(
        self, clients: Clients, action: Action, action_id: str, state: Mapping[str, JsonValue]
    ) -> Partly | None:
        """The Job that was made, which is not stopped."""
        job, name = await find_job(clients.cluster, action), job_name(action)
        if job is not None and marker_of(job) == action_id:
            stands = await how_it_stands(clients.cluster, job)
            return Partly(f"Job {name} was made" + ("" if stands.over else ", and goes on by itself"))
        return Partly(f"Job {name} was made, and is gone") if state.get(_MADE) == name else None

    async def effect(self, clients: Clients, action: Action) -> Effect | None:  # noqa: ARG002 - the port's
        """It was complete before the next action began."""
        return None
