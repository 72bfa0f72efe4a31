"""Explain: why things stand as they do, from the audit trail alone; and what a clicker of a button is told of it, and which plan is newer.

Called by `operations` and `clicks`. Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from app.domain.errors import Missing
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.plan import Step
from app.flow.notifying import timeline
from app.flow.people.difference import difference
from app.notify.buttons import Token
from app.notify.parent import parent
from app.notify.timeline import Timeline
from app.policy.explain import explain_lines
from app.store import audit, runs
from app.store import facts as counts
from app.store.audit import AuditEvent
from app.store.portions import Newest
from app.store.runs import Run

EXPLAINED = 10_000
"""Records that an explanation has at most, the newest; the trail has all."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `explain` gives: the timeline, and the newest records behind it; `left_out` counts those before them."""

    timeline: Timeline
    records: tuple[AuditEvent, ...]
    left_out: int = 0


def explain(conn: Connection, any_id: str) -> Explanation:
    """Explain an incident or a run by its id, from the audit trail only. Raises Missing."""
    incident_id = any_id
    if any_id.startswith("run_"):
        of_run = audit.for_run(conn, any_id)
        if not of_run:
            raise Missing(
                "the audit trail knows no such run; `remediator runs` lists them", code="no_run", where=any_id
            )
        incident_id = of_run[0].incident_id
    newest = Newest[AuditEvent](EXPLAINED, lambda record: record.size)
    told = timeline.fold(incident_id, newest.passed(audit.each_of_incident(conn, incident_id)))
    return Explanation(told, tuple(newest.kept), newest.left_out)


def explained(conn: Connection, run_id: str) -> str:
    """The decision with all gates, below the headline. Raises Missing."""
    told = explain(conn, run_id).timeline
    head = parent(told).readable().splitlines()[0]
    gates = explain_lines(told.decision) if told.decision else ["No decision yet"]
    return "\n".join([head, *gates, f"All of it: remediator explain {run_id}"])


def newer_plan(conn: Connection, token: Token) -> str:
    """What differs between the plan under the button and the one that waits now; empty when there is no newer one."""
    old = _plan_of(conn, token)
    now = _waiting(conn, token.run_id)
    if old is None or now is None or now.plan_hash.startswith(token.plan_hash):
        return ""
    lines = ["The question that stands now is about another plan:"]
    lines += [f"- {text}" for text in difference(old, now.step)]
    lines += [
        f"It would: {'; '.join(a.summary for a in now.step.actions)}",
        "It is still open: answer that one.",
    ]
    return "\n".join(lines)


def _plan_of(conn: Connection, token: Token) -> Step | None:
    """The plan as it was asked about; every plan that was ever requested stands in the trail."""
    for record in audit.for_run(conn, token.run_id):
        if record.kind is EventKind.RUN_REQUESTED and str(record.data.get("plan_hash", "")).startswith(
            token.plan_hash
        ):
            return Step.from_json(record.data["step"])
    return None


def _waiting(conn: Connection, run_id: str) -> Run | None:
    live = counts.live_of(conn, runs.get(conn, run_id).incident_id)
    return live if live is not None and live.state is RunState.WAITING else None
