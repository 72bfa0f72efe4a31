"""The day's head of the audit trail, written where the database's owner cannot take it back: the log and the channel.

Called by the task `report`. The message is queued under an id made of the day, so that restarts and other replicas find it there. A
trail younger than a day has nothing to tell yet. Never verifies the trail.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from app.flow.notifying.deliver import AUDIT_HEAD
from app.flow.services import Services
from app.store import outbox, trail
from app.store.audit import Head
from app.store.scorecard import first_record
from app.store.tx import Tx

log = structlog.get_logger(__name__)

_YOUNG: Final = timedelta(days=1)


async def tell_due(services: Services, channel: str) -> bool:
    """Log the head and queue the day's message unless somebody has; True when it was queued now. Nothing without a
    channel."""
    now = services.clock.now()
    if not channel or not await services.store.read(lambda conn: _wanted(conn, now)):
        return False
    head = await services.store.write(lambda tx: _put(tx, now))
    if head is None:
        return False
    log.info("audit_head", head=str(head))
    services.deliver_nudge()
    return True


def _id(now: datetime) -> str:
    return f"{AUDIT_HEAD}:{now.date().isoformat()}"


def _wanted(conn: Connection, now: datetime) -> bool:
    if outbox.known(conn, _id(now)):
        return False
    began = first_record(conn)
    return began is not None and now - began >= _YOUNG


def _put(tx: Tx, now: datetime) -> Head | None:
    head = trail.head(tx.conn)
    data = {"day": now.date().isoformat(), "seq": head.seq, "head": str(head)}
    queued = tx.put(_id(now), "", AUDIT_HEAD, {"event": AUDIT_HEAD, "data": data})
    return head if queued else None
