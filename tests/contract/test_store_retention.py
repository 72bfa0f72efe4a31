"""Retention: what is over goes, what is needed stays, and the database stays bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import func, select

from app.domain.alert import RejectedAlert
from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.store import (
    audit,
    facts,
    incidents,
    outbox,
    people,
    retention,
    runs,
    trail,
    trust_levels,
    work,
)
from app.store.database import Store
from app.store.retention import Pruned
from app.store.schema import metadata
from app.store.trust_levels import StoredTrustLevel
from app.store.tx import Tx
from tests.contract.stores import (
    START,
    TARGET,
    HandClock,
    Stores,
    audit_kinds,
    delivery,
    firing,
    new_run,
    open_incident,
    request_run,
    resolved,
)

KEEP = timedelta(days=30)


async def prune(store: Store, limit: int = 100, audit_from: int = 0) -> Pruned:
    """Remove what is older than 30 days."""
    return await store.write(lambda tx: retention.prune(tx, tx.now - KEEP, limit, audit_from))


async def prune_all(store: Store, limit: int = 100) -> int:
    """Call as often as it takes; returns how often."""
    calls, done = 1, await prune(store, limit)
    while done.more:
        calls, done = calls + 1, await prune(store, limit, done.audit_from)
    return calls


async def counts(store: Store) -> dict[str, int]:
    """Rows per table, where there are any."""
    found = {}
    for table in metadata.sorted_tables:
        query = select(func.count()).select_from(table)
        found[table.name] = await store.read(lambda conn, query=query: conn.execute(query).scalar() or 0)  # type: ignore[misc]
    return {name: count for name, count in found.items() if count}


def closing(incident_id: str) -> Callable[[Tx], bool]:
    """A function that closes it."""
    return lambda tx: incidents.move(tx, incident_id, IncidentState.FIXED)


async def a_whole_timeline(store: Store, fingerprint: str = "f1", name: str = "HighErrorRate") -> str:
    """One incident with everything, closed."""
    bad = RejectedAlert(0, "bad", "x", "y", None)
    body = replace(delivery(firing(fingerprint, name=name)), rejected=(bad,))
    (incident_id,) = (await store.ingest(body)).incident_ids
    run = new_run(f"run_{fingerprint}", incident_id, f"rag7/Deployment/{fingerprint}")
    await request_run(store, run)

    def write(tx: Tx) -> None:
        runs.begin_entry(tx, run.id, "act", {})
        work.reserve(tx, run.id, 0, ["cluster"])
        runs.move(tx, run.id, RunState.FIXED)
        tx.put(f"m-{run.id}", incident_id, "moved", {})
        outbox.sent(tx, f"m-{run.id}", "C", "1")
        facts.put_samples(tx, TARGET, [(fingerprint, tx.now, 1)])
        incidents.move(tx, incident_id, IncidentState.FIXED)

    await store.write(write)
    return incident_id


async def test_an_old_story_goes_with_everything_that_is_its_own(store: Store, clock: HandClock) -> None:
    await a_whole_timeline(store)
    await store.ingest(delivery(resolved("stray", starts_at=START)))
    await store.write(lambda tx: people.pause(tx, "all", "r", "ann"))
    await store.write(lambda tx: people.lift_pause(tx, "all", "ann"))
    clock.forward(days=31)
    pruned = await prune(store)
    assert (pruned.incidents, pruned.episodes, pruned.runs, pruned.deliveries, pruned.samples) == (
        1,
        2,
        1,
        2,
        1,
    )
    assert not pruned.more
    # What is left of the trail is its newest old record, which the head names, and the record of the pruning.
    assert await counts(store) == {"audit": 2, "audit_chain": 1, "installation": 1}
    assert (await store.read(trail.verify)).ok


async def test_what_is_young_or_open_or_held_stays(store: Store, clock: HandClock) -> None:
    open_one = await open_incident(store)
    live = await open_incident(store, "f2", "WithLiveRun")
    await request_run(store, new_run("run_live", live))
    await store.write(closing(live))
    unsent = await open_incident(store, "f3", "WithUnsentMessage")
    await store.write(lambda tx: tx.put("m", unsent, "moved", {}))
    await store.write(closing(unsent))
    clock.forward(days=31)
    young = await open_incident(store, "f4", "Young")
    await store.write(closing(young))
    pruned = await prune(store)
    assert (pruned.incidents, pruned.episodes, pruned.audit) == (0, 0, 0)
    for incident_id in (open_one, live, unsent, young):
        assert (await audit_kinds(store, incident_id))[:2] == ["incident.opened", "alert.fired"]


async def test_a_merged_incident_stays_as_long_as_the_one_it_joined(store: Store, clock: HandClock) -> None:
    first, second = await open_incident(store), await open_incident(store, "f2", "Other")
    await store.write(lambda tx: incidents.merge(tx, second, first))
    clock.forward(days=31)
    assert (await prune(store)).incidents == 0
    await store.write(closing(first))
    clock.forward(days=31)
    await prune_all(store)
    await prune_all(store)
    assert "incidents" not in await counts(store)
    assert "episodes" not in await counts(store)


async def test_the_trail_is_pruned_around_what_a_remaining_incident_needs(
    store: Store, clock: HandClock
) -> None:
    await a_whole_timeline(store, "f1", "First")
    stays = await open_incident(store, "f2", "Stays")
    await a_whole_timeline(store, "f3", "Third")
    before = await store.read(lambda conn: list(audit.each_of_incident(conn, stays)))
    last_old = (await store.read(trail.head)).seq
    clock.forward(days=31)
    await prune_all(store)
    events = await store.read(lambda conn: audit.page(conn, 0, 100))
    assert [e.seq for e in events if e.kind is not EventKind.PRUNED] == [*(e.seq for e in before), last_old]
    assert await store.read(lambda conn: list(audit.each_of_incident(conn, stays))) == before
    report = await store.read(trail.verify)
    assert (report.ok, report.removed) == (True, last_old - 1 - len(before))
    assert await store.read(lambda conn: trail.unfit(conn, [e.seq for e in events])) == {}
    # When it goes as well, the gaps around it become one.
    await store.write(closing(stays))
    clock.forward(days=31)
    await prune_all(store)
    await prune_all(store)
    assert await store.read(lambda conn: list(audit.each_of_incident(conn, stays))) == []
    assert len(await store.read(trail.gaps)) == 1
    assert (await store.read(trail.verify)).ok


async def test_a_month_with_ghosts_leaves_the_trail_pruned(store: Store, clock: HandClock) -> None:
    """Incidents whose resolved message never comes, from the first day on and in between, keep their own records only."""
    ghosts = []
    for day in range(60):
        if day % 20 == 0:
            ghosts.append(await open_incident(store, f"ghost{day}", f"Ghost{day}"))
        for number in range(5):
            alert = firing(f"f{day}-{number}", starts_at=clock.now(), name=f"A{number}")
            (incident_id,) = (await store.ingest(delivery(alert, at=clock.now()))).incident_ids
            await store.write(closing(incident_id))
        clock.forward(days=1)
        await prune_all(store)
    kept = {"deliveries": 0, "episodes": 0, "audit": 0, **await counts(store)}
    # Thirty days of five incidents with three records each, a record of each day's pruning, and three ghosts.
    assert kept["incidents"] <= 5 * 31 + len(ghosts)
    assert kept["audit"] <= 3 * 5 * 31 + 2 * 31 + 2 * len(ghosts)
    assert kept["deliveries"] <= 5 * 31 + len(ghosts)
    for ghost in ghosts:
        assert (await audit_kinds(store, ghost))[:2] == ["incident.opened", "alert.fired"]
    report = await store.read(trail.verify)
    assert (report.ok, report.checked + report.removed) == (True, report.last_seq)


async def test_trust_that_nobody_renewed_for_half_a_year_is_forgotten(store: Store, clock: HandClock) -> None:
    def grown(key: str) -> StoredTrustLevel:
        return StoredTrustLevel(key, "A", "high-error-rate", f"rag7/Deployment/{key}", "r", Mode.AUTO, START)

    await store.write(lambda tx: trust_levels.open_one(tx, grown("gone"), {}))
    clock.forward(days=179)
    await store.write(lambda tx: trust_levels.open_one(tx, grown("used"), {}))
    await prune_all(store)
    assert [t.key for t in await store.read(trust_levels.listed)] == ["gone", "used"]
    clock.forward(days=2)
    await prune_all(store)
    assert [t.key for t in await store.read(trust_levels.listed)] == ["used"]


async def test_batches_are_bounded_also_for_one_huge_incident(store: Store, clock: HandClock) -> None:
    body = delivery(*(firing(f"f{n}") for n in range(100)))
    (incident_id,) = (await store.ingest(body)).incident_ids
    await store.write(closing(incident_id))
    clock.forward(days=31)
    calls = [await prune(store, limit=3)]
    while calls[-1].more:
        calls.append(await prune(store, 3, calls[-1].audit_from))
    assert [(c.incidents, c.episodes) for c in calls if c.episodes] == [(0, 30), (0, 30), (0, 30), (1, 10)]
    assert max(max(c.episodes, c.audit, c.deliveries) for c in calls) == 30
    assert "episodes" not in await counts(store)


async def test_nothing_old_means_nothing_done_and_nothing_told(store: Store) -> None:
    assert await prune(store) == Pruned()
    assert await counts(store) == {"audit_chain": 1, "installation": 1}


async def test_the_size_of_the_database_can_be_asked(store: Store) -> None:
    assert await store.read(retention.size) > 10_000


async def test_cycles_of_ingest_and_prune_do_not_grow_the_file(
    sqlite_stores: Stores, clock: HandClock
) -> None:
    store = sqlite_stores()
    sizes = []
    for cycle in range(8):
        alerts = [firing(f"f{n}", starts_at=clock.now(), name=f"Alert{n % 20}") for n in range(400)]
        receipt = await store.ingest(delivery(*alerts, at=clock.now()))
        await store.write(lambda tx, ids=receipt.incident_ids: [closing(i)(tx) for i in ids])  # type: ignore[misc]
        sizes.append(await store.read(retention.size))
        clock.forward(days=31)
        await prune_all(store)
        assert (await store.read(trail.verify)).ok, cycle
    assert max(sizes[2:]) <= sizes[1] * 1.1, sizes


async def test_after_a_storm_the_file_gives_its_pages_back(sqlite_stores: Stores, clock: HandClock) -> None:
    store = sqlite_stores()
    for part in range(10):
        alerts = [firing(f"f{part}-{n}", starts_at=clock.now(), name=f"Alert{n % 20}") for n in range(500)]
        receipt = await store.ingest(delivery(*alerts, at=clock.now()))
        await store.write(lambda tx, ids=receipt.incident_ids: [closing(i)(tx) for i in ids])  # type: ignore[misc]
        clock.forward(seconds=1)
    high = await store.read(retention.size)
    clock.forward(days=31)
    await prune_all(store)
    assert await store.read(retention.size) < high / 3
