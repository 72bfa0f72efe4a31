"""Approvals from Slack, from the button to what happens in the cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import CommitUnclear
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.flow.people import approve
from app.notify.buttons import Click
from app.notify.groups import AGAIN, KEPT
from app.store import audit, people, runs
from tests.doubles.slack_click import payload, signed
from tests.scenario import scenes
from tests.scenario.slack_rig import ANA, BEN, EVE, HOUR, SlackRig, asking, slack_rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[SlackRig]:
    """A service that asks before everything; Ana may operate from Slack."""
    made = await slack_rig(tmp_path)
    yield made
    await made.close()


async def run_of(rig: SlackRig, number: int = -1) -> runs.Run:
    return (await scenes.all_runs(rig))[number]


async def kinds(rig: SlackRig, kind: EventKind) -> list[audit.AuditEvent]:
    found = await rig.store.read(lambda conn: audit.page(conn, 0, 1000))
    return [e for e in found if e.kind is kind]


async def test_a_click_on_approve_does_what_was_asked_once_and_the_message_says_who(rig: SlackRig) -> None:
    await rig.asked()
    assert rig.buttons == ["Approve", "Reject", "Snooze 1h"]
    assert scenes.writes(rig) == []
    assert await rig.click(Click.APPROVE) == ""
    await rig.until(lambda: scenes.writes(rig))
    assert rig.buttons == []
    assert f"Approved by <@{ANA}>" in rig.parent.readable()
    await rig.until(lambda: "FIXED" in rig.parent.readable())
    assert scenes.writes(rig) == ["patch langgraph"]
    assert rig.buttons == ["Undo", "Explain", "Pause rag7 1h"]


async def test_a_click_on_reject_ends_it_without_touching_anything(rig: SlackRig) -> None:
    await rig.asked()
    assert await rig.click(Click.REJECT) == ""
    await rig.run(60)
    assert (await run_of(rig)).state is RunState.REJECTED
    assert (scenes.writes(rig), rig.buttons) == ([], [])
    assert f"Rejected by <@{ANA}>" in rig.parent.readable()


async def test_while_an_approved_plan_waits_for_its_target_a_click_takes_the_yes_back(
    rig: SlackRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approve, "_waits_for", lambda *_: "run_x, which is at work on the target")
    await rig.asked()
    assert await rig.click(Click.APPROVE) == ""
    await rig.until(lambda: rig.buttons == ["Reject"])
    assert await rig.click(Click.REJECT) == ""
    monkeypatch.undo()
    await rig.run(60)
    assert (await run_of(rig)).state is RunState.REJECTED
    assert (scenes.writes(rig), rig.buttons) == ([], [])
    assert f"Rejected by <@{ANA}>" in rig.parent.readable()


async def test_two_clicks_50_ms_apart_are_one_answer(rig: SlackRig) -> None:
    await rig.asked()
    first, second = rig.signed(Click.APPROVE, ANA), rig.signed(Click.REJECT, BEN)
    assert await rig.deliver_click(first) == 200
    rig.clock.advance(0.05)
    assert await rig.deliver_click(second) == 200
    await rig.until(lambda: scenes.writes(rig))
    assert "approved by slack:U0ANA" in rig.whispers.to(BEN)
    assert len(await kinds(rig, EventKind.APPROVED)) == 1


async def test_a_double_click_is_told_and_changes_nothing(rig: SlackRig) -> None:
    await rig.asked()
    first, second = rig.signed(Click.APPROVE, ANA), rig.signed(Click.APPROVE, ANA)
    for request in (first, second):
        assert await rig.deliver_click(request) == 200
    await rig.run(60)
    assert scenes.writes(rig) == ["patch langgraph"]
    assert "approved by slack:U0ANA" in rig.whispers.to(ANA)


async def test_a_recorded_request_is_refused_and_the_click_itself_counts_once(rig: SlackRig) -> None:
    await rig.asked()
    request = rig.signed(Click.SNOOZE, ANA)
    assert [await rig.deliver_click(request) for _ in range(3)] == [200, 401, 401]
    # The same click under a new signature, as a second delivery by Slack would be.
    rig.clock.advance(1)
    again = payload(rig.parent, Click.SNOOZE.value, ANA, now=rig.clock.now())
    again["actions"][0]["action_ts"] = "1772619455.882311"
    for _ in range(2):
        rig.clock.advance(1)
        assert await rig.deliver_click(signed(again, now=rig.clock.now())) == 200
    assert len(await kinds(rig, EventKind.APPROVAL_SNOOZED)) == 2
    assert (rig.counted("snooze", "repeated"), rig.counted("unknown", "replayed")) == (1, 2)


@pytest.mark.parametrize("fault", ["forged", "stale", "ahead", "unsigned"])
async def test_what_slack_did_not_sign_now_is_refused_and_counts_nothing(rig: SlackRig, fault: str) -> None:
    await rig.asked()
    now = rig.clock.now()
    body = payload(rig.parent, Click.APPROVE.value, ANA, now=now)
    request = signed(body, now=now, secret="another" if fault == "forged" else "slack-4Kq9vT2m")
    if fault == "unsigned":
        request.headers.clear()
    if fault == "ahead":
        request = signed(body, now=now.replace(year=now.year + 1))
    if fault == "stale":
        rig.clock.advance(301)
    assert await rig.deliver_click(request) == 401
    await rig.turn()
    assert (await run_of(rig)).answer == ""


async def test_the_wrong_person_is_told_and_the_question_stays_open(tmp_path: Path) -> None:
    rig = await slack_rig(tmp_path, rules=asking(by=(f"slack:{BEN}",)))
    await rig.asked()
    told = await rig.click(Click.APPROVE, EVE)
    assert "slack:U0EVE is not among those who may answer: slack:U0BEN" in told
    assert "Approve" in rig.buttons
    refused = await kinds(rig, EventKind.APPROVAL_REFUSED)
    assert [(e.actor, e.data["code"]) for e in refused] == [("slack:U0EVE", "not_an_approver")]
    await rig.click(Click.APPROVE, BEN)
    assert (await run_of(rig)).answered_by == "slack:U0BEN"
    await rig.close()


async def test_where_no_rule_names_anybody_only_operators_answer_from_slack(rig: SlackRig) -> None:
    await rig.asked()
    assert "not among REMEDIATOR_SLACK_OPERATORS" in await rig.click(Click.APPROVE, BEN)
    await rig.click(Click.APPROVE, ANA)
    assert (await run_of(rig)).answer == "approved"


async def test_a_user_group_answers_while_it_can_be_read(tmp_path: Path) -> None:
    rig = await slack_rig(tmp_path, rules=asking(by=("alice", "slack-group:S0ONCALL")))
    rig.groupbook.groups["S0ONCALL"] = frozenset({BEN})
    rig.groupbook.away = True
    await rig.asked()
    told = await rig.click(Click.APPROVE, BEN)
    assert "user group S0ONCALL could not be read: Slack did not answer" in told
    rig.groupbook.away = False
    assert "not among" in await rig.click(Click.APPROVE, EVE)
    asked = rig.groupbook.asked
    await rig.click(Click.APPROVE, BEN)
    assert rig.groupbook.asked == asked  # remembered for five minutes
    assert (await run_of(rig)).answered_by == "slack:U0BEN"
    await rig.close()


async def test_who_joins_the_group_while_the_question_stands_may_answer_it(tmp_path: Path) -> None:
    rig = await slack_rig(tmp_path, rules=asking(by=("slack-group:S0ONCALL",)))
    rig.groupbook.groups["S0ONCALL"] = frozenset()
    await rig.asked()
    assert "not among" in await rig.click(Click.APPROVE, BEN)
    asked = rig.groupbook.asked
    assert "not among" in await rig.click(Click.APPROVE, BEN)
    assert rig.groupbook.asked == asked, "not again so soon"
    rig.groupbook.groups["S0ONCALL"] = frozenset({BEN})
    rig.clock.advance(AGAIN)
    await rig.click(Click.APPROVE, BEN)
    assert (await run_of(rig)).answered_by == "slack:U0BEN"
    await rig.close()


async def test_who_left_the_group_answers_no_more_once_it_is_read_again(tmp_path: Path) -> None:
    rig = await slack_rig(tmp_path, rules=asking(by=("slack-group:S0ONCALL",)))
    rig.groupbook.groups["S0ONCALL"] = frozenset({BEN, EVE})
    await rig.asked()
    assert await rig.click(Click.SNOOZE, BEN) == ""
    rig.groupbook.groups["S0ONCALL"] = frozenset({EVE})
    rig.clock.advance(KEPT)
    assert "not among" in await rig.click(Click.APPROVE, BEN)
    assert "not among" in await rig.click(Click.REJECT, BEN)
    await rig.click(Click.REJECT, EVE)
    assert (await run_of(rig)).answered_by == "slack:U0EVE"
    await rig.close()


async def test_a_person_of_a_token_answers_from_slack_under_that_name(tmp_path: Path) -> None:
    rig = await slack_rig(tmp_path, rules=asking(by=("alice",)), people={"alice": BEN})
    await rig.asked()
    await rig.click(Click.APPROVE, BEN)
    assert (await run_of(rig)).answered_by == "alice"
    await rig.close()


async def test_a_snooze_moves_the_end_by_an_hour_twice_at_most(rig: SlackRig) -> None:
    run = await rig.asked()
    for number in (1, 2):
        assert await rig.click(Click.SNOOZE) == ""
        moved = await run_of(rig)
        assert moved.expires_at is not None
        assert run.expires_at is not None
        assert (moved.expires_at - run.expires_at).total_seconds() == number * HOUR
    assert rig.buttons == ["Approve", "Reject"]
    value = f"{run.id}:0:{run.plan_hash[:16]}"
    assert "put off 2 times already" in await rig.click(Click.SNOOZE, ANA, value)
    snoozed = await kinds(rig, EventKind.APPROVAL_SNOOZED)
    assert [e.actor for e in snoozed] == ["slack:U0ANA"] * 2
    rig.stride = 60
    await rig.run(HOUR)  # past the first end, which was after 30 minutes
    assert (await run_of(rig)).state is RunState.WAITING
    await rig.until(lambda: rig.buttons == ["Acknowledge"], limit=2 * HOUR)
    assert (await run_of(rig)).state is RunState.EXPIRED


class AnswerLost:
    """The store of a rig whose next write loses the answer to its commit, which was kept or not."""

    def __init__(self, rig: SlackRig, *, kept: bool) -> None:
        self._store, self._kept, self._lost = rig.services.store, kept, False
        object.__setattr__(rig.services, "store", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, fn: Callable[..., Any]) -> Any:
        """The first one fails."""
        if self._lost:
            return await self._store.write(fn)
        self._lost = True
        if self._kept:
            await self._store.write(fn)
        raise CommitUnclear("it is not known whether this was taken")


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("button", [Click.APPROVE, Click.REJECT, Click.SNOOZE, Click.UNDO, Click.PAUSE])
async def test_a_commit_whose_answer_is_lost_is_never_told_as_nothing_done_and_a_second_press_counts_once(
    rig: SlackRig, button: Click, kept: bool
) -> None:
    run = await rig.asked()
    value = f"{run.id}:0:{run.plan_hash[:16]}"
    if button in (Click.UNDO, Click.PAUSE):
        await rig.click(Click.APPROVE)
        await rig.until(lambda: "FIXED" in rig.parent.readable())
    store = rig.services.store
    AnswerLost(rig, kept=kept)
    told = await rig.click(button, ANA, value)
    object.__setattr__(rig.services, "store", store)
    assert "It is not known whether this was taken" in told
    assert "Nothing was done" not in told
    if button is Click.SNOOZE:
        assert "gives an hour more" in told
        return
    assert "pressing again is safe" in told
    again = await rig.click(button, ANA, value)
    await rig.run(300)
    after = await run_of(rig)
    if button is Click.APPROVE:
        assert (after.state, scenes.writes(rig)) == (RunState.FIXED, ["patch langgraph"])
        assert len(await kinds(rig, EventKind.APPROVED)) == 1
        assert ("approved by" in again) is kept
    elif button is Click.REJECT:
        assert (after.state, scenes.writes(rig)) == (RunState.REJECTED, [])
        assert len(await kinds(rig, EventKind.REJECTED)) == 1
    elif button is Click.UNDO:
        assert (after.state, scenes.writes(rig)) == (
            RunState.UNDONE,
            ["patch langgraph", "patch langgraph (undo)"],
        )
    else:
        now = rig.clock.now()
        assert len(await rig.store.read(lambda conn: people.pauses_in_force(conn, now))) == 1


async def test_after_the_end_a_click_is_told_what_became_of_the_question(rig: SlackRig) -> None:
    run = await rig.asked()
    value = f"{run.id}:0:{run.plan_hash[:16]}"
    rig.stride = 60
    await rig.until(lambda: rig.buttons == ["Acknowledge"])
    told = await rig.click(Click.APPROVE, ANA, value)
    assert "it is expired: nobody answered about roll-back in time" in told
    assert scenes.writes(rig) == []


async def test_after_the_alert_resolved_a_click_does_nothing(rig: SlackRig) -> None:
    run = await rig.asked()
    value = f"{run.id}:0:{run.plan_hash[:16]}"
    await rig.send(scenes.body(scenes.alert(rig, "resolved", started=0)))
    for body in rig.bodies[:-1]:
        gone = [{**a, "status": "resolved", "endsAt": rig.clock.now().isoformat()} for a in body["alerts"]]
        await rig.send({**body, "status": "resolved", "alerts": gone})
        break
    await rig.turn()
    assert rig.buttons == []
    told = await rig.click(Click.APPROVE, ANA, value)
    assert "the alert resolved while the approval request stood" in told
    assert scenes.writes(rig) == []


async def test_a_question_survives_the_death_of_the_service(rig: SlackRig) -> None:
    await rig.asked()
    await rig.die()
    await rig.born()
    await rig.click(Click.APPROVE)
    await rig.until(lambda: "FIXED" in rig.parent.readable())
    assert scenes.writes(rig) == ["patch langgraph"]


async def test_unknown_buttons_and_odd_payloads_get_their_200_and_do_nothing(rig: SlackRig) -> None:
    await rig.asked()
    now = rig.clock.now()
    odd = payload(rig.parent, "somebody.elses", ANA, now=now, value="x")
    for body in (odd, {"type": "view_submission"}, {"type": "block_actions"}, b"payload=%7B", b"\xff"):
        assert await rig.deliver_click(signed(body, now=now)) == 200
    ignored = await kinds(rig, EventKind.CLICK_IGNORED)
    assert [(e.actor, e.data["action"]) for e in ignored] == [("slack:U0ANA", "somebody.elses")]
    assert (await run_of(rig)).answer == ""
