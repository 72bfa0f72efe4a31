"""Fan in: one digest for the many first messages of a storm, and one call for all of it.

Called by `app.flow.notifying.deliver` before it claims, by `app.flow.upkeep.bulk` for what it decided, and by the sweep, which has a
digest edited as its incidents move. Digests are rows of no incident, so that they wait for nobody: an incident's own rows go out
in order, and the first of them may be waiting for Slack. Only writes outbox rows, and begins the storm's escalation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from app.domain.decision import Code
from app.notify.timeline import Escalation, Topic, fact_to_json
from app.store import digests, escalations, incidents, outbox, work
from app.store.database import Store
from app.store.digests import Digest
from app.store.outbox import Message as Row
from app.store.tx import Tx

DIGEST: Final = "digest"
STORM_CALL: Final = "storm_call"
"""What the escalation of a storm says: below its digest."""
QUIET: Final = frozenset({Topic.FIRED, Topic.EVIDENCE, Topic.DECIDED, Topic.MOVED})
"""Topics that a digest may tell; what was done, asked or handed over always has its own message."""
_SEEN: Final = 1_000
_GROWING: Final = 10  # digests looked at in one sweep; the others come next


def join(tx: Tx, incident_ids: Sequence[str], *, storm: bool) -> str:
    """Let these incidents be told by the digest; the first ones open it. Returns its id.

    Nobody is called for a single target in a storm, so the first incident of a storm that a digest tells calls one person for all,
    also where messages of no storm had opened the digest.
    """
    work.lock_ledger(tx)
    digest_id, new = digests.join(tx, incident_ids)
    if storm and escalations.of_subject(tx, digest_id) is None:
        why = Escalation("a storm: many targets are in trouble at once, so nothing is done by itself")
        escalations.begin(tx, digest_id, incident_ids[0], fact_to_json(Topic.ESCALATED, why))
    if new:
        data: dict[str, Any] = {"digest": digest_id, "incident": incident_ids[0]}
        tx.put(f"{digest_id}:0", "", DIGEST, {"event": DIGEST, "data": data})
    return digest_id


async def collapse_storm(store: Store, limit: int) -> None:
    """Let the digest tell what a storm's incidents have to say first; and all of them when more than `limit` wait for
    their first message, storm or not."""
    rows, storms = await store.read(lambda conn: _first_messages(conn, limit))
    if rows:
        await store.write(lambda tx: _collapse(tx, rows, storms))


def _first_messages(conn: Connection, limit: int) -> tuple[list[Row], set[str]]:
    """Pending quiet rows that a digest shall tell, and the incidents among them that were decided in a storm."""
    quiet = [r for r in outbox.pending(conn, _SEEN, sorted(QUIET)) if r.incident_id]
    if not quiet:
        return [], set()
    unseen = incidents.without_thread(conn, list({r.incident_id for r in quiet}))
    quiet = [r for r in quiet if r.incident_id in unseen]
    storms = {r.incident_id for r in quiet if _code(r) == Code.STORM}
    if len(unseen) > limit:
        return quiet, storms
    told = storms | digests.told_by_one(conn, list(unseen))
    return [r for r in quiet if r.incident_id in told], storms


def _code(row: Row) -> str:
    return str((row.payload.get("data") or {}).get("code", ""))


def _collapse(tx: Tx, rows: Sequence[Row], storms: set[str]) -> None:
    told = list(dict.fromkeys(r.incident_id for r in rows))
    outbox.digest(tx, [r.id for r in rows], join(tx, told, storm=bool(storms)))


async def refresh_digests(store: Store, now: datetime) -> None:
    """Have each posted digest edited whose incidents have moved, and close those in which nothing moves any more. However old one is:
    as long as something of it is open, people read it."""
    for digest in await store.read(lambda conn: digests.growing(conn, now, _GROWING)):
        await store.write(lambda tx, d=digest: _refresh(tx, d, now))  # type: ignore[misc]  # bound early


def _refresh(tx: Tx, digest: Digest, now: datetime) -> None:
    counts = digests.count(tx.conn, digest.id)
    number = digests.changed(tx, digest.id, counts) if counts.states else None
    if number is not None:
        data = {"event": DIGEST, "data": {"digest": digest.id}}
        tx.put(f"{digest.id}:{number}", "", DIGEST, data)
    elif counts.over and now - digest.joined_at > digests.LULL:
        digests.close(tx, digest.id)
    else:
        digests.looked(tx, digest.id)
