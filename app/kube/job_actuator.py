"""The actuator of Jobs: makes one beside a workload, once, and follows it to its end.

Called by the flow through `app.domain.actuator`. The plan names the Job, so that creating it again is refused by the API server, and
our mark on it (and on its pod) tells whose it is. Nothing is undone: a Job ends by itself, at its deadline at the latest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.domain.actuator import Applied, CheckResult, Clients, Effect, Means, Permission
from app.domain.cluster import MARKER, Cluster
from app.domain.errors import (
    ClusterRefused,
    ObjectChanged,
    ObjectMissing,
    OutcomeUnclear,
    ProbeUnavailable,
    RemediatorError,
    TryLater,
)
from app.domain.inside import NothingToUndo, another_workload, inside
from app.domain.json import Obj
from app.domain.outcome import ActionResult
from app.domain.plan import Action, ActionKind
from app.domain.target import WORKLOAD_KINDS, Kind, ObjectRef, Target
from app.kube.guarded import Guarded
from app.kube.jobs import how_it_stands
from app.kube.look import marker_of
from app.kube.readback import PAUSES

_KIND: Final = ActionKind.CREATE_JOB


def create_job(ref: ObjectRef, target: Target, job: Obj, summary: str, undo: str) -> Action:
    """The action that makes this Job (a manifest without namespace) beside the workload. It touches no pod that is there."""
    name = job["metadata"]["name"]
    return inside(_KIND, (ref, target), (summary, undo), params={"job": name}, part={"job": job})


@dataclass(frozen=True, slots=True)
class JobActuator(NothingToUndo):
    """See the port."""

    kinds: frozenset[ActionKind] = frozenset({_KIND})

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:  # noqa: ARG002 - the port's
        """Jobs are made and read; none is deleted."""
        if on not in WORKLOAD_KINDS:
            return ()
        return (Permission("get", Kind.JOB), Permission("create", Kind.JOB))

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:
        """The workload is the same, and there is no Job of that name, unless it is this very one."""
        if (changed := await another_workload(clients, action)) is not None:
            return changed
        ref = action.object
        job = await find_job(clients.cluster, action)
        if job is None:
            return CheckResult(ref, f"there is no Job {job_name(action)} yet")
        if action_id and marker_of(job) == action_id:
            return CheckResult(ref, "this action was applied already", done=True)
        return CheckResult(None, f"there is a Job {job_name(action)} already", ObjectChanged.code)

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str:
        """The Job with our mark is there. One that was removed since its end is made again, which does no more than once more."""
        job = await find_job(clients.cluster, action)
        return _done(action).text if job is not None and marker_of(job) == action_id else ""

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:  # noqa: ARG002
        """The very Job as a server-side dry run, admission included."""
        job = _manifest(action, action_id)
        try:
            await clients.cluster.create_job(action.object.namespace, job, dry_run=True)
        except ClusterRefused as error:
            return str(error)
        return ""

    async def apply(self, means: Means, action: Action, action_id: str, found: CheckResult) -> Applied:  # noqa: ARG002
        """One request; a Job of that name is ours by its mark, or somebody else's."""
        cluster = Guarded(means.clients.cluster, means.ask)
        try:
            await cluster.create_job(action.object.namespace, _manifest(action, action_id))
        except OutcomeUnclear as lost:
            return await _read_back(means, action, action_id, lost)
        except ObjectChanged as error:
            job = await find_job(cluster, action)
            if job is not None and marker_of(job) == action_id:
                return _done(action)
            return Applied(ActionResult.REFUSED, str(error), code=error.code)
        except ClusterRefused as error:
            return Applied(ActionResult.REFUSED, str(error), code=error.code)
        return _done(action)

    async def effect(self, clients: Clients, action: Action) -> Effect | None:
        """How the Job stands: complete, failed for good, or still at work and how far."""
        name = job_name(action)
        try:
            job = await clients.cluster.get(Kind.JOB, action.object.namespace, name)
            return await how_it_stands(clients.cluster, job)
        except ObjectMissing:
            return Effect(False, f"Job {name} is gone, so how it ended is not known", over=True)
        except RemediatorError as error:
            return Effect(None, f"Job {name} could not be read: {error.message}")


def job_name(action: Action) -> str:
    """The name that its plan gave it."""
    return str(action.params["job"])


def _done(action: Action) -> Applied:
    return Applied(ActionResult.APPLIED, f"{action.summary}: Job {job_name(action)} was created")


async def find_job(cluster: Cluster, action: Action) -> Obj | None:
    """The Job that an action names; None when there is none."""
    try:
        return await cluster.get(Kind.JOB, action.object.namespace, job_name(action))
    except ObjectMissing:
        return None


def _manifest(action: Action, action_id: str) -> Obj:
    """The Job as it is sent: with our mark on itself and on its pod."""
    job: Any = action.part["job"]
    template = job["spec"]["template"]
    marked = {**template, "metadata": _marked(template.get("metadata", {}), action_id)}
    metadata = {**_marked(job["metadata"], action_id), "namespace": action.object.namespace}
    return {**job, "metadata": metadata, "spec": {**job["spec"], "template": marked}}


def _marked(metadata: Mapping[str, Any], action_id: str) -> Obj:
    return {**metadata, "annotations": {**metadata.get("annotations", {}), MARKER: action_id}}


async def _read_back(means: Means, action: Action, action_id: str, lost: OutcomeUnclear) -> Applied:
    """There with our mark: it happened. Not there for longer than the API server works on a write: it did not, and to send it again
    is safe, as the name is taken once."""
    unread = ""
    for pause in PAUSES:
        await means.sleep(pause)
        try:
            job = await find_job(means.clients.cluster, action)
        except (TryLater, ClusterRefused) as error:
            unread = error.message
            continue
        unread = ""
        if job is not None and marker_of(job) == action_id:
            return _done(action)
        if job is not None:
            return Applied(
                ActionResult.REFUSED,
                f"there is a Job {job_name(action)} of somebody else",
                code=ObjectChanged.code,
            )
    if unread:
        text = f"sent without an answer ({lost.message}), and it cannot be read back: {unread}"
        return Applied(ActionResult.UNCLEAR, text, code=lost.code)
    text = f"the answer was lost ({lost.message}), and there is no Job {job_name(action)}"
    raise ProbeUnavailable(text, code="not_applied", where=str(action.object))
