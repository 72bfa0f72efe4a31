"""The parent message in every state: golden text, and what each state must and must not say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.cli.queries import explanation
from app.domain.decision import Code, GateResult, Verdict
from app.domain.outcome import IncidentState, RunState, UndoResult
from app.flow.people.explain import Explanation
from app.flow.people.operations import as_json
from app.notify.entries import thread_entry
from app.notify.parent import headline, parent
from app.notify.text import plain
from app.notify.timeline import Escalation, Timeline, Topic
from app.notify.wording import RESOLVED_ALONE, Written
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


@pytest.mark.parametrize("code", [Code.PERSON_NEEDED, Code.NO_STEP])
@pytest.mark.parametrize("state", [IncidentState.ESCALATED, IncidentState.STUCK, IncidentState.RESOLVED])
def test_f11_what_is_a_persons_now_or_over_promises_no_next_look(state: IncidentState, code: Code) -> None:
    """It is not looked at again, whatever time a gate of its decision would have room at."""
    denied = replace(timelines.DENIED, code=code)
    assert denied.retry_at is not None
    timeline = replace(timelines.TIMELINES["refused"], state=state, decision=denied)
    entry = thread_entry(Topic.DECIDED, timeline, denied)
    assert entry is not None
    assert "Looks again" not in parent(timeline).readable() + entry.readable()


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


def test_what_the_reason_says_among_other_things_is_not_told_again_clause_by_clause() -> None:
    reason = "A person is needed: Check the name; the error is X; Check the limit"
    looks = (
        "Check the name; the error is X",
        "Check the limit; the error is X",
        "Look there; the error is X",
    )
    escalation = Escalation(reason, look_at=looks)
    text = parent(replace(timelines.TIMELINES["escalated"], escalation=escalation)).readable()
    assert [line for line in text.splitlines() if line.startswith("Look at: ")] == [
        "Look at: Look there; the error is X"
    ]


@pytest.mark.parametrize("state", [RunState.EXPIRED, RunState.STUCK, RunState.NOT_FIXED, RunState.UNDOING])
def test_a_question_that_is_over_is_not_asked_any_more(state: RunState) -> None:
    waiting = replace(timelines.TIMELINES["waiting"], run_state=RunState.WAITING)
    assert "Needs an approval" in parent(waiting).readable()
    told = parent(replace(waiting, state=IncidentState.ESCALATED, run_state=state)).readable()
    assert "Needs an approval" not in told
    assert "Asks because of" not in told
    assert "An approval was asked for" in told


_WRITTEN: dict[str, tuple[dict[str, Any], Written]] = {
    "nothing": ({}, Written.NOTHING),
    "stands": ({"actions": (timelines.ROLLED_BACK,)}, Written.STANDS),
    "undone": ({"actions": (timelines.ROLLED_BACK,), "undos": (timelines.UNDONE,)}, Written.UNDONE),
    "undo failed": (
        {
            "actions": (timelines.ROLLED_BACK,),
            "undos": (replace(timelines.UNDONE, result=UndoResult.FAILED),),
        },
        Written.STANDS,
    ),
}
_STANDS = replace(
    timelines.ESCALATION, in_place=("langgraph stands at revision 7",), commands=("take it back: undo",)
)
_CALLED: dict[str, dict[str, Any]] = {
    "none": {},
    "open": {"escalation": _STANDS, "called": timelines.STEP_ASKED},
    "answered": {"escalation": _STANDS, "acknowledged": timelines.TAKEN},
}


@pytest.mark.parametrize("state", IncidentState)
@pytest.mark.parametrize("wrote", _WRITTEN)
@pytest.mark.parametrize("called", _CALLED)
def test_no_line_of_an_incident_contradicts_its_state_and_what_was_written(
    state: IncidentState, wrote: str, called: str
) -> None:
    """In the message, which is the head of the incident's page too, and in `explain`, of API and command line."""
    changes, left = _WRITTEN[wrote]
    timeline = replace(timelines.DECIDED, state=state, reason=RESOLVED_ALONE, **changes, **_CALLED[called])
    message = parent(timeline).readable()
    told = as_json(Explanation(timeline, ()))
    for text in (message, "\n".join(explanation(told))):
        away = {"without our doing", "after what was done", "was taken back"}
        kept = {
            Written.NOTHING: "without our doing",
            Written.STANDS: "after what was done",
            Written.UNDONE: "was taken back",
        }
        if state is IncidentState.RESOLVED:
            assert {words for words in away if words in text} == {kept[left]}
        assert ("A person is needed" in text) is (called != "none" and not state.closed)
        assert ("A person was needed" in text) is (called != "none" and state.closed)
        assert ("Look at: " in text) is (called != "none" and not state.closed)
    assert told["person_needed"] is (called != "none" and not state.closed)
    assert ("Asked: on-call engineer" in message) is (called == "open" and not state.closed)
    assert ("Acknowledged by" in message) is (called == "answered")
    assert ("stands at revision 7" in message) is (called != "none" and left is not Written.UNDONE)


@pytest.mark.parametrize("wrote", _WRITTEN)
def test_an_order_that_has_ended_says_that_nothing_was_done_only_where_nothing_was(wrote: str) -> None:
    changes, left = _WRITTEN[wrote]
    order = replace(timelines.DECIDED, requested_by="kim", alerts=0, state=IncidentState.RESOLVED, **changes)
    text = parent(replace(order, reason="taken back after all")).readable()
    assert text.startswith("NOTHING DONE" if left is Written.NOTHING else "RESOLVED")
    assert ("Would have: " in text) is (left is Written.NOTHING)


@pytest.mark.parametrize("wrote", _WRITTEN)
def test_a_call_says_that_nothing_was_changed_only_where_nothing_was(wrote: str) -> None:
    """Also where a later decision calls, of an incident whose earlier run has changed something."""
    changes, left = _WRITTEN[wrote]
    timeline = replace(timelines.DECIDED, state=IncidentState.ESCALATED, **changes)
    entry = thread_entry(Topic.ESCALATED, timeline, Escalation("it still fires"))
    text = entry.readable() if entry is not None else ""
    assert "it still fires" in text
    assert ("Nothing was changed" in text) is (left is Written.NOTHING)


def test_who_has_an_incident_without_a_call_is_told_why() -> None:
    """Somebody said no to its plan, or took back what was done: nobody is called, and it is theirs."""
    timeline = replace(timelines.DECIDED, state=IncidentState.ESCALATED, reason="rejected by kim")
    assert "Left to a person: rejected by kim" in parent(timeline).readable()
