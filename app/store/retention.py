"""Retention: removes what is old, in bounded batches, so that the database stays bounded.

Called by the flow's sweep, again as long as `Pruned.more` says so. Removes closed incidents with everything that is
theirs, deliveries, strays, samples, lifted pauses, and the oldest part of the audit trail as far as no remaining incident
needs it; the chain keeps an anchor there and still verifies. Never removes anything of an open incident, of a live run or
of an unsent message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)

from app.domain.events import EventKind
from app.store.encoding import micros
from app.store.schema import (
    CLOSED,
    LIVE,
    STRAY,
    UNSENT,
    audit,
    audit_chain,
    clicks,
    decisions,
    deliveries,
    digest_incidents,
    digests,
    episodes,
    incidents,
    ledger,
    outbox,
    pauses,
    pre_images,
    rejected_alerts,
    run_approvals,
    run_journal,
    runs,
    samples,
)
from app.store.segments import all_episodes
from app.store.tx import Tx

_PER_LIMIT = 10
"""Rows of one kind removed per unit of `limit`: an incident has a few alerts, messages and audit records."""

_SAID_KEPT = timedelta(days=14) // timedelta(microseconds=1)
"""How long a message of no incident is kept at least: its id is what keeps a week from being told twice."""

_VACUUM_SHARE = 4
"""Free pages go back to the file system when they are more than one in this many; fewer are soon used again."""

_VACUUM_PAGES = 4_000


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows removed by one call. `more`: a bound was reached, call again."""

    incidents: int = 0
    episodes: int = 0
    runs: int = 0
    deliveries: int = 0
    samples: int = 0
    audit: int = 0
    others: int = 0
    more: bool = False


def prune(tx: Tx, older_than: datetime, limit: int) -> Pruned:
    """Remove what was over before `older_than`: at most `limit` incidents and ten times as many rows of other kinds."""
    conn, before, rows = tx.conn, micros(older_than), limit * _PER_LIMIT
    candidates = _candidates(conn, before, limit)
    gone, gone_episodes = _delete_episodes(conn, candidates, rows)
    gone_runs = _delete_incidents(conn, gone)
    strays = _delete_first(conn, episodes, and_(STRAY, episodes.c.last_seen < before), rows)
    old_deliveries = _delete_deliveries(conn, before, rows)
    old_samples = _delete_first(conn, samples, samples.c.at < before, rows)
    others = _count(conn.execute(delete(pauses).where(pauses.c.lifted_at < before)))
    others += _delete_first(conn, clicks, clicks.c.at < before, rows)
    others += _delete_first(conn, digests, digests.c.closed_at < before, rows)
    others += _delete_first(
        conn,
        outbox,
        and_(outbox.c.incident_id == "", ~UNSENT, outbox.c.created_at < min(before, tx.stamp - _SAID_KEPT)),
        rows,
    )
    old_audit = _prune_audit(tx, before, rows)
    full = max(gone_episodes, strays, old_deliveries, old_samples, old_audit) >= rows
    pruned = Pruned(
        incidents=len(gone),
        episodes=gone_episodes + strays,
        runs=gone_runs,
        deliveries=old_deliveries,
        samples=old_samples,
        audit=old_audit,
        others=others,
        more=full or len(candidates) >= limit,
    )
    if any((pruned.incidents, pruned.episodes, pruned.deliveries, pruned.audit)):
        tx.audit(EventKind.PRUNED, data={"older_than": older_than.isoformat(), **asdict(pruned)})
    _give_pages_back(conn)
    return pruned


def _candidates(conn: Connection, before: int, limit: int) -> list[str]:
    """Closed incidents that nothing holds any more, the longest closed first.

    A merged incident is part of the story of the one it joined and stays as long as that.
    """
    other = incidents.alias("other")
    held = or_(
        exists().where(runs.c.incident_id == incidents.c.id, LIVE),
        exists().where(outbox.c.incident_id == incidents.c.id, UNSENT),
        exists().where(other.c.id == incidents.c.merged_into),
    )
    query = select(incidents.c.id).where(CLOSED, incidents.c.closed_at < before, ~held)
    return list(conn.execute(query.order_by(incidents.c.closed_at).limit(limit)).scalars())


