"""Unsent: a page that was told of and did not go out. The thread is corrected once, and the next step need not wait for an answer to it.

Called by `app.flow.notifying.deliver` where a page is given up, and where it has been tried for long. Never sends anything and never
decides who is asked.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from app.domain.events import EventKind
from app.flow.calling import calls
from app.flow.notifying.fan_out import STORM_CALL
from app.flow.notifying.record import announce
from app.notify.escalation import NotPaged
from app.notify.timeline import Topic, fact_to_json
from app.store import escalations, outbox
from app.store.escalations import StoredEscalation
from app.store.outbox import Message as Row
from app.store.tx import Tx

PATIENCE: Final = timedelta(minutes=5)
"""How long a page is tried before people hear that it is not out; it is tried on."""


def page_given_up(tx: Tx, row: Row, error: str) -> None:
    """This row will not be sent. Nothing for a row that makes no page, and for one that nobody needs any more."""
    _tell(tx, row, error, again=False)


def page_is_late(tx: Tx, row: Row, error: str) -> None:
    """This row could not be sent now, and is tried again."""
    if tx.now - row.created_at >= PATIENCE:
        _tell(tx, row, error, again=True)


def _tell(tx: Tx, row: Row, error: str, *, again: bool) -> None:
    if row.kind != calls.PAGE or row.payload.get("do", calls.Do.TRIGGER) != calls.Do.TRIGGER:
        return
    walk = escalations.of_page(tx.conn, str(row.payload.get("key", row.payload["incident"])))
    if walk is None or walk.answered_at is not None or not _said(tx, walk, row, NotPaged(error, again)):
        return
    if again:  # one that is given up stands in the trail by itself
        data = {"message": row.id, "kind": row.kind, "error": error}
        tx.audit(EventKind.NOTIFY_FAILED, incident_id=walk.incident_id, data=data)
    asked = {step.step for step in walk.asked}
    if walk.due_at is not None and any(step["name"] not in asked for step in walk.steps or ()):
        escalations.change(tx, walk.id, due_at=tx.stamp)


def _said(tx: Tx, walk: StoredEscalation, row: Row, fact: NotPaged) -> bool:
    """Below the incident, or below a storm's digest; False when it was said before."""
    once = f"{row.id}/{'late' if fact.again else 'given_up'}"
    if not fact.again and len(walk.asked) > 1:  # a later step tried it anew
        once = f"{once}/{len(walk.asked)}"
    if outbox.known(tx.conn, _id(walk, once)):
        return False
    if not walk.storm:
        announce(tx, Topic.NOT_PAGED, incident_id=walk.incident_id, once=once, fact=fact)
        return True
    told = {
        "digest": walk.subject,
        "topic": Topic.NOT_PAGED.value,
        "fact": fact_to_json(Topic.NOT_PAGED, fact),
    }
    return tx.put(_id(walk, once), "", STORM_CALL, {"event": STORM_CALL, "data": told})


def _id(walk: StoredEscalation, once: str) -> str:
    return f"{walk.subject}:{Topic.NOT_PAGED.value}:{once}"
