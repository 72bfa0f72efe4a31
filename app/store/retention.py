"""Retention: removes what is old, in bounded batches, so that the database stays bounded.

Called by `pruning`, again as long as `Pruned.more` says so. Removes closed incidents with everything that is theirs,
deliveries, strays, samples, lifted pauses, trust that nobody renewed, and the records of the audit trail that are about no
incident that is still here; what is left of the trail still verifies. Never removes anything of an open incident, nor of one of which
something is owed (`owed` says what), so an incident that stays costs its own rows and nobody else's.
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
    func,
    select,
    tuple_,
)

from app.domain.events import EventKind
from app.store import owed, trail
from app.store.audit import all_episodes
from app.store.connection import micros
from app.store.escalations import escalation_scopes, escalations
from app.store.people import acknowledgements, incident_acknowledgements
from app.store.schedules import schedule_fires
from app.store.schema import (
    CLOSED,
    GROWN,
    LIFTED,
    OF_NO_INCIDENT,
    STRAY,
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
    trust_levels,
)
from app.store.tx import Tx

_PER_LIMIT = 10
"""Rows of one kind removed per unit of `limit`: an incident has a few alerts, messages and audit records."""

_SAID_KEPT = timedelta(days=14) // timedelta(microseconds=1)
"""How long a message of no incident is kept at least: its id is what keeps a week from being told twice."""

_FIRES_KEPT = timedelta(days=400) // timedelta(microseconds=1)
"""How long it is known at least that a schedule's time has come: people look at the last one of a yearly schedule too."""

TRUST_KEPT = timedelta(days=180)
"""Trust that no run and no person renewed for so long is forgotten: its target may be gone, and one that is not begins anew
from its rule's first level."""

_VACUUM_SHARE = 4
"""Free pages go back to the file system when they are more than one in this many; fewer are soon used again."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows removed by one call. `more`: a bound was reached, call again, with `audit_from` the next part of the trail."""

    incidents: int = 0
    episodes: int = 0
    runs: int = 0
    deliveries: int = 0
    samples: int = 0
    audit: int = 0
    others: int = 0
    trust_levels: int = 0
    more: bool = False
    audit_from: int = 0


def prune(
    tx: Tx, older_than: datetime, limit: int, audit_from: int = 0, *, counted: timedelta = timedelta()
) -> Pruned:
    """Remove what was over before `older_than`: at most `limit` incidents and ten times as many rows of other kinds.

    `audit_from` is where the call before stopped in the audit trail, 0 to begin. `counted` is how long limits of the policy count what
    a run did: it stays at least as long.
    """
    conn, before, rows = tx.conn, micros(older_than), limit * _PER_LIMIT
    candidates = _candidates(conn, before, limit, micros(tx.now - counted))
    gone, gone_episodes = _delete_episodes(conn, candidates, rows)
    gone_runs = _delete_incidents(conn, gone)
    strays = _delete_first(conn, episodes, and_(STRAY, episodes.c.last_seen < before), rows)
    old_deliveries = _delete_deliveries(conn, before, rows)
    old_samples = _delete_first(conn, samples, samples.c.at < before, rows)
    others = _delete_others(tx, before, rows)
    old_trust = _delete_first(conn, trust_levels, trust_levels.c.updated_at < _unrenewed(tx, before), rows)
    old_audit, resume = _prune_audit(tx, before, rows, audit_from)
    full = max(gone_episodes, strays, old_deliveries, old_samples, *others) >= rows
    pruned = Pruned(
        incidents=len(gone),
        episodes=gone_episodes + strays,
        runs=gone_runs,
        deliveries=old_deliveries,
        samples=old_samples,
        audit=old_audit,
        others=sum(others),
        trust_levels=old_trust,
        more=full or len(candidates) >= limit or resume > 0,
        audit_from=resume,
    )
    if any((pruned.incidents, pruned.episodes, pruned.deliveries, pruned.audit, pruned.trust_levels)):
        counts = {name: value for name, value in asdict(pruned).items() if name != "audit_from"}
        tx.audit(EventKind.PRUNED, data={"older_than": older_than.isoformat(), **counts, **trail.told(conn)})
    _give_pages_back(conn, rows)
    return pruned


