"""Questions and calls of an alert that comes and goes: their times add up until somebody is called, their number is bounded, and they take nothing
from an order nor from another alert of the target. And an approval that expired while its alert went."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Alert, Delivery, ManualRequest, Source
from app.domain.alert_report import AlertReport, Reported
from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.json import digest
from app.domain.outcome import RunState
from app.flow.calling import escalation
from app.policy.model import Approval, Otherwise
from app.sim import Fault, FaultKind
from tests.crash.worlds import flood
from tests.scenario import calling
from tests.scenario.calling import CallingRig
from tests.scenario.moments import blind_from
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    alert,
    all_incidents,
    all_runs,
    body,
    born,
    decision,
    policy,
    says_yes,
    trail,
    writes,
)
from tests.scenario.test_clock_set_back import set_back

LABELS = {"alertname": "HighLatency", "deployment": "langgraph-api"}
ESCALATE = Otherwise.ESCALATE


async def _flaps(rig: Rig, fires: float, gone: float, hours: float) -> float:
    """Until somebody is called; how many seconds that took."""
    begun = rig.clock.monotonic()
    while rig.clock.monotonic() - begun < hours * 3_600:
        there = alert(rig, started=1, **LABELS)
        await rig.send(body(there))
        await rig.run(fires, alerts=False)
        if await trail(rig, EventKind.ESCALATED):
            break
        await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
        await rig.run(gone, alerts=False)
    return rig.clock.monotonic() - begun


async def _asking(tmp_path: Path, approval: Approval = Approval()) -> Rig:  # noqa: B008 - it is frozen
    rules = policy(mode=Mode.APPROVE, otherwise=(ESCALATE,), approval=approval)
    return await born(tmp_path, world=flood(), rules=rules, use_api=False, stride=30.0, sweep=30.0)


@pytest.mark.parametrize(("fires", "gone", "latest"), [(600, 1_200, 2.0), (300, 420, 1.5)])
async def test_an_alert_that_fires_a_part_of_the_time_calls_somebody(
    tmp_path: Path, fires: float, gone: float, latest: float
) -> None:
    rig = await _asking(tmp_path)
    assert await _flaps(rig, fires, gone, hours=4) < latest * 3_600
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_an_alert_that_is_there_for_seconds_is_not_asked_about_each_time(tmp_path: Path) -> None:
    rig = await _asking(tmp_path)
    await _flaps(rig, 20, 10, hours=0.25)
    assert len(await all_runs(rig)) in range(12, 12 + 3)
    await rig.close()


async def test_an_alert_that_is_never_there_for_as_long_as_the_least_question_calls_somebody(
    tmp_path: Path,
) -> None:
    rig = await _asking(tmp_path, Approval(expires=timedelta(minutes=5)))
    assert await _flaps(rig, 45, 15, hours=0.5) < 25 * 60
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_the_time_in_which_a_question_was_held_back_counts_as_well(tmp_path: Path) -> None:
    """One in five minutes is put for 20 s each: those alone add up to the time of a question after hours."""
    rig = await _asking(tmp_path, Approval(expires=timedelta(minutes=5)))
    assert await _flaps(rig, 20, 10, hours=0.3) < 17 * 60
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_an_order_has_its_own_time(tmp_path: Path) -> None:
    """Questions of an alert about the same take nothing from it, nor does it from theirs."""
    rig = await _asking(tmp_path)
    for _ in range(3):
        there = alert(rig, started=1, **LABELS)
        await rig.send(body(there))
        await rig.run(460, alerts=False)
        await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
        await rig.run(20, alerts=False)
    given: dict[str, Any] = {}
    order = ManualRequest("high-latency", "rag7/Deployment/langgraph-api", given, "as agreed", "kim")
    ordered = Delivery(
        Source.MANUAL, rig.clock.now(), "kim", dedupe_key="k", body_digest=digest(["k"]), manual=order
    )
    await rig.store.ingest(ordered)
    await rig.run(60, alerts=False)
    run = (await all_runs(rig))[-1]
    assert run.state is RunState.WAITING
    assert run.expires_at is not None
    assert run.expires_at - run.requested_at == timedelta(minutes=30)
    await rig.close()


def _gone_at_the_source(rig: Rig) -> None:
    """From now on Alertmanager has it no more."""

    async def states(alerts: Sequence[Alert]) -> Sequence[AlertReport]:
        return [AlertReport(Reported.GONE, "")] * len(alerts)

    vars(rig.cluster.alertmanager)["states"] = states
    object.__setattr__(rig.services, "alert_sources", rig.cluster.alertmanager)


@pytest.mark.parametrize("told", [True, False])
async def test_an_approval_that_expired_calls_nobody_once_its_alert_is_gone_and_nothing_is_in_place(
    tmp_path: Path, *, told: bool
) -> None:
    """Nothing could be read from the yes on; the message that the alert has resolved came, or is on its way."""
    rig = await _asking(tmp_path, Approval(expires=timedelta(minutes=5)))
    there = alert(rig, started=1, **LABELS)
    await rig.send(body(there))
    await rig.run(270, alerts=False)
    blind = blind_from(rig, RunState.ACTING)
    await says_yes(rig)
    await rig.run(10, alerts=False)
    assert (await all_runs(rig))[0].state is RunState.ACTING
    if told:
        await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    else:
        _gone_at_the_source(rig)
    await rig.run(140, alerts=False)
    blind.on = False
    await rig.run(120, alerts=False)
    [run] = await all_runs(rig)
    assert run.answer == "approved"
    assert "expired before it was begun" in (run.result or "")
    assert not await trail(rig, EventKind.ESCALATED)
    assert not writes(rig)
    await rig.close()


async def _no_step(tmp_path: Path, stride: float = 20.0, *steps: dict[str, Any]) -> CallingRig:
    """No step helps an alert of the rate limits here, and people are called for it."""
    rig = CallingRig(tmp_path / "rig.sqlite", world=flood(), stride=stride, use_api=False)
    rig.sweep = stride
    rig.policy = policy({"escalation": calling.steps(*steps)}, otherwise=(ESCALATE,))
    await rig.born()
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)
    return rig


async def _comes_and_goes(
    rig: Rig, fires: float, gone: float, times: int, severity: str = "critical"
) -> None:
    for _ in range(times):
        named = {"severity": severity, "deployment": "langgraph-api"}
        there = alert(rig, started=1, alertname="APIRateLimiting", **named)
        await rig.send(body(there))
        await rig.run(fires, alerts=False)
        await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
        await rig.run(gone, alerts=False)


@pytest.mark.parametrize(
    ("fires", "gone", "times", "calls"),
    [
        pytest.param(40, 20, 1, (0, 0), id="seconds, once: another alert may have followed"),
        pytest.param(40, 20, 3, (1, 2), id="seconds, again: what was waited for did not come"),
        pytest.param(80, 20, 12, (5, 6), id="a minute and more, each time"),
        pytest.param(80, 1_000, 4, (4, 4), id="now and then"),
        pytest.param(400, 20, 5, (5, 5), id="there all the time"),
    ],
)
async def test_calls_for_an_alert_that_comes_and_goes_are_made_and_are_bounded(
    fires: float, gone: float, times: int, calls: tuple[int, int], tmp_path: Path
) -> None:
    """The minute in which another alert may follow is waited for once, not at each time; and three calls that nobody was needed for are enough in a
    row."""
    rig = await _no_step(tmp_path)
    await _comes_and_goes(rig, fires, gone, times)
    assert calls[0] <= len(rig.pagerduty.woken) <= calls[1]
    assert ("its alert comes and goes: it fired" in rig.notebook.text) is (times > 4)
    await rig.close()


async def _asked(rig: CallingRig, fires: float, gone: float) -> int:
    """How many steps are asked while it is there once more, one after the other."""
    before = len(await trail(rig, EventKind.STEP_ASKED))
    await _comes_and_goes(rig, fires, gone, 1)
    asked = [e.data["step"] for e in await trail(rig, EventKind.STEP_ASKED)][before:]
    assert asked == [calling.ON_CALL, calling.SECOND, calling.MANAGER][: len(asked)]
    return len(asked)


@pytest.mark.parametrize(
    ("fires", "gone", "within", "expected"),
    [
        pytest.param(420, 480, ("15m", "14m"), [1, 1, 2, 2, 3], id="there for half the time"),
        pytest.param(
            420,
            3_000,
            ("15m", "14m"),
            [1, 1, 2, 2, 3],
            id="gone most of the time, which is no time to answer",
        ),
        pytest.param(
            60, 1_200, ("3m", "2m"), [1, 1, 1, 2, 2, 3], id="there for a moment: a call is a minute at least"
        ),
        pytest.param(
            90,
            30,
            ("10m", "1h"),
            [1, 1, 1, 0, 0, 1, 0, 0, 2],
            id="so often that calls are put off: it is there, and may be taken",
        ),
    ],
)
async def test_who_did_not_answer_is_not_waited_for_anew_each_time_that_an_alert_comes_back(
    tmp_path: Path, fires: float, gone: float, within: tuple[str, str], expected: list[int]
) -> None:
    """It is never there for as long as the first step has to answer: the others are asked all the same, each when the one before had its own time in
    all the times in which it could have answered."""
    first, second, third = calling.STEPS
    steps = {**first, "answer_within": within[0]}, {**second, "answer_within": within[1]}, third
    rig = await _no_step(tmp_path, 60.0 if fires > 400 else 30.0, *steps)
    assert [await _asked(rig, fires, gone) for _ in expected] == expected
    assert "nobody answered when its alert was there before" in rig.notebook.text
    await rig.run(3_700, alerts=False)
    assert await _asked(rig, fires, gone) <= 1, "what is more than an hour apart is asked about anew"
    await rig.close()


@pytest.mark.parametrize("joins", [True, False])
async def test_what_is_more_severe_than_what_people_were_called_for_again_and_again_calls_at_once(
    tmp_path: Path, *, joins: bool
) -> None:
    """Also where it joins the one whose call is put off, which is looked at in some minutes anyway."""
    rig = await _no_step(tmp_path)
    await _comes_and_goes(rig, 80, 20, 4, "warning")
    assert len(rig.pagerduty.woken) == 3
    if joins:
        named = {"alertname": "APIRateLimiting", "deployment": "langgraph-api"}
        warns = alert(rig, started=1, severity="warning", **named)
        await rig.send(body(warns))
        await rig.run(20, alerts=False)
        assert len(rig.pagerduty.woken) == 3
        await rig.send(body(warns, alert(rig, started=1, severity="critical", **named)))
        await rig.run(20, alerts=False)
    else:
        await _comes_and_goes(rig, 20, 20, 1)
    assert len(rig.pagerduty.woken) == 4
    await rig.close()


async def test_who_took_an_alert_has_it_when_it_comes_back_and_not_for_ever(tmp_path: Path) -> None:
    """Nobody else is called for half an hour, which is said; then somebody is while it fires, and at once for what is more severe."""
    rig = await _no_step(tmp_path)
    there = alert(rig, started=1, alertname="APIRateLimiting", severity="warning", deployment="langgraph-api")
    await rig.send(body(there))
    await rig.run(80, alerts=False)
    [first] = await all_incidents(rig)
    await escalation.acknowledge(rig.services, first.id, "kim", "API")
    await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(40, alerts=False)
    await _comes_and_goes(rig, 120, 20, 2, "warning")
    assert len(rig.pagerduty.woken) == 1
    assert "they have it, and a person is called at" in rig.notebook.text
    await _comes_and_goes(rig, 1_800, 20, 1, "warning")
    assert len(rig.pagerduty.woken) == 2
    await _comes_and_goes(rig, 80, 20, 1)
    assert len(rig.pagerduty.woken) == 3
    await rig.close()


@pytest.mark.parametrize("back", [timedelta(hours=2), -timedelta(hours=2)], ids=["set back", "set ahead"])
async def test_who_took_an_alert_has_it_for_as_long_whatever_becomes_of_the_clock(
    tmp_path: Path, back: timedelta
) -> None:
    rig = await _no_step(tmp_path)
    there = alert(rig, started=1, alertname="APIRateLimiting", severity="warning", deployment="langgraph-api")
    await rig.send(body(there))
    await rig.run(80, alerts=False)
    [first] = await all_incidents(rig)
    await escalation.acknowledge(rig.services, first.id, "kim", "API")
    await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(60, alerts=False)
    set_back(rig, back)
    await rig.run(60, alerts=False)
    await rig.send(
        body(
            alert(rig, started=1, alertname="APIRateLimiting", severity="warning", deployment="langgraph-api")
        )
    )
    await rig.run(1_500, alerts=False)
    assert len(rig.pagerduty.woken) == 1
    await rig.run(360, alerts=False)
    assert len(rig.pagerduty.woken) == 2
    await rig.close()


async def test_what_somebody_took_is_not_acted_upon_when_it_comes_back_and_not_left_for_ever(
    tmp_path: Path,
) -> None:
    """Also where the rule acts by itself: whoever is at it has half an hour without another hand in it."""
    rig = await born(tmp_path)
    await rig.operations.pause("all", "somebody looks", "ops", None)
    there = alert(rig, started=1)
    await rig.send(body(there))
    await rig.run(30, alerts=False)
    [first] = await all_incidents(rig)
    await escalation.acknowledge(rig.services, first.id, "kim", "API")
    await rig.operations.resume("all", "ops")
    await rig.run(60, alerts=False)
    assert not writes(rig)
    await rig.send(body({**there, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(20, alerts=False)
    await rig.send(body(alert(rig, started=1)))
    await rig.run(600, alerts=False)
    assert not writes(rig)
    newest = (await all_incidents(rig))[-1]
    assert first.id in str(await decision(rig, newest.id))
    await rig.run(2_400, alerts=False)
    assert writes(rig) == ["patch langgraph"]
    await rig.close()


async def test_an_alert_that_comes_and_goes_while_nobody_can_look_calls_somebody(tmp_path: Path) -> None:
    """The ten minutes are those of all its incidents in a row."""
    rig = await _no_step(tmp_path)
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, times=1_000_000))
    await _comes_and_goes(rig, 240, 40, 2)
    assert not rig.pagerduty.woken
    await _comes_and_goes(rig, 240, 40, 1)
    assert len(rig.pagerduty.woken) == 1
    await rig.close()


async def test_who_joined_a_call_is_called_itself_as_soon_as_that_is_over(tmp_path: Path) -> None:
    """The one whose call was for both comes and goes; what fires on is looked at while it is away."""
    rig = await _no_step(tmp_path)
    named = {"severity": "critical", "deployment": "langgraph-api"}
    comes = alert(rig, started=1, alertname="APIRateLimiting", **named)
    await rig.send(body(comes))
    await rig.run(30, alerts=False)
    await rig.send(body(alert(rig, started=1, alertname="DatabaseConnectionIssues", **named)))
    await rig.run(180, alerts=False)
    steady = next(i for i in await all_incidents(rig) if i.alertname != "APIRateLimiting")
    called = [e.incident_id for e in await trail(rig, EventKind.ESCALATED)]
    assert called
    assert steady.id not in called
    await rig.send(body({**comes, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(20, alerts=False)
    assert steady.id in [e.incident_id for e in await trail(rig, EventKind.ESCALATED)]
    await rig.close()
