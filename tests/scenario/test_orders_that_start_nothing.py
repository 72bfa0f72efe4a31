"""An order that starts nothing says what happened: refused and why, held and by what, or that it was a dry run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.outcome import IncidentState
from app.domain.target import Kind
from app.sim.faults import Fault, FaultKind
from app.store import incidents
from tests.crash.cases import cases
from tests.orders import LANGGRAPH, Order
from tests.scenario.rig import Rig
from tests.scenario.test_procedures import born, patches
from tests.scenario.web import URL, app_of, client_of


async def told(rig: Rig, name: str, params: dict[str, Any], *, dry_run: bool = False) -> str:
    """The incident's message when the order has ended."""
    delivery = Order(LANGGRAPH, params).delivery(name, rig.clock)
    assert delivery.manual is not None
    await rig.store.ingest(replace(delivery, manual=replace(delivery.manual, dry_run=dry_run)))
    await rig.run(90)
    (incident,) = await rig.store.read(lambda conn: incidents.page(conn, None, 5))
    assert incident.state is IncidentState.RESOLVED
    (text,) = rig.notebook.parents.values()
    return text


@pytest.mark.parametrize(
    ("name", "params", "head", "says"),
    [
        ("deploy", {"image": ":v1.4.2"}, "NOTHING DONE · deploy", "v1.4.2 runs already, on all 3 pods"),
        ("deploy", {"image": "ghcr.io/other/rag7:v2"}, "NOTHING DONE · deploy", "is another repository"),
        ("rollback", {"revision": 77}, "NOTHING DONE · rollback", "has no revision 77; kept are 2, 1"),
        ("rollback", {"service": "none"}, "NOTHING DONE · rollback", "there is no Service none"),
        ("scale", {"replicas": 0}, "NOTHING DONE · scale", "0 replicas stop"),
    ],
)
async def test_a_refused_order_says_its_reason_and_of_no_alert(
    tmp_path: Path, name: str, params: dict[str, Any], head: str, says: str
) -> None:
    rig = await born(tmp_path)
    text = await told(rig, name, params)
    assert text.startswith(head), text
    assert "Nothing is done: " in text
    assert says in text, text
    assert "alert went away" not in text
    assert patches(rig) == []
    async with client_of(app_of(rig), f"{URL}/api/v1") as client:
        (run,) = (await client.get("/runs")).json()["items"]
    assert run["target"] == "rag7/Deployment/langgraph", "no key of our own"
    await rig.close()


async def test_an_order_that_a_gate_holds_names_the_gate_and_of_no_alert(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    await rig.operations.pause("all", "release freeze", "kim", None)
    text = await told(rig, "scale", {"replicas": 5})
    assert text.startswith("NOTHING DONE · scale"), text
    assert "Stopped by: kill switch" in text
    assert "alert went away" not in text
    await rig.close()


async def test_a_dry_run_is_told_as_one_with_what_it_would_do(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    text = await told(rig, "scale", {"replicas": 5}, dry_run=True)
    assert text.startswith("DRY RUN · scale · rag7/langgraph"), text
    assert "Would have: Scale rag7/Deployment/langgraph from 3 to 5 replicas" in text
    assert "alert went away" not in text
    await rig.close()


@pytest.mark.parametrize("kind", [Kind.POD, Kind.LIMIT_RANGE, Kind.VPA])
async def test_an_order_is_looked_at_again_when_a_read_of_a_gate_fails_in_passing(
    tmp_path: Path, kind: Kind
) -> None:
    rig = await born(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="list", kind=kind, times=1))
    await rig.store.ingest(Order(LANGGRAPH, {"replicas": 5}).delivery("scale", rig.clock))
    await rig.run(90)
    assert patches(rig) != []
    await rig.close()


async def test_an_order_is_looked_at_again_when_its_database_does_not_answer_in_passing(
    tmp_path: Path,
) -> None:
    (case,) = (case for case in cases() if str(case) == "database-vacuum/vacuum")
    rig = await case.rig(tmp_path / "rig.sqlite").born()
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="sql", times=1))
    for _ in range(20):
        await case.hand(rig)
        await rig.step(5.0)
    assert any(write.verb == "vacuum" for write in rig.cluster.mutations)
    await rig.close()
