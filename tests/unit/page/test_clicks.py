"""Clicks: the same orders as the API's, by the same people, with a reason, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Mode
from app.domain.errors import CommitUnclear
from app.domain.events import EventKind
from app.domain.lines import Beside
from app.domain.outcome import RunState
from app.domain.target import Target
from app.flow.people import approve
from app.policy.gates.people import covers
from app.policy.model import Approval, Temporary
from app.store import people
from tests.scenario.rig import Rig
from tests.scenario.scenes import born, policy, the_incident, the_run, trail, writes
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, access, filled

REASON = "the graph shows it since the release"


async def ended(rig: Rig) -> RunState:
    """Let time pass until the run has ended."""

    async def over() -> bool:
        return (await the_run(rig)).state.ended

    await rig.until(over)
    await rig.run(30)
    return (await the_run(rig)).state


async def test_an_approval_counts_for_the_plan_that_was_read_with_name_and_reason(
    rig: Rig, browser: Browser, asked: str
) -> None:
    page = await browser.login()
    assert "Roll back rag7/Deployment/langgraph from revision 2" in page.text
    after = await browser.press(page, f"/runs/{asked}/approve", reason=REASON)
    assert (after.status, after.path) == (200, f"/incidents/{(await the_incident(rig)).id}#now")
    assert await ended(rig) is RunState.FIXED
    assert len(writes(rig)) == 1
    (given,) = await trail(rig, EventKind.APPROVED)
    assert (given.actor, given.data["reason"]) == ("alice", REASON)
    assert given.data["plan_hash"] == (await the_run(rig)).plan_hash
    text = (await browser.get(after.path)).text
    assert "FIXED" in text
    assert f"Approved by alice: roll-back Reason: {REASON}" in text
    assert f"Approved by alice: {REASON}" in rig.notebook.text, "told in Slack too"


async def test_a_press_whose_commit_lost_its_answer_is_told_as_not_known_and_counts_once_when_repeated(
    rig: Rig, browser: Browser, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await browser.login()
    data = filled(page.form(f"/runs/{asked}/approve"), reason=REASON)
    real = approve.answer

    async def lost(*what: Any) -> None:
        await real(*what)
        raise CommitUnclear("it is not known whether this was taken")

    with monkeypatch.context() as patched:
        patched.setattr(approve, "answer", lost)
        told = await browser.post(f"/runs/{asked}/approve", data)
    assert told.status == 503
    assert "Not known" in told.text
    assert "not known whether this was taken" in told.text
    assert (await browser.post(f"/runs/{asked}/approve", data)).status == 200
    assert await ended(rig) is RunState.FIXED
    assert (len(await trail(rig, EventKind.APPROVED)), len(writes(rig))) == (1, 1)


async def test_however_often_it_is_pressed_it_is_one_answer_and_one_write(
    rig: Rig, browser: Browser, asked: str
) -> None:
    """Twice at once, again later, and by the back button."""
    page = await browser.login()
    data = filled(page.form(f"/runs/{asked}/approve"), reason=REASON)
    answers = [await browser.post(f"/runs/{asked}/approve", data) for _ in range(3)]
    assert {a.status for a in answers} == {200}
    assert await ended(rig) is RunState.FIXED
    assert (await browser.post(f"/runs/{asked}/approve", data)).status == 200
    assert len(await trail(rig, EventKind.APPROVED)) == 1
    assert await trail(rig, EventKind.APPROVAL_REFUSED) == []
    assert len(writes(rig)) == 1


async def test_a_rejection_ends_it_with_its_reason(rig: Rig, browser: Browser, asked: str) -> None:
    await browser.press(await browser.login(), f"/runs/{asked}/reject", reason="we roll forward")
    assert await ended(rig) is RunState.REJECTED
    assert writes(rig) == []
    (given,) = await trail(rig, EventKind.REJECTED)
    assert (given.actor, given.data["reason"]) == ("alice", "we roll forward")


async def test_an_approval_is_taken_back_as_long_as_nothing_is_begun(
    rig: Rig, browser: Browser, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_beside: Beside, work: Callable[[], bytes]) -> bytes:
        return work()  # so that no turn of the loop passes in which the run begins

    monkeypatch.setattr(Beside, "do", at_once)
    await rig.operations.approve(asked, "ann", (await the_run(rig)).plan_hash)
    page = await browser.login()
    assert "Approved by ann, and not begun yet" in page.text
    assert "Waits for your answer" not in page.text
    assert [b.text for b in page.form(f"/runs/{asked}/reject").all("button")[1:]] == ["Reject"]
    await browser.press(page, f"/runs/{asked}/reject", reason="not now")
    assert await ended(rig) is RunState.REJECTED
    assert writes(rig) == []


async def test_an_undo_takes_back_what_was_done_once(rig: Rig, browser: Browser, asked: str) -> None:
    page = await browser.press(await browser.login(), f"/runs/{asked}/approve", reason=REASON)
    await ended(rig)
    page = await browser.get(page.path)
    assert "What was done and can be taken back" in page.text
    data = filled(page.form(f"/runs/{asked}/undo"), reason="it was the wrong release")
    for _ in range(3):
        assert (await browser.post(f"/runs/{asked}/undo", data)).status == 200
    assert await ended(rig) is RunState.UNDONE
    assert len(writes(rig)) == 2
    (ordered,) = await trail(rig, EventKind.UNDO_REQUESTED)
    assert (ordered.actor, ordered.data["reason"]) == ("alice", "it was the wrong release")
    page = await browser.get(page.path)
    assert page.document.all(id="afterwards") == [], "nothing is left to take back"


async def test_a_held_undo_is_told_and_goes_through_for_whoever_knows(
    rig: Rig, browser: Browser, asked: str
) -> None:
    """The same rule as for every write."""
    page = await browser.press(await browser.login(), f"/runs/{asked}/approve", reason=REASON)
    await ended(rig)
    overview = await browser.get("/")
    await browser.press(overview, "/pause", reason="upgrade", scope="namespace:rag7", hours="4")
    page = await browser.get(page.path)
    refused = await browser.press(page, f"/runs/{asked}/undo", reason=REASON)
    assert refused.status == 409
    assert "namespace:rag7 is paused by alice: upgrade" in refused.text
    page = refused
    assert (await browser.press(page, f"/runs/{asked}/undo", reason=REASON, despite="yes")).status == 200
    assert await ended(rig) is RunState.UNDONE


@pytest.mark.parametrize("reason", ["", "   ", "\u200b"])
async def test_without_a_reason_nothing_happens(rig: Rig, browser: Browser, asked: str, reason: str) -> None:
    page = await browser.login()
    data = {**filled(page.form(f"/runs/{asked}/approve"), reason="x"), "reason": reason}
    for action in ("approve", "reject", "undo", "keep"):
        answer = await browser.post(f"/runs/{asked}/{action}", data)
        assert (answer.status, answer.document.one("code").text) == (422, "no_reason")
    assert (await the_run(rig)).answer == ""


async def test_a_secret_in_a_reason_is_not_kept(rig: Rig, browser: Browser, asked: str) -> None:
    secret = "password=hunter2-hunter2"
    await browser.press(await browser.login(), f"/runs/{asked}/reject", reason=f"I used {secret} \x1b[2J")
    (given,) = await trail(rig, EventKind.REJECTED)
    assert "hunter2" not in given.data["reason"]
    assert "\x1b" not in given.data["reason"]


async def test_a_reader_sees_everything_and_can_press_nothing(rig: Rig, browser: Browser, asked: str) -> None:
    page = await browser.login("reader")
    assert "reader lacks the scope operate" in page.text
    assert [f.get("action") for f in page.document.all("form") if f.get("method") == "post"] == ["/logout"]
    form = page.document.all(name="form")[0].get("value")
    data = {"form": form, "once": "click_00000001", "reason": REASON, "scope": "all", "hours": "1"}
    data["plan_hash"] = (await the_run(rig)).plan_hash
    for action in (
        *(f"/runs/{asked}/{a}" for a in ("approve", "reject", "undo", "keep")),
        "/pause",
        "/resume",
    ):
        answer = await browser.post(action, data)
        assert (answer.status, answer.document.one("code").text) == (403, "scope_missing"), action
    assert (await the_run(rig)).answer == ""
    assert await rig.store.read(lambda conn: people.pauses_in_force(conn, rig.clock.now())) == []


async def test_who_may_approve_is_the_policys_word(tmp_path: Path) -> None:
    """Whoever is not among them is told so before and after they press."""
    rules = policy(mode=Mode.APPROVE, approval=Approval(by=("bob",)))
    rig = await born(tmp_path, rules=rules)
    alice, bob = Browser(app_of(rig, access())), Browser(app_of(rig, access()))
    await rig.until(lambda: "remediator approve" in rig.notebook.text)
    run = await the_run(rig)
    page = await alice.login("alice")
    assert "You cannot answer: alice is not among those who may answer: bob" in page.text
    forged = {"form": page.document.all(name="form")[0].get("value"), "once": "click_00000001"}
    forged |= {"reason": REASON, "plan_hash": run.plan_hash}
    answer = await alice.post(f"/runs/{run.id}/approve", forged)
    assert (answer.status, answer.document.one("code").text) == (409, "not_an_approver")
    assert (await trail(rig, EventKind.APPROVAL_REFUSED))[0].actor == "alice"
    assert (await bob.press(await bob.login("bob"), f"/runs/{run.id}/approve", reason=REASON)).status == 200
    assert (await the_run(rig)).answered_by == "bob"
    for browser in (alice, bob):
        await browser.close()
    await rig.close()


async def test_two_people_are_two_people(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE, approval=Approval(approvals=2)))
    alice, bob = Browser(app_of(rig, access())), Browser(app_of(rig, access()))
    await rig.until(lambda: "remediator approve" in rig.notebook.text)
    run = await the_run(rig)
    page = await alice.login("alice")
    assert "2 different people have to approve" in page.text
    page = await alice.press(page, f"/runs/{run.id}/approve", reason=REASON)
    again = await alice.press(page, f"/runs/{run.id}/approve", reason=REASON)
    assert (again.status, again.document.one("code").text) == (409, "same_person")
    assert writes(rig) == []
    await bob.press(await bob.login("bob"), f"/runs/{run.id}/approve", reason=REASON)
    assert (await the_run(rig)).answered_by == "alice and bob"
    for browser in (alice, bob):
        await browser.close()
    await rig.close()


async def test_an_answer_to_a_plan_that_is_no_more_does_not_count(
    rig: Rig, browser: Browser, asked: str
) -> None:
    page = await browser.login()
    data = {**filled(page.form(f"/runs/{asked}/approve"), reason=REASON), "plan_hash": "0" * 64}
    answer = await browser.post(f"/runs/{asked}/approve", data)
    assert (answer.status, answer.document.one("code").text) == (409, "plan_changed")
    assert (await the_run(rig)).answer == ""


@pytest.mark.parametrize("field", ["plan_hash", "once"])
@pytest.mark.parametrize("value", ["", "x", "'; DROP TABLE runs", "0" * 500])
async def test_a_form_that_was_tampered_with_is_refused(
    rig: Rig, browser: Browser, asked: str, field: str, value: str
) -> None:
    page = await browser.login()
    data = {**filled(page.form(f"/runs/{asked}/approve"), reason=REASON), field: value}
    answer = await browser.post(f"/runs/{asked}/approve", data)
    assert (answer.status, answer.document.one("code").text) == (422, "bad_form")
    assert (await the_run(rig)).answer == ""


@pytest.mark.parametrize(
    ("path", "status"), [("/runs/run_unknown/approve", 404), ("/runs/{run}/destroy", 404)]
)
async def test_what_is_not_there_cannot_be_pressed(
    browser: Browser, asked: str, path: str, status: int
) -> None:
    page = await browser.login()
    data = filled(page.form(f"/runs/{asked}/approve"), reason=REASON)
    assert (await browser.post(path.format(run=asked), data)).status == status


async def test_a_pause_is_set_and_lifted_with_name_and_reason(rig: Rig, browser: Browser, asked: str) -> None:
    page = await browser.login()
    data = filled(page.form("/pause"), reason="cluster upgrade", scope="namespace:rag7", hours="8")
    for _ in range(2):
        page = await browser.post("/pause", data)
    (held,) = await rig.store.read(lambda conn: people.pauses_in_force(conn, rig.clock.now()))
    assert (held.scope, held.author, held.reason) == ("namespace:rag7", "alice", "cluster upgrade")
    assert len(await trail(rig, EventKind.PAUSED)) == 1, "the second press set no second one"
    assert "Paused: namespace:rag7 by alice until" in page.text
    lifting = filled(page.form("/resume"), reason="the upgrade is over")
    for _ in range(2):
        page = await browser.post("/resume", lifting)
    assert "Paused:" not in page.text
    lifted = [(r.actor, r.data["reason"]) for r in await trail(rig, EventKind.RESUMED)]
    assert lifted == [("alice", "the upgrade is over")]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"scope": "everything"}, "bad_scope"),
        ({"scope": "namespace:rag\u202e7"}, "bad_scope"),
        ({"scope": "namespace:rag7\u200b"}, "bad_scope"),
        ({"scope": "namespace:RAG 7"}, "bad_scope"),
        ({"scope": "namespace: "}, "bad_scope"),
        ({"scope": "rule:a\nb"}, "bad_scope"),
        ({"scope": "rule:" + "x" * 500}, "bad_scope"),
        ({"scope": "target:langgraph"}, "bad_target"),
        ({"scope": "target:rag7/Deployment/Lang Graph"}, "bad_scope"),
        ({"hours": "9999"}, "invalid_field"),
        ({"hours": "-1"}, "invalid_field"),
    ],
)
async def test_a_pause_that_is_none_is_refused(browser: Browser, fields: dict[str, str], code: str) -> None:
    page = await browser.login()
    data = {**filled(page.form("/pause"), reason="x"), **fields}
    answer = await browser.post("/pause", data)
    assert (answer.status, answer.document.one("code").text) == (422, code)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("namespace: rag7 \n", "namespace:rag7"),
        ("target:rag7/deployment/langgraph", "target:rag7/Deployment/langgraph"),
    ],
)
async def test_a_pause_stops_what_its_author_meant(
    rig: Rig, browser: Browser, asked: str, said: str, meant: str
) -> None:
    """One that looks like a pause and covers nothing would be worse than none."""
    page = await browser.login()
    await browser.post("/pause", {**filled(page.form("/pause"), reason="hands off"), "scope": said})
    (held,) = await rig.store.read(lambda conn: people.pauses_in_force(conn, rig.clock.now()))
    target = Target.parse((await the_run(rig)).target_key)
    assert held.scope == meant
    assert covers(held.scope, (target,), ("rule",), "remediation")
    page = await browser.post(
        "/resume", {**filled(page.form("/logout")), "once": "click_000001", "scope": said, "reason": "over"}
    )
    assert await rig.store.read(lambda conn: people.pauses_in_force(conn, rig.clock.now())) == []


async def test_a_temporary_change_can_be_kept(tmp_path: Path) -> None:
    """By the same order as the command's."""
    terms = Temporary(revert_after=timedelta(hours=2))
    rig = await born(tmp_path, "out-of-memory", rules=policy(mode=Mode.AUTO, temporary=terms))
    browser = Browser(app_of(rig, access()))
    await rig.until(lambda: "Temporary until" in rig.notebook.text)
    run = await the_run(rig)
    await browser.login()
    page = await browser.get(f"/runs/{run.id}")
    assert "Keep the temporary change" in page.text
    assert (await browser.press(page, f"/runs/{run.id}/keep", reason=REASON)).status == 200
    assert (await browser.press(page, f"/runs/{run.id}/keep", reason=REASON)).status == 200
    (kept,) = await trail(rig, EventKind.TEMPORARY_KEPT)
    assert (kept.actor, kept.data["why"]) == ("alice", REASON)
    page = await browser.get(f"/runs/{run.id}")
    assert f"Kept by alice: the change stays ({REASON})" in page.text
    assert "Keep the temporary change" not in page.text
    await browser.close()
    await rig.close()


