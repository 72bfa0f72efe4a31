"""The outbox: messages written with the change they tell of, sent afterwards, in order within an incident.

A row is `pending`, `sending` (claimed), `sent`, `failed` (given up) or `digested` (told by another row). A row left in
`sending` by a process that died may or may not have been sent: `unsure` lists it, and its incident's later rows wait
until somebody has looked and called `sent` or `failed`. Called by the flow. Never sends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select, update

from app.domain.errors import Missing
from app.domain.events import EventKind
from app.store import work
from app.store.connection import micros, micros_or_none, moment, moment_or_none, storable, to_json
from app.store.schema import UNSENT, UNSENT_STATES, outbox
from app.store.tx import MessageState, Tx


@dataclass(frozen=True, slots=True)
class Message:
    """One row. `attempts` counts claims; `channel` and `ts` say where it went."""

    seq: int
    id: str
    incident_id: str
    kind: str
    payload: Mapping[str, Any]
    state: MessageState
    attempts: int
    created_at: datetime
    retry_at: datetime | None
    claimed_by: str | None
    claimed_until: datetime | None
    channel: str
    ts: str
    error: str
    digested_into: str


_DEPTH = select(func.count()).select_from(outbox).where(UNSENT)


def known(conn: Connection, message_id: str) -> bool:
    """A message of this id was queued before, whatever became of it."""
    return conn.execute(select(outbox.c.id).where(outbox.c.id == message_id)).scalar() is not None


def claim(tx: Tx, now: datetime, limit: int, owner: str, lease: timedelta) -> list[Message]:
    """Take up to `limit` messages to send, oldest first: of each incident only its first unsent one.

    So a later message never overtakes an earlier one that waits for its retry. Two processes never get the same row.
    """
    earlier = outbox.alias("earlier")
    first = (
        select(func.min(earlier.c.seq))
        .where(earlier.c.incident_id == outbox.c.incident_id, _unsent(earlier))
        .scalar_subquery()
    )
    found = tx.conn.execute(
        select(outbox.c.seq)
        .where(UNSENT, outbox.c.state == MessageState.PENDING.value)
        .where(or_(outbox.c.retry_at.is_(None), outbox.c.retry_at <= micros(now)))
        .where(or_(outbox.c.incident_id == "", outbox.c.seq == first))
        .order_by(outbox.c.seq)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = list(found.scalars())
    rows = tx.conn.execute(
        update(outbox)
        .where(outbox.c.seq.in_(taken))
        .values(
            state=MessageState.SENDING.value,
            attempts=outbox.c.attempts + 1,
            **work.claim_values(tx, owner, lease),
        )
        .returning(*outbox.c)
    )
    return sorted((_message(row) for row in rows), key=lambda m: m.seq)


def is_held(conn: Connection, row: Message) -> bool:
    """The claim under which `row` was given is in force in the store: nobody else has taken it, and nobody has settled it."""
    return _held(conn.execute(select(outbox).where(outbox.c.seq == row.seq)).one_or_none(), row)


def hold(tx: Tx, row: Message) -> bool:
    """As `is_held`, and it stays so to the end of the transaction."""
    found = tx.conn.execute(select(outbox).where(outbox.c.seq == row.seq).with_for_update()).one_or_none()
    return _held(found, row)


def renew(tx: Tx, row: Message, lease: timedelta) -> Message | None:
    """The row with its claim counted from now on; None where it is not ours any more."""
    if not hold(tx, row) or row.claimed_by is None:
        return None
    mine = update(outbox).where(outbox.c.seq == row.seq)
    values = work.claim_values(tx, row.claimed_by, lease)
    return _message(tx.conn.execute(mine.values(**values).returning(*outbox.c)).one())


def _held(found: Row[Any] | None, row: Message) -> bool:
    claim = (MessageState.SENDING.value, row.claimed_by, micros_or_none(row.claimed_until), row.attempts)
    return found is not None and (found.state, found.claimed_by, found.claimed_until, found.attempts) == claim


def before(conn: Connection, row: Message) -> int:
    """The number of the incident's message before this one; 0 for none."""
    earlier = (outbox.c.incident_id == row.incident_id, outbox.c.seq < row.seq)
    return int(conn.execute(select(func.max(outbox.c.seq)).where(*earlier)).scalar() or 0)


def get(conn: Connection, message_id: str) -> Message:
    """One message. Raises Missing."""
    row = conn.execute(select(outbox).where(outbox.c.id == message_id)).one_or_none()
    if row is None:
        raise Missing("no such message", where=message_id)
    return _message(row)


def page_row(key: str) -> str:
    """The id of the message that makes the page with this key."""
    return f"{key}:page"


def page_went_out(conn: Connection, key: str) -> bool:
    """The page with this key was really made, as far as is known: its event was taken."""
    return _page_state(conn, key) == MessageState.SENT.value


