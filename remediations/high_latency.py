"""High Latency: look at durations, usage and slow queries, scale out, restart where memory leaks or scaling was not enough.

Implements the runbook's section of that name; its numbers (8 replicas) are the defaults. Called by the flow. By itself it scales out
only where something that was measured says that the pods are at their own limit, and restarts only where memory is shown to leak: what
the pods wait for makes them slow as well, and more of them would load it more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from app.domain.evidence import Diagnosis, Finding
from app.domain.loads import Beside, beside_at_limit, held_back, hot_pod
from app.domain.plan import ActionKind, Step
from app.domain.remediation import Remediation, Scene
from app.kube.actions import rollout_restart, scale
from remediations.causes import CauseCode, FirstCause, Investigation, first_findings, investigate
from remediations.causes.compared import go_on
from remediations.causes.ended import ended_finding
from remediations.causes.investigate import errors_of, with_neighbours
from remediations.causes.objections import OF_OTHERS, against_more, errors_over, no_capacity
from remediations.causes.outgrown import LEAKS, leak_of_release
from remediations.causes.pods import where_alone
from remediations.causes.report import stands_by_design
from remediations.causes.strained import beside_load, by_load, perhaps_never_up
from remediations.causes.suspects import SLOWER, slower_finding
from remediations.evidence.leaks import LeakParams, leak_finding, less_sure, limits_finding
from remediations.evidence.logs import errors_finding
from remediations.evidence.pods import (
    ALONE,
    Errors,
    at_their_limit,
    load_counted,
    pods_finding,
    troubles,
    unread_pods,
)
from remediations.evidence.usage import (
    count,
    dependency_findings,
    failed_dependencies,
    joined,
    known,
    latency_metric,
    measured,
    metric_finding,
    percent,
    seconds,
    shown,
    slow_queries,
    slow_query_findings,
    throttling_finding,
    usage_finding,
    with_symptom,
    with_the_errors,
)
from remediations.shared import (
    LATENCY,
    THROTTLING,
    Names,
    Query,
    Replicas,
    Seconds,
    Share,
    act,
    asking,
    of_many,
    pods_counted,
    refuse,
    share_counted,
)

SCALE_OUT, RESTART = "scale-out", "restart"
_ERRORS_OF = 300  # seconds of logs
_UNMEASURED = "whether memory is near its limit, which alone makes slow, is not known"


class HighLatencyParams(LeakParams):
    """`scale_to`: replicas. A statement is slow from a mean of `slow_query` over `slow_calls` calls. A leak matters
    when a container has used `memory_high` of its limit. Pods are at their own limit from `cpu_high` of their CPU limit, or with CPU
    throttling from `throttling_high` of the scheduling periods; nothing else scales out without asking. Where 95 % of the requests are answered within `latency_low`, nothing is slow here and nothing is done; where latency is not measured, the same
    holds for pods that use less than `load_low` of their CPU."""

    scale_to: Replicas = 8
    dependencies: Names = ()
    latency_query: Query = LATENCY
    latency_low: Seconds = 0.5
    load_low: Share = 0.1
    slow_query: Seconds = 1
    slow_calls: int = Field(default=10, ge=1)
    memory_high: Share = 0.8
    cpu_high: Share = 0.85
    throttling_high: Share = 0.25
    throttling_query: Query = THROTTLING


class HighLatency(Remediation[HighLatencyParams]):
    """The handler."""

    name = "high-latency"
    runbook = "High Latency"
    reads_config = True
    ordered_params: frozenset[str] = frozenset({"scale_to"})
    steps: tuple[str, ...] = (SCALE_OUT, RESTART)
    params: type[HighLatencyParams] = HighLatencyParams
    actions: frozenset[ActionKind] = frozenset(
        {ActionKind.SCALE, ActionKind.RAISE_MIN_REPLICAS, ActionKind.ROLLOUT_RESTART}
    )

    async def diagnose(self, scene: Scene, params: HighLatencyParams) -> Diagnosis:
        """Request duration, usage, limits, errors, dependencies and their slow queries, memory over time."""
        seen = await investigate(scene)
        latency, pods, checked, leak = await asyncio.gather(
            _latency(scene, params),
            _pods(scene, seen),
            dependency_findings(scene.dependencies, params.dependencies),
            leak_finding(scene, params),
        )
        since = leak_of_release(seen.seen, leak)
        errors = next((f for f in pods if f.code == "errors.grouped"), None)
        checked = with_the_errors(checked, errors)
        slow = await slow_query_findings(scene.dependencies, checked, params.slow_query, params.slow_calls)
        own, needed = with_neighbours(checked, pods)
        findings = (*latency, *own, *needed, *slow, leak, *([since] if since else []))
        found = Diagnosis(_summary(scene, findings), findings)
        rest = stands_by_design(found, scene.now, measured(found, "metrics.latency"), params.latency_low)
        rest = rest or _over(params, found)
        found = replace(found, summary=rest or found.summary, rest=rest)
        used = measured(found, "usage.pods", "memory_share")
        leaks = shown(found, "memory.leak", "leak")
        memory = share_counted("memory of the limit", used if leaks else None, params.memory_high)
        state = pods_counted(found.finding("pods.state"))
        return replace(found, troubles=(*load_counted(found, params.cpu_high), *memory, *state))

    async def ladder(self, scene: Scene, params: HighLatencyParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """Scale out, then restart; a question where the last release took from its pods what they lack now. Neither for errors that are over."""
        if over := _over(params, diagnosis):
            return tuple(refuse(name, over) for name in self.steps)
        out = await of_many(_scale_out(scene, params, diagnosis), scene)
        steps = [asking(s, diagnosis.set_aside()) for s in (out, _restart(scene, params, diagnosis))]
        if slower := diagnosis.finding(SLOWER):
            doubt = f"{slower.text}: a rollback of that release may fit better"
            steps = [asking(step, doubt) for step in steps]
        return with_symptom(steps, scene, diagnosis, latency_metric(params.latency_query), params.latency_low)


async def _latency(scene: Scene, params: HighLatencyParams) -> list[Finding]:
    latency, throttled = await asyncio.gather(
        metric_finding(scene, latency_metric(params.latency_query)),
        throttling_finding(scene, params.throttling_query),
    )
    found = [latency] if latency else []
    if throttled is not None and held_back(throttled, params.throttling_high):
        found.append(throttled)  # a CPU limit that holds nothing back is no news
    return found


async def _pods(scene: Scene, found: Investigation) -> list[Finding]:
    pods = found.seen.pods
    if why := found.seen.unread.get("pods"):
        return [unread_pods(why), limits_finding(scene.workload)]
    (log, neighbours), usage = await asyncio.gather(
        errors_of(scene, found, _ERRORS_OF),
        usage_finding(scene.cluster, scene.workload, pods, scene.now),
    )
    state = pods_finding(scene.workload, pods, troubles(pods, scene.fired_at))
    slower = slower_finding(found.seen)
    errors = (
        [errors_finding(log)] if log.errors or log.warned or log.everyday or not log.known else []
    )  # without any, nothing is to be told
    told = [usage, limits_finding(scene.workload), state, *first_findings(found, log), *errors]
    told += await where_alone(scene, found.seen, log)
    ended = None if go_on(log, scene.now) else await ended_finding(scene, log, pods)
    return [*told, *filter(None, (ended, slower)), *neighbours]


def _summary(scene: Scene, findings: Sequence[Finding]) -> str:
    diagnosis = Diagnosis("", tuple(findings))
    cause = FirstCause(diagnosis)
    parts = [_load(scene, diagnosis), *([cause.text] if cause.sure else filter(None, [cause.of_size]))]
    parts += known(diagnosis, SLOWER, *ALONE)
    parts += [f.text for f in (*failed_dependencies(diagnosis), *slow_queries(diagnosis))]
    if shown(diagnosis, "memory.leak", "leak"):
        parts += known(diagnosis, "memory.leak")
    return joined(parts)


def _elsewhere(scene: Scene, params: HighLatencyParams, diagnosis: Diagnosis) -> tuple[str, str] | None:
    """The cause when neither size nor age of the pods is it: what it is, and what a person should do about it."""
    if failed := failed_dependencies(diagnosis):
        names = " and ".join(str(f.data["name"]) for f in failed)
        down = "; ".join(f.text for f in failed)
        return f"{names} is down: {down}", f"restore {names} first ({down})"
    if slow := slow_queries(diagnosis):
        text = slow[0].text
        return f"slow queries are the cause: {text}", f"speed up the query or add an index: {text}"
    cause = FirstCause(diagnosis)
    limited, _ = _limited(params, diagnosis)
    late = by_load(cause, diagnosis, limited)
    aside = "" if late else beside_load(scene, cause, diagnosis, limited)
    if cause.sure and cause.code is not CauseCode.OUT_OF_MEMORY and not (late or aside):
        return joined([*limited, cause.text]), cause.advice
    if aside and cause.says_them:
        return None  # what is said of that cause says nothing of the others
    return no_capacity(Errors(diagnosis), OF_OTHERS, strained=bool(limited))


def _over(params: HighLatencyParams, diagnosis: Diagnosis) -> str:
    """Why nothing is to be done: what made it slow, as the errors tell, is over, and what is measured of the last minutes tells of it still. Empty where something
    that lasts explains it: pods at their limit that failed by nobody else's fault, a leak, slow queries."""
    over, (limited, _) = errors_over(diagnosis), _limited(params, diagnosis)
    lasts = limited and not no_capacity(Errors(diagnosis), OF_OTHERS, strained=True)
    return "" if lasts or slow_queries(diagnosis) or shown(diagnosis, "memory.leak", "leak") else over


