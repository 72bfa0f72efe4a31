"""The fence of a message that is being sent: whether its row is still ours, asked right before each call goes out, and what is done when
it was not any more after one went out.

A process that was stopped while it sent (SIGSTOP, a frozen machine) goes on where it was: another replica has taken the row over meanwhile,
and has told newer things. Called by `app.flow.notifying.deliver`. Never sends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from app.domain.ports import Clock
from app.flow.calling import calls
from app.flow.notifying.fan_out import DIGEST
from app.notify.timeline import Topic, payload
from app.store import escalations, outbox
from app.store.database import Store
from app.store.outbox import Message as Row
from app.store.tx import Tx

MARGIN: Final = timedelta(seconds=30)
"""Longer than one call takes, with the pace before it: a call that begins within the lease ends within it, unless the process is stopped."""
REDRAW: Final = "redraw"
"""In the payload of a row: what is shown may be older than what a replica remembers, so it is edited whatever that is."""


class Lapsed(Exception):
    """The row is not ours any more, or may be another's before a call ends: nothing more is sent for it."""


@dataclass
class Fence:
    """Of one row, from its claim to its end. `went`: a call has gone out under it."""

    store: Store
    clock: Clock
    row: Row
    went: bool = field(default=False)

    async def check(self) -> None:
        """Right before a call. Raises Lapsed."""
        until = self.row.claimed_until
        if until is None or self.clock.now() > until - MARGIN:
            raise Lapsed
        if not await self.store.read(lambda conn: outbox.is_held(conn, self.row)):
            raise Lapsed
        self.went = True


def repair(tx: Tx, row: Row) -> None:
    """A call for this row went out, and the row is another's or was sent by another: what that may have overwritten is told again, as it is
    by then. What is posted, and not edited, is looked for by whoever takes the row over."""
    again = f"{row.id}~{row.attempts}.{tx.stamp}"
    if row.incident_id:
        body = {**payload(Topic.MOVED, None), REDRAW: True}
        tx.put(again, row.incident_id, Topic.MOVED.value, body)
    elif row.kind == DIGEST:
        tx.put(again, "", DIGEST, row.payload)
    elif row.kind == calls.PAGE and calls.Do(row.payload.get("do", calls.Do.TRIGGER)) is calls.Do.TRIGGER:
        key = str(row.payload.get("key", row.payload["incident"]))
        walk = escalations.of_page(tx.conn, key)
        if walk is None or walk.answered_at is not None:
            # Whose it is stays theirs: it is ended only where nobody has to have it.
            do = calls.Do.RESOLVE if walk is None else calls.Do.ACKNOWLEDGE
            tx.put(again, "", calls.PAGE, {**row.payload, "do": do.value, "key": key})
