"""A month of history, as rows: what a store holds after many incidents that are over, in every table that grows.

Used by the bench of a full store and by the tests of query plans. Nothing of it is open, live or unsent, so that whatever a loop
or a post asks has no business with any of it. Columns that are not named here get the plainest value of their type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Connection, Integer, Table, func, insert, select, update

from app.store import schema
from app.store.audit import PAGE
from app.store.connection import micros
from app.store.escalations import escalation_scopes, escalations
from app.store.people import acknowledgements, incident_acknowledgements
from app.store.schedules import schedule_fires

SPAN = timedelta(days=30)
MESSAGES = 4
"""Messages of an incident; half a million incidents have two million."""
_EVENTS = 6
_RUNS = 12
"""Every so manieth incident had a run."""
_CHUNK = 5_000
_STEP = '{"name":"restart","why":"","advice":"","actions":[]}'

Row = dict[str, Any]


def fill(conn: Connection, incidents: int, now: datetime, skip: frozenset[str] = frozenset()) -> None:
    """Insert the history of so many incidents, spread over the month before `now`, into all tables but those of `skip`."""
    chain = conn.execute(select(schema.audit_chain)).one()
    message = int(conn.execute(select(func.max(schema.outbox.c.seq))).scalar() or 0)
    maker = _Maker(incidents, now, chain.seq, message)
    for table, count, row in maker.tables():
        if table.name in skip:
            continue
        plain = {c.name: _plain(c) for c in table.c}
        rows = ({**plain, **row(i)} for i in range(count))
        while chunk := list(islice(rows, _CHUNK)):
            conn.execute(insert(table), chunk)
    if "audit" not in skip:
        last = {"seq": chain.seq + incidents * _EVENTS, "hash": f"{incidents * _EVENTS - 1:064x}"}
        conn.execute(update(schema.audit_chain).values(last))


def incident_id(number: int) -> str:
    """The id of the n-th incident."""
    return f"inc_0000{number:012x}"


def _plain(column: Column[Any]) -> Any:
    if column.nullable:
        return None
    if isinstance(column.type, Boolean):
        return False
    return 0 if isinstance(column.type, Integer | BigInteger) else ""


class _Maker:
    def __init__(self, incidents: int, now: datetime, seq: int, message: int) -> None:
        self._incidents, self._seq, self._message = incidents, seq, message
        self._begin = micros(now - SPAN)
        self._pace = SPAN // timedelta(microseconds=1) // (incidents + 1)

    def tables(self) -> Iterator[tuple[Table, int, Callable[[int], Row]]]:
        """Each table, how many rows, and the n-th of them."""
        n = self._incidents
        runs = n // _RUNS
        yield schema.incidents, n, self._incident
        yield schema.deliveries, n, lambda i: {"id": f"dlv_0000{i:012x}", "received_at": self._at(i)}
        yield schema.rejected_alerts, n // 20, lambda i: {"delivery_id": f"dlv_0000{i:012x}", "position": 0}
        yield schema.episodes, n, self._episode
        yield (
            schema.decisions,
            n,
            lambda i: {"id": f"dec_{i:012x}", "incident_id": incident_id(i), "body": "{}"},
        )
        yield schema.audit, n * _EVENTS, self._event
        yield schema.outbox, n * MESSAGES, self._sent
        yield schema.outbox, n // 10, self._page
        yield schema.runs, runs, self._run
        yield schema.run_journal, runs * 3, self._entry
        yield schema.pre_images, runs, self._pre_image
        yield schema.run_approvals, runs, self._approval
        yield schema.ledger, runs, self._spent
        yield from self._people()
        yield schema.clicks, n // 10, lambda i: {"id": f"click-{i}", "at": self._at(i * 10)}
        yield schema.samples, n, self._sample
        yield schema.digests, n // 100, self._digest
        yield (
            schema.digest_incidents,
            n // 2,
            lambda i: {
                "incident_id": incident_id(i),
                "digest_id": f"dig_{i // 50:012x}",
            },
        )

    def _people(self) -> Iterator[tuple[Table, int, Callable[[int], Row]]]:
        """Who was asked and answered, and what the clock ordered."""
        n = self._incidents
        yield acknowledgements, n // 10, lambda i: {"fingerprint": f"Q{i:012x}", "at": self._at(i * 10)}
        yield (
            escalations,
            n // 20,
            lambda i: {
                "id": f"{incident_id(i)}~1",
                **dict.fromkeys(("subject", "incident_id", "page_key"), incident_id(i)),
                "round": 1,
                "why": "{}",
                "asked": "[]",
                **dict.fromkeys(("begun_at", "over_at"), self._at(i)),
            },
        )
        yield (
            escalation_scopes,
            n // 20,
            lambda i: {"escalation_id": f"{incident_id(i)}~1", "incident_id": incident_id(i), "merged": "[]"},
        )
        yield (
            schedule_fires,
            n // 4,
            lambda i: {"rule": f"rule {i % 9}", "due_at": self._at(i * 4), "at": self._at(i * 4)},
        )
        yield incident_acknowledgements, n // 20, lambda i: {"incident_id": incident_id(i), "at": self._at(i)}

    def _at(self, incident: int) -> int:
        return self._begin + incident * self._pace

    def _incident(self, i: int) -> Row:
        at, page = self._at(i), (self._seq + i * _EVENTS) // PAGE
        target = f"ns{i % 50}/Deployment/app{i % 500}"
        return {
            "id": incident_id(i),
            "key": f"Old|ns{i % 50}|app{i}",
            "state": "resolved",
            "alertname": "Old",
            "namespace": f"ns{i % 50}",
            "target_key": target,
            "title": "x" * 60,
            "thread_channel": "C",
            "thread_ts": "1.2",
            **dict.fromkeys(("opened_at", "updated_at", "closed_at", "decided_at"), at),
            **dict.fromkeys(("page", "last_page"), page),
        }

    def _episode(self, i: int) -> Row:
        return {
            "key": f"20200101T{i:018d}.000000Z/alertmanager/{i:016x}",
            "source": "alertmanager",
            "fingerprint": f"{i:016x}",
            **dict.fromkeys(("labels", "annotations"), '{"alertname":"Old"}'),
            "status": "resolved",
            **dict.fromkeys(("starts_at", "ends_at", "first_seen", "last_seen"), self._at(i)),
            "seen": 1,
            "incident_id": incident_id(i),
            "page": (self._seq + i * _EVENTS) // PAGE,
        }

    def _event(self, i: int) -> Row:
        seq, incident = self._seq + 1 + i, i // _EVENTS
        run = f"run_0000{incident:012x}_1" if incident % _RUNS == 0 and i % _EVENTS else ""
        return {
            "seq": seq,
            "at": self._at(incident),
            "kind": "incident.moved",
            "incident_id": incident_id(incident),
            "run_id": run,
            "actor": "service",
            "data": '{"from":"open","to":"resolved"}',
            "hash": f"{i:064x}",
            "page": seq // PAGE,
        }

    def _sent(self, i: int) -> Row:
        incident = i // MESSAGES
        return {
            "seq": self._message + 1 + i,
            "id": f"{incident_id(incident)}:m:{i % MESSAGES}",
            "incident_id": incident_id(incident),
            "kind": "decided",
            "payload": '{"event":"decided","data":{"text":"' + "x" * 250 + '"}}',
            "state": "sent",
            "attempts": 1,
            "created_at": self._at(incident),
            "channel": "C",
            "ts": "1",
        }

    def _page(self, i: int) -> Row:
        seq = self._message + 1 + self._incidents * MESSAGES + i
        return {**self._sent(i * MESSAGES), "seq": seq, "id": f"page-{i}", "incident_id": "", "kind": "page"}

    def _run(self, i: int) -> Row:
        at, incident = self._at(i * _RUNS), i * _RUNS
        return {
            "id": f"run_0000{incident:012x}_1",
            "incident_id": incident_id(incident),
            "rule": "r",
            "remediation": "high-error-rate",
            "mode": "auto",
            "target_key": f"ns{incident % 50}/Deployment/app{incident % 500}",
            "state": "fixed",
            "step": _STEP,
            **dict.fromkeys(("settings", "params", "life"), "{}"),
            **dict.fromkeys(("requested_at", "updated_at", "ended_at"), at),
        }

    def _entry(self, i: int) -> Row:
        run = f"run_0000{i // 3 * _RUNS:012x}_1"
        times = dict.fromkeys(("begun_at", "ended_at"), self._at(i // 3 * _RUNS))
        return {"run_id": run, "name": f"0.{i % 3}", "intent": '{"a":1}', "outcome": '{"b":2}', **times}

    def _pre_image(self, i: int) -> Row:
        return {
            "run_id": f"run_0000{i * _RUNS:012x}_1",
            "step_index": 0,
            "action_index": 0,
            "body": '{"a":1}',
        }

    def _approval(self, i: int) -> Row:
        return {"run_id": f"run_0000{i * _RUNS:012x}_1", "number": 1, "answer": "approved", "given_by": "ann"}

    def _spent(self, i: int) -> Row:
        at = self._at(i * _RUNS)
        run = f"run_0000{i * _RUNS:012x}_1"
        return {"run_id": run, "scope": "cluster", "at": at, "released_at": at, "spent": True}

    def _sample(self, i: int) -> Row:
        target = f"ns{i % 50}/Deployment/app{i % 500}"
        return {"target_key": target, "pod": f"p{i}", "at": self._at(i), "memory_bytes": 1}

    def _digest(self, i: int) -> Row:
        at = self._at(i * 100)
        times = dict.fromkeys(("opened_at", "joined_at", "told_at", "closed_at"), at)
        return {"id": f"dig_{i:012x}", "ts": "1.2", "channel": "C", **times}
