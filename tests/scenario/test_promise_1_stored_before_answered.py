"""Promise 1: an answer of success means that the alert is on disk; what cannot be stored is asked for again; one bad alert
never drops its neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.alert import Receipt
from app.domain.errors import StoreUnavailable
from app.store import trail as trails
from app.store.commit_queue import CommitQueueSize
from app.store.database import Store, StoreOptions
from tests.scenario.rig import Died, Numbers, Rig
from tests.scenario.scenes import alert, all_incidents, body, born, trail, writes


async def test_a_death_before_the_commit_gives_no_receipt_and_keeps_nothing(tmp_path: Path) -> None:
    """The sender hears no success and sends it again."""
    rig = await born(tmp_path)
    rig.reaper.at = 1
    with pytest.raises(Died):
        await rig.send(body(alert(rig)))
    await rig.die()
    await rig.born()
    assert await all_incidents(rig) == []
    await rig.send(body(alert(rig)))
    assert len(await all_incidents(rig)) == 1
    await rig.close()


async def test_a_receipt_means_that_a_death_right_after_it_loses_nothing(tmp_path: Path) -> None:
    """Delivery, alert, incident and audit record are there, and the incident is decided after the rebirth."""
    rig = await born(tmp_path)
    receipt = await rig.send(body(alert(rig)))
    await rig.die()
    await rig.born()
    (incident,) = await all_incidents(rig)
    assert receipt == Receipt(receipt.delivery_id, (incident.id,))
    assert (await rig.store.read(trails.verify)).ok
    assert len(await trail(rig)) >= 2
    await rig.run(20, alerts=False)
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_a_full_queue_is_a_request_to_come_again(tmp_path: Path) -> None:
    """Overload answers 503 with a time; Alertmanager repeats on that and gives up on a 429."""
    rig = Rig(tmp_path / "rig.sqlite")
    store = Store.open(
        f"sqlite:///{tmp_path / 'full.sqlite'}",
        clock=rig.clock,
        ids=Numbers(),
        options=StoreOptions(CommitQueueSize(queue=0)),
    )
    rig.store = store  # type: ignore[assignment]  # a store that never has room
    with pytest.raises(StoreUnavailable) as refused:
        await rig.send(body(alert(rig)))
    assert refused.value.code == "store_overloaded"
    assert refused.value.retry_after
    store.close()


async def test_a_bad_alert_is_kept_with_its_reason_and_its_neighbours_are_acted_upon(tmp_path: Path) -> None:
    """In one body."""
    rig = await born(tmp_path)
    bad = {**alert(rig), "status": "perhaps", "labels": {"alertname": "Odd"}}
    await rig.send(body(bad, alert(rig)))
    await rig.run(20, alerts=False)
    assert writes(rig) == ["patch langgraph"]
    rejected = [r for r in await trail(rig) if r.kind.value == "alert.rejected"]
    assert len(rejected) == 1
    assert "/alerts/0/status" in str(rejected[0].data)
    await rig.close()
