"""The audit trail: appended with the change it tells of, and no change to it goes unseen."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.json import canonical
from app.domain.outcome import IncidentState
from app.store import audit, incidents, retention
from app.store.audit import GENESIS, AuditReport
from app.store.database import Store, Tx
from tests.contract.stores import START, HandClock, Stores, delivery, firing, open_incident


def noting(number: int, *, incident_id: str = "", run_id: str = "") -> Callable[[Tx], None]:
    """A function that appends one event."""
    return lambda tx: tx.audit(
        EventKind.MEASURED,
        incident_id=incident_id,
        run_id=run_id,
        actor="ann",
        data={"n": number, "text": "ä ✓ \0"},
    )


async def fill(store: Store, count: int = 10) -> None:
    """Append so many."""
    for number in range(count):
        await store.write(noting(number))


async def verified(store: Store) -> AuditReport:
    """Verify it."""
    return await store.read(audit.verify)


async def tamper(store: Store, sql: str) -> None:
    """What somebody with access to the database could do."""
    await store.write(lambda tx: tx.conn.exec_driver_sql(sql))


async def test_events_come_back_in_order_with_all_they_had(store: Store) -> None:
    await store.write(noting(1, incident_id="inc_1", run_id="run_1_1"))
    await store.write(noting(2, incident_id="inc_2"))
    (event,) = await store.read(lambda conn: audit.for_incident(conn, "inc_1"))
    assert (event.seq, event.at, event.kind, event.actor) == (1, START, EventKind.MEASURED, "ann")
    assert event.data == {"n": 1, "text": "ä ✓ \0"}
    assert await store.read(lambda conn: audit.for_run(conn, "run_1_1")) == [event]
    assert [e.seq for e in await store.read(lambda conn: audit.page(conn, 1, 5))] == [2]
    assert await store.read(lambda conn: audit.for_incident(conn, "")) == []


async def test_an_empty_trail_verifies(store: Store) -> None:
    assert await verified(store) == AuditReport(ok=True, checked=0, first_seq=1, last_seq=0)


async def test_a_function_that_fails_leaves_no_event(store: Store) -> None:
    def fails(tx: Tx) -> None:
        noting(1)(tx)
        raise Refused("no")

    with pytest.raises(Refused):
        await store.write(fails)
    assert (await verified(store)).last_seq == 0


async def test_many_writers_make_one_chain_without_gaps(make_store: Stores) -> None:
    stores = [make_store(), make_store()]
    await asyncio.gather(*(s.write(noting(n)) for n in range(50) for s in stores))
    await asyncio.gather(*(s.ingest(delivery(firing(f"f{n}"))) for n in range(20) for s in stores))
    report = await verified(stores[0])
    assert report.ok
    assert report.checked == report.last_seq == 121


TAMPERING = {
    "data changed": ("UPDATE audit SET data = '{\"n\":99}' WHERE seq = 4", 4, "changed"),
    "actor changed": ("UPDATE audit SET actor = 'bob' WHERE seq = 4", 4, "changed"),
    "time changed": ("UPDATE audit SET at = at + 1 WHERE seq = 1", 1, "changed"),
    "hash changed": ("UPDATE audit SET hash = 'f' || substr(hash, 2) WHERE seq = 10", 10, "changed"),
    "one removed": ("DELETE FROM audit WHERE seq = 4", 4, "record 4 is missing"),
    "first removed": ("DELETE FROM audit WHERE seq = 1", 1, "record 1 is missing"),
    "tail cut off": ("DELETE FROM audit WHERE seq > 7", 8, "ends at record 7, the stored head is record 10"),
    "all removed": ("DELETE FROM audit", 1, "ends at record 0"),
    "one put in front": (
        "INSERT INTO audit SELECT 0, at, kind, incident_id, run_id, actor, data, hash, page FROM audit WHERE seq = 1",
        0,
        "out of place",
    ),
    "one added at the end": (
        "INSERT INTO audit SELECT 11, at, kind, incident_id, run_id, actor, data, hash, page FROM audit WHERE seq = 1",
        11,
        "changed",
    ),
}


@pytest.mark.parametrize("case", TAMPERING)
async def test_tampering_is_found_where_it_happened(store: Store, case: str) -> None:
    sql, seq, problem = TAMPERING[case]
    await fill(store)
    assert await verified(store) == AuditReport(ok=True, checked=10, first_seq=1, last_seq=10)
    await tamper(store, sql)
    report = await verified(store)
    assert (report.ok, report.at_seq) == (False, seq)
    assert problem in report.problem


async def test_two_records_that_changed_places_are_found(store: Store) -> None:
    await fill(store)
    for sql in (
        "UPDATE audit SET seq = 1000 WHERE seq = 3",
        "UPDATE audit SET seq = 3 WHERE seq = 6",
        "UPDATE audit SET seq = 6 WHERE seq = 1000",
    ):
        await tamper(store, sql)
    report = await verified(store)
    assert (report.ok, report.at_seq) == (False, 3)


async def test_an_export_can_be_verified_by_anyone_with_sha256(store: Store) -> None:
    await store.ingest(delivery(firing()))
    await fill(store, 3)
    lines: list[dict[str, Any]] = await store.read(lambda conn: list(audit.export(conn)))
    head = GENESIS
    for seq, line in enumerate(lines, 1):
        fields = [line[k] for k in ("seq", "at", "kind", "incident_id", "run_id", "actor")]
        head = hashlib.sha256((head + canonical([*fields, canonical(line["data"])])).encode()).hexdigest()
        assert (line["seq"], line["hash"]) == (seq, head)
    assert len(lines) == 5


async def test_a_trail_longer_than_a_chunk_is_read_whole(store: Store) -> None:
    def lots(tx: Tx) -> None:
        for number in range(2_500):
            noting(number)(tx)

    await store.write(lots)
    assert (await verified(store)).checked == 2_500
    assert await store.read(lambda conn: sum(1 for _ in audit.export(conn))) == 2_500


async def test_a_pruned_trail_verifies_from_its_anchor_and_tampering_is_still_found(
    store: Store, clock: HandClock
) -> None:
    incident_id = await open_incident(store)
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.FIXED))
    clock.forward(days=40)
    await fill(store, 5)
    pruned = await store.write(lambda tx: retention.prune(tx, clock.now() - timedelta(days=30), 100))
    assert pruned.audit == 3
    report = await verified(store)
    assert (report.ok, report.first_seq, report.last_seq, report.checked) == (True, 4, 9, 6)
    events = await store.read(lambda conn: audit.page(conn, 0, 100))
    assert events[-1].kind is EventKind.PRUNED
    assert events[-1].data["audit"] == 3
    await tamper(store, "DELETE FROM audit WHERE seq = 4")
    assert (await verified(store)).at_seq == 4
