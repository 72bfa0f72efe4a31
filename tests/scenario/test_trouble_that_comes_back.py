"""A target that needs the same remediation again and again, each time told fixed: once nothing may be done while its alert fires, a
person is called, once for each incident."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Code, Decision, Mode, Verdict
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.flow.deciding.history import not_for_good
from app.policy.decide import decide
from app.policy.facts import Past, Spend, Unknown
from app.policy.match import scopes_for
from app.policy.model import Rule
from app.sim import load_scenario
from app.sim.scenario import Scenario
from tests.scenario.rig import Rig, shipped_policy
from tests.scenario.scenes import alert, all_incidents, all_runs, body, born, says_yes, trail
from tests.unit.policy.cases import NOW, TARGET, facts_of, step_of

OOM: dict[str, Any] = {"alertname": "OutOfMemory", "deployment": "langgraph-embedder"}


def _leak() -> Scenario:
    """Each pod of the embedder takes 2 MiB more every second, and is killed before anybody can call that a leak."""
    world = load_scenario("out-of-memory")
    growing = {"start": 260 * 2**20, "growth": 2 * 2**20, "plateau": None}
    grown = tuple(
        b.model_copy(update={"memory": b.memory.model_copy(update=growing)}) if "embedder" in b.name else b
        for b in world.behaviours
    )
    return world.model_copy(update={"behaviours": grown, "story": (), "alerts": ()})


async def _killed(rig: Rig, number: int, *, asked: bool = False, resolved: bool = True) -> None:
    fired = alert(rig, **OOM, n=str(number))
    await rig.send(body(fired))
    await rig.run(40, alerts=False)
    if asked:  # that the raise before was not enough
        assert (await all_runs(rig))[-1].state is RunState.WAITING
        await says_yes(rig)
        await rig.run(40, alerts=False)
    if resolved:
        await rig.send(body({**fired, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(2400, alerts=False)


async def test_memory_that_was_raised_twice_and_is_short_again_calls_a_person_once(tmp_path: Path) -> None:
    rig = await born(tmp_path, world=_leak(), use_api=False)
    await rig.run(600, alerts=False)
    await _killed(rig, 1)
    await _killed(rig, 2, asked=True)
    assert [run.state for run in await all_runs(rig)] == [RunState.CONTAINED, RunState.CONTAINED]
    assert await trail(rig, EventKind.ESCALATED) == []
    await _killed(rig, 3, resolved=False)
    assert (await all_incidents(rig))[-1].state is IncidentState.REFUSED
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert called.incident_id == (await all_incidents(rig))[-1].id
    said = "2 runs on it helped within 1d and it comes back, the alert fires, and nothing may be done now: "
    assert called.data["reason"].startswith(said)
    assert "2 of 2 per 24h" in called.data["reason"]
    await rig.run(3600, alerts=False)
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


LIMITED = shipped_policy().model_copy(
    update={
        "rules": tuple(
            rule.model_copy(update={"limits": shipped_policy().rules[0].limits, "mode": Mode.AUTO})
            for rule in shipped_policy().rules
            if not rule.procedure
        )
    }
)
"""Every rule of the shipped policy acts, and has a limit of its own."""


def _word(rule: Rule, full: str = "", **facts: Any) -> tuple[Decision, str]:
    """How it is decided where every scope of this name is used up, and why people cannot count on what was done before."""
    used = Spend(2, NOW - timedelta(minutes=1))
    spend = {
        scope: replace(used, count=scope.limit.count) if full and scope.key.startswith(full) else Spend(0)
        for scope in scopes_for(LIMITED, rule, TARGET)
    }
    measured = replace(facts_of(LIMITED, rule, spend=spend), **facts)
    decision = decide(LIMITED, rule, step_of(), measured)
    return decision, not_for_good(rule, decision, measured)


def _past(*ended: tuple[RunState, float]) -> tuple[Past, ...]:
    """Results, newest first, each so many hours ago."""
    return tuple(Past(state, NOW - timedelta(hours=hours)) for state, hours in ended)


HELPED = [RunState.FIXED, RunState.CONTAINED, RunState.STILL_FIRING, RunState.REVERTED]
BACK = "1 run on it helped within 1d and it comes back"


@pytest.mark.parametrize("rule", LIMITED.rules, ids=lambda rule: rule.name)
@pytest.mark.parametrize("state", HELPED)
@pytest.mark.parametrize(
    ("full", "code"),
    [("rule:", Code.RATE_LIMITED), ("target:", Code.BUDGET_SPENT), ("cluster", Code.BUDGET_SPENT)],
)
def test_every_rule_calls_where_a_limit_keeps_it_from_what_helped_before(
    rule: Rule, state: RunState, full: str, code: Code
) -> None:
    decision, why = _word(rule, full, results=_past((state, 3)))
    assert (decision.verdict, decision.code) == (Verdict.DENY, code)
    assert why == BACK


@pytest.mark.parametrize(
    ("full", "results", "why"),
    [
        ("cluster", (), ""),
        ("namespace:", (), ""),
        ("target:", (), "it was changed as often as its limit allows"),
        ("rule:", (), "it was changed as often as its limit allows"),
        ("cluster", ((RunState.FIXED, 25.0),), ""),
        ("cluster", ((RunState.UNDONE, 2.0),), ""),
        ("cluster", ((RunState.FIXED, 2.0), (RunState.NOT_FIXED, 3.0)), BACK),
        ("cluster", ((RunState.NOT_FIXED, 2.0), (RunState.FIXED, 3.0)), "the last run on it ended not fixed"),
    ],
)
def test_a_limit_that_others_used_up_calls_only_for_what_comes_back(
    full: str, results: tuple[tuple[RunState, float], ...], why: str
) -> None:
    assert _word(LIMITED.rules[0], full, results=_past(*results))[1] == why


@pytest.mark.parametrize(
    ("cooldown", "results", "called"),
    [
        (timedelta(minutes=15), ((RunState.FIXED, 0.1),), False),
        (timedelta(minutes=15), ((RunState.FIXED, 0.1), (RunState.CONTAINED, 5.0)), True),
        (timedelta(minutes=15), ((RunState.FIXED, 0.1), (RunState.FIXED, 30.0)), False),
        (timedelta(hours=6), ((RunState.FIXED, 0.1),), True),
    ],
)
def test_a_cooldown_calls_the_second_time_or_where_it_is_long(
    cooldown: timedelta, results: tuple[tuple[RunState, float], ...], called: bool
) -> None:
    rule = LIMITED.rules[0].model_copy(update={"cooldown": cooldown})
    decision, why = _word(rule, results=_past(*results), last_action=NOW - timedelta(minutes=6))
    assert decision.code is Code.COOLING_DOWN
    assert bool(why) is called


def test_what_is_not_known_calls_nobody() -> None:
    _, why = _word(LIMITED.rules[0], "target:", results=Unknown("the store did not answer"))
    assert why == ""
