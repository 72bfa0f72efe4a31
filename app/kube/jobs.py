"""What became of a Job: its CronJob, why it failed, how far it is, and its last words; and how one pod stands that no workload makes.

Called by `app.kube.owners` for a pod that a Job runs, for the sentence that says why nothing is done (a run to completion is not
restarted, rolled back or scaled), by the flow for what is apart, and by the actuator of Jobs. Reads through the port; what cannot be read is left out, and the
rest is said. Never writes.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from app.domain.actuator import Effect
from app.domain.cluster import Cluster, LogQuery
from app.domain.errors import AccessDenied, ObjectMissing, RemediatorError
from app.domain.json import Obj
from app.domain.owner import Owner, Relation
from app.domain.redact import MAX_TEXT, redact, redact_lines
from app.domain.target import Kind, Target
from app.domain.tools import tool_of
from app.domain.units import counted
from app.domain.workload import Pod
from app.kube.parse import controller_of, parse_pod, referred
from app.kube.quoted import told_by

_LAST_LINES = 20
_LONGEST = 400
_IN_TURN = frozenset({"PodInitializing", "ContainerCreating"})
"""What a container says that waits for nothing but its turn."""
_COMPLETE, _FAILED = " is complete", " failed"
TO_COMPLETION = "A run to completion is not restarted or rolled back"


class Apart(ObjectMissing):
    """It is there, and nothing here changes it. `owner` is whose it is, or it itself; `look_at` is what a person types first."""

    code = "no_workload"

    def __init__(self, message: str, owner: Target, look_at: str = "") -> None:
        super().__init__(message)
        self.owner = owner
        where = f"{owner.kind.lower()} {owner.name} -n {owner.namespace}"
        self.look_at = look_at or f"kubectl describe {where}"


def of_another(namespace: str, owner: Mapping[str, Any], said: str) -> Apart:
    """What another controller makes: Argo Rollouts, or an operator by a kind that only it knows. `said` begins with what it makes: `Pod web-1
    belongs to`."""
    kind, name, group = referred(owner)
    tool = "Argo Rollouts" if kind == Kind.ROLLOUT else tool_of(group)
    told = Owner(Relation.CONTROLS, Kind.POD, kind, group, namespace, name, tool)
    text, made = f"{said} {told}, which is not changed here", said.split()
    if kind == Kind.ROLLOUT:
        look_at = f"kubectl argo rollouts get rollout {shlex.quote(name)} -n {namespace}"
        return Apart(text, Target(namespace, Kind.ROLLOUT, name), look_at)
    itself = Kind(made[0]) if made[0] in frozenset(Kind) else Kind.POD
    return Apart(text, Target(namespace, itself, made[1]), f"kubectl describe {told.resource} -n {namespace}")


async def job_story(cluster: Cluster, namespace: str, name: str) -> str:
    """A sentence or two: `Job backup-29 of CronJob backup failed (BackoffLimitExceeded: ...); its container main ended with exit
    code 1: last words`."""
    job: Obj = {}
    try:
        job = await cluster.get(Kind.JOB, namespace, name)
    except ObjectMissing:
        return f"Job {name} is gone"
    except RemediatorError:
        pass
    owner = (controller_of(job) or {}) if job else {}
    told = f"Job {name}" + (f" of {owner['kind']} {owner['name']}" if owner else "")
    told += _state(job)
    with suppress(RemediatorError):
        pods = await _pods(cluster, namespace, name)
        if end := await _end(cluster, namespace, pods):
            told += f"; {end}"
        elif waits := next((w for p in pods if not p.over and (w := _waits(p))), None):
            told += f"; of its pod {'; '.join(waits)}"
    return told


async def ended_well(cluster: Cluster, job: Target) -> str:
    """That a Job is complete, whatever some of its pods did; empty when it is not, or may not be read."""
    with suppress(AccessDenied, ObjectMissing):
        if _state(await cluster.get(Kind.JOB, job.namespace, job.name)) == _COMPLETE:
            return f"Job {job.name} is complete"
    return ""


async def pod_story(cluster: Cluster, namespace: str, name: str) -> tuple[str, str]:
    """How one pod stands, with what its containers wait for and the last words of one that ended badly; and that it has ended well, empty when
    it has not. What cannot be read is left out."""
    try:
        pod = parse_pod(await cluster.get(Kind.POD, namespace, name))
    except RemediatorError:
        return "", ""
    if pod.phase == "Succeeded":
        return "it has ended well", f"pod {name} has ended well"
    told = _waits(pod)
    told += [f"it is {pod.phase.lower()}"] if not told and not pod.ready else []
    told += ["it is ready"] if pod.ready else []
    with suppress(RemediatorError):
        if end := await _end(cluster, namespace, [pod]):
            told.append(end)
    return "; ".join(told), ""


def _waits(pod: Pod) -> list[str]:
    """What keeps it from running, as the scheduler and the kubelet say: no node, an image, a key, an init container."""
    placed = pod.condition("PodScheduled")
    if placed is not None and placed.status == "False":
        return [f"no node takes it ({_reason(placed.reason, placed.message)})"]
    kept = [c for c in pod.containers if c.waiting and c.waiting not in _IN_TURN]
    return [f"its container {c.name} waits: {_reason(c.waiting, c.waiting_message)}" for c in kept]


def _reason(word: str, said: str) -> str:
    return ": ".join(filter(None, (word, _clean(said))))


async def how_it_stands(cluster: Cluster, job: Obj) -> Effect:
    """A Job that was made for its result: good once it is complete, with the last words of its containers; over when it failed."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    told = _state(job)
    if told == _COMPLETE:
        words = await _last_words(cluster, namespace, name)
        return Effect(True, f"Job {name} is complete{f': {words}' if words else ''}")
    if told.startswith(_FAILED):
        return Effect(False, await job_story(cluster, namespace, name), over=True)
    return Effect(False, f"Job {name} {await _under_way(cluster, namespace, name)}")