def page_given_up(conn: Connection, key: str) -> bool:
    """The page with this key was given up: nobody was called by it."""
    return _page_state(conn, key) == MessageState.FAILED.value


def _page_state(conn: Connection, key: str) -> str | None:
    return conn.execute(select(outbox.c.state).where(outbox.c.id == page_row(key))).scalar()


def sent(tx: Tx, message_id: str, channel: str, ts: str) -> None:
    """It is out, as `ts` in `channel`. Raises Missing."""
    message = _settle(tx, message_id, MessageState.SENT, channel=channel, ts=ts, error="")
    data = {"message": message_id, "kind": message.kind, "channel": channel, "ts": ts}
    if message.state is not MessageState.SENT:
        tx.audit(EventKind.NOTIFIED, incident_id=message.incident_id, data=data)


def failed(tx: Tx, message_id: str, error: str, retry_at: datetime | None) -> None:
    """It did not go out: try again at `retry_at`, or give it up when None. Raises Missing.

    What certainly was not sent because nothing is taken now is for `waits`.
    """
    text = storable(error)
    if retry_at is not None:
        _settle(tx, message_id, MessageState.PENDING, error=text, retry_at=micros_or_none(retry_at))
        return
    message = _settle(tx, message_id, MessageState.FAILED, error=text)
    data = {"message": message_id, "kind": message.kind, "error": text}
    tx.audit(EventKind.NOTIFY_FAILED, incident_id=message.incident_id, data=data)


def try_anew(tx: Tx, message_id: str) -> None:
    """A message that was given up is to go out after all, as if it had not been tried."""
    given_up = (outbox.c.id == message_id, outbox.c.state == MessageState.FAILED.value)
    values = {"state": MessageState.PENDING.value, "attempts": 0, "error": "", "retry_at": None}
    tx.conn.execute(update(outbox).where(*given_up).values(**values))


def waits(tx: Tx, message_ids: Sequence[str], error: str, retry_at: datetime) -> None:
    """Claimed messages were not even tried: until `retry_at` nothing is taken. That counts no attempt."""
    tx.conn.execute(
        update(outbox)
        .where(outbox.c.id.in_(message_ids), outbox.c.state == MessageState.SENDING.value)
        .values(
            state=MessageState.PENDING.value,
            attempts=outbox.c.attempts - 1,
            error=storable(error),
            retry_at=micros(retry_at),
            **work.FREE,
        )
    )


def due_again(tx: Tx) -> int:
    """Every message that waits for its next attempt is due now; returns how many."""
    waiting = update(outbox).where(
        UNSENT, outbox.c.state == MessageState.PENDING.value, outbox.c.retry_at > micros(tx.now)
    )
    return tx.conn.execute(waiting.values(retry_at=None)).rowcount


def digest(tx: Tx, message_ids: Sequence[str], into: str) -> int:
    """Pending messages are told by the message `into` instead; returns how many were still pending."""
    done = tx.conn.execute(
        update(outbox)
        .where(
            outbox.c.id.in_(message_ids), outbox.c.state == MessageState.PENDING.value, outbox.c.id != into
        )
        .values(state=MessageState.DIGESTED.value, digested_into=into)
    )
    return done.rowcount


def pending(conn: Connection, limit: int = 1_000, kinds: Sequence[str] = ()) -> list[Message]:
    """Messages that wait to be sent, oldest first; of these kinds only, when any are named."""
    query = select(outbox).where(UNSENT, outbox.c.state == MessageState.PENDING.value)
    if kinds:
        query = query.where(outbox.c.kind.in_(kinds))
    return [_message(row) for row in conn.execute(query.order_by(outbox.c.seq).limit(limit))]


def depth(conn: Connection) -> int:
    """How many messages are not out yet."""
    return int(conn.execute(_DEPTH).scalar() or 0)


def unsure(conn: Connection, now: datetime) -> list[Message]:
    """Messages claimed by a process whose lease is over: they may be out or not."""
    query = select(outbox).where(
        UNSENT, outbox.c.state == MessageState.SENDING.value, outbox.c.claimed_until <= micros(now)
    )
    return [_message(row) for row in conn.execute(query.order_by(outbox.c.seq))]


def _unsent(table: Any) -> Any:
    return table.c.state.in_(UNSENT_STATES)


def _settle(tx: Tx, message_id: str, state: MessageState, **values: Any) -> Message:
    """Put the row into `state` and return it as it was before."""
    before = get(tx.conn, message_id)
    tx.conn.execute(
        update(outbox).where(outbox.c.id == message_id).values(state=state.value, **work.FREE, **values)
    )
    return before


def _message(row: Row[Any]) -> Message:
    data = row._asdict()
    data["state"] = MessageState(row.state)
    data["payload"] = to_json(row.payload)
    data["created_at"] = moment(row.created_at)
    data["retry_at"] = moment_or_none(row.retry_at)
    data["claimed_until"] = moment_or_none(row.claimed_until)
    return Message(**data)
