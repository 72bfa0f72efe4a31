"""Stores for the contract tests: the same tests on a SQLite file and on Postgres, with time and ids in our hands.

Fixtures live in `conftest.py` beside this; the makers of test data stand here.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from app.domain.alert import Alert, AlertStatus, Delivery, ManualRequest, Source
from app.domain.decision import Mode
from app.domain.plan import Action, ActionKind, FieldChange, Step
from app.domain.target import Kind, ObjectRef, Target
from app.store.commit_queue import CommitQueueSize
from app.store.database import Store, StoreHooks, StoreOptions
from app.store.runs import NewRun
from app.store.tx import Tx

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
TARGET = "rag7/Deployment/langgraph"


class HandClock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """The time as set."""
        return self.time

    def monotonic(self) -> float:
        """Seconds since the start."""
        return (self.time - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Go on by so much."""
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def forward(self, **by: float) -> None:
        """`forward(minutes=5)`."""
        self.time += timedelta(**by)


class CountingIds:
    """`inc_000001`, `inc_000002`, ...: sortable, one count for all prefixes."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def new(self, prefix: str) -> str:
        """The next one."""
        return f"{prefix}_{next(self._count):06d}"


class MakeStore(Protocol):
    """Opens stores on one database; the fixture closes them all."""

    url: str

    def __call__(self, *, hooks: StoreHooks | None = None, size: CommitQueueSize | None = None) -> Store:
        """A store on the test's database."""
        ...


class Stores:
    """`MakeStore` for one database."""

    def __init__(self, url: str, clock: HandClock) -> None:
        self.url = url
        self._clock = clock
        self._ids = CountingIds()
        self._opened: list[Store] = []

    def __call__(self, *, hooks: StoreHooks | None = None, size: CommitQueueSize | None = None) -> Store:
        """Open another store on the database."""
        store = Store.open(
            self.url,
            clock=self._clock,
            ids=self._ids,
            hooks=hooks,
            options=StoreOptions(size or CommitQueueSize()),
        )
        self._opened.append(store)
        return store

    def close(self) -> None:
        """Close whatever was opened."""
        for store in self._opened:
            store.close()


def missing(reason: str, request: pytest.FixtureRequest) -> None:
    """Skip, with the reason, or fail where skipping is not allowed."""
    if request.config.getoption("--require-live"):
        pytest.fail(f"Postgres is required and missing: {reason}")
    pytest.skip(f"NOT TESTED ON POSTGRES: {reason}")


def alert(
    fingerprint: str = "f1",
    status: AlertStatus = AlertStatus.FIRING,
    *,
    starts_at: datetime = START,
    name: str = "HighErrorRate",
    labels: Mapping[str, str] | None = None,
) -> Alert:
    """An alert about rag7/langgraph."""
    base = {"alertname": name, "namespace": "rag7", "deployment": "langgraph", "severity": "critical"}
    return Alert(
        Source.ALERTMANAGER,
        fingerprint,
        status,
        starts_at,
        {**base, "fp": fingerprint, **(labels or {})},
        {"summary": "Too many errors"},
        ends_at=starts_at + timedelta(minutes=5) if status is AlertStatus.RESOLVED else None,
        generator_url="http://prometheus/graph",
    )


def firing(fingerprint: str = "f1", *, starts_at: datetime = START, name: str = "HighErrorRate") -> Alert:
    """A firing alert."""
    return alert(fingerprint, starts_at=starts_at, name=name)


def resolved(fingerprint: str = "f1", *, starts_at: datetime = START) -> Alert:
    """Its resolved message."""
    return alert(fingerprint, AlertStatus.RESOLVED, starts_at=starts_at)


def delivery(
    *alerts: Alert, at: datetime = START, key: str = "", body: str = "b1", manual: ManualRequest | None = None
) -> Delivery:
    """One delivery of these alerts."""
    source = Source.MANUAL if manual else Source.ALERTMANAGER
    return Delivery(source, at, "tester", alerts, dedupe_key=key, body_digest=body, manual=manual)


def order(target: str = TARGET) -> ManualRequest:
    """A person's order."""
    return ManualRequest("high-error-rate", target, {"scale_to": 5}, "tried by hand", "ann")


def step(name: str = "restart", replicas: int = 5) -> Step:
    """A step with one action."""
    target = Target("rag7", Kind.DEPLOYMENT, "langgraph")
    ref = ObjectRef(Kind.DEPLOYMENT, "rag7", "langgraph", "uid-1", "77", 3)
    change = FieldChange("/spec/replicas", 3, replicas)
    action = Action(ActionKind.SCALE, ref, target, (change,), "scale", 2, reversible=True, undo="scale back")
    return Step(name, "it helps", (action,))


def new_run(
    run_id: str = "run_1_1", incident_id: str = "inc_1", target: str = TARGET, **more: object
) -> NewRun:
    """A run to request."""
    run = NewRun(run_id, incident_id, "errors", "high-error-rate", Mode.AUTO, target, step())
    return NewRun(**{**{f: getattr(run, f) for f in run.__dataclass_fields__}, **more})


async def open_incident(store: Store, fingerprint: str = "f1", name: str = "HighErrorRate") -> str:
    """Ingest one firing alert and return its incident."""
    receipt = await store.ingest(delivery(firing(fingerprint, name=name)))
    return receipt.incident_ids[0]


async def audit_kinds(store: Store, incident_id: str) -> list[str]:
    """Kinds of the incident's audit events, in order."""
    from app.store import audit

    return [
        event.kind.value
        for event in await store.read(lambda conn: list(audit.each_of_incident(conn, incident_id)))
    ]


async def request_run(store: Store, run: NewRun) -> None:
    """Request it."""
    from app.store import runs

    def work(tx: Tx) -> None:
        runs.request(tx, run)

    await store.write(work)
