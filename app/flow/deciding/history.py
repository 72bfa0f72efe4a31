"""History: what this service already did for an incident, as handlers and gates need to know it. Reads the store only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.change import Digested, DigestKey
from app.domain.outcome import ActionResult
from app.domain.plan import ActionKind
from app.domain.remediation import History
from app.store import facts, runs, samples

_MEMORY = timedelta(hours=6)  # how far back memory samples help to tell a leak


def history_of(conn: Connection, incident_id: str, target_key: str, now: datetime, key: DigestKey) -> History:
    """Revisions (by their keyed fingerprints) this target was rolled away from in any incident, steps already tried (a refused
    one too), memory samples of the target's pods."""
    tried: dict[str, None] = {}
    for run in facts.of_incident(conn, incident_id):
        for entry in runs.entries(conn, run.id):
            intent, outcome = entry.intent, entry.outcome or {}
            if not _tried(intent, outcome):
                continue
            tried[intent["step"]] = None
    return History(
        left_revisions=Digested(key, _left(conn, target_key)),
        tried=tuple(tried),
        memory=samples.get(conn, target_key, now - _MEMORY),
    )


def _left(conn: Connection, target_key: str) -> frozenset[str]:
    """Fingerprints that this service rolled the target away from, in any incident that is still remembered. One whose
    write had an unclear outcome counts: to refuse a good version costs a question, to return to a bad one an outage."""
    found = set()
    for entry in runs.entries_on(conn, target_key, ActionKind.ROLL_BACK):
        result = (entry.outcome or {}).get("result", ActionResult.UNCLEAR)
        if result in (ActionResult.APPLIED, ActionResult.UNCLEAR) and entry.intent.get("entry") == "action":
            found.add(str(entry.intent.get("left") or ""))
    return frozenset(found - {""})


def _tried(intent: Mapping[str, Any], outcome: Mapping[str, Any]) -> bool:
    """The cluster has answered. What our own check stopped before anything was sent may be planned again."""
    stopped = outcome.get("answer", {}).get("event") == "abandoned"
    return intent.get("entry") in ("action", "none") and bool(outcome) and not stopped
