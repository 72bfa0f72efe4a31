"""Promise 10: no write of any kind under a pause, an observe ceiling or a freeze, unless a person ordered that very write knowing
of it. Held for everything that can write: actions, undos that the rule wants, undos that a person orders, ends of temporary
changes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.cluster import OPT
from app.domain.decision import Mode
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.policy.model import Day, Otherwise, Temporary, Window
from app.sim.faults import Fault, FaultKind
from tests.crash.worlds import flood
from tests.scenario.moments import after_the_first, during
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, the_run, trail, writes

Hold = Callable[[Rig], Awaitable[None]]


async def pause_all(rig: Rig) -> None:
    await rig.operations.pause("all", "cluster upgrade: hands off", "kim", None)


async def pause_target(rig: Rig) -> None:
    (run,) = await all_runs(rig)
    await rig.operations.pause(f"target:{run.target_key}", "mine", "kim", None)


async def observe(rig: Rig) -> None:
    """The policy's ceiling; the service's own setting comes with a restart."""
    rig.policy = rig.policy.model_copy(update={"mode": Mode.OBSERVE})


async def restart_observing(rig: Rig) -> None:
    await rig.die()
    rig.ceiling = Mode.OBSERVE
    await rig.born()


async def freeze(rig: Rig) -> None:
    written = {
        "name": "release",
        "days": [day.value for day in Day],
        "from": "00:00",
        "to": "24:00",
        "timezone": "UTC",
    }
    frozen = Window.model_validate_json(json.dumps(written))
    rig.policy = rig.policy.model_copy(update={"freeze": (frozen,)})


def _opt_out(rig: Rig, kind: Kind, namespace: str, name: str) -> None:
    found = rig.cluster.peek(kind, namespace, name)
    assert found is not None
    marks = {**(found["metadata"].get("annotations") or {}), OPT: "false"}
    rig.cluster.edit(kind, namespace, name, [{"op": "add", "path": "/metadata/annotations", "value": marks}])


async def opt_out(rig: Rig) -> None:
    _opt_out(rig, Kind.DEPLOYMENT, "rag7", "langgraph-api")


async def opt_out_of_the_namespace(rig: Rig) -> None:
    _opt_out(rig, Kind.NAMESPACE, "", "rag7")


async def leave_the_scope(rig: Rig) -> None:
    scope = rig.policy.scope.model_copy(update={"namespaces": ("other",)})
    rig.policy = rig.policy.model_copy(update={"scope": scope})


async def protect(rig: Rig) -> None:
    scope = rig.policy.scope.model_copy(update={"protected_kinds": (Kind.DEPLOYMENT,)})
    rig.policy = rig.policy.model_copy(update={"scope": scope})


HOLDS: dict[str, Hold] = {
    "pause all": pause_all,
    "pause of the target": pause_target,
    "ceiling of the policy": observe,
    "ceiling of the service": restart_observing,
    "freeze": freeze,
    "mark of the owners": opt_out,
    "mark of the namespace": opt_out_of_the_namespace,
    "scope": leave_the_scope,
    "protected kind": protect,
}
EVERY_HOLD = pytest.mark.parametrize("hold", HOLDS.values(), ids=HOLDS.keys())


def _replicas(rig: Rig) -> int:
    found = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph-api")
    assert found is not None
    return int(found["spec"]["replicas"])


async def _state(rig: Rig, state: RunState) -> bool:
    return any(run.state is state for run in await all_runs(rig))


async def _to_be_undone(path: Path) -> Rig:
    """A step has scaled out what no number of replicas carries; the rule undoes it when it has not helped."""
    rules = policy(otherwise=(Otherwise.UNDO, Otherwise.ESCALATE), steps=("scale-out",))
    rig = await born(path, rules=rules, world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    return rig


async def _temporary(path: Path) -> Rig:
    """A temporary scale-out that helped, and whose load is over."""
    rig = await born(
        path, "high-latency", rules=policy(temporary=Temporary(revert_after=timedelta(minutes=20)))
    )
    await rig.until(lambda: _state(rig, RunState.CONTAINED))
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    return rig


@EVERY_HOLD
async def test_an_undo_that_the_rule_wants_waits_as_long_as_something_holds_it(
    hold: Hold, tmp_path: Path
) -> None:
    """A person is called, because what did not help stays in place. It is measured before: of what may not be read nothing is undone."""
    rig = await _to_be_undone(tmp_path)
    await pause_all(rig)
    await rig.until(lambda: _state(rig, RunState.UNDOING), 1_800)
    if hold is not pause_all:
        await hold(rig)
        await rig.operations.resume("all", "kim")
    await rig.run(120)
    assert (writes(rig), _replicas(rig)) == (["patch langgraph-api"], 8)
    run = await the_run(rig)
    assert (run.state, run.waits_for.partition(":")[0]) == (RunState.UNDOING, "held")
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_a_held_undo_goes_on_when_nothing_holds_it_any_more(tmp_path: Path) -> None:
    rig = await _to_be_undone(tmp_path)
    await pause_all(rig)
    await rig.run(1_800)
    await rig.operations.resume("all", "kim")
    await rig.run(60)
    assert (writes(rig)[-1], _replicas(rig)) == ("patch langgraph-api (undo)", 2)
    assert (await the_run(rig)).state is RunState.NOT_FIXED
    await rig.close()


@EVERY_HOLD
async def test_the_end_of_a_temporary_change_waits_as_long_as_something_holds_it(
    hold: Hold, tmp_path: Path
) -> None:
    rig = await _temporary(tmp_path)
    await hold(rig)
    await rig.run(1_500)
    assert (writes(rig), _replicas(rig)) == (["patch langgraph-api"], 8)
    await rig.close()


async def test_a_temporary_change_stays_while_its_reason_is_there(tmp_path: Path) -> None:
    """The rush goes on: the size is not taken back and lent again, it stays, and the thread says why."""
    rig = await born(
        tmp_path, "high-latency", rules=policy(temporary=Temporary(revert_after=timedelta(minutes=20)))
    )
    await rig.until(lambda: _state(rig, RunState.CONTAINED))
    await rig.run(5_400)
    assert (writes(rig), _replicas(rig)) == (["patch langgraph-api"], 8)
    assert "Still needed" in rig.notebook.text
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    await rig.until(lambda: _state(rig, RunState.REVERTED))
    assert (writes(rig)[1:], _replicas(rig)) == (["patch langgraph-api (undo)"], 2)
    await rig.close()


@EVERY_HOLD
async def test_a_person_undoes_in_spite_of_what_holds_it_only_by_saying_so(
    hold: Hold, tmp_path: Path
) -> None:
    rig = await _temporary(tmp_path)
    await hold(rig)
    run = await the_run(rig)
    with pytest.raises(Refused) as refused:
        await rig.operations.undo(run.id, "ana")
    assert refused.value.code == "held"
    assert "--despite" in str(refused.value)
    await rig.run(60)
    assert writes(rig) == ["patch langgraph-api"]
    await rig.operations.undo(run.id, "ana", despite=True)
    await rig.run(60)
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api (undo)"]
    assert (await the_run(rig)).state is RunState.UNDONE
    await rig.close()


_ALIKE = (
    "pause of the target",
    "mark of the namespace",
    "protected kind",
)  # the first is the hold that they knew of
LATER: dict[str, Hold] = {name: hold for name, hold in HOLDS.items() if name not in _ALIKE}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER.keys())
async def test_who_ordered_it_in_spite_of_one_hold_did_not_know_of_a_later_one(
    later: Hold, tmp_path: Path
) -> None:
    """Holds are known one by one, whatever they are."""
    rig = await _temporary(tmp_path)
    run = await the_run(rig)
    await pause_target(rig)
    await rig.operations.undo(run.id, "ana", despite=True)
    await later(rig)
    await rig.run(600)
    assert (writes(rig), (await the_run(rig)).state) == (["patch langgraph-api"], RunState.UNDOING)
    await rig.operations.undo(run.id, "ana", despite=True)
    await rig.run(60)
    assert (writes(rig)[1:], (await the_run(rig)).state) == (["patch langgraph-api (undo)"], RunState.UNDONE)
    await rig.close()


async def test_a_pause_that_is_lifted_and_set_again_is_another_one(tmp_path: Path) -> None:
    rig = await _temporary(tmp_path)
    run = await the_run(rig)
    await pause_all(rig)
    await rig.operations.undo(run.id, "ana", despite=True)
    await rig.operations.resume("all", "kim")
    await pause_all(rig)
    await rig.run(600)
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


@pytest.mark.parametrize("dies", [False, True], ids=["", "and dies while it is lifted"])
@pytest.mark.parametrize(
    "hold", [pause_all, observe, freeze, opt_out], ids=["pause", "ceiling", "freeze", "mark"]
)
async def test_a_hold_that_is_lifted_and_set_again_is_another_one(
    hold: Hold, dies: bool, tmp_path: Path
) -> None:
    """Who ordered the undo in spite of the first one did not know of the second, which has the same name."""
    rig = await _temporary(tmp_path)
    run, before = await the_run(rig), rig.policy
    await hold(rig)
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="patch", times=99))
    await rig.operations.undo(run.id, "ana", despite=True)
    await rig.run(10)
    rig.policy = before
    if hold is pause_all:
        await rig.operations.resume("all", "kim")
    if hold is opt_out:
        path = f"/metadata/annotations/{OPT.replace('/', '~1')}"
        rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph-api", [{"op": "remove", "path": path}])
    if dies:
        await rig.die()
        await rig.born()
    await rig.run(20)  # the next sweep sees that it is lifted
    await hold(rig)
    rig.cluster.faults.waiting.clear()
    await rig.run(300)
    assert (writes(rig), (await the_run(rig)).state) == (["patch langgraph-api"], RunState.UNDOING)
    await rig.close()


async def test_a_freeze_of_another_day_is_another_one(tmp_path: Path) -> None:
    """The process is away while the first one ends. An order whose time is over by then, and of which nothing was sent, is not done, and says so."""
    rig = await _temporary(tmp_path)
    now = rig.clock.now()
    times = {"from": f"{now:%H:%M}", "to": f"{now + timedelta(hours=2):%H:%M}"}
    written = {"name": "evening", "days": [day.value for day in Day], "timezone": "UTC", **times}
    rig.policy = rig.policy.model_copy(update={"freeze": (Window.model_validate_json(json.dumps(written)),)})
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="patch", times=99))
    await rig.operations.undo((await the_run(rig)).id, "ana", despite=True)
    await rig.run(10)
    await rig.die()
    rig.clock.advance(24 * 3600)
    rig.cluster.faults.waiting.clear()
    await rig.born()
    await rig.run(300)
    assert (writes(rig), (await the_run(rig)).state) == (["patch langgraph-api"], RunState.CONTAINED)
    assert "the undo was ordered and is not done: nobody was at it" in rig.notebook.text
    await rig.close()


async def test_a_pause_between_the_intent_and_the_write_of_an_action_stops_it(tmp_path: Path) -> None:
    """The holds are looked at once more for each request, right before it goes out."""
    rig = await born(tmp_path)
    after_the_first(rig, EventKind.ACTION_INTENDED, lambda: pause_all(rig))
    await rig.until(lambda: _state(rig, RunState.ABANDONED), 120)
    await rig.run(60)
    assert writes(rig) == []
    run = await the_run(rig)
    assert "all is paused by kim" in run.result
    await rig.operations.resume("all", "kim")
    await rig.until(lambda: bool(writes(rig)), 600)
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_a_pause_between_two_attempts_of_one_write_stops_the_second(tmp_path: Path) -> None:
    """The object had moved: the write is sent again, and asks again."""
    rig = await born(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.CONFLICT, verb="patch", dry_run=False, times=2))
    sent: list[str] = []

    async def stop() -> None:
        sent.append("refused once")
        await pause_all(rig)

    during(
        rig,
        "get",
        stop,
        when=lambda: not rig.cluster.faults.waiting or rig.cluster.faults.waiting[0].times < 2,
    )
    await rig.run(120)
    assert sent
    assert writes(rig) == []
    await rig.close()


async def test_owners_that_opt_out_between_the_intent_and_the_write_of_an_undo_stop_it(
    tmp_path: Path,
) -> None:
    rig = await _to_be_undone(tmp_path)
    after_the_first(rig, EventKind.UNDO_INTENDED, lambda: opt_out(rig))
    await rig.until(lambda: _state(rig, RunState.UNDOING), 1_800)
    await rig.run(60)
    run = await the_run(rig)
    assert (writes(rig), run.state) == (["patch langgraph-api"], RunState.UNDOING)
    assert "alert-remediator.io/enabled=false on the object" in run.waits_for
    await rig.close()


async def test_marks_that_cannot_be_read_hold_an_undo_until_they_can(tmp_path: Path) -> None:
    """Closed when unknown: a failed read of the namespace is no leave to write."""
    rig = await _to_be_undone(tmp_path)
    await pause_all(rig)
    await rig.until(lambda: _state(rig, RunState.UNDOING), 1_800)
    opt_out_of = Fault(FaultKind.UNREACHABLE, verb="get", kind=Kind.NAMESPACE, times=2)
    rig.cluster.faults.add(opt_out_of)
    await opt_out(rig)
    await rig.operations.resume("all", "kim")
    await rig.run(120)
    run = await the_run(rig)
    assert (writes(rig), run.state) == (["patch langgraph-api"], RunState.UNDOING)
    assert "off limits" in run.waits_for
    assert not rig.cluster.faults.waiting
    await rig.close()


async def test_the_parent_message_says_what_holds_the_end_of_a_temporary_change(tmp_path: Path) -> None:
    rig = await _temporary(tmp_path)
    await opt_out(rig)
    await rig.run(1_500)
    (text,) = rig.notebook.parents.values()
    assert "Waits: its temporary change is over, but off limits: alert-remediator.io/enabled=false" in text
    await rig.close()


@pytest.mark.parametrize("moment", ["intent", "look"])
async def test_a_pause_in_the_middle_of_an_undo_stops_it(moment: str, tmp_path: Path) -> None:
    """Between the look and the intent, and between the intent and the write."""
    rig = await _to_be_undone(tmp_path)
    kind = EventKind.UNDO_INTENDED if moment == "intent" else EventKind.VERIFIED
    after_the_first(rig, kind, lambda: pause_all(rig))
    await rig.run(1_800)
    run = await the_run(rig)
    assert (writes(rig), run.state) == (["patch langgraph-api"], RunState.UNDOING)
    assert "all is paused by kim" in run.waits_for
    await rig.operations.resume("all", "kim")
    await rig.run(60)
    assert (writes(rig)[1:], _replicas(rig)) == (["patch langgraph-api (undo)"], 2)
    assert len(await trail(rig, EventKind.UNDO_INTENDED)) == len(await trail(rig, EventKind.UNDO_ENDED)) == 1
    await rig.close()


async def test_a_pause_that_is_set_after_an_order_holds_it_all_the_same(tmp_path: Path) -> None:
    """Who ordered it did not know of it."""
    rig = await _temporary(tmp_path)
    run = await the_run(rig)
    await pause_target(rig)
    await rig.operations.undo(run.id, "ana", despite=True)
    rig.clock.advance(1)
    await pause_all(rig)
    await rig.run(600)
    assert writes(rig) == ["patch langgraph-api"]
    await rig.operations.resume("all", "kim")
    await rig.run(60)
    assert writes(rig)[1:] == ["patch langgraph-api (undo)"]
    await rig.close()
