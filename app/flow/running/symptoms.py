"""Does what the alert told of go on, although the alert is gone? An alert also resolves because its source vanished: Prometheus was
restarted, its series are gone, or its rule tells of an event that is over by itself.

Called by the verification: at looks that would count as health for that word, at every look for the number. Asks what was measured when the step was planned, and the pods
themselves. Never judges: it says what the absence of the alert is worth.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from app.domain.errors import RemediatorError, TryLater
from app.domain.plan import Symptom
from app.domain.units import duration
from app.domain.verification import AlertCondition
from app.domain.workload import Workload
from app.flow.services import Services
from app.kube.read import read_pods
from app.store.runs import Run

_BETTER = 0.95
"""Below this part of what it was it has changed at all; how good is good is the alert's own word."""

Word = tuple[AlertCondition, str]


async def goes_on(
    services: Services, run: Run, workload: Workload, when: tuple[datetime, timedelta]
) -> Word | None:
    """Why the alert's absence is no health; None when nothing speaks against it. `when`: our write, and how long health has to
    last."""
    return await _ended_again(services, workload, when) or await _measured(services, run.step.symptom)


async def value_now(services: Services, symptom: Symptom | None) -> float | None:
    """What is measured of the trouble now, for people to see beside what it was; None where nothing is, or nobody can tell."""
    if symptom is None or services.metric_source is None:
        return None
    try:
        rows = await services.metric_source.instant(symptom.query)
    except TryLater:
        return None
    return max((value for _, value in rows if math.isfinite(value)), default=None)


async def _measured(services: Services, symptom: Symptom | None) -> Word | None:
    """What was measured of the trouble has to be measured again, and to have changed."""
    if symptom is None or services.metric_source is None:
        return None
    try:
        rows = await services.metric_source.instant(symptom.query)
        there = bool(rows) or bool(await services.metric_source.instant(symptom.presence))
    except TryLater as error:
        why = f"the alert is gone, and whether its source is gone too is not known: {symptom.what}: {error.message}"
        return AlertCondition.UNREADABLE, why
    if not there:
        text = f"the alert is gone, and so is what it is measured from: {symptom.what} has no value any more"
        return AlertCondition.VANISHED, text
    if symptom.value > 0 and max((value for _, value in rows), default=0.0) >= _BETTER * symptom.value:
        text = f"the alert is gone, and {symptom.what} is as it was before the step: {symptom.value:.3g}"
        return AlertCondition.VANISHED, text
    return None


async def _ended_again(
    services: Services, workload: Workload, when: tuple[datetime, timedelta]
) -> Word | None:
    """Containers that ended in trouble after our write, a moment ago: an alert about such events resolves between two of them."""
    acted_at, lately = when
    now = services.clock.now()
    try:
        pods = await read_pods(services.cluster, workload)
    except RemediatorError as error:
        text = f"the alert is gone, and whether containers go on ending is not known: {error.message}"
        return AlertCondition.UNREADABLE, text
    for pod in pods:
        for state in () if pod.over else pod.containers:
            ended = state.terminated or state.last_terminated
            if ended is None or not (ended.exit_code or ended.reason == "OOMKilled"):
                continue
            at = ended.finished_at
            if at is None or at <= acted_at or now - at >= lately:
                continue
            ago = duration(timedelta(seconds=round((now - at).total_seconds())))
            text = f"the alert is gone, and container {state.name} of {pod.name} ended again {ago} ago ({ended.how})"
            return AlertCondition.VANISHED, text
    return None