def _limited(params: HighLatencyParams, diagnosis: Diagnosis) -> tuple[list[str], list[str]]:
    return at_their_limit(diagnosis, params.cpu_high, params.throttling_high)


def _doubts(scene: Scene, params: HighLatencyParams, diagnosis: Diagnosis) -> list[str]:
    """Why only a person may say that more replicas help."""
    limited, seen = _limited(params, diagnosis)
    unseen = f"nothing measured says that the pods are at their limit ({'; '.join(seen) or 'nothing could be measured'})"
    first = FirstCause(diagnosis)
    # Who answers late gets its requests: that a Service may send some to a port without a listener is no cause of that.
    possible = "" if first.code is CauseCode.SERVICE_PORT else first.perhaps
    if (beside := _beside(params, diagnosis)).names:
        unseen = f"{beside.text}; {beside.doubt}"
    unseen = hot_pod(diagnosis, params.cpu_high) or unseen
    aside = "" if by_load(first, diagnosis, limited) else beside_load(scene, first, diagnosis, limited)
    return [*([] if limited else [unseen]), aside, possible, *against_more(diagnosis, strained=bool(limited))]


def _beside(params: HighLatencyParams, diagnosis: Diagnosis) -> Beside:
    limited, _ = _limited(params, diagnosis)
    return beside_at_limit(limited, diagnosis, params.cpu_high, params.throttling_high)


