"""Holding: who has an incident by their own word, which stands for what was as severe when they gave it, and for nothing more severe.

Called where somebody takes an incident, where two become one and where the gates' facts are read, so that no decision is held by a word
that was given for less. What somebody no longer has is said in the thread and kept in the trail. Never calls anybody.
"""

from __future__ import annotations

from app.domain.events import EventKind
from app.domain.text import bounded, visible
from app.flow.notifying import severity
from app.flow.notifying.record import announce
from app.notify.escalation import LetGo
from app.notify.timeline import Topic
from app.policy.match import rank_of
from app.store import acknowledgements, escalations
from app.store.acknowledgements import Holder
from app.store.tx import Tx

_WORD = 40  # characters of a severity that are told


def take(tx: Tx, incident_id: str, by: str, through: str) -> None:
    """This person has the incident, as severe as it is now."""
    acknowledgements.give(tx, incident_id, by, through, severity.of_incident(tx.conn, incident_id))


def standing(tx: Tx, incident_id: str) -> Holder | None:
    """Who has the incident; None for nobody, and once it is more severe than what they took: then they no longer have it, and it is said.
    Where people were asked, the walk of the steps says so, with the steps that begin anew."""
    holder = acknowledgements.holder(tx.conn, incident_id)
    if holder is None or any(walk.over_at is None for walk in escalations.of_incident(tx.conn, incident_id)):
        return holder
    now = severity.of_incident(tx.conn, incident_id)
    if holder.severity is None:
        acknowledgements.given_for(tx, incident_id, now)
    elif rank_of(now) < rank_of(holder.severity):
        _let_go(tx, incident_id, holder, risen(now, holder.severity))
        return None
    return holder


def risen(now: str, before: str) -> str:
    """In words: `it is critical now, warning before`."""
    words = (visible(bounded(word, _WORD)) or "no severity" for word in (now, before))
    return f"it is {' now, '.join(words)} before"


def _let_go(tx: Tx, incident_id: str, holder: Holder, why: str) -> None:
    acknowledgements.withdraw(tx, incident_id)
    data = {"through": holder.through, "had": holder.by, "reason": why}
    tx.audit(EventKind.RELEASED, incident_id=incident_id, actor="service", data=data)
    once = f"risen/{tx.stamp}"
    announce(tx, Topic.LET_GO, incident_id=incident_id, once=once, fact=LetGo(holder.by, why))
