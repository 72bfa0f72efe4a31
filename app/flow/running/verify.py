"""Verify: look at rollout and alert after an action, one measurement a step, and write down the conclusion.

The judgement itself is `app.domain.verification.judge`, pure. Never touches the cluster otherwise than by reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.domain.errors import RemediatorError
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, Result, RunState
from app.domain.target import Target
from app.domain.verification import AlertCondition, Measurement
from app.domain.workload import RolloutState, RolloutStatus, Workload
from app.flow import counting
from app.flow.deciding import trust
from app.flow.deciding.decide import firing_alerts
from app.flow.notifying.record import end_run, move, tell
from app.flow.running import temporary
from app.flow.services import Services
from app.kube import read
from app.kube.rollout import rollout_status
from app.notify.timeline import Topic, Verification
from app.policy.model import Rule
from app.policy.trust import Evidence
from app.store import facts as counts
from app.store import incidents, runs, samples
from app.store.database import Tx
from app.store.incidents import Incident, StoredAlert
from app.store.runs import Run


async def open_run(services: Services, run_id: str) -> dict[str, Any]:
    """First step of a run: the terms it was decided under."""

    def load(tx: Tx) -> dict[str, Any]:
        run = runs.get(tx.conn, run_id)
        runs.mark_started(tx, run_id)
        if run.state.ended:
            return {"ended": True}
        rule = Rule.from_json(run.settings["rule"])
        if run.state is RunState.REQUESTED:
            runs.move(tx, run_id, RunState.ACTING)
        return {
            "ended": False,
            "waits": run.state is RunState.WAITING,
            "actions": len(run.step.actions),
            "settle": rule.verify.settle.total_seconds(),
            "timeout": rule.verify.timeout.total_seconds(),
            "poll": rule.verify.poll.total_seconds(),
            "otherwise": [word.value for word in rule.otherwise],
        }

    return await services.store.write(load)


async def measure(
    services: Services, run_id: str, began: datetime, before: dict[str, Any] | None
) -> dict[str, Any]:
    """One look. Audited when it says something else than the look before."""
    run, incident, alerts = await services.store.read(lambda conn: _load(conn, run_id))
    workload, rollout = await _rollout(services, run)
    word, text = await _alert(services, incident, alerts, began)
    seen = Measurement(services.clock.now(), rollout.state, word, f"{rollout.text}; {text}")
    if workload is not None:
        await _sample(services, workload)
    data = seen.to_json()
    changed = before is None or _changed(before, data)

    def write(tx: Tx) -> None:
        if run.state is not RunState.VERIFYING:
            runs.move(tx, run_id, RunState.VERIFYING)
            move(tx, incident, IncidentState.VERIFYING, once=f"{run_id}/{run.step_index}")
        if changed:
            tx.audit(EventKind.MEASURED, incident_id=run.incident_id, run_id=run_id, data=data)

    if changed or run.state is not RunState.VERIFYING:
        await services.store.write(write)
    return data


def _changed(before: dict[str, Any], data: dict[str, Any]) -> bool:
    return bool((before["rollout"], before["alert"]) != (data["rollout"], data["alert"]))


def _load(conn: Any, run_id: str) -> tuple[Run, Incident, tuple[StoredAlert, ...]]:
    run = runs.get(conn, run_id)
    return (
        run,
        incidents.get(conn, run.incident_id),
        firing_alerts(conn, run.incident_id),
    )


async def _rollout(services: Services, run: Run) -> tuple[Workload | None, RolloutStatus]:
    try:
        workload = await read.read_workload(services.cluster, Target.parse(run.target_key))
    except RemediatorError as error:
        return None, RolloutStatus(RolloutState.UNKNOWN, f"the rollout could not be read: {error.message}")
    return workload, rollout_status(workload)


async def _alert(
    services: Services, incident: Incident, alerts: tuple[StoredAlert, ...], began: datetime
) -> tuple[AlertCondition, str]:
    """The alert's word: gone only when told so, by a resolved message or by Alertmanager's API."""
    if incident.manual is not None:
        return AlertCondition.NONE, "no alert belongs to a manual order"
    if not alerts:
        return AlertCondition.GONE, "the alert has resolved"
    if services.alert_state is None:
        return _told(alerts, began)
    try:
        states = [await services.alert_state.firing(a.labels) for a in alerts[:5]]
    except RemediatorError as error:
        return AlertCondition.UNREADABLE, f"Alertmanager could not be asked: {error.message}"
    firing = sum(s.known and s.firing for s in states)
    if firing:
        return AlertCondition.FIRING, f"{firing} of {len(states)} alerts still fire"
    if any(s.silenced for s in states):
        return AlertCondition.SILENCED, "the alert is silenced, so its state says nothing"
    if all(s.known for s in states):
        return AlertCondition.GONE, "Alertmanager no longer lists the alert"
    return AlertCondition.UNREADABLE, next(s.text for s in states if not s.known)


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


async def conclude(
    services: Services,
    run_id: str,
    verdict: tuple[Result, str],
    measured: Sequence[Measurement],
    began: datetime,
) -> dict[str, Any]:
    """Write the result; a fixed run ends here. `measured` are the looks it was judged from, none of them missing."""
    result, text = verdict
    last = measured[-1].at

    def write(tx: Tx) -> Run | None:
        run = runs.get(tx.conn, run_id)
        incident = incidents.hold(tx, run.incident_id)
        fact = Verification(result, text, len(measured), last - began)
        tell(
            tx,
            Topic.VERIFIED,
            fact,
            incident_id=incident.id,
            once=f"{run_id}/{run.step_index}",
            run_id=run_id,
        )
        if result is not Result.FIXED or run.state.ended:
            return None
        ended = end_run(tx, run_id, RunState.FIXED, text)
        trust.count(tx, services, run, Evidence.FIXED)
        temporary.grant(tx, run, Rule.from_json(run.settings["rule"]))
        if counts.joined_since(tx.conn, incident.id, last):
            # An alert joined after the last look: the incident stays open and is decided anew, under its cooldown.
            move(
                tx,
                incident,
                IncidentState.REFUSED,
                once=run_id,
                reason=f"fixed, then another alert fired: {text}",
            )
            incidents.schedule(tx, incident.id, tx.now)
        else:
            move(tx, incident, IncidentState.FIXED, once=run_id, reason=text)
        return ended

    counting.ended(services, await services.store.write(write), RunState.FIXED)
    run = await services.store.read(lambda conn: runs.get(conn, run_id))
    services.metrics.verifications.labels(run.remediation, result.value).inc()
    services.deliver_nudge()
    services.decide_nudge()
    return {"result": result.value}
