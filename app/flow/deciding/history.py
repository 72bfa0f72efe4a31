"""History: what this service already did for an incident, as handlers and gates need to know it. Reads the store only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.change import Digested, DigestKey, Replaced
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import ActionKind
from app.domain.remediation import AnyRemediation, History, PastAlert
from app.domain.target import Target
from app.store import facts, runs, samples

TAKEN_OVER_FOR = timedelta(days=7)
"""So long a run that somebody took over is remembered: its step is not repeated, and the second such run calls a person."""
_ALERTS = timedelta(days=90)  # how far back alerts say something about a revision
_MEMORY = timedelta(hours=6)  # how far back memory samples help to tell a leak


def history_of(
    conn: Connection,
    incident_id: str,
    target_key: str,
    now: datetime,
    key: DigestKey,
    rotates: Collection[str],
) -> History:
    """Revisions (by their keyed fingerprints) this target was rolled away from in any incident, steps already tried (a refused
    one too), those of them that were never really taken, those that somebody took back, memory samples of the target's pods, keys rotated
    away from (as records show them) by the remediations `rotates`."""
    tried: dict[str, None] = {}
    not_taken: dict[str, str] = {}
    for run in facts.of_incident(conn, incident_id):
        names: dict[int, str] = {}
        for entry in runs.entries(conn, run.id):
            intent, outcome = entry.intent, entry.outcome or {}
            if _tried(intent, outcome):
                names[intent.get("step_index", 0)] = intent["step"]
                tried[intent["step"]] = None
                if outcome.get("result") == ActionResult.REFUSED:
                    not_taken[intent["step"]] = str(outcome.get("answer", {}).get("text", "it was refused"))
            elif intent.get("entry") == "verified" and outcome.get("rolled_out") is False:
                step = names.get(intent.get("step_index", 0))
                if step is not None:
                    not_taken[step] = str(outcome.get("text", "its rollout did not finish"))
    return History(
        left_revisions=Digested(key, _left(conn, target_key)),
        tried=tuple(tried),
        not_taken=not_taken,
        overruled={
            run.step.name: f"{run.result} ({run.id})"
            for run in facts.taken_over(conn, target_key, now - TAKEN_OVER_FOR)
        },
        alerts=tuple(PastAlert(*row) for row in facts.alerts_on(conn, target_key, now - _ALERTS)),
        memory=samples.get(conn, target_key, now - _MEMORY),
        replaced=Replaced(key, _replaced(conn, target_key, rotates)),
    )


def rotating(catalogue: Mapping[str, AnyRemediation], remediation: str) -> list[str]:
    """Names of the remediations that replace keys; none where this one does not, as it asks for none that was replaced."""
    asking = catalogue.get(remediation)
    if asking is None or ActionKind.ROTATE_KEY not in asking.actions:
        return []
    return [name for name, handler in catalogue.items() if ActionKind.ROTATE_KEY in handler.actions]


def _replaced(conn: Connection, target_key: str, rotates: Collection[str]) -> dict[str, datetime]:
    """What this service replaced in Secrets, as records show it, for any target of the namespace: several may share a Secret. A
    write with an unclear outcome counts. When one was taken back, the key that it had brought was left as well."""
    found: dict[str, datetime] = {}
    if not rotates:
        return found
    kind = ActionKind.ROTATE_KEY
    for entry in runs.entries_in(conn, Target.parse(target_key).namespace, rotates, kind):
        result = (entry.outcome or {}).get("result", ActionResult.UNCLEAR)
        if entry.intent.get("entry") != "action" or result == ActionResult.REFUSED:
            continue
        changes = entry.intent["action"]["changes"]
        found |= {str(c["before"]): entry.begun_at for c in changes}
        for back in runs.entries(conn, entry.run_id):
            if (
                back.intent.get("of") == entry.name
                and (back.outcome or {}).get("result") == UndoResult.UNDONE
            ):
                found |= {str(c["after"]): back.begun_at for c in changes}
    return found


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
