"""What is sorted without an index: by keys, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, event

from app.store import audit, shown
from app.store.database import Store
from tests.contract.stores import delivery, firing


@pytest.mark.parametrize("what", ["alerts", "alerts of a page", "events"])
async def test_what_no_index_orders_is_sorted_by_keys_alone(store: Store, what: str) -> None:
    """A database holds all that it sorts: of 1,500 long alerts that were 213 MB for one answer."""
    receipt = await store.ingest(delivery(*(firing(f"f{number}") for number in range(30))))
    incident = receipt.incident_ids[0]

    def read(conn: Connection) -> tuple[list[Any], list[str]]:
        said: list[str] = []
        event.listen(conn, "before_cursor_execute", lambda *told: said.append(str(told[2])))
        if what == "events":
            return [e.seq for e in audit.each_of_incident(conn, incident)], said
        if what == "alerts":
            return [a.fingerprint for a in shown.each_alert(conn, incident)], said
        return [a.fingerprint for a in shown.alerts_listed(conn, incident, None, 20).rows], said

    found, said = await store.read(read)
    assert len(found) == len(set(found)) >= (20 if what == "alerts of a page" else 30)
    assert what != "events" or found == sorted(found)
    ordered = [statement for statement in said if "ORDER BY" in statement]
    assert ordered
    assert not [one for one in ordered if "labels" in one or "data" in one.partition("FROM")[0]]
