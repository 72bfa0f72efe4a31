"""History: what this service already did for an incident, as handlers and gates need to know it. Reads the store only."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.domain.outcome import ActionResult
from app.domain.plan import ActionKind
from app.domain.remediation import History
from app.store import facts, runs, samples

_MEMORY = timedelta(hours=6)  # how far back memory samples help to tell a leak


def history_of(conn: Connection, incident_id: str, target_key: str, now: datetime) -> History:
    """Revisions this incident rolled away from, steps already taken, memory samples of the target's pods."""
    left: set[str] = set()
    tried: list[str] = []
    for run in facts.of_incident(conn, incident_id):
        for step in runs.entries(conn, run.id):
            intent, outcome = step.intent or {}, step.outcome or {}
            if intent.get("entry") != "action" or outcome.get("result") != ActionResult.APPLIED:
                continue
            if intent["step"] not in tried:
                tried.append(intent["step"])
            if intent["kind"] == ActionKind.ROLL_BACK and intent.get("left"):
                left.add(intent["left"])
    return History(
        left_revisions=frozenset(left),
        tried=tuple(tried),
        memory=samples.get(conn, target_key, now - _MEMORY),
    )
