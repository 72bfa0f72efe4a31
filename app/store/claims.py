"""Claims: who is at work on what. The one mechanism for incidents that are decided, runs that are driven and messages that
are sent: a row names its holder and until when. A claim that has run out is nobody's.

Called by `incidents`, `runs` and `outbox`, by the service at its start and, on Postgres, when other replicas are gone.
Never judges who is gone, and never takes a row for anybody.
"""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import BindParameter, ColumnElement, Connection, Row, Table, or_, select, update

from app.store.escalations import escalations
from app.store.schema import DRIVEN, HELD, UNSENT, incidents, outbox, runs
from app.store.tx import Tx

FREE: Final = MappingProxyType({"claimed_by": None, "claimed_until": None})
"""Column values of a row that nobody holds."""

_SENDING = (UNSENT, outbox.c.state == "sending")


def is_free(table: Table, now: int | BindParameter[int]) -> ColumnElement[bool]:
    """Nobody holds the row; `now` in microseconds, or the parameter that stands for it."""
    return or_(table.c.claimed_until.is_(None), table.c.claimed_until <= now)


def held(row: Row[Any], owner: str, now: int) -> bool:
    """Somebody other than `owner` holds it."""
    return row.claimed_until is not None and row.claimed_until > now and row.claimed_by != owner


def taken(tx: Tx, owner: str, lease: timedelta) -> dict[str, Any]:
    """Column values of a row that `owner` holds from now on for `lease`."""
    return {"claimed_by": owner, "claimed_until": tx.stamp + lease // timedelta(microseconds=1)}


def holders(conn: Connection, own: str) -> tuple[str, ...]:
    """Replicas other than `own` that hold a claim, sorted."""
    deciding = conn.execute(select(incidents.c.claimed_by).distinct().where(HELD)).scalars()
    driving = conn.execute(select(runs.c.claimed_by).distinct().where(DRIVEN)).scalars()
    sending = conn.execute(select(outbox.c.claimed_by).distinct().where(*_SENDING)).scalars()
    # Messages are claimed under the replica's name and the number of its start.
    names = {*deciding, *driving, *(owner.rpartition("/")[0] for owner in sending if owner)}
    return tuple(sorted(names - {own, None}))


def free(tx: Tx, replica: str) -> None:
    """End what this replica holds now: its incidents and runs are due, and whether its messages went out is looked up."""
    for table in (incidents, runs):
        tx.conn.execute(update(table).where(table.c.claimed_by == replica).values(**FREE, due_at=tx.stamp))
    mine = outbox.c.claimed_by.startswith(f"{replica}/", autoescape=True)
    tx.conn.execute(update(outbox).where(*_SENDING, mine).values(claimed_until=tx.stamp))


def set_back(tx: Tx, by: timedelta) -> None:
    """The clock was set back by so much: what is due, and until when something is held, count on the new time."""
    step = by // timedelta(microseconds=1)
    for table in (incidents, runs):
        due, held_until = table.c.due_at, table.c.claimed_until
        tx.conn.execute(update(table).where(due > tx.stamp).values(due_at=due - step))
        tx.conn.execute(update(table).where(held_until > tx.stamp).values(claimed_until=held_until - step))
    due = escalations.c.due_at
    tx.conn.execute(update(escalations).where(due > tx.stamp).values(due_at=due - step))
    held_until = outbox.c.claimed_until
    tx.conn.execute(
        update(outbox).where(UNSENT, held_until > tx.stamp).values(claimed_until=held_until - step)
    )
