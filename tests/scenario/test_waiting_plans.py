"""A plan that waits for an answer has written nothing: it keeps no alert from being handled, and is checked again before it acts.

Promise 5 for plans that wait side by side with other runs on their target.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.domain.decision import Mode
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.store import facts, incidents, runs
from app.store.runs import Run
from tests.orders import LANGGRAPH, Order
from tests.scenario.rig import Rig
from tests.scenario.scenes import born, policy, writes


async def ordered(rig: Rig, name: str, key: str, **params: JsonValue) -> Run:
    """Order it; the run once it waits or has ended. No alert is delivered meanwhile."""
    await rig.store.ingest(Order(LANGGRAPH, params).delivery(name, rig.clock, key=key))
    for _ in range(30):
        await rig.step(1.0, alerts=False)
        newest = (await rig.store.read(lambda conn: runs.page(conn, None, 1)))[:1]
        if newest and newest[0].remediation == name and newest[0].state is RunState.WAITING:
            return newest[0]
    raise AssertionError(rig.notebook.text[-2000:])


async def state_of(rig: Rig, run_id: str) -> RunState:
    return (await rig.store.read(lambda conn: runs.get(conn, run_id))).state


def image(rig: Rig) -> str:
    manifest: Any = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    return str(manifest["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


async def test_promise_5_a_waiting_plan_holds_up_no_alert_and_goes_stale_with_the_reason(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    waiting = await ordered(rig, "hotfix", "1", image=":v1.4.3")
    await rig.run(600)
    states = {i.alertname: i.state for i in await rig.store.read(lambda conn: incidents.page(conn, None, 9))}
    assert states["HighErrorRate"] is IncidentState.FIXED, rig.notebook.text[-3000:]
    assert (image(rig), len(writes(rig))) == ("v1.4.2", 1)
    assert f"waiting for an answer, with nothing written: {waiting.id}" in rig.notebook.text
    assert await state_of(rig, waiting.id) is RunState.WAITING
    await rig.operations.approve(waiting.id, "kim", waiting.plan_hash)
    await rig.run(60)
    stale = await rig.store.read(lambda conn: runs.get(conn, waiting.id))
    assert (stale.state, len(writes(rig))) == (RunState.ABANDONED, 1)
    assert "v1.4.2" in stale.result, stale.result
    assert "approved a plan that was not carried out" in rig.notebook.text
    await rig.close()


async def test_promise_5_of_two_waiting_plans_the_second_waits_for_the_first_and_is_checked_again(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    first = await ordered(rig, "hotfix", "1", image=":v1.4.2")
    second = await ordered(rig, "hotfix", "2", image=":v1.4.3")
    assert first.plan_hash != second.plan_hash
    await rig.operations.approve(first.id, "kim", first.plan_hash)
    await rig.step(1.0, alerts=False)
    assert await state_of(rig, first.id) is RunState.VERIFYING
    told = await rig.operations.approve(second.id, "kim", second.plan_hash)
    assert told["text"] == f"it is checked again and begins when {first.id} has ended"
    await rig.step(1.0, alerts=False)
    held = await rig.store.read(lambda conn: runs.get(conn, second.id))
    assert (held.state, held.waits_for) == (RunState.WAITING, f"{first.id}, which is at work on the target")
    await rig.run(200, alerts=False)
    assert (await state_of(rig, first.id), await state_of(rig, second.id)) == (
        RunState.FIXED,
        RunState.ABANDONED,
    )
    assert (image(rig), len(writes(rig))) == ("v1.4.2", 1)
    await rig.close()


async def test_an_approved_plan_whose_target_stays_busy_expires_and_says_so(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    first = await ordered(rig, "hotfix", "1", image=":v1.4.2")
    second = await ordered(rig, "hotfix", "2", image=":v1.4.3")
    await rig.operations.approve(first.id, "kim", first.plan_hash)
    await rig.step(1.0, alerts=False)
    await rig.operations.approve(second.id, "kim", second.plan_hash)

    await rig.store.write(lambda tx: facts.renew(tx, second.id, tx.now))
    await rig.run(10, alerts=False)
    ended = await rig.store.read(lambda conn: runs.get(conn, second.id))
    assert ended.state is RunState.EXPIRED
    assert ended.result == f"approved by kim, but {first.id} was at work on the target until that expired"
    await rig.close()
