"""High Error Rate: group the errors, check the dependencies, roll back a recent deployment, else scale up.

Implements the runbook's section of that name; its numbers (5 replicas) are the defaults. Called by the flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.plan import ActionKind, Step
from app.domain.remediation import Remediation, Scene
from app.kube.actions import scale
from remediations.causes import FirstCause, findings_of, investigate
from remediations.causes.errors import ORIGIN, origin_finding, settled_at
from remediations.causes.neighbours import neighbour_findings
from remediations.evidence.earlier_logs import with_earlier
from remediations.evidence.error_lines import TOKENS, Nature
from remediations.evidence.logs import errors_finding, read_errors
from remediations.evidence.pods import pods_finding, troubles, unread_pods
from remediations.evidence.rollouts import RollbackParams, read_revisions, rollout_finding
from remediations.evidence.services import (
    Metric,
    dependency_findings,
    failed_dependencies,
    healthy_dependencies,
    known,
    latency_metric,
    measured,
    metric_finding,
    names_dependency,
    throttling_metric,
    unknown_dependencies,
    with_symptom,
    with_the_errors,
)
from remediations.evidence.units import count, joined, percent, seconds, short
from remediations.evidence.usage import usage_finding
from remediations.params import Names, Query, Replicas, Seconds, Share
from remediations.queries import ERROR_RATIO, LATENCY, THROTTLING
from remediations.steps import act, refuse, rollback_step

ROLL_BACK, SCALE_UP = "roll-back", "scale-up"
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
        findings = (*pods, *rollout, *with_the_errors(dependencies, errors), *metrics)
        return Diagnosis(_summary(Diagnosis("", findings)), findings)

    async def ladder(self, scene: Scene, params: HighErrorRateParams, diagnosis: Diagnosis) -> Sequence[Step]:
        """Roll back, then scale up."""
        steps = (await _roll_back(scene, params, diagnosis), _scale_up(scene, params, diagnosis))
        return with_symptom(steps, scene, diagnosis, _errors_metric(params))


async def _pods(scene: Scene, params: HighErrorRateParams) -> list[Finding]:
    found = await investigate(scene)
    pods = found.seen.pods
    if why := found.seen.unread.get("pods"):
        return [unread_pods(why)]
    log, usage = await asyncio.gather(
        read_errors(scene.cluster, pods, scene.now, params.logs, params.tokens),
        usage_finding(scene.cluster, scene.workload, pods),
    )
    state = pods_finding(scene.workload, pods, troubles(pods, scene.fired_at))
    neighbours = await neighbour_findings(scene, [g.example for g in log.groups])
    named = (f for f in neighbours if str(f.data["name"]) not in params.dependencies)
    moment = settled_at(found.seen)
    if moment is not None and (scene.now - moment).total_seconds() <= params.recent_deployment:
        newest = [p for p in found.seen.alive if found.seen.newest(p)]
        log = await with_earlier(scene.cluster, log, newest, moment, scene.now)
    origin = origin_finding(found.seen, log)
    cause = findings_of(found)[:2]
    return [errors_finding(log), state, *cause, *([origin] if origin else []), usage, *named]


async def _rollout(scene: Scene, params: HighErrorRateParams) -> list[Finding]:
    found = await read_revisions(scene.cluster, scene.workload)
    return [rollout_finding(found, scene, params)]


def _errors_metric(params: HighErrorRateParams) -> Metric:
    return Metric(
        "metrics.errors", "5xx", params.error_query, lambda v: f"{percent(v)} of the requests fail (5xx)"
    )


async def _metrics(scene: Scene, params: HighErrorRateParams) -> list[Finding]:
    asked = (
        _errors_metric(params),
        latency_metric(params.latency_query),
        throttling_metric(params.throttling_query),
    )
    found = await asyncio.gather(*(metric_finding(scene, metric) for metric in asked))
    return [f for f in found if f is not None]


def _summary(diagnosis: Diagnosis) -> str:
    first = known(diagnosis, "errors.grouped") or known(diagnosis, "metrics.errors", "pods.state")
    first = first or [f.text for f in diagnosis.findings[:1]]
    cause = FirstCause(diagnosis)
    named = [cause.text] if cause.sure else []
    parts = [
        *first,
        *named,
        *known(diagnosis, "rollout.recent"),
        *(f.text for f in failed_dependencies(diagnosis)),
    ]
    if healthy := healthy_dependencies(diagnosis):
        parts.append(_answer(healthy))
    return joined(parts)


def _answer(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} {'answers' if len(names) == 1 else 'answer'}"


class _Errors:
    """What the finding `errors.grouped` says, for decisions."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        finding = diagnosis.finding("errors.grouped")
        data: Any = finding.data if finding and finding.certainty is Certainty.KNOWN else {}
        self.none = "errors" in data and not data["errors"]
        """The logs could be read and have no error lines."""
        self.total: int = data.get("errors", 0)
        self._groups: Sequence[Any] = data.get("groups", ())
        self._natures: Mapping[str, int] = data.get("natures", {})

    @property
    def top(self) -> str:
        """The most frequent error in words, empty when there is none."""
        if not self._groups:
            return ""
        group = self._groups[0]
        return f'"{short(group["key"], 120)}" ({group["count"]:,} of {self.total:,} error lines)'

    def share(self, nature: Nature) -> float:
        """Part of the error lines of this nature."""
        return self._natures.get(nature.value, 0) / self.total if self.total else 0.0