def _not_slow(scene: Scene, params: HighLatencyParams, diagnosis: Diagnosis) -> tuple[str, str] | None:
    """What speaks against any trouble of this workload: what was measured, and what a person should look at. After a step of ours that is what
    the step was for, and no news about the alert."""
    elsewhere = "look at what the alert measures, it may be about another workload"
    after = [name for name in (SCALE_OUT, RESTART) if name in scene.history.tried]
    if after:
        elsewhere = (
            f"look over what time the alert measures: it may fire on for a while after the {after[-1]}"
        )
    latency = measured(diagnosis, "metrics.latency")
    if latency is not None and latency < params.latency_low:
        fast = f"within the {seconds(params.latency_low)} that count as fast"
        why = f"{joined(known(diagnosis, 'metrics.latency'))}, {fast}"
        return why, f"{elsewhere}; latency_low says what counts as fast"
    load = measured(diagnosis, "usage.pods", "cpu_share")
    if (
        latency is None
        and load is not None
        and load < params.load_low
        and not diagnosis.finding("metrics.throttling")
        and not _beside(params, diagnosis).names
    ):
        why = f"latency is not measured and the pods have nothing to do ({joined(known(diagnosis, 'usage.pods'))})"
        return why, elsewhere
    return None


def _scale_out(scene: Scene, params: HighLatencyParams, diagnosis: Diagnosis) -> Step:
    if cause := _elsewhere(scene, params, diagnosis):
        return refuse(SCALE_OUT, f"{cause[0]}, and more replicas would not change that", cause[1])
    if calm := _not_slow(scene, params, diagnosis):
        return refuse(SCALE_OUT, f"nothing shows that more replicas are needed: {calm[0]}", calm[1])
    if SCALE_OUT in scene.history.tried and SCALE_OUT not in scene.history.not_taken:
        stayed = "which helped in part" if SCALE_OUT in scene.history.helped else "and latency stayed high"
        return refuse(SCALE_OUT, f"it was scaled out in this incident already, {stayed}")
    leak = diagnosis.finding("memory.leak")
    used = measured(diagnosis, "usage.pods", "memory_share")
    limited, _ = _limited(params, diagnosis)
    full = shown(diagnosis, "memory.leak", "leak") and used is not None and used >= params.memory_high
    # What is measured of their CPU is surer than such a leak: neither step is taken for it without asking.
    unsure = less_sure(diagnosis) if limited and full else ""
    if leak and used is not None and full and not unsure:
        why = f"{leak.text}, and a container has used {percent(used)} of its limit: new pods help, more pods do not"
        return refuse(SCALE_OUT, why)
    task = f"find out why {count(scene.workload.desired, 'replica')} did not carry the load, or set the size for good"
    if diagnosis.finding("metrics.throttling") is not None:
        task = "raise or remove the CPU limit that throttles the containers, or set the size for good"
    if (beside := _beside(params, diagnosis)).names:
        task = f"{beside.cure}, or set the size for good"
    if stuck := _autoscaler(diagnosis):
        task = f"{task}; {stuck}"
    built = scale(scene.workload, params.scale_to)
    first = FirstCause(diagnosis)
    if measured(diagnosis, "pods.state", "ready") == 0 and not limited:
        return refuse(
            SCALE_OUT, f"no pod is ready, and none is measured at its limit: {first.text}", first.advice
        )
    late = by_load(first, diagnosis, limited)
    step = act(SCALE_OUT, joined([_load(scene, diagnosis), *filter(None, [late])]), built, open_task=task)
    return asking(step, late and perhaps_never_up(diagnosis), unsure, *_doubts(scene, params, diagnosis))


