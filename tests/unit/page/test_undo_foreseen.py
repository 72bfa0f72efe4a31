"""The look at an undo and the press ask the same questions: what the press would refuse, the look tells beforehand in the same words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from zoneinfo import ZoneInfo

import pytest

from app.domain.decision import Mode
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.policy.model import Window
from app.sim.faults import Fault, FaultKind, Request
from app.store import people
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_run, writes
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, Page, access, filled
from tests.unit.page.test_clicks import ended
from tests.unit.page.test_closer import API, acted
from tests.unit.page.test_pages import expect_sound

TYPED = "the old release was better"
MARK = {"op": "add", "path": "/metadata/annotations/alert-remediator.io~1enabled", "value": "false"}


def paused(scope: str) -> Callable[[Rig], Awaitable[None]]:
    """A pause of this scope."""

    async def set_it(rig: Rig) -> None:
        await rig.store.write(lambda tx: people.pause(tx, scope, "upgrade", "ana"))

    return set_it


async def _service_observes(rig: Rig) -> None:
    object.__setattr__(rig.services, "ceiling", Mode.OBSERVE)


async def _policy_observes(rig: Rig) -> None:
    rig.policy = rig.policy.model_copy(update={"mode": Mode.OBSERVE})


async def _frozen(rig: Rig) -> None:
    rig.policy = rig.policy.model_copy(update={"freeze": (Window(name="always", timezone=ZoneInfo("UTC")),)})


async def _marked(rig: Rig) -> None:
    rig.cluster.edit(*API, [MARK], manager="kubectl-annotate")


async def _protected(rig: Rig) -> None:
    scope = rig.policy.scope.model_copy(update={"protected_kinds": (Kind.DEPLOYMENT,)})
    rig.policy = rig.policy.model_copy(update={"scope": scope})


async def _out_of_scope(rig: Rig) -> None:
    scope = rig.policy.scope.model_copy(update={"namespaces": ("other",)})
    rig.policy = rig.policy.model_copy(update={"scope": scope})


async def _unreadable(rig: Rig) -> None:
    rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="get", kind=Kind.DEPLOYMENT, times=99))


HOLDS: dict[str, tuple[Callable[[Rig], Awaitable[None]], str]] = {
    "a pause of all": (paused("all"), "all is paused by ana: upgrade"),
    "a pause of the namespace": (paused("namespace:rag7"), "namespace:rag7 is paused by ana"),
    "a pause of the target": (paused("target:rag7/Deployment/langgraph"), "is paused by ana"),
    "a pause of the remediation": (paused("remediation:high-error-rate"), "is paused by ana"),
    "the service's ceiling": (_service_observes, "is set to observe"),
    "the policy's mode": (_policy_observes, "the policy is set to observe"),
    "a freeze": (_frozen, "frozen: always"),
    "the mark of its owners": (_marked, "off limits"),
    "a kind that is protected by now": (_protected, "off limits"),
    "a namespace that is off limits by now": (_out_of_scope, "off limits"),
    "marks that may not be read": (_unreadable, "off limits"),
}


async def looked_at(browser: Browser, page: Page) -> str:
    """What the look tells."""
    looked = await browser.get(f"{page.path}?see=undo")
    expect_sound(looked)
    told = looked.document.one(id="afterwards").text.partition("What the undo would do now")[2]
    return told.partition("Reason, for the record")[0]


@pytest.mark.parametrize("hold", HOLDS)
async def test_the_look_at_an_undo_tells_every_hold_that_refuses_the_press_and_the_box_that_sets_it_aside(
    rig: Rig, browser: Browser, asked: str, hold: str
) -> None:
    page = await acted(rig, browser, asked)
    before = writes(rig)
    await HOLDS[hold][0](rig)
    told = await looked_at(browser, page)
    assert HOLDS[hold][1] in told
    assert "ticks the box" in told
    assert "taken back" not in told
    data = filled((await browser.get(page.path)).form(f"/runs/{asked}/undo"), reason=TYPED)
    refused = await browser.post(f"/runs/{asked}/undo", data)
    expect_sound(refused)
    alert = refused.document.one(id="afterwards").one(role="alert").text
    assert (refused.status, alert.startswith("Not undone: ")) == (409, True)
    assert alert.removeprefix("Not undone: ").partition(". Who knows that")[0] in told, "the same words"
    assert "ticks the box below" in alert
    assert "remediator undo" not in alert, "a command is no way on for a phone"
    assert writes(rig) == before


async def test_a_refused_undo_keeps_the_reason_and_its_box_is_the_way_on(
    rig: Rig, browser: Browser, asked: str
) -> None:
    page = await acted(rig, browser, asked)
    before = len(writes(rig))
    await paused("all")(rig)
    data = filled((await browser.get(page.path)).form(f"/runs/{asked}/undo"), reason=TYPED)
    refused = await browser.post(f"/runs/{asked}/undo", data)
    form = refused.form(f"/runs/{asked}/undo")
    (typed,) = [field for field in form.all("input") if field.get("name") == "reason"]
    assert typed.get("value") == TYPED
    again = filled(form, reason=typed.get("value"), despite="yes")
    assert (await browser.post(f"/runs/{asked}/undo", again)).status == 200
    assert await ended(rig) is RunState.UNDONE
    assert len(writes(rig)) == before + 1


async def test_an_undo_that_nothing_holds_is_foreseen_and_taken(
    rig: Rig, browser: Browser, asked: str
) -> None:
    page = await acted(rig, browser, asked)
    told = await looked_at(browser, page)
    assert "taken back" in told
    assert "Refused" not in told
    await browser.press(await browser.get(page.path), f"/runs/{asked}/undo", reason=TYPED)
    assert await ended(rig) is RunState.UNDONE


async def test_what_the_server_would_refuse_is_told_before_the_press(
    rig: Rig, browser: Browser, asked: str
) -> None:
    """The look sends the very patch as a dry run, and the run that is ordered all the same comes to the same end."""
    page = await acted(rig, browser, asked)
    before = writes(rig)
    rig.cluster.faults.add(Fault(FaultKind.DENIED, verb="patch", kind=Kind.DEPLOYMENT, times=99))
    told = await looked_at(browser, page)
    assert "not written, the API server refuses it" in told
    assert writes(rig) == before
    await browser.press(await browser.get(page.path), f"/runs/{asked}/undo", reason=TYPED)
    assert await ended(rig) is RunState.STUCK
    assert (await the_run(rig)).state is RunState.STUCK


async def test_pods_that_could_not_start_are_told_before_the_undo_waits_for_them(
    rig: Rig, browser: Browser, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.flow.undoing import startable

    async def cannot(*_: object) -> str:
        return "new pods: the Secret api-keys is not there"

    page = await acted(rig, browser, asked)
    monkeypatch.setattr(startable, "against_undo", cannot)
    told = await looked_at(browser, page)
    assert (
        "held, it would wait: new pods: the Secret api-keys is not there; who wants it all the same" in told
    )


async def test_the_look_stands_above_the_button_that_it_is_about(
    rig: Rig, browser: Browser, asked: str
) -> None:
    page = await acted(rig, browser, asked)
    for path in (page.path, f"{page.path}?see=undo"):
        text = (await browser.get(path)).answer.text
        look = max(text.find("See now what the undo"), text.find("What the undo would do now"))
        assert 0 < look < text.index(f'formaction="/runs/{asked}/undo"')


async def test_a_search_in_the_timeline_keeps_what_was_looked_at(
    rig: Rig, browser: Browser, asked: str
) -> None:
    page = await acted(rig, browser, asked)
    looked = await browser.get(f"{page.path}?see=undo")
    (search,) = [f for f in looked.document.all("form") if f.get("aria-label") == "Timeline"]
    assert {"name": "see", "value": "undo"}.items() <= {
        key: value for field in search.all("input", type="hidden") for key, value in field.attrs.items()
    }.items()


async def test_who_may_not_press_has_the_server_asked_for_nothing_but_what_is_there(
    rig: Rig, browser: Browser, asked: str
) -> None:
    page = await acted(rig, browser, asked)
    sent: list[Request] = []
    rig.cluster.on_request(lambda request, _: sent.append(request))
    reader = Browser(app_of(rig, access()))
    await reader.login("reader")
    assert "taken back" in await looked_at(reader, page)
    assert {request.verb for request in sent} <= {"get", "list", "can_i"}
    await looked_at(browser, page)
    assert {request.dry_run for request in sent if request.verb == "patch"} == {True}
    await reader.close()
