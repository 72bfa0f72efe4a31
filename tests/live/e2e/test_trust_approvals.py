"""Approvals on a real cluster: what a click in Slack does, and all the clicks that do nothing."""

from __future__ import annotations

import pytest

from app.notify.buttons import Click
from tests.live.e2e.scene import Scene, Script
from tests.live.e2e.stage import scene
from tests.live.stack import ALL

pytestmark = pytest.mark.live

PUT_EIGHT = {"op": "replace", "path": "/spec/replicas", "value": 8}


def _untouched(s: Scene) -> bool:
    """The audit log of the API server shows no write, not even a rehearsed one."""
    return s.written == s.shop.dry_run_result == []


def _scaled_once(s: Scene) -> bool:
    (written,) = s.written
    return (written.verb, written.target) == ("patch", "deployments") and PUT_EIGHT in written.request_object


@scene(mode="approve")
def test_an_approved_plan_is_carried_out_once_and_the_message_says_who_decided(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.asks
    assert "from 2 to 8 replicas" in s.parent
    assert _untouched(s)
    double, second = s.signed(Click.APPROVE), s.signed(Click.APPROVE, s.ben)
    s.click(Click.APPROVE)
    assert [s.send(double), s.send(second)] == [200, 200]
    yield lambda: f"Approved by <@{s.ana}>" in s.parent
    yield lambda: not {"Approve", "Reject"} & set(s.buttons)
    yield lambda: all(f"approved by slack:{s.ana}" in s.told(who) for who in (s.ana, s.ben))
    yield from s.fixed(s.scaled(8))
    yield s.says("CONTAINED")
    assert _scaled_once(s)
    assert s.shop.dry_run_result[0].request_object == s.written[0].request_object
    assert s.run["answered_by"] == f"slack:{s.ana}"


@scene(mode="approve")
def test_a_forged_or_old_request_and_a_click_after_the_alert_write_nothing(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.asks
    good = s.signed(Click.EXPLAIN, value=s.value())
    refused = [s.forged(Click.APPROVE, secret="somebody-else"), s.forged(Click.APPROVE, age=301)]
    assert [s.send(request) for request in (*refused, good, good)] == [401, 401, 200, 401]
    assert s.run["answer"] == ""
    value = s.value()
    s.fire(resolved=True)
    yield lambda: s.state == "resolved"
    s.click(Click.APPROVE, value=value)
    yield lambda: "the alert resolved while the approval request stood" in s.told(s.ana)
    assert "This did not count" in s.told(s.ana)
    yield lambda: s.buttons == []
    assert _untouched(s)


@scene(mode="approve")
def test_a_click_after_the_question_expired_writes_nothing(s: Scene) -> Script:
    """A question stands for a minute at least, so its end is put into the past while nobody serves."""
    yield from s.opens()
    s.fire()
    yield s.asks
    shown = s.value()
    yield from s.dies(s.service)
    s.passes_expiry()
    yield from s.comes_back(s.services[0])
    s.click(Click.APPROVE, value=shown)
    yield lambda: "the question has expired" in s.told(s.ana)
    assert (s.run["state"], s.run["answer"]) == ("waiting", "")
    assert _untouched(s)


if ALL:  # a question stands for a minute at least

    @scene(mode="approve", approval={"expires": "1m"}, first=True)
    def test_a_question_that_nobody_answers_goes_to_a_person(s: Scene) -> Script:
        yield from s.opens()
        s.fire()
        yield s.ended("expired")
        yield s.says("ESCALATED")
        s.click(Click.APPROVE, value=s.value())
        yield lambda: "nobody answered about scale-out in time" in s.told(s.ana)
        assert s.buttons == ["Acknowledge"]
        assert _untouched(s)


@scene(mode="approve", first=True)
def test_a_plan_that_changed_since_is_asked_about_again_with_the_difference(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.asks
    first, old = s.run["id"], s.value()
    s.shop.edit({"spec": {"replicas": 3}})
    s.click(Click.APPROVE)
    yield lambda: s.run["id"] != first and s.asks()
    assert f"slack:{s.ana} approved a plan that was not carried out" in s.parent
    assert "/spec/replicas is 3 now, it was 2" in s.parent
    s.click(Click.APPROVE, s.ben, old)
    yield lambda: "The question that stands now is about another plan" in s.told(s.ben)
    assert _untouched(s)
    s.click(Click.APPROVE, s.ben)
    yield from s.fixed(s.scaled(8))
    assert _scaled_once(s)


@scene(mode="approve")
def test_the_old_button_works_once_after_the_service_was_killed_in_the_wait(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.asks
    shown = s.value()
    yield from s.dies(s.service)
    yield from s.comes_back(s.services[0])
    clicked = s.signed(Click.APPROVE, value=shown)
    assert s.send(clicked) == 200
    s.click(Click.APPROVE, value=shown)
    yield from s.fixed(s.scaled(8))
    assert f"approved by slack:{s.ana}" in s.told(s.ana)
    assert _scaled_once(s)
    code, text = yield from s.ask("audit", "verify")
    assert (code, "ok: " in text) == (0, True), text
