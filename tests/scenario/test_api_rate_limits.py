"""Rate limits from the alert to the end: waited, asked, rotated once, restarted once, put back, and never back to a key that was left."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from app.domain.alert import ManualRequest
from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.domain.secret import encoded, text_of
from app.domain.target import Kind
from app.flow.deciding.history import history_of
from app.flow.upkeep.views import order_check
from app.policy.model import Rule
from app.sim.faults import Fault, FaultKind
from app.sim.scenario import Scenario
from tests.births import scenario_of
from tests.scenario.moments import after_the_first
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, policy, the_incident, the_run, trail

SECRET = "langgraph-api-keys"


async def _born(path: Path, mode: Mode = Mode.AUTO, world: Scenario | None = None, **params: object) -> Rig:
    rig = Rig(path / "rig.sqlite", world=world or scenario_of("api-rate-limits"))
    quick = policy(mode=mode)
    rules = tuple(_with(rule, params) for rule in quick.rules)
    rig.policy = quick.model_copy(update={"rules": rules})
    return await rig.born()


def _with(rule: Rule, params: dict[str, object]) -> Rule:
    if rule.remediation != "api-rate-limits":
        return rule
    return rule.model_copy(update={"params": {**rule.params, **params}})


async def _rests(rig: Rig) -> bool:
    found = await all_runs(rig)
    return bool(found) and found[-1].state.ended


def key(rig: Rig) -> str | None:
    found = rig.cluster.peek(Kind.SECRET, "rag7", SECRET)
    return text_of(found, "OPENAI_API_KEY") if found else None


def patches(rig: Rig) -> list[str]:
    """What was patched, in order, dry runs aside."""
    return [m.kind.value for m in rig.cluster.mutations if m.verb == "patch" and not m.dry_run]


async def test_the_key_is_rotated_the_pods_restarted_and_an_undo_brings_both_back(tmp_path: Path) -> None:
    rig = await _born(tmp_path)
    await rig.until(lambda: _rests(rig))
    assert (key(rig), patches(rig)) == ("simulated-key-2", ["Secret", "Deployment"])
    run = await the_run(rig)
    assert run.state is RunState.CONTAINED
    assert (await the_incident(rig)).state is IncidentState.CONTAINED
    text = rig.notebook.text
    assert "Rotate OPENAI_API_KEY of Secret langgraph-api-keys to key 2 of 3" in text
    assert "The cause is still there: ask for a higher usage tier" in text
    await rig.operations.undo(run.id, "kim")
    await rig.run(60)
    assert (await the_run(rig)).state is RunState.UNDONE
    assert (key(rig), patches(rig)) == ("simulated-key-1", ["Secret", "Deployment"] * 2)
    await rig.close()


async def test_promise_7_a_pause_between_the_two_writes_takes_the_key_back_once_it_ends(
    tmp_path: Path,
) -> None:
    """The Secret is changed, then everything is paused: nothing is restarted, and the undo waits for the pause to end."""
    rig = await _born(tmp_path)
    after_the_first(
        rig, EventKind.ACTION_ENDED, lambda: rig.operations.pause("all", "hands off", "kim", None)
    )

    async def held() -> bool:
        return any(r.state is RunState.UNDOING for r in await all_runs(rig))

    await rig.until(held)
    await rig.run(60)
    assert (key(rig), patches(rig)) == ("simulated-key-2", ["Secret"])
    await rig.operations.resume("all", "kim")
    await rig.until(lambda: _rests(rig))
    assert (key(rig), patches(rig)) == ("simulated-key-1", ["Secret", "Secret"])
    await rig.close()


async def test_a_secret_made_anew_is_noticed_also_when_it_has_the_workloads_own_name(tmp_path: Path) -> None:
    """What became of our values is looked for at each object by kind and name: the Secret is another one, with the key that we had set."""
    text = json.dumps(scenario_of("api-rate-limits").model_dump(mode="json", by_alias=True))
    world = Scenario.model_validate(json.loads(text.replace(SECRET, "langgraph-agent")))
    rig = await _born(tmp_path, world=world, secret="langgraph-agent")

    async def verifying() -> bool:
        return any(r.state is RunState.VERIFYING for r in await all_runs(rig))

    await rig.until(verifying)
    rig.cluster.recreate(Kind.SECRET, "rag7", "langgraph-agent")
    await rig.until(lambda: _rests(rig))
    run = await the_run(rig)
    assert run.state is RunState.TAKEN_OVER
    assert "langgraph-agent by deleting and creating it again, with what we had set" in run.result
    await rig.close()


async def test_promise_10_a_key_that_a_person_sets_while_it_is_verified_takes_the_run_over(
    tmp_path: Path,
) -> None:
    """Told by digests: nothing is written over it, neither another step nor an undo."""
    rig = await _born(tmp_path)

    async def verifying() -> bool:
        return any(r.state is RunState.VERIFYING for r in await all_runs(rig))

    await rig.until(verifying)
    patch = {"op": "replace", "path": "/data/OPENAI_API_KEY", "value": encoded("by-hand")}
    rig.cluster.edit(Kind.SECRET, "rag7", SECRET, [patch])
    await rig.until(lambda: _rests(rig))
    run = await the_run(rig)
    assert (run.state, key(rig)) == (RunState.TAKEN_OVER, "by-hand")
    assert "/data/OPENAI_API_KEY is [hidden], not [hidden" in run.result
    assert "kubectl-edit" in run.result
    await rig.close()


async def test_promise_2_a_lost_answer_of_the_secret_is_read_back(tmp_path: Path) -> None:
    rig = await _born(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.LOST_AFTER, verb="patch", kind=Kind.SECRET, dry_run=False))
    await rig.until(lambda: _rests(rig))
    assert (key(rig), patches(rig)) == ("simulated-key-2", ["Secret", "Deployment"])
    assert (await the_run(rig)).state is RunState.CONTAINED
    await rig.close()


async def test_promise_7_a_restart_that_is_refused_takes_the_key_back(tmp_path: Path) -> None:
    """Half done is undone: the pods have not begun with the new key, so that nothing is restarted."""
    rig = await _born(tmp_path)
    rig.cluster.faults.add(
        Fault(FaultKind.DENIED, verb="patch", kind=Kind.DEPLOYMENT, dry_run=False, times=99)
    )
    await rig.until(lambda: _rests(rig))
    assert (key(rig), patches(rig)) == ("simulated-key-1", ["Secret", "Secret"])
    assert "no pod of rag7/Deployment/langgraph-agent began with the new one" in rig.notebook.text
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_promise_5_a_key_that_a_person_set_while_the_question_stood_stays(tmp_path: Path) -> None:
    rig = await _born(tmp_path, Mode.APPROVE)

    async def waits() -> bool:
        return any(r.state is RunState.WAITING for r in await all_runs(rig))

    await rig.until(waits)
    run = await the_run(rig)
    patch = {"op": "replace", "path": "/data/OPENAI_API_KEY", "value": encoded("by-hand")}
    rig.cluster.edit(Kind.SECRET, "rag7", SECRET, [patch])
    await rig.operations.approve(run.id, "kim", run.plan_hash)
    await rig.until(lambda: _rests(rig))
    assert (key(rig), patches(rig)) == ("by-hand", [])
    assert (await all_runs(rig))[0].state is RunState.ABANDONED
    await rig.close()


async def test_the_key_that_was_left_is_not_taken_again_and_all_being_left_is_told(tmp_path: Path) -> None:
    """All accounts meet their limit, one after the other: two rotations, then a person, and never back to the first key."""
    base = scenario_of("api-rate-limits")
    limited, fine = (b for b in base.behaviours if b.name.startswith("langgraph-agent"))
    always = limited.model_copy(update={"when": fine.when})
    world = base.model_copy(
        update={"behaviours": (*(b for b in base.behaviours if b not in (limited, fine)), always)}
    )
    rig = await _born(tmp_path, world=world)
    await rig.until(lambda: _rests(rig))
    assert (await the_run(rig)).state in (RunState.UNDONE, RunState.NOT_FIXED)
    assert key(rig) == "simulated-key-1", "a rotation that did not help is taken back"
    await rig.run(7_200)
    history = await rig.store.read(
        lambda conn: history_of(
            conn,
            "none",
            "rag7/Deployment/another",
            rig.clock.now(),
            rig.store.vault.key,
            ("api-rate-limits",),
        )
    )
    path = "/data/OPENAI_API_KEY"
    left = [n for n in (1, 2, 3) if history.replaced.at(path, encoded(f"simulated-key-{n}"))]
    assert left[:2] == [1, 2], (
        "the key that was left, and the one that did not help; known to all targets of the namespace"
    )
    rotated = [
        r.data["plan"]["changes"][0]["after"]
        for r in await trail(rig, EventKind.ACTION_INTENDED)
        if r.data["plan"]["kind"] == "rotate-key"
    ]
    assert len(rotated) == len(set(rotated))
    await rig.close()


async def test_a_wait_that_the_provider_asks_for_is_waited_first(tmp_path: Path) -> None:
    """It says two minutes: nothing is rotated before, nobody is called, and afterwards it is."""
    base = scenario_of("api-rate-limits")
    slow = tuple(
        b.model_copy(
            update={
                "error_lines": tuple(
                    line.model_copy(
                        update={"line": line.line.replace("try again in 1.7s", "try again in 2m0s")}
                    )
                    for line in b.error_lines
                ),
            }
        )
        for b in base.behaviours
    )
    edit = {"op": "replace", "path": "/data/OPENAI_API_KEY", "value": encoded("simulated-key-1")}
    start = {"op": "replace", "path": "/data/OPENAI_API_KEY", "value": encoded("simulated-key-3")}
    objects = tuple(
        {**o, "data": {**o["data"], "OPENAI_API_KEY": start["value"]}}
        if o["metadata"]["name"] == SECRET
        else o
        for o in base.objects
    )
    rig = await _born(tmp_path, world=base.model_copy(update={"behaviours": slow, "objects": objects}))
    await rig.run(30)
    rig.cluster.edit(Kind.SECRET, "rag7", SECRET, [edit])
    for pod in await rig.cluster.list_objects(Kind.POD, "rag7", "app=langgraph-agent"):
        rig.cluster.delete(Kind.POD, "rag7", pod["metadata"]["name"])
    began = rig.clock.now()
    await rig.until(lambda: _rests(rig))
    done = [m for m in rig.cluster.mutations if m.kind is Kind.SECRET and not m.dry_run]
    assert (done[0].at - began).total_seconds() >= 120
    assert (key(rig), patches(rig)) == ("simulated-key-2", ["Secret", "Deployment"])
    decided = [r.data for r in await trail(rig, EventKind.DECIDED)]
    assert any("OpenAI says to try again at" in str(d) for d in decided)
    await rig.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secret", "other"),
        ("active_key", "DATABASE_URL"),
        ("own_quota", False),
        ("cache_host", "evil.example"),
    ],
)
async def test_an_order_cannot_choose_the_secret_or_send_the_login_elsewhere(
    tmp_path: Path, name: str, value: JsonValue
) -> None:
    rig = await _born(tmp_path)
    check = order_check(rig.services)
    request = ManualRequest(
        "api-rate-limits", "rag7/Deployment/langgraph-agent", {name: value}, "test", "kim"
    )
    with pytest.raises(BadInput) as refused:
        check(request)
    assert refused.value.code == "param_fixed"
    await rig.close()


def test_the_scenarios_keys_are_the_ones_that_its_texts_speak_of() -> None:
    (manifest,) = [o for o in scenario_of("api-rate-limits").objects if o["metadata"]["name"] == SECRET]
    listed = base64.b64decode(manifest["data"]["OPENAI_API_KEYS"]).decode().split()
    assert listed == [f"simulated-key-{n}" for n in (1, 2, 3)]
