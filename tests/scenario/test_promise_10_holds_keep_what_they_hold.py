"""Promise 10: a hold keeps what it holds. A pause of a rule does not go with the rule's name, what is set while a decision waits for the store is
set before it, the owners' mark and a pause count until a request goes out, and an acknowledgement after an approval is not known to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.cluster import OPT
from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.sim.faults import Fault, FaultKind
from tests.crash.cases import Case, cases
from tests.crash.worlds import flood
from tests.scenario.moments import after_the_first
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, decision, policy, the_incident, the_run, trail, writes
from tests.scenario.test_stricter_rule_takes_nothing_back import _reaches, is_renamed

PAUSED = "rule:slow answers"


async def _slow(path: Path, **of_rules: Any) -> Rig:
    return await born(path, world=flood(), rules=policy(steps=("scale-out",), **of_rules))


async def _happens(rig: Rig, kind: EventKind, do: Callable[[], Awaitable[Any]]) -> None:
    seen = after_the_first(rig, kind, do)

    async def there() -> bool:
        return seen.done

    await rig.until(there, 1_800)


async def test_promise_10_a_pause_of_a_rule_holds_it_under_its_new_name(tmp_path: Path) -> None:
    rig = await _slow(tmp_path)
    await rig.operations.pause(PAUSED, "database move", "kim", None)
    await rig.run(90)
    is_renamed(rig)
    await rig.run(600)
    assert not writes(rig)
    assert (
        "no rule has that name any more, so that it holds all of high-latency" in (await decision(rig)).text
    )
    await rig.operations.resume(PAUSED, "kim")
    await rig.run(120)
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


async def test_promise_10_a_pause_of_the_former_name_of_a_run_at_large_holds_what_replaces_it(
    tmp_path: Path,
) -> None:
    rig = await _slow(tmp_path)

    async def do() -> None:
        is_renamed(rig)
        await rig.operations.pause(PAUSED, "hands off", "kim", None)

    await _happens(rig, EventKind.RUN_REQUESTED, do)
    await rig.run(600)
    assert not writes(rig)
    await rig.close()


async def test_promise_10_a_ceiling_set_while_the_decision_waits_for_the_store_is_no_known_one(
    tmp_path: Path,
) -> None:
    rig = await _slow(tmp_path)
    dry = list[str]()

    class Stalled:
        """A store that is locked for a while, once, when the deciding transaction comes."""

        def __init__(self, store: Any) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        async def write(self, fn: Callable[..., Any]) -> Any:
            if dry == ["dry"]:
                dry.append("stalled")
                rig.policy = rig.policy.model_copy(update={"mode": Mode.OBSERVE})
            return await self._store.write(fn)

    def hook(request: Any, when: str) -> None:
        if request.dry_run and request.verb == "patch" and when == "after" and not dry:
            dry.append("dry")

    object.__setattr__(rig.services, "store", Stalled(rig.services.store))
    rig.cluster.on_request(hook)
    await rig.run(120)
    assert (dry, writes(rig)) == (["dry", "stalled"], [])
    await rig.close()


def _mark(rig: Rig, kind: Kind, namespace: str, name: str) -> None:
    found = rig.cluster.peek(kind, namespace, name)
    assert found is not None
    marks = {**(found["metadata"].get("annotations") or {}), OPT: "false"}
    path = "/metadata/annotations"
    rig.cluster.edit(kind, namespace, name, [{"op": "add", "path": path, "value": marks}], manager="owners")


def _case(name: str) -> Case:
    return next(case for case in cases() if str(case) == name)


MARKED = [
    ("high-latency/scale-out under an autoscaler", Kind.HPA, "langgraph-api"),
    ("api-rate-limits/rotate-key", Kind.SECRET, "langgraph-api-keys"),
    ("adjust-hpa/adjust-autoscaler of KEDA", Kind.SCALED_OBJECT, "langgraph"),
]


@pytest.mark.parametrize(("name", "kind", "marked"), MARKED, ids=[one[0] for one in MARKED])
async def test_promise_10_a_mark_that_came_after_the_intent_is_read_before_the_request(
    tmp_path: Path, name: str, kind: Kind, marked: str
) -> None:
    case = _case(name)
    rig = case.rig(tmp_path / "rig.sqlite")
    await rig.born()

    async def do() -> None:
        _mark(rig, kind, "rag7", marked)

    seen = after_the_first(rig, EventKind.ACTION_INTENDED, do)

    async def there() -> bool:
        await case.hand(rig)
        return seen.done

    await rig.until(there, 1_200)
    await rig.run(60)
    run = (await all_runs(rig))[0]
    assert (writes(rig), run.state) == ([], RunState.ABANDONED), run.result
    assert f"{OPT}=false" in run.result
    await rig.close()


async def test_promise_10_a_mark_on_the_namespace_right_after_the_intent_holds_the_first_patch(
    tmp_path: Path,
) -> None:
    """The server refuses a patch of an object that was marked since it was read, and knows nothing of its namespace."""
    rig = await _slow(tmp_path)

    async def do() -> None:
        _mark(rig, Kind.NAMESPACE, "", "rag7")

    await _happens(rig, EventKind.ACTION_INTENDED, do)
    await rig.run(60)
    assert not writes(rig)
    assert f"{OPT}=false" in (await the_run(rig)).result
    await rig.close()


async def test_promise_10_a_mark_that_came_before_a_patch_is_sent_again_is_read(tmp_path: Path) -> None:
    rig, sent = await _slow(tmp_path), list[str]()

    def marks(request: Any, when: str) -> None:
        if request.verb == "patch" and not request.dry_run and when == "before":
            sent.append(request.verb)
            _mark(rig, Kind.NAMESPACE, "", "rag7")

    async def do() -> None:
        rig.cluster.on_request(marks)
        rig.cluster.faults.add(Fault(FaultKind.CONFLICT, verb="patch", times=1))

    await _happens(rig, EventKind.ACTION_INTENDED, do)
    await rig.run(60)
    assert (sent, rig.cluster.faults.waiting) == (["patch"], [])
    assert not writes(rig)
    assert f"{OPT}=false" in (await the_run(rig)).result
    await rig.close()


async def test_promise_10_a_pause_set_during_the_read_before_a_key_is_written_holds_it(
    tmp_path: Path,
) -> None:
    case = _case("api-rate-limits/rotate-key")
    rig = case.rig(tmp_path / "rig.sqlite")
    await rig.born()

    async def slow() -> None:
        rig.cluster.faults.add(Fault(FaultKind.SLOW, verb="get", kind=Kind.SECRET, seconds=25.0))

    rig.stride = 2.0
    await _happens(rig, EventKind.ACTION_INTENDED, slow)
    await rig.step(5.0)
    await rig.operations.pause("all", "hands off", "kim", None)
    await rig.run(60)
    assert not writes(rig)
    await rig.close()


@pytest.mark.parametrize(("by", "written"), [("ana", False), ("kim", True)])
async def test_promise_10_an_acknowledgement_after_an_approval_is_not_known_to_it(
    tmp_path: Path, by: str, written: bool
) -> None:
    """Whoever approved and takes the incident then knows of their own word."""
    rig = await _slow(tmp_path, mode=Mode.APPROVE)
    await _reaches(rig, RunState.WAITING)
    run = await the_run(rig)
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="patch", times=999))
    await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.run(5)
    await rig.operations.acknowledge((await the_incident(rig)).id, by)
    rig.cluster.faults.waiting.clear()
    await rig.run(120)
    assert bool(writes(rig)) is written
    await rig.close()


async def test_promise_8_an_approval_that_is_held_says_what_holds_it(tmp_path: Path) -> None:
    rig = await _slow(tmp_path, mode=Mode.APPROVE)
    await _reaches(rig, RunState.WAITING)
    run = await the_run(rig)
    await rig.operations.pause("all", "database move", "ana", None)
    answer = await rig.operations.approve(run.id, "kim", run.plan_hash)
    assert "all is paused by ana: database move" in answer["text"]
    assert "asked anew" in answer["text"]
    assert len(await trail(rig, EventKind.APPROVED)) == 1
    await rig.close()