def _delete_episodes(conn: Connection, candidates: Sequence[str], limit: int) -> tuple[list[str], int]:
    """Delete the candidates' episodes, `limit` at most; which candidates have none left, and how many were deleted."""
    gone, deleted = [], 0
    for incident in candidates:
        if deleted >= limit:
            break
        deleted += _delete_first(conn, episodes, all_episodes(conn, incident), limit - deleted)
        # At the limit there may be more of this one: the next call finds out.
        if deleted < limit:
            gone.append(incident)
    return gone, deleted


def _delete_incidents(conn: Connection, gone: Sequence[str]) -> int:
    run_ids = list(conn.execute(select(runs.c.id).where(runs.c.incident_id.in_(gone))).scalars())
    for table, column, keys in (
        (run_journal, run_journal.c.run_id, run_ids),
        (pre_images, pre_images.c.run_id, run_ids),
        (run_approvals, run_approvals.c.run_id, run_ids),
        (ledger, ledger.c.run_id, run_ids),
        (runs, runs.c.id, run_ids),
        (decisions, decisions.c.incident_id, gone),
        (outbox, outbox.c.incident_id, gone),
        (digest_incidents, digest_incidents.c.incident_id, gone),
        (incidents, incidents.c.id, gone),
    ):
        if keys:
            conn.execute(delete(table).where(column.in_(keys)))
    return len(run_ids)


def _delete_deliveries(conn: Connection, before: int, limit: int) -> int:
    # Ids sort by time of creation, so the oldest are the first: no index on the time, and no scan past the limit.
    first = (
        select(deliveries.c.id, deliveries.c.received_at).order_by(deliveries.c.id).limit(limit).subquery()
    )
    ids = list(conn.execute(select(first.c.id).where(first.c.received_at < before)).scalars())
    if not ids:
        return 0
    conn.execute(delete(rejected_alerts).where(rejected_alerts.c.delivery_id.between(ids[0], ids[-1])))
    return _count(conn.execute(delete(deliveries).where(deliveries.c.id.in_(ids))))


def _prune_audit(tx: Tx, before: int, limit: int) -> int:
    """Remove the oldest records up to the first that is young or belongs to an incident that is still here."""
    conn = tx.conn
    chain = conn.execute(select(audit_chain).where(audit_chain.c.id == 1).with_for_update()).one()
    oldest = (
        select(audit.c.seq, audit.c.hash, audit.c.at, incidents.c.id)
        .select_from(audit.outerjoin(incidents, incidents.c.id == audit.c.incident_id))
        .where(audit.c.seq < chain.seq)  # the newest stays: the chain's head is a record one can look at
        .order_by(audit.c.seq)
        .limit(limit)
    )
    anchor, count = None, 0
    for row in conn.execute(oldest):
        if row.at >= before or row.id is not None:
            break
        anchor, count = row, count + 1
    if anchor is not None:
        conn.execute(delete(audit).where(audit.c.seq <= anchor.seq))
        conn.execute(
            update(audit_chain)
            .where(audit_chain.c.id == 1)
            .values(anchor_seq=anchor.seq, anchor_hash=anchor.hash)
        )
    return count


def _delete_first(conn: Connection, table: Table, where: ColumnElement[bool], limit: int) -> int:
    keys = list(table.primary_key.columns)
    found = select(*keys).where(where).limit(limit)
    if len(keys) == 1:
        return _count(conn.execute(delete(table).where(keys[0].in_(found))))
    return _count(conn.execute(delete(table).where(tuple_(*keys).in_(found))))


def _give_pages_back(conn: Connection) -> None:
    """SQLite: shrink the file when much of it is free."""
    if conn.dialect.name != "sqlite":
        return
    free = int(conn.exec_driver_sql("PRAGMA freelist_count").scalar() or 0)
    pages = int(conn.exec_driver_sql("PRAGMA page_count").scalar() or 0)
    if free * _VACUUM_SHARE <= pages:
        return
    # The statement frees a page per step, and the driver makes one step of a statement without columns.
    cursor = conn.connection.cursor()
    for _ in range(min(free, _VACUUM_PAGES)):
        cursor.execute("PRAGMA incremental_vacuum(1)")
    cursor.close()


def _count(result: Any) -> int:
    return int(result.rowcount)


def size(conn: Connection) -> int:
    """Bytes the database takes now, for a metric and a warning before the disk is full."""
    if conn.dialect.name == "sqlite":
        pages = int(conn.exec_driver_sql("PRAGMA page_count").scalar() or 0)
        return pages * int(conn.exec_driver_sql("PRAGMA page_size").scalar() or 0)
    return int(conn.execute(select(func.pg_database_size(func.current_database()))).scalar() or 0)
