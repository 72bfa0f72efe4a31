"""The table of a run's life: every row, and what holds for every way through it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.outcome import RunState
from app.flow.running import journal
from app.flow.running.ending import CONSEQUENCES
from app.flow.running.life import LIFE, Cause, Event, Life, transition
from app.policy.model import Otherwise
from app.store.runs import Run

S, E, Word = RunState, Event, Otherwise
NEXT_UNDO = (Word.NEXT, Word.UNDO, Word.ESCALATE)


def life(state: RunState, **changes: object) -> Life:
    return replace(Life(state, actions=1, otherwise=NEXT_UNDO), **changes)  # type: ignore[arg-type]


def after(start: Life, *events: Event) -> Life:
    for event in events:
        found = transition(start, event, event.value)
        assert found is not None, f"{event} in {start.state}"
        start = found
    return start


@pytest.mark.parametrize(
    ("events", "ends"),
    [
        ((E.BEGUN, E.APPLIED, E.FIXED), S.FIXED),
        ((E.BEGUN, E.APPLIED, E.INCONCLUSIVE), S.INCONCLUSIVE),
        ((E.BEGUN, E.APPLIED, E.STILL_FIRING), S.STILL_FIRING),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.STEP_FOUND, E.APPLIED, E.STILL_FIRING), S.STILL_FIRING),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.STEP_FOUND, E.APPLIED, E.IN_PART, E.NO_STEP), S.STILL_FIRING),
        ((E.BEGUN, E.APPLIED, E.IN_PART, E.STEP_FOUND, E.APPLIED, E.FIXED), S.FIXED),
        (
            (E.BEGUN, E.APPLIED, E.IN_PART, E.STEP_FOUND, E.APPLIED, E.NOT_FIXED, E.NO_STEP, E.ALL_UNDONE),
            S.STILL_FIRING,
        ),
        ((E.BEGUN, E.APPLIED, E.PROBE_ERROR), S.PROBE_ERROR),
        ((E.BEGUN, E.APPLIED, E.CONTAINED), S.CONTAINED),
        ((E.BEGUN, E.APPLIED, E.CONTAINED, E.REVERT_DUE, E.ALL_UNDONE), S.REVERTED),
        ((E.BEGUN, E.APPLIED, E.TAKEN_OVER), S.TAKEN_OVER),
        ((E.BEGUN, E.APPLIED, E.TAKEN_OVER, E.UNDO_ORDERED, E.ALL_UNDONE), S.UNDONE),
        ((E.BEGUN, E.ABANDONED), S.ABANDONED),
        ((E.BEGUN, E.UNCLEAR), S.STUCK),
        ((E.BEGUN, E.BROKEN), S.STUCK),
        ((E.BEGUN, E.REFUSED, E.NO_STEP), S.FAILED),
        ((E.BEGUN, E.REFUSED, E.STEP_FOUND, E.APPLIED, E.FIXED), S.FIXED),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.NO_STEP, E.ALL_UNDONE), S.NOT_FIXED),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.STEP_FOUND, E.APPLIED, E.FIXED), S.FIXED),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.STEP_ASKS, E.EXPIRED, E.ALL_UNDONE), S.NOT_FIXED),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.STEP_ASKS, E.REJECTED, E.ONE_UNDONE, E.ALL_UNDONE), S.NOT_FIXED),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.STEP_ASKS, E.WITHDRAWN, E.ALL_UNDONE), S.NOT_FIXED),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.STEP_ASKS, E.ALERT_GONE, E.FIXED), S.FIXED),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.STEP_FOUND, E.ABANDONED, E.ALL_UNDONE), S.NOT_FIXED),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.ALERT_GONE, E.FIXED), S.FIXED),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.STEP_FOUND, E.ALERT_GONE, E.FIXED), S.FIXED),
        # It may have helped late: that is looked at once, or an alert that comes and goes would keep the run for ever.
        (
            (E.BEGUN, E.APPLIED, E.NOT_FIXED, E.ALERT_GONE, E.NOT_FIXED, E.ALERT_GONE, E.NOT_WANTED),
            S.NOT_FIXED,
        ),
        (
            (
                E.BEGUN,
                E.APPLIED,
                E.NOT_FIXED,
                E.STEP_ASKS,
                E.ALERT_GONE,
                E.NOT_FIXED,
                E.STEP_ASKS,
                E.ALERT_GONE,
                E.ALL_UNDONE,
            ),
            S.NOT_FIXED,
        ),
        ((E.BEGUN, E.REFUSED, E.ALERT_GONE), S.FAILED),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.NO_STEP, E.UNDO_FAILED), S.STUCK),
        ((E.BEGUN, E.APPLIED, E.NOT_FIXED, E.NO_STEP, E.UNDO_CONFLICT), S.NOT_FIXED),
        ((E.BEGUN, E.APPLIED, E.FIXED, E.REVERT_DUE, E.ALL_UNDONE), S.REVERTED),
        ((E.BEGUN, E.APPLIED, E.FIXED, E.UNDO_ORDERED, E.ALL_UNDONE), S.UNDONE),
        ((E.BEGUN, E.APPLIED, E.FIXED, E.UNDO_ORDERED, E.UNDO_CONFLICT), S.UNDO_CONFLICT),
        (
            (E.BEGUN, E.APPLIED, E.FIXED, E.UNDO_ORDERED, E.UNDO_FAILED, E.UNDO_ORDERED, E.ALL_UNDONE),
            S.UNDONE,
        ),
    ],
)
def test_a_run_ends_as_its_events_say(events: tuple[Event, ...], ends: RunState) -> None:
    assert after(life(S.REQUESTED), *events).state is ends


@pytest.mark.parametrize(
    ("event", "ends"),
    [
        (E.EXPIRED, S.EXPIRED),
        (E.REJECTED, S.REJECTED),
        (E.ALERT_GONE, S.ABANDONED),
        (E.WITHDRAWN, S.ABANDONED),
    ],
)
def test_a_first_request_that_is_not_approved_ends_the_run(event: Event, ends: RunState) -> None:
    assert after(life(S.WAITING), event).state is ends


def test_what_was_left_half_done_is_undone_whatever_the_rule_says() -> None:
    half = life(S.ACTING, actions=2, action=1, in_place=True, otherwise=(Word.ESCALATE,))
    assert after(half, E.REFUSED).state is S.UNDOING
    assert after(half, E.ABANDONED).state is S.UNDOING


def test_an_undo_that_loses_something_is_left_to_a_person_and_the_rest_of_the_rule_follows() -> None:
    start = life(S.VERIFYING, in_place=True, loses="rows", otherwise=(Word.UNDO, Word.NEXT))
    found = after(start, E.NOT_FIXED)
    assert (found.state, found.reason) == (S.CHOOSING, "not_fixed; not undone by itself: rows")
    ended = after(life(S.VERIFYING, in_place=True, loses="rows"), E.NOT_FIXED, E.NO_STEP)
    assert (ended.state, ended.in_place) == (S.NOT_FIXED, True)
    assert after(ended, E.UNDO_ORDERED).state is S.UNDOING


def test_all_actions_of_a_step_come_before_its_verification() -> None:
    start = life(S.ACTING, actions=3)
    states = []
    for _ in range(3):
        start = after(start, E.APPLIED)
        states.append((start.state, start.action))
    assert states == [(S.ACTING, 1), (S.ACTING, 2), (S.VERIFYING, 3)]


def test_a_reason_names_every_step_that_did_not_help_and_a_fix_only_itself() -> None:
    failed = after(life(S.VERIFYING, in_place=True), E.NOT_FIXED, E.STEP_ASKS, E.EXPIRED, E.ALL_UNDONE)
    assert failed.reason == "not_fixed; expired; undo: all_undone"
    assert after(life(S.VERIFYING, in_place=True, reason="before"), E.FIXED).reason == "fixed"


def test_d_a_hand_on_the_target_ends_the_run_without_another_step_or_an_undo() -> None:
    """Whatever the rule says otherwise, and whatever is in place of earlier steps."""
    for words in ((Word.NEXT, Word.UNDO), (Word.UNDO,), ()):
        taken = after(life(S.VERIFYING, otherwise=words, in_place=True), E.TAKEN_OVER)
        assert (taken.state, taken.rest) == (S.TAKEN_OVER, ())
    assert CONSEQUENCES[S.TAKEN_OVER].evidence is None, "neither a setback of ours nor a fix"


def test_an_event_that_comes_too_late_means_nothing() -> None:
    assert transition(life(S.FIXED), E.APPROVED) is None
    assert transition(life(S.WAITING), E.APPLIED) is None


def test_every_end_has_its_consequences_and_every_live_state_a_way_on() -> None:
    assert set(CONSEQUENCES) == {state for state in S if state.ended}
    assert {state for state, _ in LIFE if not state.ended} == {state for state in S if not state.ended}


_WORDS = st.lists(st.sampled_from(list(Word)), max_size=4).map(tuple)


@given(otherwise=_WORDS, choices=st.lists(st.integers(0, 30), min_size=40, max_size=80))
def test_no_way_through_the_table_leaves_out_an_undo_that_the_rule_wants(
    otherwise: tuple[Otherwise, ...], choices: list[int]
) -> None:
    """Whatever happens, a run that ends as not fixed with something in place was not told to undo it, or could not."""
    at = replace(Life(S.REQUESTED, 1, otherwise))
    undo_first = Word.UNDO in otherwise and Word.ESCALATE not in otherwise[: otherwise.index(Word.UNDO)]
    for choice in choices:
        events = [event for state, event in LIFE if state is at.state and event is not E.UNDO_ORDERED]
        if at.state.ended:
            break
        before, event = at, events[choice % len(events)]
        moved = transition(at, event, "x")
        assert moved is not None
        at = moved
        # Held, and then nobody wanted it; or a person made it their own order, whose time is over.
        if at.state is S.NOT_FIXED and undo_first and event not in (E.NOT_WANTED, E.ALERT_GONE, E.ORDER_OVER):
            assert not at.in_place, f"{before} -> {event}"


@given(choices=st.lists(st.integers(0, 30), min_size=60, max_size=60))
def test_a_life_comes_back_from_its_row_as_it_was(choices: list[int]) -> None:
    at = life(S.REQUESTED)
    for choice in choices:
        events = [event for state, event in LIFE if state is at.state]
        if not events:
            break
        moved = transition(at, events[choice % len(events)], "x")
        assert moved is not None
        at = moved
        row = SimpleNamespace(life=journal.row_of(at), state=at.state, step=SimpleNamespace(actions=(None,)))
        back = journal.life_of(cast("Run", row), at.otherwise)
        assert replace(back, in_place=at.in_place) == at


def test_a_temporary_change_is_taken_back_once() -> None:
    assert [state for state, event in LIFE if event is E.REVERT_DUE] == [S.FIXED, S.CONTAINED]
    assert after(life(S.FIXED, in_place=True), E.REVERT_DUE).cause is Cause.REVERT


def test_an_undo_can_be_ordered_after_every_end() -> None:
    ends = {state for state, event in product(S, [E.UNDO_ORDERED]) if (state, event) in LIFE}
    assert {state for state in S if state.ended} <= ends


def test_an_order_to_undo_that_was_not_begun_leaves_the_run_as_it_had_ended() -> None:
    for ended in (S.FIXED, S.NOT_FIXED, S.STUCK, S.UNDO_CONFLICT):
        found = after(life(ended, outcome=ended, in_place=True), E.UNDO_ORDERED, E.ORDER_OVER)
        assert (found.state, found.cause, found.until, found.in_place) == (ended, Cause.NONE, "", True)


def test_an_order_over_the_rules_undo_that_is_taken_back_leaves_out_the_undo_alone() -> None:
    rule = (Word.UNDO, Word.NEXT, Word.ESCALATE)
    at = replace(life(S.VERIFYING, in_place=True), otherwise=rule)
    found = after(at, E.NOT_FIXED, E.UNDO_ORDERED, E.UNDO_ORDERED, E.ORDER_OVER)
    assert (found.state, found.rest, found.cause) == (S.CHOOSING, (Word.ESCALATE,), Cause.OTHERWISE)
    assert found.former == ()


def test_what_the_rules_undo_would_take_back_is_verified_once_more_as_its_alert_goes_and_then_stays() -> None:
    acted = life(S.VERIFYING, otherwise=(Word.UNDO, Word.ESCALATE), in_place=True)
    undoing = after(acted, E.NOT_FIXED)
    again = after(undoing, E.ALERT_GONE)
    assert (undoing.state, again.state, again.late) == (S.UNDOING, S.VERIFYING, True)
    assert after(again, E.FIXED).state is S.FIXED
    twice = after(again, E.NOT_FIXED, E.ALERT_GONE)
    assert (twice.state, twice.in_place) == (S.NOT_FIXED, True), "a person has it"
    theirs = after(undoing, E.UNDO_ORDERED)
    assert after(theirs, E.ALERT_GONE) == theirs, "what a person ordered stands"
