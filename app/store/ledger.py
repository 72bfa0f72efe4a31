"""The ledger: budgets and limits as reservations, shared by all rules and replicas.

A reservation is made in the same transaction as the decision that needs it and counts as spent from then on, unless the
run never acted and gives it back. Called by the flow; `runs.move` releases. Never knows a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from app.store.encoding import micros
from app.store.schema import ledger
from app.store.tx import Tx

LOCK = 7_136_094_402
"""Key of the Postgres advisory lock under which counting and reserving are one step."""


_RESERVED = select(ledger.c.scope).where(
    ledger.c.run_id == bindparam("run"), ledger.c.step_index == bindparam("step")
)
_RESERVE = insert(ledger)


def lock(tx: Tx) -> None:
    """Until this transaction ends nobody else counts and reserves. SQLite's one writer needs nothing."""
    if tx.postgres:
        tx.conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def reserve(tx: Tx, run_id: str, step_index: int, scopes: Sequence[str]) -> None:
    """Reserve one action per scope for this step of the run; a repeat reserves nothing more."""
    have = set(tx.conn.execute(_RESERVED, {"run": run_id, "step": step_index}).scalars())
    rows = [
        {
            "run_id": run_id,
            "step_index": step_index,
            "scope": scope,
            "at": tx.stamp,
            "released_at": None,
            "spent": True,
        }
        for scope in dict.fromkeys(scopes)
        if scope not in have
    ]
    if rows:
        tx.conn.execute(_RESERVE, rows)


def give_back(tx: Tx, run_id: str, step_index: int) -> None:
    """The step never acted: its reservations count no more."""
    _update(tx, run_id, {"spent": False, "released_at": tx.stamp}, ledger.c.step_index == step_index)


def release(tx: Tx, run_id: str) -> None:
    """The run has ended; what it spent stays spent until it leaves the window."""
    _update(tx, run_id, {"released_at": tx.stamp}, ledger.c.released_at.is_(None))


def spent_since(conn: Connection, scope: str, since: datetime) -> int:
    """Reservations of the scope made at or after `since` and not given back."""
    return int(conn.execute(select(func.count()).where(*_spent(scope, since))).scalar() or 0)


def _spent(scope: str, since: datetime) -> list[Any]:
    return [ledger.c.scope == scope, ledger.c.at >= micros(since), ledger.c.spent.is_(True)]


def _update(tx: Tx, run_id: str, values: dict[str, Any], *where: Any) -> None:
    tx.conn.execute(update(ledger).where(ledger.c.run_id == run_id, *where).values(values))
