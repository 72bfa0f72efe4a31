"""Verify: look at rollout and alert after an action, and judge all looks so far.

The judgement itself is `app.domain.verification.judge`, pure. Time between looks is taken from the monotonic clock of this
process; what nobody watched counts as nothing. Never touches the cluster otherwise than by reading.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from app.domain.alert_report import Reported, combined
from app.domain.errors import RemediatorError
from app.domain.events import EventKind
from app.domain.outcome import Result
from app.domain.target import Target
from app.domain.verification import AlertCondition, Measurement, Watch, judge
from app.domain.workload import RolloutState, RolloutStatus, Workload
from app.flow.deciding import facts
from app.flow.deciding.decide import firing_alerts
from app.flow.notifying.record import tell
from app.flow.running import undo
from app.flow.running.life import Event, Found
from app.flow.services import Services
from app.kube import read
from app.kube.rollout import rollout_status
from app.notify.timeline import Topic, Verification
from app.policy.model import Rule
from app.store import incidents, runs, samples
from app.store.database import Tx
from app.store.incidents import Incident, StoredAlert
from app.store.runs import Run

_GAP = 3  # polls without a look that still count as watched
_EVENTS = {
    Result.FIXED: Event.FIXED,
    Result.NOT_FIXED: Event.NOT_FIXED,
    Result.INCONCLUSIVE: Event.INCONCLUSIVE,
    Result.PROBE_ERROR: Event.PROBE_ERROR,
}


async def look(services: Services, run: Run) -> Found:
    """One measurement, and the result when it can be told."""
    rule = Rule.from_json(run.settings["rule"]).verify
    watch = await _watch(services, run, _GAP * rule.poll.total_seconds())
    verdict = judge(watch, rule.settle, rule.timeout)
    before = Watch.from_json(run.life.get("watch", {})).last
    news = watch.last is not None and (before is None or _changed(before, watch.last))

    def also(tx: Tx, held: Run) -> None:
        if news and watch.last is not None:
            data = watch.last.to_json()
            tx.audit(EventKind.MEASURED, incident_id=run.incident_id, run_id=run.id, data=data)
        if verdict is not None:
            _conclude(tx, held, verdict, watch)

    keeps = {"watch": watch.to_json()}
    if verdict is None:
        return Found(seconds=rule.poll.total_seconds(), waits_for="its verification", keeps=keeps, also=also)
    services.metrics.verifications.labels(run.remediation, verdict[0].value).inc()
    return Found(_EVENTS[verdict[0]], verdict[1], keeps=keeps, also=also)


async def _watch(services: Services, run: Run, gap: float) -> Watch:
    """All looks so far and this one."""
    began = services.clock.monotonic()
    seen = await measure(services, run)
    now = services.clock.monotonic()
    gap += now - began  # a slow look is no gap
    last = services.last_looks.get(_key(run))
    services.last_looks[_key(run)] = now
    so_far = Watch.from_json(run.life.get("watch", {}))
    if so_far.looks == 0:
        return so_far.look(seen, 0.0, gap)
    return so_far.look(seen, None if last is None else now - last, gap)


def forget(services: Services, run: Run) -> None:
    """The verification of this step is over: when it was last looked at is of no use any more."""
    services.last_looks.pop(_key(run), None)


def _key(run: Run) -> str:
    return f"{run.id}/{run.step_index}"


def _changed(before: Measurement, now: Measurement) -> bool:
    return (before.rollout, before.alert) != (now.rollout, now.alert)


async def measure(services: Services, run: Run) -> Measurement:
    """One look at rollout and alert."""
    incident, alerts, acted = await services.store.read(lambda conn: _load(conn, run))
    workload, rollout = await _rollout(services, run)
    condition, text = await _alert(services, incident, alerts, acted)
    if workload is not None:
        await _sample(services, workload)
    return Measurement(services.clock.now(), rollout.state, condition, f"{rollout.text}; {text}")


def _load(conn: Any, run: Run) -> tuple[Incident, tuple[StoredAlert, ...], datetime]:
    """The incident, what fires of it, and when the last action was done."""
    acted = undo.carried_out(conn, run.id)
    at = acted[-1].ended_at if acted and acted[-1].ended_at else run.requested_at
    return incidents.get(conn, run.incident_id), firing_alerts(conn, run.incident_id), at


def _conclude(tx: Tx, run: Run, verdict: tuple[Result, str], watch: Watch) -> None:
    result, text = verdict
    fact = Verification(result, text, watch.looks, timedelta(seconds=round(watch.watched)))
    number = sum(entry.name.startswith("verified") for entry in runs.entries(tx.conn, run.id))
    once = f"{run.id}/{run.step_index}" + (f".{number}" if number else "")
    runs.begin_entry(tx, run.id, f"verified {once}", {"entry": "verified", "step_index": run.step_index})
    runs.end_entry(tx, run.id, f"verified {once}", {"result": result.value})
    tell(tx, Topic.VERIFIED, fact, incident_id=run.incident_id, once=once, run_id=run.id)


async def _rollout(services: Services, run: Run) -> tuple[Workload | None, RolloutStatus]:
    try:
        workload = await read.read_workload(services.cluster, Target.parse(run.target_key))
    except RemediatorError as error:
        return None, RolloutStatus(RolloutState.UNKNOWN, f"the rollout could not be read: {error.message}")
    return workload, rollout_status(workload)


async def _alert(
    services: Services, incident: Incident, alerts: tuple[StoredAlert, ...], began: datetime
) -> tuple[AlertCondition, str]:
    """The alert's word: gone only when told so, by a resolved message or by the source. All alerts that fire are looked at."""
    if incident.manual is not None:
        return AlertCondition.NONE, "no alert belongs to a manual order"
    if not alerts:
        return AlertCondition.GONE, "the alert has resolved"
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


async def _sample(services: Services, workload: Workload) -> None:
    """Keep a memory sample while watching: without Prometheus it is the only history a leak check has."""
    target = workload.target
    try:
        usage = await services.cluster.pod_usage(target.namespace, workload.selector)
    except RemediatorError:
        return
    await services.store.write(
        lambda tx: samples.put(tx, target.key, [(u.pod, u.at, u.total_memory) for u in usage])
    )
