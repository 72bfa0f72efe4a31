"""Does what the alert told of go on, although the alert is gone? An alert also resolves because its source vanished: Prometheus was
restarted, its series are gone, or its rule tells of an event that is over by itself.

Called by the verification: at every look for the alert's word and the number, at looks that would count as health for what that word is worth. Asks what was measured when
the step was planned, and the pods themselves. The other way round, `gone` tells whether what a step was for is gone although the alert
fires on, as one does that counts over a long window. What is there of the target is told here too, or who deletes it. Never judges: it says what
the alert's absence or presence is worth.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from app.domain.actuator import Effect
from app.domain.alert_report import Reported, combined
from app.domain.errors import ObjectMissing, ProbeUnavailable, RemediatorError, TryLater
from app.domain.evidence import Diagnosis, LookedAgain, Trouble, look_again
from app.domain.plan import Symptom
from app.domain.ports import MetricSource
from app.domain.remediation import AnyRemediation, Params, Remediation
from app.domain.target import Kind, Target
from app.domain.units import duration
from app.domain.verification import AlertCondition
from app.domain.workload import RolloutState, RolloutStatus, Workload
from app.flow.deciding import facts
from app.flow.deciding.history import source_gone
from app.flow.deciding.investigate import guarded, scene_of
from app.flow.deciding.marks import leaving, why_off_limits
from app.flow.running import journal
from app.flow.services import Services
from app.kube.hands import Hand
from app.kube.read import View, read_pods, read_workload
from app.kube.rollout import rollout_status
from app.policy.gates.target import off_limits_by_name
from app.store import incidents
from app.store.incidents import Incident, StoredAlert
from app.store.runs import Run

_BETTER = 0.95
"""Below this part of what it was it has changed at all; how good is good is the alert's own word."""

_STALE = 180.0
"""Seconds after the newest sample from which there is no measurement any more, whatever a query still answers: three scrapes of a minute."""

_SHOWN = 2.0
"""Seconds that a look waits for a number that is only shown."""

Word = tuple[AlertCondition, str]
Rows = Sequence[tuple[Mapping[str, str], float]]


async def alert_now(
    services: Services, incident: Incident, alerts: tuple[StoredAlert, ...], began: datetime
) -> tuple[AlertCondition, str]:
    """The alert's word: gone only when told so, by a resolved message or by the source. All alerts that fire are looked at."""
    if incident.manual is not None:
        return AlertCondition.NONE, "no alert belongs to a manual order"
    if not alerts:
        vanished = await services.store.read(lambda conn: source_gone(conn, incident.id))
        return (
            (AlertCondition.VANISHED, vanished)
            if vanished
            else (AlertCondition.GONE, "the alert has resolved")
        )
    reports = await facts.reports(services, alerts)
    firing = sum(r.state is Reported.FIRING for r in reports)
    if firing:
        return AlertCondition.FIRING, f"{firing} of {len(reports)} alerts still fire"
    told = tuple(a for a, r in zip(alerts, reports, strict=True) if r.state is Reported.TOLD)
    if told and (heard := _told(told, began))[0] is AlertCondition.FIRING:
        return heard
    word = combined(reports)
    match word.state:
        case Reported.SILENCED:
            return AlertCondition.SILENCED, f"its state says nothing: {word.text}"
        case Reported.UNKNOWN:
            return AlertCondition.UNREADABLE, word.text
        case Reported.TOLD:
            return _told(told, began)
        case _:
            return AlertCondition.GONE, word.text


def _told(alerts: tuple[StoredAlert, ...], began: datetime) -> tuple[AlertCondition, str]:
    newest = max(a.last_seen for a in alerts)
    if newest > began:
        return AlertCondition.FIRING, "the alert was sent as firing again after the action"
    return (
        AlertCondition.TOLD_EARLIER,
        "no resolved message yet (it may never come when the alert is silenced)",
    )


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
        async with asyncio.timeout(_SHOWN):
            rows = await services.metric_source.instant(symptom.query)
    except (RemediatorError, TimeoutError):
        return None
    return max((value for _, value in rows if math.isfinite(value)), default=None)