async def _roll_back(scene: Scene, params: HighErrorRateParams, diagnosis: Diagnosis) -> Step:
    rollout, errors = diagnosis.finding("rollout.recent"), _Errors(diagnosis)
    if rollout is None or rollout.certainty is Certainty.UNKNOWN:
        return refuse(ROLL_BACK, rollout.text if rollout else "the rollout history was not read")
    if rollout.data["recent"] is not True:
        if rollout.data["nothing_older"] is True:
            return await rollback_step(
                ROLL_BACK, rollout.text, scene, params
            )  # says why there is no way back
        return refuse(ROLL_BACK, f"no recent deployment to roll back: {rollout.text}")
    if rollout.data["restored"] is True:
        return refuse(
            ROLL_BACK, f"{rollout.text}, and it still fires", "deploy a known good version from its source"
        )
    if rollout.data["after_alert"] is True:
        return refuse(ROLL_BACK, f"{rollout.text}, so it is not the cause and perhaps a repair")
    if errors.none and not (measured(diagnosis, "metrics.errors") or 0) >= _SOME_FAIL:
        return refuse(
            ROLL_BACK, f"the logs have no errors that a deployment could have brought: {rollout.text}"
        )
    if no := _dependency_first(diagnosis, errors, "an older version needs it as well"):
        return Step(ROLL_BACK, no.why, advice=no.advice)
    if no := _innocent(diagnosis, errors):
        return no
    unsure = unknown_dependencies(diagnosis)
    if unsure and errors.share(Nature.DEPENDENCY) >= 0.5:
        return refuse(
            ROLL_BACK,
            f"the errors speak of a dependency, and whether one is down is not known: {unsure[0].text}",
            f"check {_meant(unsure, errors.top)}; the most frequent error is {errors.top}",
        )
    parts = [rollout.text]
    if errors.top:
        parts.append(f"most frequent is {errors.top}")
    if healthy := healthy_dependencies(diagnosis):
        parts.append(_answer(healthy))
    return await rollback_step(ROLL_BACK, joined(parts), scene, params)


def _meant(unsure: Sequence[Finding], error: str) -> str:
    """The dependency that the error names; one that it does not name is no hint."""
    return next((str(f.data["name"]) for f in unsure if names_dependency(f, error)), "what the error names")


