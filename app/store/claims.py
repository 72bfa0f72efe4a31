"""Claims of replicas that are gone: who holds something, and giving it back before the claim would end by itself.

Called by the sweep on Postgres, where other replicas may be told to be gone. Incidents are decided under a claim, messages
are sent under one. Never judges who is gone.
"""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from app.store.outbox import MessageState
from app.store.schema import UNSENT, incidents, outbox
from app.store.tx import Tx

_SENDING = (UNSENT, outbox.c.state == MessageState.SENDING.value)


def holders(conn: Connection, own: str) -> tuple[str, ...]:
    """Replicas other than `own` that hold a claim, sorted."""
    deciding = conn.execute(
        select(incidents.c.claimed_by).distinct().where(incidents.c.claimed_by.is_not(None))
    ).scalars()
    sending = conn.execute(select(outbox.c.claimed_by).distinct().where(*_SENDING)).scalars()
    # Messages are claimed under the replica's name and the number of its start.
    names = {*deciding, *(owner.rpartition("/")[0] for owner in sending if owner)}
    return tuple(sorted(names - {own, None}))


def free(tx: Tx, replica: str) -> None:
    """End what this replica holds now: its incidents are due, and whether its messages went out is looked up."""
    tx.conn.execute(
        update(incidents)
        .where(incidents.c.claimed_by == replica)
        .values(claimed_by=None, claimed_until=None, due_at=tx.stamp)
    )
    mine = outbox.c.claimed_by.startswith(f"{replica}/", autoescape=True)
    tx.conn.execute(update(outbox).where(*_SENDING, mine).values(claimed_until=tx.stamp))
