"""High Error Rate: group the errors, check the dependencies, roll back a recent deployment, else scale up.

Implements the runbook's section of that name; its numbers (5 replicas) are the defaults. Called by the flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from app.domain.evidence import Certainty, Diagnosis, Finding, Trouble
from app.domain.loads import beside_at_limit, hot_pod
from app.domain.plan import ActionKind, Step
from app.domain.remediation import Remediation, Scene
from app.kube.actions import scale
from remediations.causes import FirstCause, first_findings, investigate
from remediations.causes.changes import Measured, deployed_at, measured_since, with_beginning
from remediations.causes.compared import go_on
from remediations.causes.ended import ended_finding
from remediations.causes.investigate import errors_of, with_neighbours
from remediations.causes.objections import (
    OF_OTHERS,
    ROLL_BACK,
    accused,
    acquitted,
    against_more,
    answers,
    cut_off,
    dependency_first,
    doubt_of,
    ended_in_part,
    errors_over,
    innocent,
    no_capacity,
    shown_by,
)
from remediations.causes.pods import where_alone
from remediations.causes.report import ORIGIN, beware_of, origin_finding, stands_by_design
from remediations.causes.silent import used_up_since
from remediations.causes.strained import beside_load, by_load, perhaps_never_up
from remediations.evidence.capacity import not_measured, other_signs
from remediations.evidence.error_lines import TOKENS
from remediations.evidence.error_words import Nature
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
from remediations.evidence.rollouts import RollbackParams, read_revisions, rollback_step, rollout_finding
from remediations.evidence.usage import (
    Metric,
    about_neighbours,
    changed_neighbours,
    count,
    dependency_findings,
    failed_dependencies,
    healthy_dependencies,
    joined,
    known,
    latency_metric,
    measured,
    metric_finding,
    names_dependency,
    percent,
    throttling_finding,
    unknown_dependencies,
    usage_finding,
    with_symptom,
    with_the_errors,
)
from remediations.shared import (
    ERROR_RATIO,
    LATENCY,
    THROTTLING,
    Names,
    Query,
    Replicas,
    Seconds,
    Share,
    act,
    asking,
    cause_counted,
    errors_counted,
    no_way_back,
    of_many,
    pods_counted,
    refuse,
    warned,
)

SCALE_UP = "scale-up"
_SOME_FAIL = 0.01  # share of failing requests that shows errors where the logs show none


class HighErrorRateParams(RollbackParams):
    """`scale_to`: replicas. The `*_high`
    values and `capacity_errors` (share of the error lines) are the signs of a capacity problem."""

    scale_to: Replicas = 5
    dependencies: Names = ()
    logs: Seconds = 300
    tokens: tuple[str, ...] = Field(default=TOKENS, min_length=1)
    cpu_high: Share = 0.85
    throttling_high: Share = 0.25
    latency_high: Seconds = 2
    capacity_errors: Share = 0.5
    error_query: Query = ERROR_RATIO
    latency_query: Query = LATENCY
    throttling_query: Query = THROTTLING


class HighErrorRate(Remediation[HighErrorRateParams]):
    """The handler."""

    name = "high-error-rate"
    runbook = "High Error Rate"
    reads_config = True
    ordered_params: frozenset[str] = frozenset({"scale_to"})
    steps: tuple[str, ...] = (ROLL_BACK, SCALE_UP)
    params: type[HighErrorRateParams] = HighErrorRateParams
    actions: frozenset[ActionKind] = frozenset(
        {ActionKind.ROLL_BACK, ActionKind.DELETE_POD, ActionKind.SCALE, ActionKind.RAISE_MIN_REPLICAS}
    )

    async def diagnose(self, scene: Scene, params: HighErrorRateParams) -> Diagnosis:
        """Grouped errors, dependencies, error metrics, rollout history, pods and their usage."""
        groups = await asyncio.gather(
            _pods(scene, params),
            _rollout(scene, params),
            dependency_findings(scene.dependencies, params.dependencies),
            _metrics(scene, params),
        )
        pods, rollout, dependencies, metrics = groups
        errors = next((f for f in pods if f.code == "errors.grouped"), None)
        own, needed = with_neighbours(with_the_errors(dependencies, errors), pods)
        findings = (*own, *rollout, *needed, *metrics)
        found = Diagnosis(_summary(Diagnosis("", findings)), findings)
        rest = stands_by_design(found, scene.now, measured(found, "metrics.errors"), _SOME_FAIL)
        rest = rest or errors_over(found)
        found = replace(found, summary=rest or found.summary, rest=rest)
        return replace(found, troubles=(*_failing(found), *load_counted(found, params.cpu_high)))

    async def ladder(self, scene: Scene, params: HighErrorRateParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """Roll back, then scale up; neither for errors that are over."""
        if over := errors_over(diagnosis):
            return tuple(refuse(name, over) for name in self.steps)
        back = replace(await _roll_back(scene, params, diagnosis), troubles=_failing(diagnosis))
        up = await of_many(_scale_up(scene, params, diagnosis), scene)
        steps = (asking(back, diagnosis.set_aside(few=False)), asking(up, diagnosis.set_aside()))
        return with_symptom(steps, scene, diagnosis, _errors_metric(params), _SOME_FAIL)


def _failing(diagnosis: Diagnosis) -> tuple[Trouble, ...]:
    """What a rollback is for: not that the pods have much to do, nor what only stands beside the errors."""
    cause, errors = FirstCause(diagnosis), errors_counted(diagnosis.finding("errors.grouped"))
    if cause.beside:
        return errors
    return (
        *errors,
        *pods_counted(diagnosis.finding("pods.state")),
        *cause_counted(cause.code or "", sure=cause.sure, unknown=cause.unknown),
    )


async def _pods(scene: Scene, params: HighErrorRateParams) -> list[Finding]:
    found = await investigate(scene)
    pods = found.seen.pods
    if why := found.seen.unread.get("pods"):
        return [unread_pods(why)]
    (log, neighbours), usage = await asyncio.gather(
        errors_of(scene, found, scene.window(params.logs), params.tokens, params.recent_deployment),
        usage_finding(scene.cluster, scene.workload, pods, scene.now),
    )
    state = pods_finding(scene.workload, pods, troubles(pods, scene.fired_at))
    moment, measured = deployed_at(found.seen), Measured()
    if moment is not None and (scene.now - moment).total_seconds() <= params.recent_deployment:
        newest = [p for p in found.seen.alive if found.seen.newest(p)]
        log = await with_beginning(scene.cluster, log, newest, moment, scene.now)
        measured = await measured_since(scene, params.error_query, found.seen, moment)
    origin = origin_finding(found, log, measured)
    ended = None if go_on(log, scene.now) else await ended_finding(scene, log, pods, params.error_query)
    told = [*first_findings(found, log), *filter(None, (origin, ended)), usage]
    return [errors_finding(log), state, *told, *await where_alone(scene, found.seen, log), *neighbours]


async def _rollout(scene: Scene, params: HighErrorRateParams) -> list[Finding]:
    return [rollout_finding(await read_revisions(scene.cluster, scene.workload), scene, params)]


def _errors_metric(params: HighErrorRateParams) -> Metric:
    return Metric(
        "metrics.errors", "5xx", params.error_query, lambda v: f"{percent(v)} of the requests fail (5xx)"
    )


async def _metrics(scene: Scene, params: HighErrorRateParams) -> list[Finding]:
    found = await asyncio.gather(
        metric_finding(scene, _errors_metric(params)),
        metric_finding(scene, latency_metric(params.latency_query)),
        throttling_finding(scene, params.throttling_query),
    )
    return [f for f in found if f is not None]


def _summary(diagnosis: Diagnosis) -> str:
    first = known(diagnosis, "errors.grouped") or known(diagnosis, "metrics.errors", "pods.state")
    first = first or [f.text for f in diagnosis.findings[:1]]
    cause = FirstCause(diagnosis)
    named = [cause.text] if cause.sure else []
    parts = [
        *first,
        *named,
        *known(diagnosis, *ALONE, "rollout.recent"),
        *acquitted(diagnosis),
        *changed_neighbours(diagnosis),
        *(f.text for f in failed_dependencies(diagnosis)),
    ]
    if healthy := healthy_dependencies(diagnosis):
        parts.append(answers(healthy))
    return joined(parts)


async def _roll_back(scene: Scene, params: HighErrorRateParams, diagnosis: Diagnosis) -> Step:
    rollout, errors, cause = diagnosis.finding("rollout.recent"), Errors(diagnosis), FirstCause(diagnosis)
    if rollout is None or rollout.certainty is Certainty.UNKNOWN:
        return refuse(ROLL_BACK, rollout.text if rollout else "the rollout history was not read")
    if rollout.data["recent"] is not True:
        if rollout.data["nothing_older"] is True:
            step = await rollback_step(ROLL_BACK, rollout.text, scene, params)
            return no_way_back(step, rollout.data["revision"], cause.cure)
        return refuse(ROLL_BACK, f"no recent deployment to roll back: {rollout.text}")
    if rollout.data["restored"] is True:
        return refuse(ROLL_BACK, f"{rollout.text}, and it still fires", cause.cure)
    if rollout.data["after_alert"] is True:
        return refuse(ROLL_BACK, f"{rollout.text}, so it is not the cause and perhaps a repair")
    off = cut_off(diagnosis)
    if errors.none and not off and not _fails(diagnosis):
        return refuse(
            ROLL_BACK, f"the logs have no errors that a deployment could have brought: {rollout.text}"
        )
    if no := dependency_first(diagnosis, errors, "an older version needs it as well"):
        return Step(ROLL_BACK, no.why, advice=no.advice)
    if no := innocent(diagnosis, errors):
        return no
    unsure = unknown_dependencies(diagnosis)
    speaks = errors.share(Nature.DEPENDENCY) >= 0.5
    pool = used_up_since(errors, diagnosis.finding(ORIGIN)) if speaks else ""
    if unsure and speaks and not pool:
        return refuse(
            ROLL_BACK,
            f"the errors speak of a dependency, and whether one is down is not known: {unsure[0].text}",
            f"check {_meant(unsure, errors.said)}; the most frequent error is {errors.top}",
        )
    beside = f"{cause.text}, which brings no such error" if cause.beside else ""
    parts = [off, rollout.text, f"most frequent is {errors.top}" if errors.top else "", beside]
    if healthy := healthy_dependencies(diagnosis):
        parts.append(answers(healthy))
    step = await rollback_step(ROLL_BACK, joined(parts), scene, params, shows=shown_by(diagnosis))
    # Whose Service chooses no pod of it has no errors in the logs, and none are needed. What is not known of a cause that is only possible,
    # such as a pod that still starts, is no doubt about the errors: these have their own.
    place = errors.place.text if errors.place is not None else ""
    doubts = (doubt_of(diagnosis), place, pool, ended_in_part(diagnosis), *about_neighbours(diagnosis))
    of_cause = cause.asks if (cause.sure and not cause.beside) or off else ""
    return warned(accused(asking(step, of_cause, *(() if off else doubts)), diagnosis), beware_of(diagnosis))


def _meant(unsure: Sequence[Finding], error: str) -> str:
    """The dependency that the error names; one that it does not name is no hint."""
    return next((str(f.data["name"]) for f in unsure if names_dependency(f, error)), "what the error names")


def _scale_up(scene: Scene, params: HighErrorRateParams, diagnosis: Diagnosis) -> Step:
    errors, cause = Errors(diagnosis), FirstCause(diagnosis)
    if no := dependency_first(diagnosis, errors, "more replicas would load it more"):
        return Step(SCALE_UP, no.why, advice=no.advice)
    limited, measures = at_their_limit(diagnosis, params.cpu_high, params.throttling_high)
    late = by_load(cause, diagnosis, limited) if cause.sure else ""
    beside = beside_load(scene, cause, diagnosis, limited) if cause.sure and not late else ""
    aside = late or beside
    if cause.sure and not aside and not cause.beside:
        return refuse(SCALE_UP, f"{cause.text}: more replicas would not change that", cause.advice)
    no_help = no_capacity(errors, (*OF_OTHERS, Nature.CODE), strained=bool(limited))
    if no_help and not (beside and cause.says_them):
        return refuse(SCALE_UP, *no_help)
    high = {"latency_high": params.latency_high, "errors_high": params.capacity_errors}
    others, seen = other_signs(diagnosis, errors, **high)
    helper = beside_at_limit(limited, diagnosis, params.cpu_high, params.throttling_high)
    signs, measures = [*limited, *others, *filter(None, [helper.text, late])], [*measures, *seen]
    if not signs:
        about = f"; the most frequent error is {errors.top}" if errors.top else ""
        return refuse(
            SCALE_UP,
            f"no sign of a capacity problem ({'; '.join(measures) or 'nothing could be measured'})",
            f"{f'{cause.cure}; or ' if cause.code and cause.cure else ''}find out why {scene.workload.target} fails{about}",
        )
    if cause.sure and not aside:
        why = joined([*signs, f"{cause.text}: more replicas would not come up either"])
        return refuse(SCALE_UP, why, cause.cure)
    task = f"find out why {count(scene.workload.desired, 'replica')} did not carry the load, or set the size for good"
    why = f"capacity problem: {'; '.join(signs)}"
    step = act(SCALE_UP, why, scale(scene.workload, params.scale_to), open_task=task)
    hot = "" if limited else hot_pod(diagnosis, params.cpu_high)
    unmeasured = "" if limited or helper.names or hot else not_measured(others, measures)
    starts = perhaps_never_up(diagnosis) if late else beside
    judged = _release_judged(diagnosis, errors)
    doubts = against_more(diagnosis, strained=bool(limited), own_release_judged=judged)
    return asking(step, hot, helper.doubt, unmeasured, cause.perhaps, starts, *doubts)


def _release_judged(diagnosis: Diagnosis, errors: Errors) -> bool:
    """Whether the ladder's first step has asked if the last rollout brought the errors: not of somebody's return to another version,
    not of a rollout after the alert, whose maker is perhaps still at work, and not where there was no error to judge it by."""
    rollout = diagnosis.finding("rollout.recent")
    data = rollout.data if rollout is not None else {}
    unseen = data.get("recent") and errors.none and not _fails(diagnosis)
    return not (unseen or data.get("restored") or (data.get("recent") and data.get("after_alert")))


def _fails(diagnosis: Diagnosis) -> bool:
    return (measured(diagnosis, "metrics.errors") or 0) >= _SOME_FAIL
