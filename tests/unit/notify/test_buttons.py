"""Which buttons a message has, what stands in them, and how Slack gets them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.outcome import ActionResult, RunState
from app.notify.blocks import to_slack
from app.notify.buttons import Click, Token, buttons, read_token
from app.notify.message import Button
from app.notify.parent import parent
from app.notify.timeline import ApprovalAnswer, Timeline
from tests.unit.notify import timelines

WAITING = timelines.TIMELINES["waiting"]
FIXED = timelines.TIMELINES["fixed"]
ANSWERS = ["Approve", "Reject", "Snooze 1h"]
AFTERWARDS = ["Undo", "Explain", "Pause rag7 1h"]


def labels(timeline: Timeline) -> list[str]:
    return [b.label for b in buttons(timeline)]


def of(timeline: Timeline, click: Click) -> Button:
    return next(b for b in buttons(timeline) if b.action_id == click)


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        (WAITING, ANSWERS),
        (replace(WAITING, snoozes=1), ANSWERS),
        (replace(WAITING, snoozes=2), ANSWERS[:2]),
        (replace(WAITING, answer=ApprovalAnswer(timelines.RUN, "approved", "kim")), ["Reject"]),
        (replace(WAITING, answer=ApprovalAnswer(timelines.RUN, "rejected", "kim")), []),
        (timelines.TIMELINES["approved"], []),
        (FIXED, AFTERWARDS),
        (replace(FIXED, paused=ApprovalAnswer(timelines.RUN, "paused", "kim")), AFTERWARDS[:2]),
        (replace(FIXED, run_state=RunState.UNDOING), []),
        (replace(FIXED, trust_levels=(timelines.WAITS,)), ["Promote to auto", *AFTERWARDS]),
        (replace(FIXED, trust_levels=(timelines.DEMOTED,)), AFTERWARDS),
        (replace(FIXED, trust_levels=(timelines.WAITS,), undos=(timelines.UNDONE,)), ["Promote to auto"]),
        (replace(FIXED, trust_levels=(timelines.WAITS,), run_state=RunState.UNDOING), []),
        (
            replace(FIXED, trust_levels=(timelines.WAITS, replace(timelines.WAITS, key="b"))),
            ["Promote to auto", *AFTERWARDS],
        ),
        (replace(WAITING, trust_levels=(timelines.WAITS,)), ANSWERS),
        (replace(FIXED, undos=(timelines.UNDONE,)), []),
        (replace(FIXED, actions=(replace(timelines.ROLLED_BACK, result=ActionResult.REFUSED),)), []),
        (timelines.TIMELINES["verifying"], []),
        (timelines.TIMELINES["dry_run"], []),
        (timelines.TIMELINES["refused"], []),
        (timelines.TIMELINES["open"], []),
    ],
)
def test_buttons_are_there_only_while_a_click_can_do_something(
    timeline: Timeline, expected: list[str]
) -> None:
    assert labels(timeline) == expected


@pytest.mark.parametrize("timeline", [WAITING, FIXED])
def test_action_ids_are_unique_and_the_value_names_the_very_plan(timeline: Timeline) -> None:
    found = buttons(timeline)
    assert len({b.action_id for b in found}) == len(found)
    [token] = {read_token(b.value) for b in found}
    hashed = timeline.approval.plan_hash if timeline.approval else timelines.PLAN.hash
    assert token == Token(timelines.RUN, 0, hashed[:16])


def test_the_button_of_a_promotion_names_its_question_and_asks_once_more() -> None:
    button = of(replace(FIXED, trust_levels=(timelines.WAITS,)), Click.PROMOTE)
    assert read_token(button.value) == Token(timelines.RUN, 0, timelines.WAITS.mark)
    assert button.confirm is not None
    assert button.confirm.text == f"{timelines.KEY}: {timelines.WAITS.text}"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "run_1",
        "run_1:0:abc",
        "run_1:x:0123456789abcdef",
        "inc_1:0:0123456789abcdef",
        "run_1:0:0123456789ABCDEF",
    ],
)
def test_what_is_no_value_of_ours_names_nothing(value: str) -> None:
    assert read_token(value) is None


@pytest.mark.parametrize(
    ("affected", "pods", "confirmed"),
    [(1, 4, False), (3, 10, False), (31, 100, True), (1, 3, True), (1, 0, True)],
)
def test_an_approval_above_30_percent_or_of_unknown_size_asks_once_more(
    affected: int, pods: int, confirmed: bool
) -> None:
    asked = replace(timelines.ASKED, pods_affected=affected, pods=pods)
    assert (of(replace(WAITING, approval=asked), Click.APPROVE).confirm is not None) is confirmed


def test_the_confirmation_says_what_and_how_much() -> None:
    asked = replace(timelines.ASKED, pods_affected=2, pods=3)
    confirm = of(replace(WAITING, approval=asked), Click.APPROVE).confirm
    assert confirm is not None
    assert confirm.text == (
        "Roll back revision 8 to revision 7. It takes down 2 of 3 pods (67 %) of rag7/langgraph at worst."
    )
    undo = of(FIXED, Click.UNDO).confirm
    assert undo is not None
    assert "Takes back on rag7/langgraph: Rolled back revision 8" in undo.text


def test_slack_gets_styles_and_confirmations() -> None:
    body = to_slack(parent(WAITING))
    [actions] = [b for b in body.blocks if b["type"] == "actions"]
    approve, reject, snooze = actions["elements"]
    assert (approve["style"], reject["style"], "style" in snooze) == ("primary", "danger", False)
    assert approve["confirm"]["confirm"]["text"] == "Approve"
    assert "confirm" not in reject


def test_the_parent_tells_who_agreed_so_far_and_what_changed() -> None:
    first = ApprovalAnswer(timelines.RUN, "approved", "slack:U0ANA", at=timelines.OPENED)
    asked = replace(timelines.ASKED, approvals=2, changed=("/spec/replicas is 4 now, it was 3",))
    text = parent(replace(WAITING, approval=asked, approvals=(first,))).readable()
    assert "1 of 2 approvals: slack:U0ANA 2026-03-04 03:12:05 UTC" in text
    assert "Changed since it was approved: /spec/replicas is 4 now, it was 3" in text


def test_an_undo_under_way_says_who_ordered_it() -> None:
    asked = ApprovalAnswer(timelines.RUN, "undo", "kim", at=timelines.OPENED)
    text = parent(replace(FIXED, run_state=RunState.UNDOING, undo_asked=asked)).readable()
    assert "Undoing, ordered by kim 2026-03-04 03:12:05 UTC" in text


def test_a_slack_user_is_shown_as_slack_shows_people_and_a_forged_name_is_not() -> None:
    for name, shown in (("slack:U0ANA", "<@U0ANA>"), ("slack:U0><!channel>", "slack:U0&gt;&lt;!channel&gt;")):
        answer = ApprovalAnswer(timelines.RUN, "approved", name)
        body = to_slack(parent(replace(timelines.TIMELINES["approved"], answer=answer)))
        assert f"Approved by {shown}" in str(body.blocks)
