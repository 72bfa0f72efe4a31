"""Finish: the end of a run that did not fix it, and handing the incident to a person. Never touches the cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app.domain.outcome import IncidentState, RunState
from app.flow import counting
from app.flow.deciding import trust
from app.flow.deciding.decide import escalate
from app.flow.notifying.record import end_run, move
from app.flow.services import Services
from app.notify.timeline import Escalation
from app.policy.trust import Evidence
from app.store import incidents, ledger, runs
from app.store.database import Tx
from app.store.incidents import Incident
from app.store.runs import Run

_AGAIN = timedelta(seconds=15)  # after a run was abandoned at the second look, before deciding anew

_EVIDENCE = {
    RunState.NOT_FIXED: Evidence.NOT_FIXED,
    RunState.INCONCLUSIVE: Evidence.UNCLEAR,
    RunState.PROBE_ERROR: Evidence.UNCLEAR,
    RunState.STUCK: Evidence.STUCK,
}
"""What the end of a run says about its remediation; the others say nothing."""


async def end(services: Services, run_id: str, state: RunState, text: str) -> dict[str, Any]:
    """End the run in `state`. An abandoned run that touched nothing lets the incident be decided anew; everything else
    goes to a person."""

    def write(tx: Tx) -> Run | None:
        run = runs.get(tx.conn, run_id)
        if run.state.ended:
            return None
        incident = incidents.get(tx.conn, run.incident_id)
        touched = _touched(tx, run)
        # What may have happened is spent as if it had.
        if state is not RunState.STUCK and not any(step.startswith(f"{run.step.name}:") for step in touched):
            ledger.give_back(tx, run_id, run.step_index)
        ended = end_run(tx, run_id, state, text)
        if (evidence := _EVIDENCE.get(state)) is not None:
            trust.count(tx, services, run, evidence)
        if state is RunState.ABANDONED and not touched:
            _decide_anew(tx, incident, run_id, text)
            return ended
        escalate(
            tx,
            incident,
            Escalation(
                reason=text,
                tried=tuple(touched),
                look_at=(f"remediator explain {run_id}",),
                stuck=state is RunState.STUCK,
            ),
            once=run_id,
            run_id=run_id,
        )
        return ended

    counting.ended(services, await services.store.write(write), state)
    services.metrics.escalations.labels(state.value).inc()
    services.deliver_nudge()
    services.decide_nudge()
    return {"state": state.value}


def _touched(tx: Tx, run: Run) -> list[str]:
    return [
        f"{s.intent['step']}: {s.intent.get('kind', '')} {s.intent.get('object', '')}"
        for s in runs.entries(tx.conn, run.id)
        if s.intent.get("entry") == "action" and (s.outcome or {}).get("result") == "applied"
    ]


def _decide_anew(tx: Tx, incident: Incident, run_id: str, text: str) -> None:
    """An order is decided anew as well: whoever ordered or approved it meant the object as it was."""
    if incident.manual is None and incidents.firing_count(tx.conn, incident.id) == 0:
        move(
            tx,
            incident,
            IncidentState.RESOLVED,
            once=run_id,
            reason="the alert resolved before anything was done",
        )
        return
    move(tx, incident, IncidentState.REFUSED, once=run_id, reason=text)
    incidents.schedule(tx, incident.id, tx.now + _AGAIN)


async def stuck(services: Services, run_id: str, text: str) -> dict[str, Any]:
    """A run that broke: nobody knows what is in place, so a person has to look."""
    return await end(services, run_id, RunState.STUCK, text)
