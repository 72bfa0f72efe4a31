"""A long action that stops before its end: what it has done stays and is told, it has spent its budget, and a person is called.

Every remediation whose action takes several calls, stopped by a person or by what it works on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.domain.checkpoints import Page
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.policy.load import load_policy, read_dir
from app.sim.faults import Fault, FaultKind, Request
from app.store.schema import ledger
from remediations import CATALOGUE
from tests.orders import ORDERS, Order
from tests.scenario.rig import POLICIES, Rig
from tests.scenario.scenes import all_incidents, all_runs, the_incident, the_run, trail

DEFAULTS = {name: text for name, text in read_dir(POLICIES).items() if name.endswith("00-default.yaml")}
LONG = {
    "clean-checkpoints": (
        "remove",
        r"10 checkpoints \(878.9 KiB\), .* removed; not done: about 66 checkpoints",
    ),
    "database-vacuum": ("vacuum", r"[12] of 4 tables vacuumed; not done: .*checkpoints, store"),
}
"""Its verb, and what is told after its first write."""


async def _approved(path: Path, name: str) -> Rig:
    """Ordered, and approved where it was asked about."""
    order = ORDERS[name]
    rig = Rig(path / "rig.sqlite", world=order.world())
    own = f"version: 1\nrules:\n  - {{name: own, remediation: {name}, mode: auto}}\n"
    rig.policy = load_policy({**DEFAULTS, "own.yaml": own}, CATALOGUE)
    await rig.born()
    await rig.run(20)
    rig.stride = 1.0
    await _order(rig, name, order, "1")
    return rig


async def _order(rig: Rig, name: str, order: Order, key: str) -> None:
    await rig.store.ingest(order.delivery(name, rig.clock, key=key))
    await rig.run(5)
    run = (await all_runs(rig))[-1]
    if run.state is RunState.WAITING:
        await rig.operations.approve(run.id, "ann", run.plan_hash)


def _writes(rig: Rig, verb: str) -> list[str]:
    return [m.name for m in rig.cluster.mutations if not m.dry_run and m.verb == verb]


def _after_the_first(rig: Rig, verb: str, then: Callable[[], None]) -> None:
    """Once the first request of this kind was carried out."""
    seen: list[Request] = []

    def hook(request: Request, when: str) -> None:
        if request.verb == verb and when == "after" and not request.dry_run:
            seen.append(request)
            if len(seen) == 1:
                then()

    rig.cluster.on_request(hook)


async def _spent(rig: Rig) -> set[bool]:
    return await rig.store.read(lambda conn: set(conn.execute(select(ledger.c.spent)).scalars()))


async def _ends(rig: Rig) -> None:
    rig.stride = 15.0

    async def ended() -> bool:
        return all(run.state.ended for run in await all_runs(rig))

    await rig.until(ended)
    await rig.run(30)


async def _pauses(rig: Rig, verb: str) -> None:
    async def written() -> bool:
        return bool(_writes(rig, verb))

    await rig.until(written)
    await rig.operations.pause("all", "hands off", "zoe", None)


async def _assert_told(rig: Rig, told: str) -> None:
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert await _spent(rig) == {True}
    text = rig.notebook.text
    assert re.search(f"done until then, and it stays: {told}", text), text[-2000:]
    assert "Not done to its end" in text
    assert "To do what is left: remediator trigger" in text
    for words in ("nothing was changed", "not sent", "nothing done"):
        assert words not in text.lower(), words
    (ended,) = await trail(rig, EventKind.ACTION_ENDED)
    assert (ended.data["result"], ended.data["sent"]) == ("partly", True)


@pytest.mark.parametrize("name", sorted(LONG))
async def test_promise_8_what_a_pause_stops_on_the_way_tells_what_it_did_and_the_next_order_does_the_rest(
    tmp_path: Path, name: str
) -> None:
    verb, told = LONG[name]
    rig = await _approved(tmp_path, name)
    await _pauses(rig, verb)
    await _ends(rig)
    before = _writes(rig, verb)
    assert before
    assert (await the_run(rig)).state is RunState.ABANDONED
    await _assert_told(rig, told)
    await rig.operations.resume("all", "zoe")
    await _order(rig, name, ORDERS[name], "2")
    await _ends(rig)
    states = [run.state for run in await all_runs(rig)]
    assert states == [RunState.ABANDONED, RunState.FIXED], rig.notebook.text[-2000:]
    assert len(_writes(rig, verb)) > len(before)
    assert [i.state for i in await all_incidents(rig)][-1] is IncidentState.FIXED
    await rig.close()


@pytest.mark.parametrize(
    ("name", "kind"), [("clean-checkpoints", FaultKind.DENIED), ("database-vacuum", FaultKind.UNREACHABLE)]
)
async def test_promise_8_what_its_database_refuses_on_the_way_is_told_with_what_it_did(
    tmp_path: Path, name: str, kind: FaultKind
) -> None:
    verb, told = LONG[name]
    rig = await _approved(tmp_path, name)
    fault = Fault(kind, verb="remove" if verb == "remove" else "vacuum", times=10_000)
    _after_the_first(rig, verb, lambda: rig.cluster.faults.add(fault))
    await _ends(rig)
    run = await the_run(rig)
    assert run.state is RunState.FAILED, run.result
    await _assert_told(rig, told)
    await rig.close()


async def test_promise_8_a_call_that_is_held_between_two_pages_keeps_what_it_removed(tmp_path: Path) -> None:
    """The pause comes within one call of several pages: what the first of them removed is not forgotten."""
    rig = await _approved(tmp_path, "clean-checkpoints")
    checkpoints, pages = rig.cluster.databases.checkpoints, list[object]()
    remove = checkpoints.remove

    async def paused_after_the_first(*args: Any) -> Page:
        if len(pages) == 1:
            await rig.operations.pause("all", "hands off", "zoe", None)
        pages.append(args)
        return await remove(*args)

    vars(checkpoints)["remove"] = paused_after_the_first
    await _ends(rig)
    await _assert_told(rig, LONG["clean-checkpoints"][1])
    assert len(pages) == 2
    await rig.close()
