"""A trail in which somebody made data unreadable: told where, and the rest can still be exported as evidence."""

from __future__ import annotations

import pytest

from app.store import audit
from app.store.chain import NO_KEYS
from app.store.database import Store
from app.store.tx import AuditRecord
from tests.contract.stores import HandClock
from tests.contract.test_store_audit import fill, pruned_trail, tamper, verified


@pytest.mark.parametrize("data", ["", "{", "[" * 5_000, "\u00ff", "1"])
async def test_unreadable_data_is_found_and_exported_as_the_text_it_is(store: Store, data: str) -> None:
    await fill(store, 3)
    await tamper(store, f"UPDATE audit SET data = '{data}' WHERE seq = 2")
    report = await verified(store)
    assert (report.ok, report.at_seq) == (False, 2)
    exported = await store.read(lambda conn: list(audit.export(conn)))
    assert [row["seq"] for row in exported] == [1, 2, 3]
    assert exported[1]["data"] in (data, 1)


@pytest.mark.parametrize("data", ["{", "[]", "null", "1"])
async def test_a_record_of_a_removal_that_nobody_can_read_is_no_record_of_it(
    store: Store, clock: HandClock, data: str
) -> None:
    """Whoever recomputes the hashes without a key can write anything there."""
    await pruned_trail(store, clock)
    rows = await store.read(lambda conn: list(audit.export(conn)))
    last, before = rows[-1], rows[-2]["hash"]
    record = AuditRecord(last["at"], last["kind"], last["incident_id"], last["run_id"], last["actor"], data)
    forged = NO_KEYS.link(before, last["seq"], record)
    await tamper(store, f"UPDATE audit SET data = '{data}', hash = '{forged}' WHERE seq = {last['seq']}")
    await tamper(store, f"UPDATE audit_chain SET hash = '{forged}'")
    report = await verified(store)
    assert (report.ok, report.at_seq) == (False, last["seq"])
    assert "cannot be read" in report.problem
