"""High Latency: look at durations, usage and slow queries, scale out, restart where memory leaks or scaling was not enough.

Implements the runbook's section of that name; its numbers (8 replicas) are the defaults. Called by the flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from app.domain.evidence import Diagnosis, Finding
from app.domain.plan import ActionKind, Step
from app.domain.remediation import Remediation, Scene
from app.kube.actions import rollout_restart, scale
from remediations.causes import CauseCode, FirstCause, findings_of, investigate
from remediations.evidence.leaks import LeakParams, leak_finding, less_sure
from remediations.evidence.logs import errors_finding, read_errors
from remediations.evidence.pods import limits_finding, pods_finding, pods_of, troubles, unread_pods
from remediations.evidence.services import (
    dependency_findings,
    failed_dependencies,
    known,
    latency_metric,
    measured,
    metric_finding,
    shown,
    slow_queries,
    slow_query_findings,
    throttling_metric,
    unreachable,
    with_symptom,
    with_the_errors,
)
from remediations.evidence.units import count, joined, percent
from remediations.evidence.usage import usage_finding
from remediations.params import Names, Query, Replicas, Seconds, Share
from remediations.queries import LATENCY, THROTTLING
from remediations.steps import act, refuse

SCALE_OUT, RESTART = "scale-out", "restart"
_ERRORS_OF = 300  # seconds of logs


class HighLatencyParams(LeakParams):
    """`scale_to`: replicas. A statement is slow from a mean of `slow_query` over `slow_calls` calls. A leak matters
    when a container has used `memory_high` of its limit, CPU throttling from `throttling_high` of the scheduling periods."""

    scale_to: Replicas = 8
    dependencies: Names = ()
    latency_query: Query = LATENCY
    slow_query: Seconds = 1
    slow_calls: int = Field(default=10, ge=1)
    memory_high: Share = 0.8
    throttling_high: Share = 0.25
    throttling_query: Query = THROTTLING


class HighLatency(Remediation[HighLatencyParams]):
    """The handler."""

    name = "high-latency"
    runbook = "High Latency"
    reads_config = True
    steps: tuple[str, ...] = (SCALE_OUT, RESTART)
    params: type[HighLatencyParams] = HighLatencyParams
    actions: frozenset[ActionKind] = frozenset(
        {ActionKind.SCALE, ActionKind.RAISE_MIN_REPLICAS, ActionKind.ROLLOUT_RESTART}
    )

    async def diagnose(self, scene: Scene, params: HighLatencyParams) -> Diagnosis:
        """Request duration, usage, limits, dependencies and their slow queries, memory over time."""
        groups = await asyncio.gather(
            _latency(scene, params), _pods(scene), _databases(scene, params), leak_finding(scene, params)
        )
        latency, pods, databases, leak = groups
        findings = (*latency, *pods, *databases, leak)
        return Diagnosis(_summary(scene, findings), findings)

    async def ladder(self, scene: Scene, params: HighLatencyParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """Scale out, then restart."""
        steps = (_scale_out(scene, params, diagnosis), _restart(scene, params, diagnosis))
        return with_symptom(steps, scene, diagnosis, latency_metric(params.latency_query))


async def _latency(scene: Scene, params: HighLatencyParams) -> list[Finding]:
    latency, throttled = await asyncio.gather(
        metric_finding(scene, latency_metric(params.latency_query)),
        metric_finding(scene, throttling_metric(params.throttling_query)),
    )
    found = [latency] if latency else []
    if throttled is not None and float(str(throttled.data.get("value", 0))) >= params.throttling_high:
        found.append(throttled)  # a CPU limit that holds nothing back is no news
    return found


async def _pods(scene: Scene) -> list[Finding]:
    found = await investigate(scene)
    pods = found.seen.pods
    if why := found.seen.unread.get("pods"):
        return [unread_pods(why), limits_finding(scene.workload)]
    usage = await usage_finding(scene.cluster, scene.workload, pods)
    state = pods_finding(scene.workload, pods, troubles(pods, scene.fired_at))
    return [usage, limits_finding(scene.workload), state, *findings_of(found)[:2]]


async def _databases(scene: Scene, params: HighLatencyParams) -> list[Finding]:
    checked = await dependency_findings(scene.dependencies, params.dependencies)
    if unreachable(checked):
        checked = with_the_errors(checked, await _errors(scene))
    slow = await slow_query_findings(scene.dependencies, checked, params.slow_query, params.slow_calls)
    return [*checked, *slow]


async def _errors(scene: Scene) -> Finding | None:
    """What the workload itself says, asked only where our own check of a dependency cannot tell."""
    pods = await pods_of(scene.cluster, scene.workload)
    if isinstance(pods, Finding):
        return None
    return errors_finding(await read_errors(scene.cluster, pods, scene.now, _ERRORS_OF))


def _summary(scene: Scene, findings: Sequence[Finding]) -> str:
    diagnosis = Diagnosis("", tuple(findings))
    cause = FirstCause(diagnosis)
    parts = [_load(scene, diagnosis), *([cause.text] if cause.sure else [])]
    parts += [f.text for f in (*failed_dependencies(diagnosis), *slow_queries(diagnosis))]
    if shown(diagnosis, "memory.leak", "leak"):
        parts += known(diagnosis, "memory.leak")
    return joined(parts)


def _elsewhere(diagnosis: Diagnosis) -> tuple[str, str] | None:
    """The cause when neither size nor age of the pods is it: what it is, and what a person should do about it."""
    if failed := failed_dependencies(diagnosis):
        names = " and ".join(str(f.data["name"]) for f in failed)
        down = "; ".join(f.text for f in failed)
        return f"{names} is down: {down}", f"restore {names} first ({down})"
    if slow := slow_queries(diagnosis):
        text = slow[0].text
        return f"slow queries are the cause: {text}", f"speed up the query or add an index: {text}"
    cause = FirstCause(diagnosis)
    if cause.sure and cause.code is not CauseCode.OUT_OF_MEMORY:
        return cause.text, cause.advice
    return None


def _scale_out(scene: Scene, params: HighLatencyParams, diagnosis: Diagnosis) -> Step:
    if cause := _elsewhere(diagnosis):
        return refuse(SCALE_OUT, f"{cause[0]}, and more replicas would not change that", cause[1])
    if SCALE_OUT in scene.history.tried and SCALE_OUT not in scene.history.not_taken:
        return refuse(SCALE_OUT, "it was scaled out in this incident already, and latency stayed high")
    leak = diagnosis.finding("memory.leak")
    used = measured(diagnosis, "usage.pods", "memory_share")
    if leak and shown(diagnosis, "memory.leak", "leak") and used is not None and used >= params.memory_high:
        why = f"{leak.text}, and a container has used {percent(used)} of its limit: new pods help, more pods do not"
        return refuse(SCALE_OUT, why)
    task = f"find out why {count(scene.workload.desired, 'replica')} did not carry the load, or set the size for good"
    if diagnosis.finding("metrics.throttling") is not None:
        task = "raise or remove the CPU limit that throttles the containers, or set the size for good"
    built = scale(scene.workload, params.scale_to)
    return act(SCALE_OUT, _load(scene, diagnosis), built, open_task=task)


def _load(scene: Scene, diagnosis: Diagnosis) -> str:
    measures = known(diagnosis, "metrics.latency", "metrics.throttling", "usage.pods")
    return joined([count(scene.workload.desired, "replica"), *measures])


def _restart(scene: Scene, params: HighLatencyParams, diagnosis: Diagnosis) -> Step:
    if cause := _elsewhere(diagnosis):
        return refuse(RESTART, f"{cause[0]}, and a restart does not change that", cause[1])
    leak = diagnosis.finding("memory.leak")
    task = "find out what the restart freed, or the latency comes back"
    if leak and shown(diagnosis, "memory.leak", "leak"):
        why = f"{leak.text}; a restart frees it for a while"
        task = f"find the leak ({leak.text}): it will fill up again"
    elif missed := scene.history.not_taken.get(SCALE_OUT):
        return refuse(
            RESTART, f"scaling out never came about, so that nothing is known of what it does: {missed}"
        )
    elif SCALE_OUT in scene.history.tried:
        why = "latency stayed high after scaling out"
    elif scene.workload.desired >= params.scale_to:
        why = f"latency is high although {count(scene.workload.desired, 'replica')} run already"
    else:
        seen = leak.text if leak else "memory was not looked at"
        return refuse(
            RESTART, f"no leak is shown and scaling out was not tried yet ({seen})", _advice(diagnosis)
        )
    step = act(RESTART, why, rollout_restart(scene.workload, scene.now), open_task=task)
    return replace(step, asks=less_sure(diagnosis)) if leak and why.startswith(leak.text) else step


def _advice(diagnosis: Diagnosis) -> str:
    usage = diagnosis.finding("usage.pods")
    return (
        f"find out where the time goes: trace slow requests, look at what they wait for ({usage.text})"
        if usage
        else ""
    )
