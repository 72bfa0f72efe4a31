"""The parent message in every state: golden text, and what each state must and must not say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.decision import Code, GateResult, Verdict
from app.domain.outcome import IncidentState, RunState
from app.notify.parent import headline, parent
from app.notify.text import plain
from app.notify.timeline import Escalation, Timeline
from tests.unit.notify import timelines
from tests.unit.notify.golden import check_golden


@pytest.mark.parametrize("name", timelines.TIMELINES)
def test_the_parent_reads_as_its_golden_file(name: str) -> None:
    check_golden(f"parent_{name}", parent(timelines.TIMELINES[name]).readable())


def test_every_state_has_a_golden_story() -> None:
    assert {s.state for s in timelines.TIMELINES.values()} == set(IncidentState)


def test_the_headline_tells_state_duration_alert_and_place() -> None:
    assert plain(headline(timelines.TIMELINES["fixed"])) == "FIXED in 3m12s · HighErrorRate · rag7/langgraph"


def test_what_a_person_took_back_is_not_fixed_any_more() -> None:
    fixed = timelines.TIMELINES["fixed"]
    undone = replace(fixed, undos=(timelines.UNDONE,), run_state=RunState.UNDONE)
    assert plain(headline(undone)) == "UNDONE · HighErrorRate · rag7/langgraph"
    reverted = replace(fixed, undos=(timelines.UNDONE,), run_state=RunState.REVERTED)
    assert plain(headline(reverted)).startswith("FIXED in 3m12s")


def test_a_headline_without_alertname_or_target_says_so() -> None:
    timeline = replace(timelines.OPEN, alertname="", target="", namespace="")
    assert plain(headline(timeline)) == "LOOKING · no alertname · unknown target"


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("verifying", True),
        ("fixed", True),
        ("stuck", False),
        ("undo_failed", True),
        ("escalated", False),  # it was undone already
        ("dry_run", False),
        ("irreversible", False),
        ("unclear", False),
        ("refused", False),
        ("waiting", False),
    ],
)
def test_undo_is_offered_only_while_something_reversible_of_ours_is_in_place(
    name: str, offered: bool
) -> None:
    assert (f"remediator undo {timelines.RUN}" in parent(timelines.TIMELINES[name]).readable()) is offered


def test_a_dry_run_never_reads_like_a_repair() -> None:
    text = parent(timelines.TIMELINES["dry_run"]).readable()
    assert text.startswith("DRY RUN · HighErrorRate")
    assert "FIXED" not in text


def test_several_undos_are_told_apart_by_what_they_undid() -> None:
    other = replace(timelines.UNDONE, action_id="run/0.1", summary="Scaled langgraph from 3 to 5")
    timeline = replace(timelines.TIMELINES["escalated"], undos=(timelines.UNDONE, other))
    assert "Undone: Scaled langgraph from 3 to 5 (revision 8 is back)" in parent(timeline).readable()


def test_a_refusal_names_gate_value_threshold_remedy_and_next_look() -> None:
    text = parent(timelines.TIMELINES["refused"]).readable()
    assert "Stopped by: cooldown: last action 4m ago · allowed: 15m since the last action" in text
    assert "What would have to change: the cooldown ends (2026-03-04 03:23:05 UTC)" in text
    assert "Looks again 2026-03-04 03:23:05 UTC" in text


def test_a_refusal_without_a_known_time_promises_none() -> None:
    unknown = timelines.COOLING._replace(retry_at=None)
    timeline = replace(timelines.TIMELINES["refused"], decision=replace(timelines.DENIED, gates=(unknown,)))
    assert "Looks again" not in parent(timeline).readable()


def test_several_gates_against_are_all_named() -> None:
    gates = (
        timelines.COOLING,
        timelines.COOLING._replace(gate="window"),
        timelines.COOLING._replace(gate="storm"),
    )
    timeline = replace(timelines.TIMELINES["refused"], decision=replace(timelines.DENIED, gates=gates))
    assert "; also window and storm" in parent(timeline).readable()


@pytest.mark.parametrize("seconds", [0, 59, 3600])
def test_fixed_always_tells_how_long_it_took(seconds: int) -> None:
    timeline: Timeline = replace(
        timelines.TIMELINES["fixed"], ended_at=timelines.OPENED + timedelta(seconds=seconds)
    )
    assert plain(headline(timeline)).startswith(
        f"FIXED in {['0s', '59s', '1h'][[0, 59, 3600].index(seconds)]} ·"
    )


def test_the_parent_tells_why_the_step_was_chosen_and_without_one_what_was_found() -> None:
    timeline = timelines.TIMELINES["fixed"]
    plan, diagnosis = timeline.plan, timeline.diagnosis
    assert plan is not None
    assert diagnosis is not None
    chosen = replace(timeline, plan=replace(plan, why="Only pods of revision 8 show it"))
    without = replace(timeline, plan=replace(plan, actions=()))

    assert "Why: Only pods of revision 8 show it" in parent(chosen).readable()
    assert f"Why: {diagnosis.summary}" in parent(without).readable()


def test_d_a_question_says_what_made_it_ask_until_it_is_answered() -> None:
    """Who changed the target, or who owns it, stands where the question is; the rule's own mode needs no words."""
    hands = GateResult("hands", Verdict.ASK, Code.CHANGED_SINCE, "kubectl-edit changed template at 03:01", "")
    waiting = timelines.TIMELINES["waiting"]
    decision = replace(timelines.ASKS, gates=(*timelines.ASKS.gates, hands))
    asked = replace(waiting, decision=decision)
    answered = replace(timelines.TIMELINES["approved"], decision=decision)

    told = "Asks because of: hands: kubectl-edit changed template at 03:01"
    assert told in parent(asked).readable()
    assert told not in parent(answered).readable()
    assert "Asks because of" not in parent(waiting).readable()


def test_what_to_look_at_is_told_once_and_not_again_after_the_reason() -> None:
    escalation = Escalation(
        "A person is needed: Create it", look_at=("create it", "Look", "Look", "Then there")
    )
    text = parent(replace(timelines.TIMELINES["escalated"], escalation=escalation)).readable()
    assert [line for line in text.splitlines() if line.startswith("Look at: ")] == [
        "Look at: Look",
        "Look at: Then there",
    ]


@pytest.mark.parametrize("state", [RunState.EXPIRED, RunState.STUCK, RunState.NOT_FIXED, RunState.UNDOING])
def test_a_question_that_is_over_is_not_asked_any_more(state: RunState) -> None:
    waiting = replace(timelines.TIMELINES["waiting"], run_state=RunState.WAITING)
    assert "Needs an approval" in parent(waiting).readable()
    told = parent(replace(waiting, state=IncidentState.ESCALATED, run_state=state)).readable()
    assert "Needs an approval" not in told
    assert "Asks because of" not in told
    assert "An approval was asked for" in told
