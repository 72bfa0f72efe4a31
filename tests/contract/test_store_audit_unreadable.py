"""A trail in which somebody made data unreadable, or removed its head: told where, and the rest can still be exported as evidence."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.domain.errors import RemediatorError
from app.store import trail
from app.store.audit import NO_KEYS
from app.store.database import Store
from app.store.tx import AuditRecord
from tests.contract.stores import CountingIds, HandClock
from tests.contract.test_store_audit import fill, noting, pruned_trail, tamper, verified


@pytest.mark.parametrize("data", ["", "{", "[" * 5_000, "\u00ff", "1"])
async def test_unreadable_data_is_found_and_exported_as_the_text_it_is(store: Store, data: str) -> None:
    await fill(store, 3)
    await tamper(store, f"UPDATE audit SET data = '{data}' WHERE seq = 2")
    report = await verified(store)
    assert (report.ok, report.at_seq) == (False, 2)
    exported = await store.read(lambda conn: list(trail.export(conn)))
    assert [row["seq"] for row in exported] == [1, 2, 3]
    assert exported[1]["data"] in (data, 1)


SQLITE_ONLY = {
    "data": "CAST(data AS BLOB)",
    "actor": "actor || char(55296)",
    "kind": "CAST(x'ff' AS TEXT)",
    "hash": "CAST(hash AS BLOB)",
    "at": "at + 0.4",
    "run_id": "x'00ff'",
    "page": "'first'",
    "incident_id": "CAST(x'c328' AS TEXT)",
}


@pytest.mark.parametrize("column", SQLITE_ONLY)
async def test_a_value_of_another_kind_is_found_by_its_record_and_exported(
    tmp_path: Path, clock: HandClock, column: str
) -> None:
    """SQLite keeps bytes, fractions and text that is no UTF-8 in any column; Postgres refuses them."""
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}", clock=clock, ids=CountingIds())
    await fill(store, 3)
    await tamper(store, f"UPDATE audit SET {column} = {SQLITE_ONLY[column]} WHERE seq = 2")
    report = await verified(store)
    assert (report.ok, report.at_seq) == (False, 2)
    assert report.problem == f"record 2 was changed: {column} holds no value of ours"
    lines = await store.read(lambda conn: [json.dumps(row) for row in trail.export(conn)])
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]
    store.close()


@pytest.mark.parametrize("data", ["{", "[]", "null", "1"])
async def test_a_record_of_a_removal_that_nobody_can_read_is_no_record_of_it(
    store: Store, clock: HandClock, data: str
) -> None:
    """Whoever recomputes the hashes without a key can write anything there."""
    await pruned_trail(store, clock)
    rows = await store.read(lambda conn: list(trail.export(conn)))
    last, before = rows[-1], rows[-2]["hash"]
    record = AuditRecord(last["at"], last["kind"], last["incident_id"], last["run_id"], last["actor"], data)
    forged = NO_KEYS.link(before, last["seq"], record)
    await tamper(store, f"UPDATE audit SET data = '{data}', hash = '{forged}' WHERE seq = {last['seq']}")
    await tamper(store, f"UPDATE audit_chain SET hash = '{forged}'")
    report = await verified(store)
    assert (report.ok, report.at_seq) == (False, last["seq"])
    assert "cannot be read" in report.problem


async def test_a_head_that_was_removed_is_told_in_words_and_nothing_is_written_without_it(
    store: Store,
) -> None:
    await fill(store)
    await tamper(store, "DELETE FROM audit_chain")
    report = await store.read(trail.verify)
    assert (report.ok, report.at_seq) == (False, None)
    assert report.problem == "the row with the head of the audit trail (table audit_chain) is gone"
    asked: list[Callable[[], Awaitable[object]]] = [
        lambda: store.write(noting(11)),
        store.probe_write,
        lambda: store.read(trail.head),
    ]
    for one in asked:
        with pytest.raises(RemediatorError, match="the head of the audit trail"):
            await one()


ODD_CHAIN = {
    "where it ends": "UPDATE audit_chain SET seq = 'abc'",
    "the hash at its end": "UPDATE audit_chain SET hash = x'00ff'",
    "where it begins": "UPDATE audit_chain SET anchor_seq = 'abc'",
    "the hash at its beginning": "UPDATE audit_chain SET anchor_hash = x'00ff'",
    "the end of a gap": "INSERT INTO audit_gaps VALUES (2, 'x', 'y')",
    "the hash of a gap": "INSERT INTO audit_gaps VALUES (2, 3, x'00ff')",
}


@pytest.mark.parametrize("case", ODD_CHAIN)
async def test_a_chain_of_other_values_is_told_in_words(tmp_path: Path, clock: HandClock, case: str) -> None:
    """SQLite keeps any value in any column; Postgres refuses them."""
    store = Store.open(f"sqlite:///{tmp_path / 's.db'}", clock=clock, ids=CountingIds())
    await pruned_trail(store, clock)
    await tamper(store, ODD_CHAIN[case])
    report = await verified(store)
    assert not report.ok
    assert report.problem == "the chain or the gaps of the audit trail hold values that are none of ours"
    store.close()
