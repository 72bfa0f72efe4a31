"""Pauses: the switches a person throws to keep the service from acting, each with reason, author and end.

Scopes: `all`, `namespace:NAME`, `target:NAMESPACE/KIND/NAME`, `rule:NAME`, `remediation:NAME`. Called by the web, Slack
and command line to set and lift, by the flow to read. Never acts on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.store import facts
from app.store.encoding import micros, micros_or_none, moment, moment_or_none, storable
from app.store.schema import IN_FORCE, pauses
from app.store.tx import Tx

_PREFIXES = ("namespace:", "target:", "rule:", "remediation:")


@dataclass(frozen=True, slots=True)
class Pause:
    """One standing pause. `until` None: until somebody lifts it."""

    id: str
    scope: str
    reason: str
    author: str
    set_at: datetime
    until: datetime | None


def set(tx: Tx, scope: str, reason: str, author: str, until: datetime | None = None) -> Pause:  # noqa: A001 - read as pauses.set
    """Set the pause of a scope, replacing one that stands there. Raises BadInput for an unknown kind of scope."""
    if scope != "all" and not any(scope.startswith(p) and len(scope) > len(p) for p in _PREFIXES):
        allowed = ", ".join(("all", *(f"{p}…" for p in _PREFIXES)))
        raise BadInput(f"expected one of {allowed}", code="bad_scope", where=scope)
    _end(tx, scope, author)
    pause = Pause(tx.ids.new("pause"), storable(scope), storable(reason), storable(author), tx.now, until)
    tx.conn.execute(
        insert(pauses).values(
            id=pause.id,
            scope=pause.scope,
            reason=pause.reason,
            author=pause.author,
            set_at=tx.stamp,
            until=micros_or_none(until),
            lifted_by="",
        )
    )
    data = {"scope": pause.scope, "reason": pause.reason, "until": until.isoformat() if until else None}
    tx.audit(EventKind.PAUSED, actor=author, data=data)
    return pause


def lift(tx: Tx, scope: str, author: str) -> bool:
    """Lift the pause of a scope; False when none was in force there. What was refused is looked at again now."""
    in_force = any(pause.scope == scope for pause in active(tx.conn, tx.now))
    _end(tx, scope, author)
    if in_force:
        tx.audit(EventKind.RESUMED, actor=author, data={"scope": scope})
        facts.wake_resting(tx, observed=False)
    return in_force


# Built once: every decision asks for it.
_ACTIVE = (
    select(pauses)
    .where(IN_FORCE, or_(pauses.c.until.is_(None), pauses.c.until > bindparam("now")))
    .order_by(pauses.c.set_at, pauses.c.id)
)


def active(conn: Connection, now: datetime) -> list[Pause]:
    """Pauses in force at `now`, the oldest first."""
    return [_pause(row) for row in conn.execute(_ACTIVE, {"now": micros(now)})]


def _end(tx: Tx, scope: str, author: str) -> None:
    tx.conn.execute(
        update(pauses)
        .where(IN_FORCE, pauses.c.scope == scope)
        .values(lifted_at=tx.stamp, lifted_by=storable(author))
    )


def _pause(row: Row[Any]) -> Pause:
    return Pause(row.id, row.scope, row.reason, row.author, moment(row.set_at), moment_or_none(row.until))