def _innocent(diagnosis: Diagnosis, errors: _Errors) -> Step | None:
    """The step that is refused because the last rollout did not bring this, or nobody can tell; None when it can have."""
    cause, origin = FirstCause(diagnosis), diagnosis.finding(ORIGIN)
    if acquitted := cause.acquits:
        return refuse(ROLL_BACK, acquitted, cause.advice)
    if origin is None:
        return None
    if origin.data["rollout"] is not True:
        return refuse(
            ROLL_BACK,
            origin.text,
            f"look at what changed {origin.data['instead']}" if origin.data["instead"] else "",
        )
    if origin.data["dependency"] is True and not healthy_dependencies(diagnosis):
        if origin.data["only_newest"] is True or unknown_dependencies(diagnosis):
            return None  # told from the old version, or refused with the dependency's name below
        return refuse(
            ROLL_BACK,
            f"the errors speak of a dependency, and none is checked: {errors.top}",
            f"check what the pods connect to, and name it in the rule's params (dependencies); the most frequent error is {errors.top}",
        )
    return None


def _dependency_first(diagnosis: Diagnosis, errors: _Errors, why: str) -> Step | None:
    failed = failed_dependencies(diagnosis)
    if not failed:
        return None
    down = "; ".join(f.text for f in failed)
    names = " and ".join(str(f.data["name"]) for f in failed)
    about = f"; the most frequent error is {errors.top}" if errors.top else ""
    return refuse("", f"{names} is down and {why}: {down}", f"restore {names} first ({down}){about}")


def _scale_up(scene: Scene, params: HighErrorRateParams, diagnosis: Diagnosis) -> Step:
    errors, cause = _Errors(diagnosis), FirstCause(diagnosis)
    if no := _dependency_first(diagnosis, errors, "more replicas would load it more"):
        return Step(SCALE_UP, no.why, advice=no.advice)
    if cause.sure:
        return refuse(SCALE_UP, f"{cause.text}: more replicas would not change that", cause.advice)
    for nature, why, advice in _NOT_CAPACITY:
        if errors.share(nature) >= 0.5:
            return refuse(
                SCALE_UP, f"{why}: {errors.top}", f"{advice}; the most frequent error is {errors.top}"
            )
    signs, measures = _capacity(params, diagnosis, errors)
    if not signs:
        about = f"; the most frequent error is {errors.top}" if errors.top else ""
        return refuse(
            SCALE_UP,
            f"no sign of a capacity problem ({'; '.join(measures) or 'nothing could be measured'})",
            f"find out why {scene.workload.target} fails{about}",
        )
    task = f"find out why {count(scene.workload.desired, 'replica')} did not carry the load, or set the size for good"
    why = f"capacity problem: {'; '.join(signs)}"
    return act(SCALE_UP, why, scale(scene.workload, params.scale_to), open_task=task)


_NOT_CAPACITY = (
    (
        Nature.CODE,
        "the errors come from the code, and more replicas of it fail alike",
        "fix the code or its input",
    ),
    (
        Nature.RATE_LIMIT,
        "a provider limits our requests, and more replicas would ask more often",
        "back off, spread the load over more API keys, cache, or ask the provider for a higher limit",
    ),
    (
        Nature.DEPENDENCY,
        "the errors speak of a dependency, and more replicas would load it more",
        "check what the pods connect to, also its connection limit",
    ),
)


def _capacity(
    params: HighErrorRateParams, diagnosis: Diagnosis, errors: _Errors
) -> tuple[list[str], list[str]]:
    """Signs of a capacity problem, and all that was measured, each with its threshold."""
    share = errors.share(Nature.CAPACITY) if errors.total else None
    measures = (
        ("CPU", measured(diagnosis, "usage.pods", "cpu_share"), params.cpu_high, percent, " of the limit"),
        ("CPU throttling", measured(diagnosis, "metrics.throttling"), params.throttling_high, percent, ""),
        ("latency", measured(diagnosis, "metrics.latency"), params.latency_high, seconds, ""),
        ("errors about capacity", share, params.capacity_errors, percent, " of all"),
    )
    signs: list[str] = []
    seen: list[str] = []
    for name, value, high, text, of in measures:
        if value is not None:
            text_of = f"{name} {text(value)}{of} (high from {text(high)})"
            (signs if value >= high else seen).append(text_of)
    return signs, seen
