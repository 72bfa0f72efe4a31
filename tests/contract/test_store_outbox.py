"""The outbox: in order within an incident, once, and honest about what it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.errors import Missing
from app.store import audit, outbox
from app.store.database import Store
from app.store.outbox import Message
from app.store.tx import MessageState, Tx
from tests.contract.stores import START, HandClock, Stores

LEASE = timedelta(minutes=1)


def putting(message_id: str, incident_id: str = "inc_1", kind: str = "moved") -> Callable[[Tx], bool]:
    """A function that queues it."""
    return lambda tx: tx.put(message_id, incident_id, kind, {"text": message_id})


def failing(message_id: str, error: str, retry_minutes: int | None) -> Callable[[Tx], None]:
    """A function that reports a failure."""
    return lambda tx: outbox.failed(
        tx, message_id, error, None if retry_minutes is None else tx.now + timedelta(minutes=retry_minutes)
    )


async def claim(store: Store, owner: str = "me", limit: int = 10) -> list[str]:
    """Ids of what could be claimed."""
    return [m.id for m in await store.write(lambda tx: outbox.claim(tx, tx.now, limit, owner, LEASE))]


async def send(store: Store, message_id: str) -> None:
    """Report it as sent."""
    await store.write(lambda tx: outbox.sent(tx, message_id, "C1", "17.5"))


async def get(store: Store, message_id: str) -> Message:
    """Read one."""
    return await store.read(lambda conn: outbox.get(conn, message_id))


async def test_a_message_is_queued_once(store: Store) -> None:
    assert await store.write(putting("m1"))
    assert not await store.write(putting("m1"))
    (message,) = await store.read(outbox.pending)
    assert (message.id, message.payload, message.created_at, message.attempts) == (
        "m1",
        {"text": "m1"},
        START,
        0,
    )
    assert await store.read(outbox.depth) == 1


async def test_a_later_message_of_an_incident_waits_for_the_earlier_one(
    store: Store, clock: HandClock
) -> None:
    for message_id, incident_id in (("a1", "inc_a"), ("a2", "inc_a"), ("b1", "inc_b"), ("a3", "inc_a")):
        await store.write(putting(message_id, incident_id))
    assert await claim(store) == ["a1", "b1"]
    assert await claim(store) == []
    await send(store, "b1")
    await store.write(failing("a1", "ratelimited", 1))
    assert await claim(store) == []  # a2 does not overtake a1, which waits for its retry
    clock.forward(minutes=1)
    assert await claim(store) == ["a1"]
    await send(store, "a1")
    assert await claim(store) == ["a2"]
    await store.write(failing("a2", "channel_not_found", None))
    assert await claim(store) == ["a3"]


async def test_messages_about_no_incident_wait_for_nobody(store: Store) -> None:
    for n in range(3):
        await store.write(putting(f"m{n}", ""))
    assert await claim(store) == ["m0", "m1", "m2"]


async def test_replicas_never_claim_the_same_message(make_store: Stores) -> None:
    stores = [make_store(), make_store()]
    for n in range(20):
        await stores[0].write(putting(f"m{n:02}", f"inc_{n}"))
    taken = await asyncio.gather(*(claim(s, f"r{i}{n}", 3) for n in range(5) for i, s in enumerate(stores)))
    flat = sorted(message for part in taken for message in part)
    assert flat == [f"m{n:02}" for n in range(20)]


async def test_what_went_out_is_told_once_in_the_audit_trail(store: Store) -> None:
    await store.write(putting("m1"))
    await claim(store)
    for _ in range(2):
        await send(store, "m1")
    message = await get(store, "m1")
    assert (message.state, message.channel, message.ts, message.attempts) == (
        MessageState.SENT,
        "C1",
        "17.5",
        1,
    )
    events = await store.read(lambda conn: list(audit.each_of_incident(conn, "inc_1")))
    assert [(e.kind.value, e.data["message"], e.data["ts"]) for e in events] == [
        ("message.sent", "m1", "17.5")
    ]
    assert await store.read(outbox.depth) == 0


async def test_giving_up_is_told_and_a_retry_is_not(store: Store) -> None:
    await store.write(putting("m1"))
    await store.write(failing("m1", "timeout", 1))
    await store.write(failing("m1", "channel_not_found", None))
    message = await get(store, "m1")
    assert (message.state, message.error) == (MessageState.FAILED, "channel_not_found")
    events = await store.read(lambda conn: list(audit.each_of_incident(conn, "inc_1")))
    assert [(e.kind.value, e.data["error"]) for e in events] == [("message.failed", "channel_not_found")]


async def test_what_a_dead_process_was_sending_is_unsure_and_holds_its_incident(
    store: Store, clock: HandClock
) -> None:
    await store.write(putting("m1"))
    await store.write(putting("m2"))
    await claim(store, "dead")
    assert await store.read(lambda conn: outbox.unsure(conn, clock.now())) == []
    clock.forward(seconds=60)
    (message,) = await store.read(lambda conn: outbox.unsure(conn, clock.now()))
    assert (message.id, message.claimed_by) == ("m1", "dead")
    assert await claim(store) == []  # never sent again blindly
    await send(store, "m1")  # somebody has looked
    assert await store.read(lambda conn: outbox.unsure(conn, clock.now())) == []
    assert await claim(store) == ["m2"]


async def test_a_digest_tells_what_is_still_pending(store: Store) -> None:
    for n in range(3):
        await store.write(putting(f"m{n}", f"inc_{n}"))
    await store.write(putting("summary", ""))
    await store.write(lambda tx: outbox.claim(tx, tx.now, 1, "me", LEASE))
    assert await store.write(lambda tx: outbox.digest(tx, ["m0", "m1", "m2", "summary"], "summary")) == 2
    assert (await get(store, "m1")).digested_into == "summary"
    assert await claim(store) == ["summary"]


async def test_what_does_not_exist_is_missing(store: Store) -> None:
    with pytest.raises(Missing):
        await send(store, "none")


async def test_a_claim_is_its_holders_until_another_takes_it_or_it_is_settled(
    store: Store, clock: HandClock
) -> None:
    await store.write(putting("m1"))
    (row,) = await store.write(lambda tx: outbox.claim(tx, tx.now, 1, "me", LEASE))
    assert await store.read(lambda conn: outbox.is_held(conn, row))
    clock.forward(seconds=40)
    renewed = await store.write(lambda tx: outbox.renew(tx, row, LEASE))
    assert renewed is not None
    assert (renewed.claimed_by, renewed.claimed_until) == ("me", clock.now() + LEASE)
    assert not await store.read(lambda conn: outbox.is_held(conn, row)), "the earlier claim is none any more"
    assert await store.write(lambda tx: outbox.hold(tx, renewed))
    await store.write(failing("m1", "died", 0))
    assert await store.write(lambda tx: outbox.renew(tx, renewed, LEASE)) is None
    (other,) = await store.write(lambda tx: outbox.claim(tx, tx.now, 1, "another", LEASE))
    for held, mine in ((renewed, False), (other, True)):
        assert await store.read(lambda conn: outbox.is_held(conn, held)) is mine  # noqa: B023 - awaited here
        assert await store.write(lambda tx: outbox.hold(tx, held)) is mine  # noqa: B023 - awaited here
    await send(store, "m1")
    assert not await store.read(lambda conn: outbox.is_held(conn, other))


async def test_a_row_that_is_gone_is_nobodys(store: Store) -> None:
    await store.write(putting("m1"))
    (row,) = await store.write(lambda tx: outbox.claim(tx, tx.now, 1, "me", LEASE))
    nobody = replace(row, seq=row.seq + 1)
    assert not await store.read(lambda conn: outbox.is_held(conn, nobody))
    assert await store.write(lambda tx: outbox.renew(tx, nobody, LEASE)) is None


async def test_the_message_before_one_is_the_incidents_own(store: Store) -> None:
    for message_id, incident_id in (("a1", "inc_a"), ("b1", "inc_b"), ("a2", "inc_a")):
        await store.write(putting(message_id, incident_id))
    first, second = await get(store, "a1"), await get(store, "a2")
    assert await store.read(lambda conn: outbox.before(conn, first)) == 0
    assert await store.read(lambda conn: outbox.before(conn, second)) == first.seq
