"""Trust levels: one row a key, changed under a lock with its audit record: the same on SQLite and Postgres."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.decision import Mode
from app.domain.errors import Missing
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.store import audit, incidents, trust_levels, work
from app.store.database import Store
from app.store.schema import incidents as incident_rows
from app.store.trust_levels import StoredTrustLevel
from app.store.tx import Tx
from tests.contract.stores import START, HandClock, open_incident

KEY = "HighErrorRate/high-error-rate/rag7/Deployment"


def trust_level(
    alertname: str = "HighErrorRate", target_class: str = "rag7/Deployment", level: Mode = Mode.OBSERVE
) -> StoredTrustLevel:
    key = f"{alertname}/high-error-rate/{target_class}"
    return StoredTrustLevel(
        key, alertname, "high-error-rate", target_class, "errors", level, START, why="it begins here"
    )


async def opened(store: Store, *new: StoredTrustLevel) -> None:
    for one in new:
        await store.write(lambda tx, one=one: trust_levels.open_one(tx, one, {"change": "opened"}))  # type: ignore[misc]


async def found(store: Store, key: str = KEY) -> StoredTrustLevel | None:
    return await store.read(lambda conn: trust_levels.find(conn, key))


async def test_a_trust_level_is_read_as_it_was_written(store: Store, clock: HandClock) -> None:
    await opened(store, trust_level())
    clock.forward(days=3)
    changed = replace(
        trust_level(),
        level=Mode.APPROVE,
        successes=9,
        trials=10,
        since=START + timedelta(days=1),
        why="run_1 did not fix it",
        asked_at=START + timedelta(days=2),
        agreed={"ana": "2026-03-01T03:00:00+00:00"},
        incident_id="inc_1",
        run_id="run_1",
    )
    await store.write(lambda tx: trust_levels.put(tx, changed, {"change": "asked"}, "ana"))
    assert await found(store) == replace(changed, updated_at=clock.now())
    assert await found(store, "another") is None


async def test_each_change_is_audited_with_who_made_it(store: Store) -> None:
    await opened(store, trust_level())
    moved = replace(trust_level(), level=Mode.APPROVE, incident_id="inc_1", run_id="run_1")
    await store.write(lambda tx: trust_levels.put(tx, moved, {"change": "promoted", "by": "ana"}, "ana"))
    trail = await store.read(lambda conn: audit.page(conn, 0, 10))
    assert [(e.kind, e.actor, e.incident_id, e.run_id, e.data["change"]) for e in trail] == [
        (EventKind.TRUST_CHANGED, "service", "", "", "opened"),
        (EventKind.TRUST_CHANGED, "ana", "inc_1", "run_1", "promoted"),
    ]


async def test_what_is_begun_again_stays_and_only_its_rule_is_new(store: Store) -> None:
    await opened(store, trust_level(level=Mode.AUTO))
    again = replace(trust_level(), rule="errors, renamed")
    kept = await store.write(lambda tx: trust_levels.open_one(tx, again, {"change": "opened"}))
    assert (kept.level, kept.rule) == (Mode.AUTO, "errors, renamed")
    now = await found(store)
    assert now is not None
    assert (now.level, now.rule) == (Mode.AUTO, "errors, renamed")
    assert len(await store.read(lambda conn: audit.page(conn, 0, 10))) == 1


async def test_a_failure_leaves_neither_change_nor_record(store: Store) -> None:
    await opened(store, trust_level())

    def broken(tx: Tx) -> None:
        trust_levels.put(tx, replace(trust_level(), level=Mode.AUTO), {"change": "promoted"})
        raise Missing("something else")

    with pytest.raises(Missing):
        await store.write(broken)
    now = await found(store)
    assert now is not None
    assert now.level is Mode.OBSERVE
    assert len(await store.read(lambda conn: audit.page(conn, 0, 10))) == 1


async def test_a_result_concerns_its_alert_and_an_order_all_alerts_of_the_class(store: Store) -> None:
    other = replace(trust_level("Other", "rag7"), remediation="restart")
    await opened(
        store,
        trust_level(),
        trust_level("Broken"),
        trust_level("Broken", "rag7"),
        trust_level("Broken", "web"),
        other,
    )
    classes = ["rag7", "rag7/Deployment", "rag7/Deployment/langgraph"]

    def look(tx: Tx, alertname: str | None) -> list[str]:
        return [s.key for s in trust_levels.concerned(tx, "high-error-rate", classes, alertname)]

    assert await store.write(lambda tx: look(tx, "HighErrorRate")) == [KEY]
    assert sorted(await store.write(lambda tx: look(tx, None))) == sorted(
        [KEY, "Broken/high-error-rate/rag7", "Broken/high-error-rate/rag7/Deployment"]
    )
    assert await store.write(lambda tx: look(tx, "Unknown")) == []


async def test_results_at_the_same_moment_are_both_counted(store: Store) -> None:
    await opened(store, trust_level())

    def count(tx: Tx) -> None:
        (held,) = trust_levels.concerned(tx, "high-error-rate", ["rag7/Deployment"])
        more = replace(held, successes=held.successes + 1, trials=held.trials + 1)
        trust_levels.put(tx, more, {"change": "counted"})

    await asyncio.gather(*(store.write(count) for _ in range(12)))
    now = await found(store)
    assert now is not None
    assert (now.successes, now.trials) == (12, 12)


async def test_what_waits_and_how_many_stand_where_is_counted(store: Store) -> None:
    assert await store.read(trust_levels.count) == ({}, 0)
    await opened(store, trust_level(), trust_level("Broken"), trust_level("Slow", level=Mode.AUTO))
    waiting = replace(trust_level("Broken"), asked_at=START)
    await store.write(lambda tx: trust_levels.put(tx, waiting, {"change": "asked"}))
    assert await store.read(trust_levels.count) == ({"observe": 2, "auto": 1}, 1)
    asked = await store.read(lambda conn: trust_levels.waiting(conn, "high-error-rate"))
    assert [s.alertname for s in asked] == ["Broken"]
    assert await store.read(lambda conn: trust_levels.waiting(conn, "restart")) == []
    assert [s.alertname for s in await store.read(trust_levels.listed)] == ["Broken", "HighErrorRate", "Slow"]


async def test_one_that_is_not_there_cannot_be_held(store: Store) -> None:
    with pytest.raises(Missing):
        await store.write(lambda tx: trust_levels.hold(tx, KEY))


async def test_only_resting_incidents_of_the_alert_are_woken(store: Store) -> None:
    incident_id = await open_incident(store)
    claim = timedelta(seconds=60)
    await store.write(lambda tx: incidents.claim_due(tx, "replica", claim, 10))
    await store.write(lambda tx: incidents.schedule(tx, incident_id, None))
    alertname = (await store.read(lambda conn: incidents.get(conn, incident_id))).alertname

    async def due() -> bool:
        row = incident_rows.c
        query = incident_rows.select().with_only_columns(row.due_at).where(row.id == incident_id)
        return (await store.read(lambda conn: conn.execute(query).scalar())) is not None

    await store.write(lambda tx: work.wake_resting(tx, observed=True, alertname=alertname))
    assert not await due()  # open, not resting
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.OBSERVED))
    await store.write(lambda tx: work.wake_resting(tx, observed=True, alertname="Another"))
    assert not await due()
    await store.write(lambda tx: work.wake_resting(tx, observed=True, alertname=alertname))
    assert await due()