def _unrenewed(tx: Tx, before: int) -> int:
    return min(before, tx.stamp - TRUST_KEPT // timedelta(microseconds=1))


def _delete_others(tx: Tx, before: int, rows: int) -> list[int]:
    conn, said = tx.conn, min(before, tx.stamp - _SAID_KEPT)
    old_words = acknowledgements.c.at < before
    if conn.execute(select(acknowledgements.c.at).where(old_words).limit(1)).first() is not None:
        old_words &= acknowledgements.c.fingerprint.not_in(owed.taken_alerts(conn, before))
    return [
        _delete_first(conn, pauses, and_(LIFTED, pauses.c.lifted_at < before), rows),
        _delete_first(conn, clicks, clicks.c.at < before, rows),
        _delete_first(conn, acknowledgements, old_words, rows),
        _delete_first(conn, schedule_fires, schedule_fires.c.at < min(before, tx.stamp - _FIRES_KEPT), rows),
        _delete_first(conn, digests, and_(GROWN, digests.c.closed_at < before, ~owed.of_digest()), rows),
        _delete_first(
            conn, outbox, and_(OF_NO_INCIDENT, outbox.c.created_at < said, ~owed.of_message()), rows
        ),
    ]


def _candidates(conn: Connection, before: int, limit: int, counted_since: int) -> list[str]:
    """Closed incidents of which nothing is owed any more, the longest closed first."""
    over = (CLOSED, incidents.c.closed_at < before, ~owed.of_incident(counted_since))
    query = select(incidents.c.id).where(*over)
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
        (escalation_scopes, escalation_scopes.c.incident_id, gone),
        (escalations, escalations.c.incident_id, gone),
        (incident_acknowledgements, incident_acknowledgements.c.incident_id, gone),
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


def _prune_audit(tx: Tx, before: int, limit: int, start: int) -> tuple[int, int]:
    """Remove records that are old and about no incident that is still here, among `limit` from `start` on; how many went,
    and where to go on, 0 at the end of what is old."""
    conn = tx.conn
    chain = conn.execute(select(audit_chain).where(audit_chain.c.id == 1).with_for_update()).one()
    # The newest record stays: the chain's head is a record one can look at.
    end = min(_first_young(conn, before, chain.anchor_seq + 1, chain.seq), chain.seq)
    part = (
        select(audit.c.seq, audit.c.hash, audit.c.incident_id)
        .where(audit.c.seq > max(start, chain.anchor_seq), audit.c.seq < end)
        .order_by(audit.c.seq)
        .limit(limit)
        .subquery()
    )
    looked_at = (
        select(part.c.seq, part.c.hash, incidents.c.id)
        .select_from(part.outerjoin(incidents, incidents.c.id == part.c.incident_id))
        .order_by(part.c.seq)
    )
    found = conn.execute(looked_at).all()
    removed = [(row.seq, row.hash) for row in found if row.id is None]
    trail.cut(tx, removed)
    return len(removed), found[-1].seq if len(found) == limit else 0


def _first_young(conn: Connection, before: int, low: int, high: int) -> int:
    """The first record that is not older than `before`, by halving: records are in the order of their time."""
    while low < high:
        middle = (low + high) // 2
        query = select(audit.c.seq, audit.c.at).where(audit.c.seq >= middle).order_by(audit.c.seq).limit(1)
        row = conn.execute(query).one_or_none()
        if row is None or row.at >= before:
            high = middle
        else:
            low = row.seq + 1
    return low


def _delete_first(conn: Connection, table: Table, where: ColumnElement[bool], limit: int) -> int:
    keys = list(table.primary_key.columns)
    found = select(*keys).where(where).limit(limit)
    if len(keys) == 1:
        return _count(conn.execute(delete(table).where(keys[0].in_(found))))
    return _count(conn.execute(delete(table).where(tuple_(*keys).in_(found))))


def _give_pages_back(conn: Connection, most: int) -> None:
    """SQLite: shrink the file when much of it is free."""
    if conn.dialect.name != "sqlite":
        return
    free = int(conn.exec_driver_sql("PRAGMA freelist_count").scalar() or 0)
    pages = int(conn.exec_driver_sql("PRAGMA page_count").scalar() or 0)
    if free * _VACUUM_SHARE <= pages:
        return
    # The statement frees a page per step, and the driver makes one step of a statement without columns.
    cursor = conn.connection.cursor()
    for _ in range(min(free, most)):
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