def _autoscaler(diagnosis: Diagnosis) -> str:
    """What a person does about an autoscaler that brought no more pods; empty without one."""
    cause = FirstCause(diagnosis)
    return cause.advice if cause.code is CauseCode.AUTOSCALER else ""


def _load(scene: Scene, diagnosis: Diagnosis) -> str:
    measures = known(diagnosis, "metrics.latency", "metrics.throttling", "usage.pods")
    return joined([count(scene.workload.desired, "replica"), *measures])


def _restart(scene: Scene, params: HighLatencyParams, diagnosis: Diagnosis) -> Step:
    if cause := _elsewhere(scene, params, diagnosis):
        return refuse(RESTART, f"{cause[0]}, and a restart does not change that", cause[1])
    leak = diagnosis.finding("memory.leak")
    leaks = shown(diagnosis, "memory.leak", "leak")
    used = measured(diagnosis, "usage.pods", "memory_share")
    near = used is None or used >= params.memory_high
    task = "find out what the restart freed, or the latency comes back"
    if leak and leaks and near:
        since = diagnosis.finding(LEAKS)
        brought = f"{since.text}: a rollback of that release may fit better" if since else ""
        task = f"find the leak{', or roll the last release back' if since else ''} ({leak.text}): it will fill up again"
        step = act(
            RESTART,
            joined([leak.text, "a restart frees it for a while", brought]),
            rollout_restart(scene.workload, scene.now),
            open_task=task,
        )
        return asking(step, less_sure(diagnosis), _UNMEASURED if used is None else "", brought)
    if calm := _not_slow(scene, params, diagnosis):
        return refuse(RESTART, f"nothing shows that a restart is needed: {calm[0]}", calm[1])
    if missed := scene.history.not_taken.get(SCALE_OUT):
        return refuse(
            RESTART, f"scaling out never came about, so that nothing is known of what it does: {missed}"
        )
    if SCALE_OUT in scene.history.tried:
        eased = "latency is still high after scaling out, which helped in part"
        why = eased if SCALE_OUT in scene.history.helped else "latency stayed high after scaling out"
    elif scene.workload.desired >= params.scale_to:
        why = f"latency is high although {count(scene.workload.desired, 'replica')} run already"
    else:
        seen = leak.text if leak else "memory was not looked at"
        no = f"no leak is shown and scaling out was not tried yet ({seen})"
        if leaks:
            no = f"{seen}, and the fullest container has used {percent(used or 0)} of its limit, which slows nothing down (high from {percent(params.memory_high)})"
        return refuse(RESTART, no, _advice(diagnosis))
    step = act(RESTART, why, rollout_restart(scene.workload, scene.now), open_task=task)
    return asking(step, "nothing that was measured says that a restart helps")


def _advice(diagnosis: Diagnosis) -> str:
    usage = diagnosis.finding("usage.pods")
    return (
        f"find out where the time goes: trace slow requests, look at what they wait for ({usage.text})"
        if usage
        else ""
    )
