"""A service that comes back: what its dead process held is free at once, and nobody else's is."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from app.main import open_store
from app.settings import load_settings
from app.store import incidents, work
from app.store.database import Store
from tests.contract.stores import open_incident
from tests.unit.served import served

_HOUR = timedelta(hours=1)


async def _claimed(store: Store, replica: str) -> str:
    """A process of this name dies while it decides an incident."""
    incident = await open_incident(store, replica, f"AlertOf{replica.title()}")
    held = await store.write(lambda tx: incidents.claim_due(tx, replica, _HOUR, 1))
    assert [i.id for i in held] == [incident]
    return incident


def test_a_service_that_starts_gives_up_what_its_earlier_process_held(tmp_path: Path) -> None:
    settings = load_settings(state_dir=tmp_path, cluster="simulated")

    async def die() -> list[str]:
        store = open_store(settings)
        found = [await _claimed(store, replica) for replica in ("tests", "other")]
        assert await store.read(lambda conn: work.claim_holders(conn, "")) == ("other", "tests")
        store.close()
        return found

    mine, others = asyncio.run(die())
    with served(tmp_path) as service:
        service.until(lambda conn: incidents.get(conn, mine).decided_at)
        assert service.read(lambda conn: incidents.get(conn, others)).claimed_by == "other"
