"""Fan out and in: a page for each escalation, one digest for the many first messages of a storm.

Called by `app.flow.deliver` before it claims. Pages are rows of no incident, so that they wait for nobody: an
incident's own rows go out in order, and the first of them may be waiting for Slack. Only writes outbox rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from app.domain.errors import Missing
from app.notify.story import Escalation, Topic, fact_from_json
from app.store import incidents, outbox
from app.store.database import Store
from app.store.outbox import Message as Row
from app.store.tx import Tx

PAGE: Final = "page"
DIGEST: Final = "digest"
_QUIET: Final = frozenset({Topic.FIRED, Topic.EVIDENCE, Topic.DECIDED, Topic.MOVED})
"""Topics that a digest may tell; what was done, asked or handed over always has its own message."""
_SEEN: Final = 1_000


async def order_pages(store: Store) -> None:
    """Queue a page for every escalation that waits to be told and has none yet."""
    missing = await store.read(_unpaged)
    if missing:
        await store.write(lambda tx: put_pages(tx, missing))


def _unpaged(conn: Connection) -> list[Row]:
    waiting = outbox.pending(conn, _SEEN)
    return [
        r for r in waiting if r.payload.get("event") == Topic.ESCALATED and not _exists(conn, _page_id(r))
    ]


def put_pages(tx: Tx, rows: Sequence[Row]) -> None:
    """Queue the pages of these rows of escalations; repeating it is harmless."""
    for row in rows:
        content = {"event": PAGE, "incident": row.incident_id, "data": row.payload.get("data") or {}}
        outbox.put(tx, _page_id(row), "", PAGE, content)


def _page_id(row: Row) -> str:
    return f"{row.id}:page"


def _exists(conn: Connection, message_id: str) -> bool:
    try:
        outbox.get(conn, message_id)
    except Missing:
        return False
    return True


def page_of(row: Row) -> tuple[str, Escalation]:
    """The incident and the escalation of a page row. Raises ValueError or KeyError when it holds none."""
    fact = fact_from_json(Topic.ESCALATED, row.payload["data"])
    if not isinstance(fact, Escalation):
        raise ValueError("a page without an escalation")  # noqa: TRY004 - the row's content is wrong, no caller's type
    return str(row.payload["incident"]), fact


async def collapse_storm(store: Store, limit: int) -> None:
    """When more than `limit` incidents wait for their first message, one digest tells them all instead."""
    rows = await store.read(_first_messages)
    if len({r.incident_id for r in rows}) > limit:
        await store.write(lambda tx: _digest(tx, rows))


def _first_messages(conn: Connection) -> list[Row]:
    """Pending quiet rows of incidents that have no thread yet."""
    quiet = [r for r in outbox.pending(conn, _SEEN) if r.incident_id and r.payload.get("event") in _QUIET]
    unseen = {i for i in {r.incident_id for r in quiet} if not incidents.get(conn, i).thread_ts}
    return [r for r in quiet if r.incident_id in unseen]


def _digest(tx: Tx, rows: Sequence[Row]) -> None:
    digest_id = f"{rows[0].id}:digest"
    if outbox.digest(tx, [r.id for r in rows], digest_id):
        told = list(dict.fromkeys(r.incident_id for r in rows))
        outbox.put(tx, digest_id, "", DIGEST, {"event": DIGEST, "data": {"incidents": told}})
