"""Many incidents at once: what one statement does for all is what single calls do for each, and a digest is only opened
once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from app.domain.alert import AlertStatus, Source
from app.domain.errors import Missing
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.policy.match import severity_rank
from app.store import audit, bulk, digests, incidents, retention, runs, trail, work
from app.store.bulk import Word
from app.store.connection import micros
from app.store.database import Store
from app.store.incidents import Incident
from app.store.tx import Tx
from tests.contract.stores import START, HandClock, Stores, alert, delivery, new_run, order

LEASE = timedelta(minutes=1)


async def _bulk(store: Store, number: int) -> list[str]:
    """So many open incidents, in order."""
    return [await _open(store, f"svc-{n:02d}") for n in range(number)]


async def _open(store: Store, name: str) -> str:
    """An incident on the deployment of this name."""
    receipt = await store.ingest(delivery(alert(name, labels={"deployment": name})))
    return receipt.incident_ids[0]


async def _take(store: Store, limit: int = 50) -> list[str]:
    return [i.id for i in await store.write(lambda tx: bulk.take(tx, limit))]


async def _get(store: Store, ids: Sequence[str]) -> list[Incident]:
    return await store.read(lambda conn: incidents.get_all(conn, ids))


async def test_what_needs_a_look_or_a_person_is_not_taken(store: Store, clock: HandClock) -> None:
    """Orders, threads and live runs have their own way."""
    plain, threaded, busy, acted = await _bulk(store, 4)
    await store.ingest(delivery(manual=order()))
    await store.write(lambda tx: incidents.set_thread(tx, threaded, "C1", "1.0"))
    await store.write(lambda tx: runs.request(tx, new_run(incident_id=busy)))
    await store.write(lambda tx: incidents.move(tx, acted, IncidentState.ESCALATED, due_at=START))
    now = micros(clock.now())
    assert await store.read(lambda conn: bulk.waiting(conn, now, 10)) == 5
    assert await store.read(lambda conn: bulk.waiting(conn, now, 2)) == 2
    assert await _take(store) == [plain]


async def test_what_another_holds_is_not_taken_before_its_lease_ends(store: Store, clock: HandClock) -> None:
    ids = await _bulk(store, 3)
    await store.write(lambda tx: incidents.claim_due(tx, "other", LEASE, 1))
    assert await _take(store) == ids[1:]
    clock.forward(minutes=2)
    assert sorted(await _take(store)) == ids


async def test_what_nobody_has_decided_yet_comes_first(store: Store, clock: HandClock) -> None:
    """In both ways of taking: new trouble does not wait for the looks at the old."""
    old, *_ = await _bulk(store, 1)
    await store.write(lambda tx: work.put_decision(tx, "d1", old, None, {}))
    clock.forward(minutes=1)
    young = await _open(store, "young")
    assert await _take(store) == [young, old]
    claimed = await store.write(lambda tx: incidents.claim_due(tx, "me", LEASE, 10))
    assert [i.id for i in claimed] == [young, old]


async def test_the_alert_that_stands_for_an_incident_is_its_first_that_fires(
    store: Store, clock: HandClock
) -> None:
    (one,) = await _bulk(store, 1)
    on = {"deployment": "svc-00"}
    later = [alert(f, starts_at=START + timedelta(seconds=n), labels=on) for n, f in enumerate(("a", "b"), 1)]
    await store.ingest(delivery(*later))
    await store.ingest(delivery(alert("svc-00", AlertStatus.RESOLVED, labels=on)))
    clock.forward(seconds=30)
    await store.ingest(delivery(later[1], at=clock.now()))
    found = await store.write(lambda tx: bulk.firing(tx.conn, bulk.take(tx, 5), severity_rank))
    assert (found[one].labels["fp"], found[one].source) == ("a", Source.ALERTMANAGER)
    assert found[one].last_seen == clock.now()


async def test_the_most_severe_alert_that_fires_stands_for_an_incident(store: Store) -> None:
    on = {"deployment": "svc-00"}
    told = [("w", "warning"), ("c", "critical"), ("i", "info"), ("d", "critical")]
    alerts = [
        alert(f, starts_at=START + timedelta(seconds=n), labels={**on, "fp": f, "severity": severity})
        for n, (f, severity) in enumerate(told)
    ]
    (one,) = (await store.ingest(delivery(*alerts))).incident_ids
    found = await store.write(lambda tx: bulk.firing(tx.conn, bulk.take(tx, 5), severity_rank))
    assert found[one].labels["fp"] == "c"


async def test_settled_incidents_are_decided_moved_and_audited_as_one_by_one(
    store: Store, clock: HandClock
) -> None:
    """The same rows and records as `work.put_decision` and `incidents.move` make."""
    many, single = await _bulk(store, 2)
    due = clock.now() + timedelta(minutes=5)
    body = {"verdict": "observe", "gates": []}

    def settle(tx: Tx) -> None:
        (taken,) = [i for i in bulk.take(tx, 5) if i.id == many]
        bulk.settle(tx, [Word(taken, IncidentState.OBSERVED, "storm", due, f"{many}/1", body)])
        work.put_decision(tx, f"{single}/1", single, None, body)
        incidents.move(tx, single, IncidentState.OBSERVED, due_at=due, reason="storm")

    await store.write(settle)
    first, second = await _get(store, [many, single])
    assert (
        (first.state, first.decided_at)
        == (second.state, second.decided_at)
        == (IncidentState.OBSERVED, START)
    )
    assert first.due_at == due
    told = {}
    for incident_id in (many, single):
        records = await store.read(lambda conn, i=incident_id: list(audit.each_of_incident(conn, i)))  # type: ignore[misc]
        told[incident_id] = [
            (r.kind, {k: v for k, v in r.data.items() if k != "decision"}) for r in records if r.kind in _SAID
        ]
    assert told[many] == told[single]
    assert (await store.read(trail.verify)).ok


_SAID = (EventKind.DECIDED, EventKind.INCIDENT_MOVED)


async def test_an_incident_that_stays_as_it_is_makes_no_record(store: Store, clock: HandClock) -> None:
    (one,) = await _bulk(store, 1)

    def settle(tx: Tx) -> None:
        words = [Word(i, IncidentState.OBSERVED, "storm", tx.now) for i in bulk.take(tx, 5)]
        bulk.settle(tx, words)

    await store.write(settle)
    before = len(await store.read(lambda conn: list(audit.each_of_incident(conn, one))))
    await store.write(settle)
    assert len(await store.read(lambda conn: list(audit.each_of_incident(conn, one)))) == before
    clock.forward(seconds=1)
    assert await _take(store) == [one], "a wake-up in the past is due again"


async def test_a_closed_incident_is_not_due_and_stays_closed(store: Store) -> None:
    (one,) = await _bulk(store, 1)
    await store.write(
        lambda tx: bulk.settle(tx, [Word(i, IncidentState.RESOLVED, "gone", None) for i in bulk.take(tx, 5)])
    )
    (found,) = await _get(store, [one])
    assert (found.state, found.closed_at, found.due_at) == (IncidentState.RESOLVED, START, None)


async def test_the_last_decision_of_each_comes_with_their_number(store: Store, clock: HandClock) -> None:
    one, other, none = await _bulk(store, 3)
    for number in (1, 2):
        clock.forward(seconds=1)
        for incident_id in (one, other)[: 3 - number]:
            key, said = f"{incident_id}/{number}", {"n": number}
            await store.write(lambda tx, i=incident_id, k=key, b=said: work.put_decision(tx, k, i, None, b))  # type: ignore[misc]
    found = await store.read(lambda conn: bulk.last_decisions(conn, [one, other, none]))
    assert found == {one: (2, {"n": 2}), other: (1, {"n": 1})}


async def test_the_first_to_join_open_the_digest_and_the_others_find_it(
    store: Store, clock: HandClock
) -> None:
    a, b, c = await _bulk(store, 3)
    first, new = await store.write(lambda tx: digests.join(tx, [a]))
    assert new
    clock.forward(minutes=4)
    assert await store.write(lambda tx: digests.join(tx, [b, a])) == (first, False)
    clock.forward(minutes=5)
    assert await store.write(lambda tx: digests.join(tx, [c])) == (first, False)
    counted = await store.read(lambda conn: digests.count(conn, first, 2))
    assert counted.states == ((IncidentState.OPEN, 3),)
    assert counted.ids == (a, b)
    assert not counted.over


async def test_after_a_lull_another_storm_has_another_digest_and_nobody_is_told_twice(
    store: Store, clock: HandClock
) -> None:
    a, b = await _bulk(store, 2)
    first, _ = await store.write(lambda tx: digests.join(tx, [a]))
    clock.forward(minutes=5, seconds=1)
    second, new = await store.write(lambda tx: digests.join(tx, [a, b]))
    assert new
    assert second != first
    assert await store.read(lambda conn: digests.told_by_one(conn, [a, b, "inc_none"])) == {a, b}
    clock.forward(minutes=6)
    assert await store.write(lambda tx: digests.join(tx, [a])) == (first, False), (
        "no digest without an incident"
    )
    for digest in (first, second):
        counted = await store.read(lambda conn, d=digest: digests.count(conn, d))  # type: ignore[misc]
        assert counted.states == ((IncidentState.OPEN, 1),)


async def test_a_digest_that_lasts_for_hours_begins_anew(store: Store, clock: HandClock) -> None:
    ids = await _bulk(store, 2)
    first, _ = await store.write(lambda tx: digests.join(tx, ids[:1]))
    for _ in range(100):
        clock.forward(minutes=4)
        fresh = await _open(store, f"svc-{clock.time:%H%M}")
        last, _ = await store.write(lambda tx, f=fresh: digests.join(tx, [f]))  # type: ignore[misc]
    assert last != first


async def test_two_replicas_open_one_digest(make_store: Stores) -> None:
    """Both find none at the same moment; the lock lets one be first."""
    one, other = make_store(), make_store()
    ids = await _bulk(one, 2)

    def joining(incident_id: str) -> Callable[[Tx], tuple[str, bool]]:
        def join(tx: Tx) -> tuple[str, bool]:
            work.lock_ledger(tx)
            return digests.join(tx, [incident_id])

        return join

    joined = await asyncio.gather(*(s.write(joining(i)) for s, i in zip((one, other), ids, strict=True)))
    assert sorted(new for _, new in joined) == [False, True]
    assert len({digest for digest, _ in joined}) == 1


async def test_a_digest_says_each_thing_once_and_closes(store: Store, clock: HandClock) -> None:
    (one,) = await _bulk(store, 1)
    digest, _ = await store.write(lambda tx: digests.join(tx, [one]))
    assert (
        await store.read(lambda conn: digests.growing(conn, clock.now() + timedelta(minutes=1), 5)) == []
    ), "not posted yet"
    await store.write(lambda tx: digests.posted(tx, digest, "C1", "1.5"))
    (found,) = await store.read(lambda conn: digests.growing(conn, clock.now() + timedelta(minutes=1), 5))
    assert (found.channel, found.ts, found.edits) == ("C1", "1.5", 0)

    def say(tx: Tx) -> int | None:
        return digests.changed(tx, digest, digests.count(tx.conn, digest))

    assert [await store.write(say), await store.write(say)] == [1, None]
    await store.write(lambda tx: incidents.move(tx, one, IncidentState.RESOLVED))
    assert await store.write(say) == 2
    assert (await store.read(lambda conn: digests.count(conn, digest))).over
    await store.write(lambda tx: digests.close(tx, digest))
    assert await store.read(lambda conn: digests.growing(conn, clock.now() + timedelta(minutes=1), 5)) == []
    assert await store.write(say) is None
    clock.forward(days=40)
    await store.write(lambda tx: retention.prune(tx, clock.now() - timedelta(days=30), 10))
    with pytest.raises(Missing):
        await store.read(lambda conn: digests.get(conn, digest))
    assert await store.read(lambda conn: digests.told_by_one(conn, [one])) == set()
