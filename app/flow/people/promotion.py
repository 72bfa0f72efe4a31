"""Promotion: people who raise a trust level, confirm a promotion that waits, or lower one. With a reason, and audited.

Called by the API and by buttons. To raise takes who may approve the rule's runs, and as many of them; to lower takes nobody
in particular, because less is always allowed. Never counts runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.errors import Missing, Refused
from app.domain.events import EventKind
from app.domain.free_text import reason_given
from app.flow.deciding import history
from app.flow.people import approvers
from app.flow.people.approvers import Approver
from app.flow.services import Services
from app.notify.text import joined
from app.policy.model import Rule
from app.policy.trust import Change, lower, rise
from app.store import approvals, incidents, runs, trust_levels
from app.store.trust_levels import StoredTrustLevel
from app.store.tx import Tx

AGREED_FOR = timedelta(hours=24)
"""So long one yes of several counts for a promotion."""


async def promote(services: Services, key: str, reason: str, approver: Approver) -> dict[str, Any]:
    """A person raises a trust level by one level, whatever it has proved. Raises Missing, BadInput without a reason, Refused
    when it is at the top, when no rule uses it, or when they may not answer for the rule."""
    why = reason_given(reason)
    done = await services.store.write(
        lambda tx: _promote(tx, services, trust_levels.hold(tx, key), approver, why)
    )
    return _done(services, done)


async def confirm(
    services: Services, run_id: str, mark: str, approver: Approver, click: str
) -> dict[str, Any]:
    """A person confirms the promotion that waits under this mark. Raises Refused when it no longer waits; Repeated for a
    click that was taken before."""

    def write(tx: Tx) -> dict[str, Any] | Refused:
        # A refusal is returned, not raised: the click counts as taken.
        approvals.take(tx, click)
        asked = _asked(tx.conn, run_id, mark)
        held = trust_levels.hold(tx, asked.key) if asked else None
        if held is not None and history.promotion_mark(held) == mark:
            return _promote(tx, services, held, approver, "confirmed in Slack")
        late = Refused("this promotion no longer waits for anybody", code="not_waiting", where=run_id)
        return _audited(tx, late, approver, runs.get(tx.conn, run_id).incident_id, run_id)

    return _done(services, await services.store.write(write))


async def demote(services: Services, key: str, reason: str, by: str) -> dict[str, Any]:
    """A person lowers a trust level by one level; everybody who may operate may. Raises Missing, BadInput without a reason,
    Refused at the lowest level."""
    reason = reason_given(reason)

    def write(tx: Tx) -> dict[str, Any] | Refused:
        stored = trust_levels.hold(tx, key)
        if history.as_trust_level(stored).below is None:
            return Refused("it only observes already", code="at_the_bottom", where=key)
        terms = history.terms_of(services.policy(), stored)
        now, change = lower(history.as_trust_level(stored), tx.now, f"{by}: {reason}")
        moved = history.Moved(now, change, by, once=f"demoted/{tx.stamp}")
        history.move_trust(tx, _present(tx, stored), terms, moved)
        return {"key": key, "level": now.level.value, "answer": change.value, "text": "", "by": by}

    return _done(services, await services.store.write(write))


def approvers_of(services: Services, conn: Connection, run_id: str, mark: str) -> Sequence[str]:
    """Whom the rule behind a waiting promotion names as approvers; empty for everybody who may operate."""
    asked = _asked(conn, run_id, mark)
    rule = history.rule_behind(services.policy(), asked) if asked else None
    return rule.approval.by if rule else ()


def _asked(conn: Connection, run_id: str, mark: str) -> StoredTrustLevel | None:
    """The trust level whose promotion waits under this mark."""
    waiting = trust_levels.waiting(conn, runs.get(conn, run_id).remediation)
    return next((s for s in waiting if history.promotion_mark(s) == mark), None)


def _promote(
    tx: Tx, services: Services, stored: StoredTrustLevel, approver: Approver, reason: str
) -> dict[str, Any] | Refused:
    trust_level, rule = history.as_trust_level(stored), history.rule_behind(services.policy(), stored)
    held = _present(tx, stored)
    given, by = _agreed(stored, tx.now), approver.name
    refusal = _against(services, stored, rule, approver, given)
    if refusal is not None or rule is None:
        return _audited(tx, refusal or _unused(stored), approver, held.incident_id, held.run_id)
    given = {**given, by: tx.now.isoformat()}
    wanted = rule.approval.approvals
    if len(given) < wanted:
        text = (
            f"{len(given)} of {wanted} agreed to level {trust_level.above}; another person has to agree too"
        )
        moved = history.Moved(replace(trust_level, why=text), Change.AGREED, by, given, f"{by}/{tx.stamp}")
        history.move_trust(tx, held, rule.trust, moved)
        return {"key": stored.key, "level": stored.level.value, "answer": "counted", "text": text, "by": by}
    now, change = rise(trust_level, tx.now, f"{joined(list(given))}: {reason}")
    history.move_trust(tx, held, rule.trust, history.Moved(now, change, by, once=f"promoted/{tx.stamp}"))
    return {"key": stored.key, "level": now.level.value, "answer": change.value, "text": "", "by": by}


def _against(
    services: Services,
    stored: StoredTrustLevel,
    rule: Rule | None,
    approver: Approver,
    given: Mapping[str, str],
) -> Refused | None:
    """Why this person may not raise this trust level now; None when they may."""
    if history.as_trust_level(stored).above is None:
        return Refused("it acts by itself already", code="at_the_top", where=stored.key)
    if rule is None:
        return _unused(stored)
    others = dict.fromkeys(given, "agreed already")
    refusal = approvers.against(approver, rule.approval, stored.key)
    return refusal or approvers.against_same(approver, others, services.people)


def _unused(stored: StoredTrustLevel) -> Refused:
    return Refused("no rule with mode earned uses it any more", code="not_in_use", where=stored.key)


def _audited(tx: Tx, refusal: Refused, approver: Approver, incident_id: str, run_id: str) -> Refused:
    data = {
        "answer": "promoted",
        "trust_level": refusal.where,
        "code": refusal.code,
        "text": refusal.message,
    }
    kind = EventKind.APPROVAL_REFUSED
    tx.audit(kind, incident_id=incident_id, run_id=run_id, actor=approver.name, data=data)
    return refusal


def _done(services: Services, done: dict[str, Any] | Refused) -> dict[str, Any]:
    if isinstance(done, Refused):
        raise done
    services.deliver_nudge()
    services.decide_nudge()
    return done


def _present(tx: Tx, stored: StoredTrustLevel) -> StoredTrustLevel:
    """Told in the thread of the last run that moved it, as long as that is kept."""
    try:
        incidents.get(tx.conn, stored.incident_id)
    except Missing:
        return replace(stored, incident_id="", run_id="")
    return stored


def _agreed(stored: StoredTrustLevel, now: datetime) -> dict[str, str]:
    """Who said yes and since when, as far as it still counts."""
    given = stored.agreed or {}
    return {by: at for by, at in given.items() if now - datetime.fromisoformat(at) < AGREED_FOR}
