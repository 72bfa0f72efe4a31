"""Explain: what a clicker of a button is told from the audit trail: why things stand as they do, and which plan is newer.

Called by `clicks`. Reads only.
"""

from __future__ import annotations

from sqlalchemy import Connection

from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.plan import Step
from app.flow.notifying import timeline
from app.flow.people.difference import difference
from app.notify.buttons import Token
from app.notify.parent import parent
from app.policy.explain import explain_lines
from app.store import audit, runs
from app.store import facts as counts
from app.store.runs import Run


def explained(conn: Connection, run_id: str) -> str:
    """The decision with all gates, below the headline. Raises Missing."""
    told = timeline.explain(conn, run_id).timeline
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