async def _measured(services: Services, symptom: Symptom | None) -> Word | None:
    """What was measured of the trouble has to be measured again, and to have changed."""
    if symptom is None or services.metric_source is None:
        return None
    try:
        rows, there = await _measure(services.metric_source, symptom)
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


async def gone(
    services: Services, run: Run, workload: Workload, incident: Incident, acted_at: datetime
) -> LookedAgain:
    """Whether what the step was for is gone: what its diagnosis counted and what was measured of it, looked at again in the same way."""
    symptom, before = run.step.symptom, list(run.step.troubles)
    after = list(await troubles_since(services, run, workload, incident, acted_at)) if before else []
    if symptom is not None and services.metric_source is not None:
        before.append(Trouble(symptom.what, symptom.value, symptom.fine))
        value = await _value(services.metric_source, symptom)
        after += [] if value is None else [Trouble(symptom.what, value)]
    return look_again(before, after, symptom.what if symptom is not None else "")


async def counted_again(
    services: Services, run: Run, workload: Workload, incident: Incident, acted_at: datetime
) -> LookedAgain:
    """The same of an alert that is gone: whether what the step's diagnosis counted goes on. Where what users feel is measured, that has been asked
    (`goes_on`), and what follows the load is no trouble by itself. A measure that fell to nothing is no second witness beside the alert that
    is made of it: another version may give its answers other labels."""
    source, symptom = services.metric_source, run.step.symptom
    value = await _value(source, symptom) if symptom is not None and source is not None else None
    measured = symptom is not None and value is not None and (value > 0 or symptom.value <= 0)
    before = [trouble for trouble in run.step.troubles if not trouble.of_load or trouble.needs]
    if measured or not any(trouble.there for trouble in before):
        return LookedAgain(None, "")
    return look_again(before, await troubles_since(services, run, workload, incident, acted_at))


async def effect_of(
    services: Services, run: Run, workload: Workload, incident: Incident, since: datetime
) -> Effect | None:
    """What the run's handler measures of its step, carried out at `since`."""
    if (known := _handler_of(services, run)) is None:
        return None
    (handler, params), scene = known, scene_of(services, workload, incident, since)

    def failed(why: str) -> Effect | None:
        return Effect(None, f"what it was for could not be measured: {why}")

    return await guarded(handler.effect(scene, params, run.step), failed, run.remediation, run.target_key)


async def kept_by_handler(services: Services, run: Run) -> str:
    """Why the run's handler wants its step left in place until a person takes it back; empty where it does not. Where that cannot be told, that."""
    known = _handler_of(services, run)
    if known is None or type(known[0]).kept is Remediation.kept:
        return ""
    try:
        workload = await read_workload(services.cluster, Target.parse(run.target_key))
    except ObjectMissing:
        return ""
    except RemediatorError as error:
        return f"whether it may be taken back is not known: {error.message}"
    handler, params = known
    incident = await services.store.read(lambda conn: incidents.get(conn, run.incident_id))
    scene = scene_of(services, workload, incident, run.requested_at)

    def failed(why: str) -> str:
        return f"whether it may be taken back is not known: {why}"

    return await guarded(handler.kept(scene, params, run.step), failed, run.remediation, run.target_key)


async def troubles_since(
    services: Services, run: Run, workload: Workload, incident: Incident, since: datetime
) -> tuple[Trouble, ...]:
    """What the run's handler counts of trouble since its step was carried out; empty where it counts none, or could not look."""
    if (known := _handler_of(services, run)) is None:
        return ()
    handler, params = known
    scene = replace(scene_of(services, workload, incident, since), acted_at=since)

    def failed(why: str) -> Diagnosis:
        return Diagnosis(why, ())

    return (await guarded(handler.diagnose(scene, params), failed, run.remediation, run.target_key)).troubles


