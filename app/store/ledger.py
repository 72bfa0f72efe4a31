"""The ledger: budgets and limits as reservations, shared by all rules and replicas.

A reservation is made in the same transaction as the decision that needs it and counts as spent from then on, unless the
run never acted and gives it back. Called by the flow; `runs.move` releases. Never knows a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from app.domain.outcome import RunState
from app.store.encoding import micros, moment_or_none
from app.store.schema import LIVE, ledger, runs
from app.store.tx import Tx

LOCK = 7_136_094_402
"""Key of the Postgres advisory lock under which counting and reserving are one step."""


def lock(tx: Tx) -> None:
    """Until this transaction ends nobody else counts and reserves. SQLite's one writer needs nothing."""
    if tx.postgres:
        tx.conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def reserve(tx: Tx, run_id: str, rung_index: int, scopes: Sequence[str]) -> None:
    """Reserve one action per scope for this rung of the run; a repeat reserves nothing more."""
    have = set(
        tx.conn.execute(
            select(ledger.c.scope).where(ledger.c.run_id == run_id, ledger.c.rung_index == rung_index)
        ).scalars()
    )
    rows = [
        {
            "run_id": run_id,
            "rung_index": rung_index,
            "scope": scope,
            "at": tx.stamp,
            "released_at": None,
            "spent": True,
        }
        for scope in dict.fromkeys(scopes)
        if scope not in have
    ]
    if rows:
        tx.conn.execute(insert(ledger), rows)


def give_back(tx: Tx, run_id: str, rung_index: int) -> None:
    """The rung never acted: its reservations count no more."""
    _update(tx, run_id, {"spent": False, "released_at": tx.stamp}, ledger.c.rung_index == rung_index)


def release(tx: Tx, run_id: str) -> None:
    """The run has ended; what it spent stays spent until it leaves the window."""
    _update(tx, run_id, {"released_at": tx.stamp}, ledger.c.released_at.is_(None))


def spent_since(conn: Connection, scope: str, since: datetime) -> int:
    """Reservations of the scope made at or after `since` and not given back."""
    return int(conn.execute(select(func.count()).where(*_spent(scope, since))).scalar() or 0)


def oldest_in(conn: Connection, scope: str, since: datetime) -> datetime | None:
    """When the oldest of `spent_since` was made: once it leaves the window, one more fits."""
    return moment_or_none(conn.execute(select(func.min(ledger.c.at)).where(*_spent(scope, since))).scalar())


def in_flight(conn: Connection) -> int:
    """Targets that a live run holds."""
    return int(conn.execute(select(func.count()).select_from(runs).where(LIVE)).scalar() or 0)


def last_action(conn: Connection, target_key: str, remediation: str) -> datetime | None:
    """When a run of this remediation last spent something on the target: its end, or the reservation while it lives."""
    query = (
        select(func.max(func.coalesce(ledger.c.released_at, ledger.c.at)))
        .select_from(runs.join(ledger, ledger.c.run_id == runs.c.id))
        .where(runs.c.target_key == target_key, runs.c.remediation == remediation, ledger.c.spent.is_(True))
    )
    return moment_or_none(conn.execute(query).scalar())


def recent_results(conn: Connection, target_key: str, remediation: str, limit: int) -> list[RunState]:
    """How the last runs of this remediation on the target ended, newest first; dry runs are left out."""
    query = (
        select(runs.c.state)
        .where(runs.c.target_key == target_key, runs.c.remediation == remediation)
        .where(runs.c.ended_at.is_not(None), runs.c.dry_run.is_(False))
        .order_by(runs.c.ended_at.desc(), runs.c.id.desc())
        .limit(limit)
    )
    return [RunState(state) for state in conn.execute(query).scalars()]


def _spent(scope: str, since: datetime) -> list[Any]:
    return [ledger.c.scope == scope, ledger.c.at >= micros(since), ledger.c.spent.is_(True)]


def _update(tx: Tx, run_id: str, values: dict[str, Any], *where: Any) -> None:
    tx.conn.execute(update(ledger).where(ledger.c.run_id == run_id, *where).values(values))
