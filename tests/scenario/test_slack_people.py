"""Several people, older plans, and what operators do afterwards from Slack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.notify.buttons import Click
from app.store import audit, runs
from tests.scenario import scenes
from tests.scenario.slack_rig import ANA, BEN, EVE, SlackRig, asking, slack_rig

BOTH = (f"slack:{ANA}", f"slack:{BEN}", "alice")


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[SlackRig]:
    """A service whose rules want two people."""
    rig = await slack_rig(tmp_path, rules=asking(by=BOTH, approvals=2))
    yield rig
    await rig.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[SlackRig]:
    """A service that asks before everything; Ana may operate from Slack."""
    made = await slack_rig(tmp_path)
    yield made
    await made.close()


async def run_of(rig: SlackRig) -> runs.Run:
    return (await scenes.all_runs(rig))[-1]


async def test_two_people_are_two_people_also_after_a_restart(two: SlackRig) -> None:
    await two.asked()
    assert "1 of 2 approvals" in await two.click(Click.APPROVE, ANA)
    assert f"1 of 2 approvals: <@{ANA}>" in two.parent.readable()
    assert "another person has to approve" in await two.click(Click.APPROVE, ANA)
    await two.die()
    await two.born()
    assert (scenes.writes(two), two.buttons[0]) == ([], "Approve")
    await two.click(Click.APPROVE, BEN)
    assert (await run_of(two)).answered_by == "slack:U0ANA and slack:U0BEN"
    await two.until(lambda: scenes.writes(two))
    assert f"Approved by <@{ANA}>" in two.parent.readable()
    assert f"and <@{BEN}>" in two.parent.readable()


async def test_one_no_is_enough(two: SlackRig) -> None:
    await two.asked()
    await two.click(Click.APPROVE, ANA)
    await two.click(Click.REJECT, BEN)
    await two.turn()
    assert (await run_of(two)).state is RunState.REJECTED


async def test_a_token_and_a_slack_user_that_may_be_one_person_are_not_counted_as_two(two: SlackRig) -> None:
    run = await two.asked()
    await two.click(Click.APPROVE, ANA)
    with pytest.raises(Refused) as caught:
        await two.operations.approve(run.id, "alice")
    assert caught.value.code == "maybe_same_person"
    assert "REMEDIATOR_PEOPLE" in caught.value.message


async def test_a_token_whose_slack_user_is_known_is_told_apart(tmp_path: Path) -> None:
    rig = await slack_rig(tmp_path, rules=asking(by=BOTH, approvals=2), people={"alice": EVE})
    run = await rig.asked()
    await rig.click(Click.APPROVE, ANA)
    done = await rig.operations.approve(run.id, "alice")
    assert (done["answer"], done["text"]) == ("approved", "2 of 2 approvals")
    await rig.close()


async def test_one_person_of_a_group_with_a_token_and_a_login_is_one_approver_through_every_door(
    tmp_path: Path,
) -> None:
    by = ("slack-group:S0ONCALL", "alice", "oidc:alice@x.io", "oidc:kim@x.io")
    rig = await slack_rig(tmp_path, rules=asking(by=by, approvals=2), people={"alice": BEN, "kim": EVE})
    rig.services.people.update({"oidc:alice@x.io": "alice", "oidc:kim@x.io": "kim"})  # type: ignore[attr-defined]
    rig.groupbook.groups["S0ONCALL"] = frozenset({BEN, EVE})
    run = await rig.asked()
    assert "1 of 2 approvals" in await rig.click(Click.APPROVE, BEN)
    for name, code in (
        ("alice", "same_person"),
        ("oidc:alice@x.io", "same_person"),
        ("bob", "not_an_approver"),
        ("oidc:Alice@x.io", "not_an_approver"),
    ):
        with pytest.raises(Refused) as caught:
            await rig.operations.approve(run.id, name)
        assert caught.value.code == code, name
    assert "another person has to approve" in await rig.click(Click.APPROVE, BEN)
    assert (scenes.writes(rig), (await run_of(rig)).answer) == ([], "")
    done = await rig.operations.approve(run.id, "oidc:kim@x.io")
    assert done["answer"] == "approved"
    await rig.close()


async def order(
    rig: SlackRig, by: str, remediation: str = "high-error-rate", name: str = "langgraph"
) -> None:
    request = ManualRequest(
        remediation, f"rag7/Deployment/{name}", {}, "release is broken", by, may_approve=True
    )
    now = rig.clock.now()
    await rig.store.ingest(Delivery(Source.MANUAL, now, by, dedupe_key="k", body_digest="d", manual=request))
    await rig.turn()


async def test_who_ordered_it_is_not_the_second_pair_of_eyes(tmp_path: Path) -> None:
    rules = asking(four_eyes=True, by=BOTH)
    rig = await slack_rig(tmp_path, rules=rules, people={"alice": ANA})
    await order(rig, "alice")
    assert "Approve" in rig.buttons
    assert "who ordered it cannot approve it" in await rig.click(Click.APPROVE, ANA)
    assert (await run_of(rig)).answer == ""
    await rig.click(Click.APPROVE, BEN)
    assert (await run_of(rig)).answered_by == "slack:U0BEN"
    await rig.close()


async def test_with_four_eyes_a_slack_user_of_unknown_tokens_does_not_approve_an_order(
    tmp_path: Path,
) -> None:
    rig = await slack_rig(tmp_path, rules=asking(four_eyes=True, by=BOTH))
    await order(rig, "alice")
    assert "nobody can tell whether" in await rig.click(Click.APPROVE, BEN)
    assert (await run_of(rig)).answer == ""
    await rig.close()


async def test_an_order_alone_is_not_enough_where_two_have_to_agree(two: SlackRig) -> None:
    await order(two, "alice")
    assert (scenes.writes(two), "Approve" in two.buttons) == ([], True)


async def scale_by_hand(rig: SlackRig, replicas: int) -> None:
    """Somebody changes the Deployment while the question stands."""
    patch = [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
    await rig.cluster.patch(Kind.DEPLOYMENT, "rag7", "langgraph-api", patch)


async def again(rig: SlackRig, run: runs.Run) -> runs.Run:
    """The question that comes after this run."""

    async def stands() -> bool:
        last = await run_of(rig)
        return last.id != run.id and last.state is RunState.WAITING and "Approve" in rig.buttons

    await rig.until(stands)
    return await run_of(rig)


async def test_what_changed_since_the_approval_is_asked_about_again_and_not_done(tmp_path: Path) -> None:
    rig = await slack_rig(tmp_path, scenario="high-latency")
    run = await rig.asked()
    await scale_by_hand(rig, 3)
    before = len(scenes.writes(rig))
    await rig.click(Click.APPROVE)
    second = await again(rig, run)
    assert len(scenes.writes(rig)) == before
    told = rig.parent.readable()
    assert "slack:U0ANA approved a plan that was not carried out" in told
    assert "/spec/replicas is 3 now, it was 2" in told
    # The old button, clicked by somebody whose Slack still shows it.
    old = f"{run.id}:0:{run.plan_hash[:16]}"
    reply = await rig.click(Click.APPROVE, ANA, old)
    assert "The question that stands now is about another plan" in reply
    assert "/spec/replicas is 3 now, it was 2" in reply
    assert (await run_of(rig)).answer == ""
    # The right run with the older plan's hash: told as well, and left open.
    mixed = f"{second.id}:0:{run.plan_hash[:16]}"
    assert "the plan has changed since" in await rig.click(Click.APPROVE, ANA, mixed)
    assert "Approve" in rig.buttons
    await rig.click(Click.APPROVE)
    await rig.until(lambda: len(scenes.writes(rig)) > before)
    await rig.close()


async def test_an_order_whose_object_changed_after_the_approval_is_asked_about_again(tmp_path: Path) -> None:
    rules = asking(four_eyes=True, by=BOTH)
    rig = await slack_rig(tmp_path, rules=rules, scenario="high-latency", people={"alice": ANA})
    await order(rig, "alice", "high-latency", "langgraph-api")
    run = await run_of(rig)
    await scale_by_hand(rig, 3)
    before = len(scenes.writes(rig))
    await rig.click(Click.APPROVE, BEN)
    await rig.run(30, alerts=False)
    second = await run_of(rig)
    assert (second.id != run.id, second.state, len(scenes.writes(rig))) == (True, RunState.WAITING, before)
    assert "slack:U0BEN approved a plan that was not carried out" in rig.parent.readable()
    assert "/spec/replicas is 3 now, it was 2" in rig.parent.readable()
    await rig.click(Click.APPROVE, BEN)
    await rig.run(30, alerts=False)
    assert len(scenes.writes(rig)) == before + 1
    assert (await run_of(rig)).state is RunState.VERIFYING
    await rig.close()


async def test_an_order_that_may_not_begin_again_ends_and_says_why(tmp_path: Path) -> None:
    rules = asking(four_eyes=True, by=BOTH)
    rig = await slack_rig(tmp_path, rules=rules, scenario="high-latency", people={"alice": ANA})
    await order(rig, "alice", "high-latency", "langgraph-api")
    await rig.operations.pause("namespace:rag7", "maintenance", "kim", None)
    await rig.click(Click.APPROVE, BEN)
    await rig.run(60)
    (incident,) = [i for i in await scenes.all_incidents(rig) if i.manual is not None]
    assert (incident.state, scenes.writes(rig)) == (IncidentState.RESOLVED, [])
    assert "paused by kim: maintenance" in "\n".join(m.readable() for m in rig.slack.roots())
    await rig.close()


async def fixed(rig: SlackRig) -> runs.Run:
    await rig.asked()
    await rig.click(Click.APPROVE)
    await rig.until(lambda: "Undo" in rig.buttons)
    return await run_of(rig)


async def test_undo_is_for_operators_and_the_message_says_who_ordered_it(rig: SlackRig) -> None:
    run = await fixed(rig)
    told = await rig.click(Click.UNDO, BEN)
    assert "undo and pause from Slack are for REMEDIATOR_SLACK_OPERATORS, and you are not in it" in told
    found = await rig.store.read(lambda conn: audit.for_run(conn, run.id))
    ignored = [e for e in found if e.kind is EventKind.CLICK_IGNORED]
    assert [(e.actor, e.data["code"]) for e in ignored] == [("slack:U0BEN", "not_an_operator")]
    assert "Undoing" in await rig.click(Click.UNDO, ANA)
    await rig.until(lambda: "patch langgraph (undo)" in scenes.writes(rig))
    await rig.turn()
    assert rig.buttons == []
    assert "was undone already" in await rig.click(Click.UNDO, ANA, f"{run.id}:0:{run.plan_hash[:16]}")
    assert scenes.writes(rig).count("patch langgraph (undo)") == 1


async def test_an_undo_that_waits_is_withdrawn_with_its_button_by_operators_and_once(rig: SlackRig) -> None:
    run = await fixed(rig)
    await rig.operations.undo(run.id, "ana")
    await rig.operations.pause("all", "wait", "kim", None)
    await rig.until(lambda: "Withdraw undo" in rig.buttons)
    assert "you are not in it" in await rig.click(Click.WITHDRAW, BEN)
    assert await rig.click(Click.WITHDRAW) == ""
    await rig.until(lambda: "Undo" in rig.buttons)
    assert (await run_of(rig)).state is RunState.FIXED
    (told,) = [
        e
        for e in await rig.store.read(lambda conn: audit.for_run(conn, run.id))
        if e.kind is EventKind.UNDO_WITHDRAWN
    ]
    assert told.actor == f"slack:{ANA}"
    await rig.operations.resume("all", "kim")
    await rig.turn()
    assert "patch langgraph (undo)" not in scenes.writes(rig)
    late = await rig.click(Click.WITHDRAW, ANA, f"{run.id}:0:{run.plan_hash[:16]}")
    assert "no undo of this run waits any more" in late


async def test_without_operators_nobody_undoes_from_slack_and_is_told_why(tmp_path: Path) -> None:
    rig = await slack_rig(tmp_path, rules=asking(by=(f"slack:{ANA}",)), operators=frozenset())
    await fixed(rig)
    assert "REMEDIATOR_SLACK_OPERATORS, and it is empty" in await rig.click(Click.UNDO)
    assert "patch langgraph (undo)" not in scenes.writes(rig)
    await rig.close()


async def test_a_pause_holds_the_namespace_for_an_hour_and_stands_in_the_message(rig: SlackRig) -> None:
    await fixed(rig)
    told = await rig.click(Click.PAUSE)
    assert "Lift it with: remediator resume --scope namespace:rag7" in told
    [pause] = await rig.operations.pauses()
    assert (pause.scope, pause.author) == ("namespace:rag7", "slack:U0ANA")
    assert pause.until is not None
    assert (pause.until - pause.set_at).total_seconds() == 3600
    assert "Namespace rag7 is paused until 2026-03-04" in rig.parent.readable()
    assert rig.buttons == ["Undo", "Explain"]


async def test_explain_tells_the_gates_to_whoever_asks(rig: SlackRig) -> None:
    run = await fixed(rig)
    told = await rig.click(Click.EXPLAIN, EVE)
    assert told.startswith("FIXED in ")
    assert "kill switch" in told
    assert f"remediator explain {run.id}" in told


@pytest.mark.parametrize("button", list(Click))
async def test_a_button_of_a_run_that_is_gone_does_nothing(rig: SlackRig, button: Click) -> None:
    await rig.asked()
    told: Any = await rig.click(button, ANA, "run_nobody_1:0:0123456789abcdef")
    assert "no such run" in told
    assert (scenes.writes(rig), (await run_of(rig)).answer) == ([], "")
