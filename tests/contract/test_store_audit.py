"""The audit trail: appended with the change it tells of, and no change to it goes unseen."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.domain.errors import BadInput, Refused
from app.domain.events import EventKind
from app.domain.json import canonical
from app.domain.outcome import IncidentState
from app.store import audit, guards, incidents, retention, schema, trail
from app.store.audit import GENESIS, NO_KEYS, AuditKeys, Head
from app.store.database import Store, StoreHooks
from app.store.trail import AuditReport
from app.store.tx import AuditRecord, Tx
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
    return await store.read(trail.verify)


async def tamper(store: Store, sql: str) -> None:
    """What the owner of the database can do: take the triggers away for a moment."""
    await unguarded(store, lambda tx: tx.conn.exec_driver_sql(sql))


async def unguarded(store: Store, work: Callable[[Tx], object]) -> None:
    """Run `work` without the triggers, and put them back."""
    wanted = guards.SQLITE + guards.SQLITE_INSERTS + guards.POSTGRES + guards.POSTGRES_INSERTS
    made = {sql.split()[2]: sql for sql in wanted if sql.startswith("CREATE TRIGGER") and on_this(store, sql)}

    def all_of_it(tx: Tx) -> None:
        for name in made:
            tx.conn.exec_driver_sql(f"DROP TRIGGER {name}{'' if store.backend == 'sqlite' else ' ON audit'}")
        work(tx)
        for sql in made.values():
            tx.conn.exec_driver_sql(sql)

    await store.write(all_of_it)


def on_this(store: Store, sql: str) -> bool:
    """The statement is one of this backend."""
    return (" EXECUTE FUNCTION " in sql) is not (store.backend == "sqlite")


async def test_events_come_back_in_order_with_all_they_had(store: Store) -> None:
    await store.write(noting(1, incident_id="inc_1", run_id="run_1_1"))
    await store.write(noting(2, incident_id="inc_2"))
    (event,) = await store.read(lambda conn: list(audit.each_of_incident(conn, "inc_1")))
    assert (event.seq, event.at, event.kind, event.actor) == (1, START, EventKind.MEASURED, "ann")
    assert event.data == {"n": 1, "text": "ä ✓ \0"}
    assert await store.read(lambda conn: audit.for_run(conn, "run_1_1")) == [event]
    assert [e.seq for e in await store.read(lambda conn: audit.page(conn, 1, 5))] == [2]
    assert await store.read(lambda conn: list(audit.each_of_incident(conn, ""))) == []


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
    lines: list[dict[str, Any]] = await store.read(lambda conn: list(trail.export(conn)))
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
    assert await store.read(lambda conn: sum(1 for _ in trail.export(conn))) == 2_500


async def test_a_pruned_trail_verifies_from_its_anchor_and_tampering_is_still_found(
    store: Store, clock: HandClock
) -> None:
    await pruned_trail(store, clock)
    report = await verified(store)
    assert (report.ok, report.first_seq, report.last_seq, report.checked) == (True, 4, 9, 6)
    assert report.removed == 3
    events = await store.read(lambda conn: audit.page(conn, 0, 100))
    assert events[-1].kind is EventKind.PRUNED
    assert events[-1].data["audit"] == 3
    assert await store.read(lambda conn: trail.unfit(conn, [e.seq for e in events])) == {}
    await tamper(store, "DELETE FROM audit WHERE seq = 4")
    assert (await verified(store)).at_seq == 4


async def pruned_trail(store: Store, clock: HandClock) -> None:
    """Three records that went, five that stay, and the record of the removal."""
    incident_id = await open_incident(store)
    await store.write(lambda tx: incidents.move(tx, incident_id, IncidentState.FIXED))
    clock.forward(days=40)
    await fill(store, 5)
    pruned = await store.write(lambda tx: retention.prune(tx, clock.now() - timedelta(days=30), 100))
    assert pruned.audit == 3


COLUMNS = {
    "seq": "UPDATE audit SET seq = 4000 WHERE seq = 4",
    "at": "UPDATE audit SET at = at - 1 WHERE seq = 4",
    "kind": "UPDATE audit SET kind = 'run.moved' WHERE seq = 4",
    "incident_id": "UPDATE audit SET incident_id = 'inc_2' WHERE seq = 4",
    "run_id": "UPDATE audit SET run_id = 'run_9' WHERE seq = 4",
    "actor": "UPDATE audit SET actor = 'bob' WHERE seq = 4",
    "data": "UPDATE audit SET data = data || ' ' WHERE seq = 4",
    "hash": "UPDATE audit SET hash = 'f' || substr(hash, 2) WHERE seq = 4",
    "page": "UPDATE audit SET page = page + 100000 WHERE seq = 4",
}


def test_every_column_has_a_case_of_tampering() -> None:
    assert set(COLUMNS) == {column.name for column in schema.audit.c}


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_change_of_any_column_is_found(store: Store, column: str) -> None:
    await fill(store)
    await tamper(store, COLUMNS[column])
    report = await verified(store)
    assert (report.ok, report.at_seq) == (False, 4)
    there = await store.read(lambda conn: conn.execute(select(schema.audit.c.seq)).scalars().all())
    unfit = await store.read(lambda conn: trail.unfit(conn, there))
    assert min(unfit) == (5 if column == "seq" else 4), "a page that shows the record says so too"


GAPS = {
    "the anchor moved": (
        "DELETE FROM audit WHERE seq <= 5",
        "UPDATE audit_chain SET anchor_seq = 5, anchor_hash = (SELECT hash FROM kept WHERE seq = 5)",
    ),
    "a gap made up": (
        "INSERT INTO audit_gaps SELECT 6, 6, hash FROM kept WHERE seq = 6",
        "DELETE FROM audit WHERE seq = 6",
    ),
    "the gap widened": (
        "UPDATE audit_chain SET anchor_seq = 4, anchor_hash = (SELECT hash FROM kept WHERE seq = 4)",
        "DELETE FROM audit WHERE seq = 4",
    ),
    "the record of the removal cut off with it": (
        "DELETE FROM audit WHERE seq = 9",
        "INSERT INTO audit_gaps SELECT 6, 6, hash FROM kept WHERE seq = 6",
        "DELETE FROM audit WHERE seq = 6",
        "UPDATE audit_chain SET seq = 8, hash = (SELECT hash FROM kept WHERE seq = 8)",
    ),
}


@pytest.mark.parametrize("case", GAPS)
async def test_a_removal_that_no_record_tells_of_is_found(store: Store, clock: HandClock, case: str) -> None:
    await pruned_trail(store, clock)
    await tamper(store, "CREATE TABLE kept AS SELECT * FROM audit")
    for sql in GAPS[case]:
        await tamper(store, sql)
    report = await verified(store)
    assert not report.ok
    assert "no record of a removal tells of it" in report.problem


KEY, OTHER = "k" * 32, "o" * 40

# What a hand that knows the code and holds the database can do, past triggers and the stored head.
REWRITES = {
    "the tail cut with the head": (
        "DELETE FROM audit WHERE seq > 7",
        "UPDATE audit_chain SET seq = 7, hash = (SELECT hash FROM audit WHERE seq = 7)",
    ),
    "the trail reset": (
        "DELETE FROM audit",
        f"UPDATE audit_chain SET seq = 0, hash = '{GENESIS}', anchor_seq = 0, anchor_hash = '{GENESIS}'",
    ),
    "head and tail cut together": (
        "DELETE FROM audit WHERE seq <= 3 OR seq > 7",
        (
            "UPDATE audit_chain SET seq = 7, hash = (SELECT hash FROM audit WHERE seq = 7), "
            "anchor_seq = 3, anchor_hash = (SELECT hash FROM kept WHERE seq = 3)"
        ),
    ),
}


@pytest.mark.parametrize("case", REWRITES)
@pytest.mark.parametrize("key", ["", KEY])
async def test_a_trail_rewritten_with_its_head_is_found_by_a_head_kept_elsewhere(
    make_store: Stores, case: str, key: str
) -> None:
    """A key does not help here: what is left was made with it. Only the head outside tells."""
    keys = AuditKeys.parse(key) if key else NO_KEYS
    store = make_store(hooks=StoreHooks(keys=keys))
    await fill(store)
    outside = Head.parse(str(await store.read(trail.head)))
    assert (await store.read(lambda conn: trail.verify(conn, keys, outside))).ok
    await tamper(store, "CREATE TABLE kept AS SELECT * FROM audit")
    for sql in REWRITES[case]:
        await tamper(store, sql)
    if (
        case != "head and tail cut together"
    ):  # which even a check from inside finds: the anchor is not told of
        assert (await store.read(lambda conn: trail.verify(conn, keys))).ok
    report = await store.read(lambda conn: trail.verify(conn, keys, outside))
    assert not report.ok


async def recompute(store: Store, keys: AuditKeys) -> None:
    """Change an actor and make all hashes anew."""

    def work(tx: Tx) -> None:
        before = GENESIS
        for row in tx.conn.execute(select(schema.audit).order_by(schema.audit.c.seq)).all():
            record = AuditRecord(row.at, row.kind, row.incident_id, row.run_id, "bob", row.data)
            before = keys.link(before, row.seq, record)
            change = update(schema.audit).where(schema.audit.c.seq == row.seq)
            tx.conn.execute(change.values(actor="bob", hash=before))
        tx.conn.execute(update(schema.audit_chain).values(hash=before))

    await unguarded(store, work)


async def test_a_recomputed_trail_is_found_by_its_key_and_by_a_head_kept_elsewhere(
    make_store: Stores,
) -> None:
    keys = AuditKeys.parse(KEY)
    store = make_store(hooks=StoreHooks(keys=keys))
    await fill(store)
    outside = await store.read(trail.head)
    report = await store.read(lambda conn: trail.verify(conn, keys))
    assert (report.ok, report.keyed_from) == (True, 1)
    await recompute(store, NO_KEYS)
    found = await store.read(lambda conn: trail.verify(conn, keys))
    assert (found.ok, found.problem) == (False, "no record was made with a key, although there is one")
    # Without a key nothing inside tells; the head outside does.
    assert (await store.read(trail.verify)).ok
    found = await store.read(lambda conn: trail.verify(conn, NO_KEYS, outside))
    assert (found.ok, found.at_seq) == (False, 10)
    assert "rewritten" in found.problem


async def test_a_trail_goes_over_to_a_key_and_to_the_next_but_never_back(make_store: Stores) -> None:
    await fill(make_store(), 2)
    await fill(make_store(hooks=StoreHooks(keys=AuditKeys.parse(KEY))), 2)
    both = AuditKeys.parse(f"{OTHER}, {KEY}")
    last = make_store(hooks=StoreHooks(keys=both))
    await fill(last, 2)
    report = await last.read(lambda conn: trail.verify(conn, both))
    assert (report.ok, report.checked, report.keyed_from) == (True, 6, 3)
    report = await last.read(lambda conn: trail.verify(conn, AuditKeys.parse(OTHER)))
    assert (report.at_seq, report.problem) == (3, "record 3 was made with a key that is not given")
    for keys in (NO_KEYS, AuditKeys.parse(KEY)):
        with pytest.raises(BadInput) as refused:
            make_store(hooks=StoreHooks(keys=keys))
        assert refused.value.code == "audit_key_missing"
    # A plain record after keyed ones, as a forger without the key would add it.
    await last.write(lambda tx: audit.append(tx.conn, [AuditRecord(1, "measured", "", "", "x", "{}")]))
    report = await last.read(lambda conn: trail.verify(conn, both))
    assert (report.ok, report.at_seq) == (False, 7)


def test_a_short_key_is_refused_and_no_key_shows_in_a_text() -> None:
    with pytest.raises(BadInput) as refused:
        AuditKeys.parse(f"{KEY},short-and-secret")
    assert "short-and-secret" not in str(refused.value)
    assert KEY not in repr(AuditKeys.parse(KEY))


async def test_an_anchor_of_the_version_before_verifies_until_the_next_removal_tells_of_it(
    store: Store, clock: HandClock
) -> None:
    await fill(store, 5)
    await store.write(lambda tx: tx.audit(EventKind.PRUNED, data={"audit": 2}))
    for sql in (
        "UPDATE audit_chain SET anchor_seq = 2, anchor_hash = (SELECT hash FROM audit WHERE seq = 2)",
        "DELETE FROM audit WHERE seq <= 2",
    ):
        await store.write(lambda tx, sql=sql: tx.conn.exec_driver_sql(sql))  # type: ignore[misc]
    report = await verified(store)
    assert (report.ok, report.removed, report.checked) == (True, 2, 4)
    clock.forward(days=40)
    await fill(store, 1)
    assert (await store.write(lambda tx: retention.prune(tx, tx.now - timedelta(days=30), 100))).audit == 4
    report = await verified(store)
    assert (report.ok, report.removed) == (True, 6)
    assert len(await store.read(trail.gaps)) == 1


async def test_a_head_that_retention_removed_says_so(store: Store, clock: HandClock) -> None:
    await pruned_trail(store, clock)
    for seq, ok in ((2, False), (4, True)):
        (row,) = await store.read(lambda conn: audit.page(conn, 3, 1))
        known = Head(seq, row.hash)
        report = await store.read(lambda conn, known=known: trail.verify(conn, NO_KEYS, known))  # type: ignore[misc]
        assert report.ok is ok
        assert ok or "give a younger one" in report.problem