def _handler_of(services: Services, run: Run) -> tuple[AnyRemediation, Params] | None:
    """The run's handler with its params; None for one that has gone, or that does not know these any more."""
    handler = services.catalogue.get(run.remediation)
    try:
        return None if handler is None else (handler, handler.params.model_validate(dict(run.params)))
    except ValidationError:
        return None


async def _value(source: MetricSource, symptom: Symptom) -> float | None:
    """What is measured of it now: 0 without a value while its source is there, None when nobody can tell."""
    try:
        rows, there = await _measure(source, symptom)
    except TryLater:
        return None
    numbers = [value for _, value in rows if math.isfinite(value)]
    if not there or (rows and not numbers):  # 0 of 0 requests is no number
        return None
    return max(numbers, default=0.0)


async def _measure(source: MetricSource, symptom: Symptom) -> tuple[Rows, bool]:
    """What is measured of it now, and whether what it is measured from is there. Raises TryLater, also where that stands still."""
    rows = await source.instant(symptom.query)
    there = bool(rows) or bool(await source.instant(symptom.presence))
    ages = [age for _, age in await source.instant(symptom.age)] if there and symptom.age else []
    oldest = max(filter(math.isfinite, ages), default=0.0)
    if oldest > _STALE:
        raise ProbeUnavailable(
            f"its newest sample is {duration(timedelta(seconds=round(oldest)))} old", where="Prometheus"
        )
    return rows, there


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


async def rollout_now(services: Services, run: Run) -> tuple[Workload | None, RolloutStatus, Hand | None]:
    """The target with its rollout, and whoever deleted it, or is deleting it or what it is in. Nothing is read of what is off limits by now; what
    we wrote there is for a person to judge."""
    target, view = Target.parse(run.target_key), View(services.cluster)
    scope = services.policy().scope
    try:
        if not off_limits_by_name(scope, target.namespace):
            await view.get(Kind.NAMESPACE, "", target.namespace)
        if why := await why_off_limits(view, scope, target):
            return None, RolloutStatus(RolloutState.UNKNOWN, f"the rollout is not read: {why}"), None
        if gone := await leaving(view, target):
            return None, RolloutStatus(RolloutState.UNKNOWN, gone), Hand("somebody", None, gone, gone=True)
        workload = await read_workload(view, target)
    except ObjectMissing as error:
        text = f"{target} was deleted"
        unread = RolloutStatus(RolloutState.UNKNOWN, f"the rollout could not be read: {error.message}")
        return None, unread, Hand("somebody", None, text, gone=True)
    except RemediatorError as error:
        text = f"the rollout could not be read: {error.message}"
        return None, RolloutStatus(RolloutState.UNKNOWN, text), None
    return workload, rollout_status(workload), None


NOTHING_LEFT = "there is nothing to take back"


async def gone_with_it(services: Services, run: Run) -> str:
    """That what was changed is gone, or goes, so that nothing of it stays; empty where something is there, or cannot be read."""
    there = await services.store.read(lambda conn: journal.in_place(conn, run.id))
    actions = journal.actions(there)
    with suppress(RemediatorError):
        # In the order in which they are taken back: an undo would end at the first that somebody is deleting.
        if why := await leaving(services.cluster, *(action.target for action in reversed(actions))):
            return f"{why}, and what was done with it: {NOTHING_LEFT}"
    if not all(action.changes for action in actions):
        return ""
    objects = {str(ref): ref for ref in (action.object for action in actions)}
    for ref in objects.values():
        try:
            found = await services.cluster.get(ref.kind, ref.namespace, ref.name)
        except ObjectMissing:
            continue
        except RemediatorError:
            return ""
        if found["metadata"].get("uid") == ref.uid:
            return ""
    are = "is" if len(objects) == 1 else "are"
    return f"{' and '.join(objects)} {are} gone, and what was done with it: {NOTHING_LEFT}"
