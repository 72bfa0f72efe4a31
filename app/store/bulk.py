"""Many incidents at once: what a storm needs to read and to write, one statement for all where elsewhere it is one each.

Called by `app.flow.upkeep.bulk` inside one transaction. Does what `incidents`, `work` and `facts` do for a single
incident, with the same outcome. Never decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from app.domain.alert import AlertStatus, Source
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.store import incidents as one
from app.store import work
from app.store.audit import episodes_of_all
from app.store.connection import moment, to_json, to_text
from app.store.incidents import Incident
from app.store.schema import LIVE, OPEN, decisions, episodes, incidents, runs
from app.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Firing:
    """The alert of an incident that stands for all: source and labels of the most severe that fires, and when one was last
    heard of."""

    source: Source
    labels: Mapping[str, str]
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Word:
    """What becomes of one incident: its next state, why, the decision behind it if it is a new one, and when it is looked
    at again (None: when something happens to it)."""

    incident: Incident
    state: IncidentState
    reason: str
    due_at: datetime | None
    decision_id: str = ""
    body: Mapping[str, Any] | None = None


def waiting(conn: Connection, now: int, cap: int) -> int:
    """How many incidents are due and held by nobody, counted up to `cap`; `now` in microseconds."""
    return len(conn.execute(one.due(now).limit(cap)).all())


def take(tx: Tx, limit: int) -> list[Incident]:
    """Up to `limit` incidents that are due, those nobody has decided yet first. Nobody else changes them until this
    transaction ends. Orders of people, incidents with a thread and those with a live run are left out."""
    c = incidents.c
    busy = select(runs.c.incident_id).where(LIVE)
    states = [s.value for s in (IncidentState.OPEN, IncidentState.OBSERVED, IncidentState.REFUSED)]
    query = (
        one.due(tx.stamp)
        .where(OPEN, c.manual.is_(None), c.thread_ts == "", c.state.in_(states), c.id.not_in(busy))
        .order_by(*one.UNDECIDED_FIRST)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(tx.conn.execute(query).scalars())
    return one.get_all(tx.conn, ids)


def firing(
    conn: Connection, found: Sequence[Incident], rank: Callable[[Mapping[str, str]], int]
) -> dict[str, Firing]:
    """The alert that stands for all, by incident: the one with the lowest `rank` of its labels, among equals the oldest. An
    incident of which none fires is not in it."""
    e = episodes.c
    query = (
        select(e.incident_id, e.source, e.labels, e.last_seen)
        .where(episodes_of_all(conn, [i.id for i in found]), e.status == AlertStatus.FIRING.value)
        .order_by(e.key)
    )
    first: dict[str, tuple[int, str, Mapping[str, str]]] = {}
    last: dict[str, int] = {}
    for incident_id, source, text, seen in conn.execute(query):
        labels = to_json(text)
        ranked = rank(labels)
        if incident_id not in first or ranked < first[incident_id][0]:
            first[incident_id] = (ranked, source, labels)
        last[incident_id] = max(seen, last.get(incident_id, 0))
    return {i: Firing(Source(s), labels, moment(last[i])) for i, (_, s, labels) in first.items()}


def last_decisions(conn: Connection, ids: Sequence[str]) -> dict[str, tuple[int, Mapping[str, Any]]]:
    """How many decisions each incident has and what the last one says; those without one are not in it."""
    d = decisions.c
    numbered = (
        select(
            d.incident_id,
            d.body,
            func.count().over(partition_by=d.incident_id).label("number"),
            func.row_number().over(partition_by=d.incident_id, order_by=work.NEWEST_FIRST).label("age"),
        )
        .where(d.incident_id.in_(ids))
        .subquery()
    )
    rows = conn.execute(select(numbered).where(numbered.c.age == 1))
    return {row.incident_id: (row.number, to_json(row.body)) for row in rows}


def with_runs(conn: Connection, target_keys: Iterable[str]) -> set[str]:
    """Those of the targets on which there ever was a run."""
    query = select(runs.c.target_key).where(runs.c.target_key.in_(list(target_keys))).distinct()
    return set(conn.execute(query).scalars())


def settle(tx: Tx, words: Sequence[Word]) -> None:
    """Write the decisions down and put the incidents into their states, as `work.put_decision` and `incidents.move` do."""
    decided = [w for w in words if w.body is not None]
    texts = {w.decision_id: to_text(dict(w.body or {})) for w in decided}
    rows = [
        {
            "id": w.decision_id,
            "incident_id": w.incident.id,
            "of": w.incident.id,
            "run_id": None,
            "at": tx.stamp,
            "body": texts[w.decision_id],
        }
        for w in decided
    ]
    if rows:
        tx.conn.execute(work.PUT_DECISION, rows)
        ids = [w.incident.id for w in decided]
        tx.conn.execute(update(incidents).where(incidents.c.id.in_(ids)).values(decided_at=tx.stamp))
    for word in decided:
        data = {**(word.body or {}), "decision": word.decision_id}
        tx.audit(EventKind.DECIDED, incident_id=word.incident.id, data=data)
    for (state, due_at), same in _alike(words).items():
        one.move_all(tx, [w.incident for w in same], state, due_at)
        for word in same:
            if word.incident.state is not state:
                data = {"from": word.incident.state.value, "to": state.value, "reason": word.reason}
                tx.audit(EventKind.INCIDENT_MOVED, incident_id=word.incident.id, data=data)


def _alike(words: Sequence[Word]) -> dict[tuple[IncidentState, datetime | None], list[Word]]:
    found: dict[tuple[IncidentState, datetime | None], list[Word]] = {}
    for word in words:
        found.setdefault((word.state, word.due_at), []).append(word)
    return found
