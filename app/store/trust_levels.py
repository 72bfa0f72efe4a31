"""Trust levels: one row for each alert, remediation and class of targets whose rule has mode earned.

Called by the flow inside its transactions, by the API for reading. A change is one update with its audit record, in the
transaction of what it follows from. Never judges: which level a trust level has is the policy's to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Text, bindparam, func, insert, select, update

from app.domain.decision import Mode
from app.domain.errors import Missing
from app.domain.events import EventKind
from app.store.connection import micros, micros_or_none, moment, moment_or_none, storable, to_json, to_text
from app.store.schema import trust_levels
from app.store.tx import Tx

_GET = select(trust_levels).where(trust_levels.c.key == bindparam("wanted", type_=Text()))


@dataclass(frozen=True, slots=True)
class StoredTrustLevel:
    """One row. `rule` is the one that the alert was last decided under; `successes` of `trials` were counted since `since`.

    `asked_at` is when a promotion began to wait for a person, None when none does. `agreed` has who said yes to the next
    promotion, and when, while more people have to. `incident_id` and `run_id` are of the last change that came from a run.
    """

    key: str
    alertname: str
    remediation: str
    target_class: str
    rule: str
    level: Mode
    since: datetime
    successes: int = 0
    trials: int = 0
    why: str = ""
    asked_at: datetime | None = None
    agreed: Mapping[str, str] | None = None
    incident_id: str = ""
    run_id: str = ""
    updated_at: datetime | None = None


def find(conn: Connection, key: str) -> StoredTrustLevel | None:
    """The trust level of this key."""
    row = conn.execute(_GET, {"wanted": storable(key)}).one_or_none()
    return None if row is None else _trust_level(row)


def hold(tx: Tx, key: str) -> StoredTrustLevel:
    """The trust level, locked until the transaction ends. Raises Missing."""
    row = tx.conn.execute(_GET.with_for_update(), {"wanted": storable(key)}).one_or_none()
    if row is None:
        raise Missing("no such trust level; `remediator trust` lists them", code="no_trust_level", where=key)
    return _trust_level(row)


def concerned(
    tx: Tx, remediation: str, classes: Sequence[str], alertname: str | None = None
) -> list[StoredTrustLevel]:
    """The trust levels of this remediation on these classes, of one alert or (None) of all, locked in the order of their keys."""
    query = select(trust_levels).where(
        trust_levels.c.remediation == remediation, trust_levels.c.target_class.in_(classes)
    )
    if alertname is not None:
        query = query.where(trust_levels.c.alertname == storable(alertname))
    return [
        _trust_level(row) for row in tx.conn.execute(query.order_by(trust_levels.c.key).with_for_update())
    ]


def waiting(conn: Connection, remediation: str) -> list[StoredTrustLevel]:
    """The trust levels of this remediation whose promotion waits for a person."""
    query = select(trust_levels).where(
        trust_levels.c.remediation == remediation, trust_levels.c.asked_at.is_not(None)
    )
    return [_trust_level(row) for row in conn.execute(query.order_by(trust_levels.c.key))]


def listed(conn: Connection, limit: int = 10_000) -> list[StoredTrustLevel]:
    """The trust levels in the order of their keys."""
    query = select(trust_levels).order_by(trust_levels.c.key).limit(limit)
    return [_trust_level(row) for row in conn.execute(query)]


def count(conn: Connection) -> tuple[dict[str, int], int]:
    """How many trust levels each level has, and how many promotions wait for a person."""
    query = select(trust_levels.c.level, func.count(), func.count(trust_levels.c.asked_at)).group_by(
        trust_levels.c.level
    )
    rows = conn.execute(query).all()
    return {row[0]: int(row[1]) for row in rows}, sum(int(row[2]) for row in rows)


def open_one(tx: Tx, new: StoredTrustLevel, data: Mapping[str, Any]) -> StoredTrustLevel:
    """Begin a trust level, or return the one that is there, with its rule as it is now. The caller sees to it that nobody
    else begins the same one at the same time (decisions hold the ledger's lock)."""
    found = find(tx.conn, new.key)
    if found is None:
        tx.conn.execute(insert(trust_levels).values(key=storable(new.key), **_values(tx, new)))
        _audit(tx, new, "service", data)
        return new
    if found.rule != new.rule:
        values = {"rule": storable(new.rule), "updated_at": tx.stamp}
        tx.conn.execute(update(trust_levels).where(trust_levels.c.key == storable(new.key)).values(values))
    return replace(found, rule=new.rule)


def put(tx: Tx, changed: StoredTrustLevel, data: Mapping[str, Any], actor: str = "service") -> None:
    """Write a changed trust level with its audit record. The caller holds the row."""
    tx.conn.execute(
        update(trust_levels).where(trust_levels.c.key == storable(changed.key)).values(**_values(tx, changed))
    )
    _audit(tx, changed, actor, data)


def _audit(tx: Tx, trust_level: StoredTrustLevel, actor: str, data: Mapping[str, Any]) -> None:
    tx.audit(
        EventKind.TRUST_CHANGED,
        incident_id=trust_level.incident_id,
        run_id=trust_level.run_id,
        actor=actor,
        data=data,
    )


def _values(tx: Tx, trust_level: StoredTrustLevel) -> dict[str, Any]:
    return {
        "alertname": storable(trust_level.alertname),
        "remediation": trust_level.remediation,
        "target_class": trust_level.target_class,
        "rule": storable(trust_level.rule),
        "level": trust_level.level.value,
        "successes": trust_level.successes,
        "trials": trust_level.trials,
        "since": micros(trust_level.since),
        "why": storable(trust_level.why),
        "asked_at": micros_or_none(trust_level.asked_at),
        "agreed": to_text(dict(trust_level.agreed or {})),
        "incident_id": trust_level.incident_id,
        "run_id": trust_level.run_id,
        "updated_at": tx.stamp,
    }


def _trust_level(row: Row[Any]) -> StoredTrustLevel:
    return StoredTrustLevel(
        key=row.key,
        alertname=row.alertname,
        remediation=row.remediation,
        target_class=row.target_class,
        rule=row.rule,
        level=Mode(row.level),
        since=moment(row.since),
        successes=row.successes,
        trials=row.trials,
        why=row.why,
        asked_at=moment_or_none(row.asked_at),
        agreed=to_json(row.agreed),
        incident_id=row.incident_id,
        run_id=row.run_id,
        updated_at=moment(row.updated_at),
    )