async def _last_words(cluster: Cluster, namespace: str, name: str) -> str:
    """The termination messages of the newest pod's containers."""
    with suppress(RemediatorError):
        pods = await _pods(cluster, namespace, name)
        said = [c.terminated.message.strip() for p in pods[:1] for c in p.containers if c.terminated]
        return "; ".join(_clean(words) for words in said if words)
    return ""


async def _under_way(cluster: Cluster, namespace: str, name: str) -> str:
    """What the newest pod waits for, or the newest log line of its containers."""
    try:
        pods = await _pods(cluster, namespace, name)
        if not pods:
            return "has no pod yet"
        pod = pods[0]
        if waits := _waits(pod):
            return f"waits ({'; '.join(waits)})"
        for container in pod.containers:
            query = LogQuery(namespace, pod.name, container.name, tail_lines=_LAST_LINES)
            if said := _last_line(await cluster.logs(query)):
                return f"is at work: {_clean(said)}"
    except RemediatorError as error:
        return f"is at work; how far is not known ({error.code})"
    return "is at work"


async def _pods(cluster: Cluster, namespace: str, name: str) -> list[Pod]:
    """The Job's pods, newest first."""
    listed = await cluster.list_objects(Kind.POD, namespace, f"job-name={name}")
    return sorted(map(parse_pod, listed), key=lambda p: p.created_at, reverse=True)


def _clean(words: str) -> str:
    return " ".join(redact(words, longest=_LONGEST).split())


def _last_line(log: str) -> str:
    """The last line of a log, without the secrets that the lines before it give away."""
    lines = redact_lines(log[-MAX_TEXT:].splitlines())
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _state(job: Mapping[str, Any]) -> str:
    status = job.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            message = told_by(condition.get("message"), _LONGEST)
            return f"{_FAILED} ({condition.get('reason') or 'Failed'}{f': {message}' if message else ''})"
        if condition.get("type") == "Complete" and condition.get("status") == "True":
            return _COMPLETE
    if status.get("failed"):
        return f" had {counted(int(status['failed']), 'failed pod')} and goes on"
    return ""


async def _end(cluster: Cluster, namespace: str, pods: Sequence[Pod]) -> str:
    """How the first of the pods that ended badly ended, with its termination message or else its last log line."""
    ends = [(p, c, t) for p in pods for c in p.containers for t in (c.terminated, c.last_terminated) if t]
    bad = next(((p, c, t) for p, c, t in ends if t.exit_code), None)
    if bad is None:
        return ""
    pod, container, end = bad
    words = end.message.strip()
    if not words:
        query = LogQuery(namespace, pod.name, container.name, container.terminated is None, None, _LAST_LINES)
        words = _last_line(await cluster.logs(query))
    why = f" ({end.reason})" if end.reason not in ("", "Error") else ""
    said = f": {redact(words)[:_LONGEST]}" if words else ""
    return f"its container {container.name} ended with exit code {end.exit_code}{why}{said}"