async def test_enter_presses_nothing_and_a_look_comes_first(browser: Browser, asked: str) -> None:
    """The default button of a form is its first one: here it is disabled, so that Enter in the reason sends nothing."""
    page = await browser.login()
    form = page.form(f"/runs/{asked}/approve")
    buttons = form.all("button")
    assert "disabled" in buttons[0].attrs
    assert [b.text for b in buttons[1:]] == ["Reject", "Approve this plan"]
    article = page.document.one("article")
    walked = [e for e in article.walk() if e.tag in ("a", "button") and "disabled" not in e.attrs]
    assert [e.text for e in walked[1:3]] == ["Approve or reject", "Look at everything first"]
    assert walked[1].get("href") == f"#answer-{asked}"  # to the form, on a phone; it presses nothing
    assert [e.tag for e in walked].index("button") > 2


async def test_an_incident_is_acknowledged_once_with_a_reason_by_whoever_may(
    rig: Rig, browser: Browser, asked: str
) -> None:
    incident = await the_incident(rig)
    path = f"/incidents/{incident.id}"
    reader = Browser(app_of(rig, access()))
    page = await reader.login("reader")
    form = page.document.all(name="form")[0].get("value")
    data = {"form": form, "once": "click_00000001", "reason": REASON}
    refused = await reader.post(f"{path}/acknowledge", data)
    assert (refused.status, refused.document.one("code").text) == (403, "scope_missing")
    await browser.login()
    page = await browser.get(path)
    blank = await browser.post(
        f"{path}/acknowledge", {**filled(page.form(f"{path}/acknowledge"), reason="x"), "reason": " "}
    )
    assert (blank.status, blank.document.one("code").text) == (422, "no_reason")
    assert await trail(rig, EventKind.ACKNOWLEDGED) == []
    data = filled(page.form(f"{path}/acknowledge"), reason=REASON)
    for _ in range(2):
        answer = await browser.post(f"{path}/acknowledge", data)
        assert (answer.status, answer.path) == (200, f"{path}#now")
    (given,) = await trail(rig, EventKind.ACKNOWLEDGED)
    assert (given.actor, given.data["through"], given.data["reason"]) == ("alice", "the web page", REASON)
    text = (await browser.get(path)).text
    assert "acknowledged through the web page by alice" in text
    await reader.close()
