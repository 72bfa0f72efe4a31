"""Incidents: claims that are never lost or shared, moves that are told once, merges that take the alerts along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from app.domain.errors import Missing, Refused
from app.domain.outcome import IncidentState
from app.store import audit, incidents
from app.store.database import Store
from app.store.incidents import Incident
from app.store.tx import Tx
from tests.contract.stores import (
    START,
    TARGET,
    HandClock,
    Stores,
    audit_kinds,
    delivery,
    firing,
    open_incident,
    order,
    resolved,
)

LEASE = timedelta(minutes=1)


async def claim(store: Store, owner: str = "me", limit: int = 10) -> list[str]:
    """Ids of what could be claimed."""
    return [i.id for i in await store.write(lambda tx: incidents.claim_due(tx, owner, LEASE, limit))]


async def get(store: Store, incident_id: str) -> Incident:
    """Read one."""
    return await store.read(lambda conn: incidents.get(conn, incident_id))


def moving(incident_id: str, state: IncidentState) -> Callable[[Tx], bool]:
    """A function that moves it."""
    return lambda tx: incidents.move(tx, incident_id, state)


def targeting(incident_id: str) -> Callable[[Tx], None]:
    """A function that puts the target on it."""
    return lambda tx: incidents.set_target(tx, incident_id, TARGET)


def merging(incident_id: str, into: str) -> Callable[[Tx], bool]:
    """A function that merges it."""
    return lambda tx: incidents.merge(tx, incident_id, into)


async def test_a_due_incident_is_claimed_once_until_its_lease_ends(store: Store, clock: HandClock) -> None:
    incident_id = await open_incident(store)
    assert await claim(store) == [incident_id]
    assert await claim(store, "other") == []
    assert (await get(store, incident_id)).claimed_by == "me"
    clock.forward(seconds=61)
    assert await claim(store, "other") == [incident_id]


async def test_the_longest_due_come_first_and_no_more_than_asked_for(store: Store, clock: HandClock) -> None:
    ids = []
    for n in range(4):
        ids.append(await open_incident(store, f"f{n}", f"Alert{n}"))
        clock.forward(seconds=1)
    assert await claim(store, limit=3) == ids[:3]
    assert await claim(store, limit=3) == ids[3:]


async def test_replicas_never_claim_the_same_incident(make_store: Stores) -> None:
    stores = [make_store(), make_store()]
    for n in range(30):
        await open_incident(stores[0], f"f{n}", f"Alert{n}")
    taken = await asyncio.gather(*(claim(store, f"replica{n}", 4) for n in range(5) for store in stores))
    flat = [incident for part in taken for incident in part]
    assert len(flat) == len(set(flat)) == 30


async def test_a_move_is_told_once_and_ends_the_claim(store: Store) -> None:
    incident_id = await open_incident(store)
    await claim(store)
    assert await store.write(
        lambda tx: incidents.move(tx, incident_id, IncidentState.ACTING, reason="allowed")
    )
    assert not await store.write(
        lambda tx: incidents.move(tx, incident_id, IncidentState.ACTING, reason="again")
    )
    incident = await get(store, incident_id)
    assert (incident.state, incident.claimed_by, incident.due_at) == (IncidentState.ACTING, None, None)
    events = await store.read(lambda conn: list(audit.each_of_incident(conn, incident_id)))
    moved = [e.data for e in events if e.kind.value == "incident.moved"]
    assert moved == [{"from": "open", "to": "acting", "reason": "allowed"}]


WAKE_UPS = {
    "nobody rang": (False, None, None),
    "nobody rang, look again later": (False, 30, 30),
    "somebody rang during the claim": (True, None, 0),
    "somebody rang during the claim, look again later": (True, 30, 0),
}


@pytest.mark.parametrize("case", WAKE_UPS)
@pytest.mark.parametrize("by", ["move", "schedule"])
async def test_a_wake_up_during_a_claim_survives_its_end(
    store: Store, clock: HandClock, case: str, by: str
) -> None:
    """The table: was it woken, when to look again, when it is due; in minutes from the end of the claim."""
    step, wanted, due = WAKE_UPS[case]
    incident_id = await open_incident(store)
    await claim(store)
    clock.forward(seconds=5)
    if step:
        await store.ingest(delivery(resolved(), at=clock.now()))
    now = clock.now()
    at = None if wanted is None else now + timedelta(minutes=wanted)

    def end(tx: Tx) -> None:
        if by == "move":
            incidents.move(tx, incident_id, IncidentState.OBSERVED, due_at=at)
        else:
            incidents.schedule(tx, incident_id, at)

    await store.write(end)
    assert (await get(store, incident_id)).due_at == (None if due is None else now + timedelta(minutes=due))
    assert await claim(store) == ([incident_id] if step else [])


async def test_a_wake_up_that_nobody_has_claimed_yet_survives_a_move_by_the_run(store: Store) -> None:
    incident_id = await open_incident(store)
    await claim(store)
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.ACTING))
    await store.ingest(delivery(resolved()))
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.VERIFYING))
    await store.write(lambda tx: incidents.schedule(tx, incident_id, None))
    assert await claim(store) == [incident_id]


@pytest.mark.parametrize("state", [s for s in IncidentState if s.closed])
async def test_a_closed_incident_is_left_alone(store: Store, state: IncidentState) -> None:
    incident_id = await open_incident(store)
    await store.write(lambda tx: incidents.move(tx, incident_id, state))
    assert (await get(store, incident_id)).closed_at == START
    assert not await store.write(
        lambda tx: incidents.move(tx, incident_id, IncidentState.OBSERVED, due_at=START)
    )
    await store.write(lambda tx: incidents.schedule(tx, incident_id, START))
    incident = await get(store, incident_id)
    assert (incident.state, incident.due_at) == (state, None)
    assert await claim(store) == []


async def test_a_closed_incident_reopens_only_on_demand_and_only_into_its_own_place(store: Store) -> None:
    incident_id = await open_incident(store)

    def reopen(tx: Tx) -> bool:
        return incidents.move(tx, incident_id, IncidentState.STUCK, reopen=True)

    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.FIXED))
    assert await store.write(reopen)
    assert (await get(store, incident_id)).closed_at is None
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.FIXED))
    await open_incident(store, "f2")
    with pytest.raises(Refused) as caught:
        await store.write(reopen)
    assert caught.value.code == "incident_open_elsewhere"


async def test_merging_takes_the_alerts_along_and_wakes_the_other(store: Store, clock: HandClock) -> None:
    first = await open_incident(store)
    second = await open_incident(store, "f2", "OtherError")
    await claim(store)
    await store.write(lambda tx: incidents.move(tx, first, IncidentState.OBSERVED))
    assert await store.write(lambda tx: incidents.merge(tx, second, first))
    assert not await store.write(lambda tx: incidents.merge(tx, second, first))
    merged = await get(store, second)
    assert (merged.state, merged.merged_into, merged.closed_at) == (IncidentState.MERGED, first, START)
    assert await store.read(lambda conn: incidents.firing_count(conn, first)) == 2
    assert await claim(store) == [first]
    assert (await audit_kinds(store, second))[-1] == "incident.merged"
    again = await store.ingest(delivery(firing("f2", name="OtherError"), at=clock.now()))
    assert again.incident_ids == (first,)


async def test_nothing_merges_into_a_closed_incident_or_itself(store: Store) -> None:
    first, second = await open_incident(store), await open_incident(store, "f2", "OtherError")
    await store.write(lambda tx: incidents.move(tx, first, IncidentState.FIXED))
    for into in (first, second):
        with pytest.raises(Refused):
            await store.write(merging(second, into))


async def test_the_incident_to_merge_into_has_the_same_target_and_alert_name(store: Store) -> None:
    first, second = await open_incident(store), await open_incident(store, "f2", "OtherError")
    by_hand = (await store.ingest(delivery(manual=order()))).incident_ids[0]
    for incident_id in (first, second, by_hand):
        await store.write(targeting(incident_id))

    async def found(name: str, excluding: str) -> str | None:
        other = await store.read(lambda conn: incidents.open_for_target(conn, TARGET, name, excluding))
        return other.id if other else None

    assert await found("HighErrorRate", second) == first
    assert await found("HighErrorRate", first) is None
    assert await found("", first) is None
    await store.write(moving(first, IncidentState.RESOLVED))
    assert await found("HighErrorRate", second) is None


async def test_the_target_is_told_once(store: Store) -> None:
    incident_id = await open_incident(store)
    for _ in range(2):
        await store.write(lambda tx: incidents.set_target(tx, incident_id, TARGET))
    assert (await audit_kinds(store, incident_id)).count("incident.targeted") == 1


async def test_pages_go_from_new_to_old_and_filter_by_state(store: Store) -> None:
    ids = [await open_incident(store, f"f{n}", f"Alert{n}") for n in range(5)]
    await store.write(lambda tx: incidents.move(tx, ids[1], IncidentState.FIXED))
    first = await store.read(lambda conn: incidents.page(conn, None, 2))
    rest = await store.read(lambda conn: incidents.page(conn, first[-1].id, 10))
    assert [i.id for i in first + rest] == ids[::-1]
    fixed = await store.read(lambda conn: incidents.page(conn, None, 10, IncidentState.FIXED))
    assert [i.id for i in fixed] == [ids[1]]


async def test_alerts_that_fire_come_first(store: Store) -> None:
    incident_id = await open_incident(store)
    await store.ingest(delivery(firing("b"), firing("c"), resolved()))
    stored = await store.read(lambda conn: incidents.alerts(conn, incident_id, 2))
    assert [a.fingerprint for a in stored] == ["b", "c"]


async def test_the_thread_of_an_incident_is_remembered(store: Store) -> None:
    incident_id = await open_incident(store)
    await store.write(lambda tx: incidents.set_thread(tx, incident_id, "C1", "17.5"))
    incident = await get(store, incident_id)
    assert (incident.thread_channel, incident.thread_ts) == ("C1", "17.5")


async def test_what_does_not_exist_is_missing(store: Store) -> None:
    with pytest.raises(Missing):
        await get(store, "inc_none")
    with pytest.raises(Missing):
        await store.write(lambda tx: incidents.move(tx, "inc_none", IncidentState.FIXED))


async def test_nobody_adds_an_alert_between_counting_and_closing(make_store: Stores) -> None:
    """The closer holds the incident, then counts: an alert of another replica either counts or opens a new one."""
    closer, other = make_store(), make_store()
    for n in range(10):
        incident_id = (await other.ingest(delivery(firing(f"a{n}"), resolved(f"a{n}")))).incident_ids[0]

        def close(tx: Tx, incident_id: str = incident_id) -> None:
            incidents.hold(tx, incident_id)
            if incidents.firing_count(tx.conn, incident_id) == 0:
                incidents.move(tx, incident_id, IncidentState.RESOLVED)

        receipt, _ = await asyncio.gather(other.ingest(delivery(firing(f"b{n}"))), closer.write(close))
        assert (await get(other, receipt.incident_ids[0])).closed_at is None
        await other.ingest(delivery(resolved(f"b{n}")))
        await closer.write(moving(receipt.incident_ids[0], IncidentState.RESOLVED))
