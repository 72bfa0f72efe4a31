"""Promotion: people who raise a standing, confirm a promotion that waits, or lower one. With a reason, and audited.

Called by the API and by buttons. To raise takes who may approve the rule's runs, and as many of them; to lower takes nobody
in particular, because less is always allowed. Never counts runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.errors import BadInput, Missing, Refused
from app.domain.events import EventKind
from app.flow import autonomy, voters
from app.flow.services import Services
from app.flow.voters import Voter
from app.notify.text import joined
from app.policy.autonomy import Change, lower, rise
from app.policy.model import Rule
from app.store import answers, incidents, runs, standings
from app.store.database import Tx
from app.store.standings import StoredStanding

AGREED_FOR = timedelta(hours=24)
"""So long one yes of several counts for a promotion."""


async def promote(services: Services, key: str, reason: str, voter: Voter) -> dict[str, Any]:
    """A person raises a standing by one level, whatever it has proved. Raises Missing, BadInput without a reason, Refused
    when it is at the top, when no rule uses it, or when they may not answer for the rule."""
    _require_reason(reason)
    done = await services.store.write(
        lambda tx: _promote(tx, services, standings.hold(tx, key), voter, reason)
    )
    return _done(services, done)


async def confirm(services: Services, run_id: str, mark: str, voter: Voter, press: str) -> dict[str, Any]:
    """A person confirms the promotion that waits under this mark. Raises Refused when it no longer waits; Repeated for a
    press that was taken before."""

    def write(tx: Tx) -> dict[str, Any] | Refused:
        # A refusal is returned, not raised: the press counts as taken.
        answers.take(tx, press)
        asked = _asked(tx.conn, run_id, mark)
        held = standings.hold(tx, asked.key) if asked else None
        if held is not None and autonomy.mark_of(held) == mark:
            return _promote(tx, services, held, voter, "confirmed in Slack")
        late = Refused("this promotion no longer waits for anybody", code="not_waiting", where=run_id)
        return _audited(tx, late, voter, runs.get(tx.conn, run_id).incident_id, run_id)

    return _done(services, await services.store.write(write))


async def demote(services: Services, key: str, reason: str, by: str) -> dict[str, Any]:
    """A person lowers a standing by one level; everybody who may operate may. Raises Missing, BadInput without a reason,
    Refused at the lowest level."""
    _require_reason(reason)

    def write(tx: Tx) -> dict[str, Any] | Refused:
        stored = standings.hold(tx, key)
        if autonomy.as_standing(stored).below is None:
            return Refused("it only observes already", code="at_the_bottom", where=key)
        terms = autonomy.terms_of(services.policy(), stored)
        now, change = lower(autonomy.as_standing(stored), tx.now, f"{by}: {reason}")
        moved = autonomy.Moved(now, change, by, once=f"demoted/{tx.stamp}")
        autonomy.move(tx, _present(tx, stored), terms, moved)
        return {"key": key, "level": now.level.value, "answer": change.value, "text": "", "by": by}

    return _done(services, await services.store.write(write))


def approvers(services: Services, conn: Connection, run_id: str, mark: str) -> Sequence[str]:
    """Whom the rule behind a waiting promotion names as approvers; empty for everybody who may operate."""
    asked = _asked(conn, run_id, mark)
    rule = autonomy.rule_of(services.policy(), asked) if asked else None
    return rule.approval.by if rule else ()


def _asked(conn: Connection, run_id: str, mark: str) -> StoredStanding | None:
    """The standing whose promotion waits under this mark."""
    waiting = standings.waiting(conn, runs.get(conn, run_id).remediation)
    return next((s for s in waiting if autonomy.mark_of(s) == mark), None)


def _promote(
    tx: Tx, services: Services, stored: StoredStanding, voter: Voter, reason: str
) -> dict[str, Any] | Refused:
    standing, rule = autonomy.as_standing(stored), autonomy.rule_of(services.policy(), stored)
    held = _present(tx, stored)
    given, by = _agreed(stored, tx.now), voter.name
    refusal = _against(services, stored, rule, voter, given)
    if refusal is not None or rule is None:
        return _audited(tx, refusal or _unused(stored), voter, held.incident_id, held.run_id)
    given = {**given, by: tx.now.isoformat()}
    wanted = rule.approval.approvals
    if len(given) < wanted:
        text = f"{len(given)} of {wanted} agreed to level {standing.above}; another person has to agree too"
        moved = autonomy.Moved(replace(standing, why=text), Change.AGREED, by, given, f"{by}/{tx.stamp}")
        autonomy.move(tx, held, rule.autonomy, moved)
        return {"key": stored.key, "level": stored.level.value, "answer": "counted", "text": text, "by": by}
    now, change = rise(standing, tx.now, f"{joined(list(given))}: {reason}")
    autonomy.move(tx, held, rule.autonomy, autonomy.Moved(now, change, by, once=f"promoted/{tx.stamp}"))
    return {"key": stored.key, "level": now.level.value, "answer": change.value, "text": "", "by": by}


def _against(
    services: Services, stored: StoredStanding, rule: Rule | None, voter: Voter, given: Mapping[str, str]
) -> Refused | None:
    """Why this person may not raise this standing now; None when they may."""
    if autonomy.as_standing(stored).above is None:
        return Refused("it acts by itself already", code="at_the_top", where=stored.key)
    if rule is None:
        return _unused(stored)
    others = dict.fromkeys(given, "agreed already")
    refusal = voters.against(voter, rule.approval, stored.key)
    return refusal or voters.against_same(voter, others, services.people)


def _unused(stored: StoredStanding) -> Refused:
    return Refused("no rule with mode earned uses it any more", code="not_in_use", where=stored.key)


def _audited(tx: Tx, refusal: Refused, voter: Voter, incident_id: str, run_id: str) -> Refused:
    data = {
        "answer": "promoted",
        "standing": refusal.where,
        "code": refusal.code,
        "text": refusal.message,
    }
    kind = EventKind.APPROVAL_REFUSED
    tx.audit(kind, incident_id=incident_id, run_id=run_id, actor=voter.name, data=data)
    return refusal


def _done(services: Services, done: dict[str, Any] | Refused) -> dict[str, Any]:
    if isinstance(done, Refused):
        raise done
    services.deliver_nudge()
    services.decide_nudge()
    return done


def _present(tx: Tx, stored: StoredStanding) -> StoredStanding:
    """Told in the thread of the last run that moved it, as long as that is kept."""
    try:
        incidents.get(tx.conn, stored.incident_id)
    except Missing:
        return replace(stored, incident_id="", run_id="")
    return stored


def _agreed(stored: StoredStanding, now: datetime) -> dict[str, str]:
    """Who said yes and since when, as far as it still counts."""
    given = stored.agreed or {}
    return {by: at for by, at in given.items() if now - datetime.fromisoformat(at) < AGREED_FOR}


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise BadInput("say why, others will ask", code="no_reason", where="reason")
