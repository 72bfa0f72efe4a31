"""What a call or a question about a target holds back for its other alerts, and for how long: nobody waits for what is milder, is over, or has
no end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import update

from app.domain.alert import Alert, AlertStatus
from app.domain.alert_report import AlertReport, Reported
from app.domain.decision import Mode
from app.policy.escalation import EscalationPolicy, EscalationStep
from app.store.schema import episodes
from tests.doubles.pagerduty import Fault
from tests.scenario.calling import CallingRig
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, all_runs, body, born, policy
from tests.scenario.test_several_alerts_for_one_fault import alerts_of, calls_for

PAIR = ("APIRateLimiting", "HighLatency")


@pytest.mark.parametrize(
    ("asked", "comes", "within"), [("warning", "critical", 30), ("critical", "critical", 1_830)]
)
async def test_an_alert_without_a_step_waits_for_no_milder_question_and_for_none_without_end(
    tmp_path: Path, asked: str, comes: str, within: float
) -> None:
    rules = policy(mode=Mode.APPROVE)
    rules = rules.model_copy(
        update={
            "rules": tuple(
                r.model_copy(
                    update={"approval": r.approval.model_copy(update={"expires": 16 * r.approval.expires})}
                )
                for r in rules.rules
            )
        }
    )
    rig = await born(tmp_path, "pod-restarting", rules=rules, use_api=False)
    question = alert(rig, alertname="PodRestarting", deployment="langgraph-worker", severity=asked)
    await rig.send(body(question))
    await rig.run(30, alerts=False)
    assert "WAITING FOR APPROVAL" in rig.notebook.text
    other = alert(rig, alertname="HighLatency", deployment="langgraph-worker", severity=comes)
    if within > 60:
        await _fires_on(rig, [question, other], within - 60)
        assert await calls_for(rig, "HighLatency") == 0
    await _fires_on(rig, [question, other], 120)
    assert await calls_for(rig, "HighLatency") == 1
    await rig.close()


async def _fires_on(rig: Rig, alerts: Sequence[dict[str, object]], seconds: float) -> None:
    while seconds > 0:
        await rig.send(body(*alerts))
        await rig.run(min(240, seconds), alerts=False)
        seconds -= 240


async def _one_called(path: Path, *, use_api: bool) -> tuple[Rig, str, str, list[dict[str, object]]]:
    """Two alerts without a step; the one that a person is called for, the other one, and what of them is sent."""
    rig = await born(path, use_api=use_api)
    alerts = alerts_of(rig, "langgraph", PAIR)
    if use_api:
        _knows(rig, set())
    await rig.send(body(*alerts))
    await rig.run(30, alerts=False)
    called, other = sorted(PAIR, key=lambda name: name != PAIR[0])
    if not await calls_for(rig, called):
        called, other = other, called
    assert (await calls_for(rig, called), await calls_for(rig, other)) == (1, 0)
    return rig, called, other, [a for a, name in zip(alerts, PAIR, strict=True) if name == other]


def _knows(rig: Rig, gone: set[str]) -> None:
    """Alertmanager has all alerts but those that are gone."""

    async def states(alerts: Sequence[Alert]) -> Sequence[AlertReport]:
        return [
            AlertReport(Reported.GONE if a.labels["alertname"] in gone else Reported.FIRING, "it says so")
            for a in alerts
        ]

    vars(rig.cluster.alertmanager)["states"] = states


async def test_a_call_whose_own_alert_has_ended_is_for_no_other_one(tmp_path: Path) -> None:
    """Also where its incident is open: whoever was called sees it over."""
    rig, called, other, still = await _one_called(tmp_path, use_api=False)
    mine = next(i.id for i in await all_incidents(rig) if i.alertname == called)
    ended = update(episodes).where(episodes.c.incident_id == mine).values(status=AlertStatus.RESOLVED.value)
    await rig.store.write(lambda tx: tx.conn.execute(ended))
    await _fires_on(rig, still, 360)
    assert await calls_for(rig, other) == 1
    await rig.close()


async def test_a_call_whose_own_alert_is_gone_at_its_source_is_for_no_other_one(tmp_path: Path) -> None:
    rig, called, other, still = await _one_called(tmp_path, use_api=True)
    _knows(rig, {called})
    await _fires_on(rig, still, 1_800)
    assert await calls_for(rig, other) == 1
    await rig.close()


async def test_a_call_whose_page_was_given_up_is_for_no_other_one(tmp_path: Path) -> None:
    """PagerDuty refuses the first one's page and is well again: the other alert's own page goes out."""
    page = EscalationStep(name="on-call", page=True)
    rig = CallingRig(tmp_path / "rig.sqlite", scenarios=("high-error-rate",), use_api=False)
    rig.policy = policy({"escalation": EscalationPolicy(steps=(page,))})
    await rig.born()
    first, second = alerts_of(rig, "langgraph", PAIR)
    rig.pagerduty.fail(*[Fault(status=400)] * 10)
    await rig.send(body(first))
    await rig.run(50, alerts=False)
    assert "The page was not sent" in rig.notebook.text
    rig.pagerduty.well()
    await _fires_on(rig, [first, second], 360)
    assert len(rig.pagerduty.woken) == 1
    assert await calls_for(rig, PAIR[1]) == 1
    await rig.close()


async def test_of_several_that_are_asked_about_in_turn_none_waits_for_ever(tmp_path: Path) -> None:
    """Two alerts end and fire again before their questions expire; the third is asked about once its own answer would be due."""
    rig = await born(tmp_path, "pod-restarting", rules=policy(mode=Mode.APPROVE), use_api=False)
    names = ("PodRestarting", "KubePodCrashLooping", "HighErrorRate")
    alerts = dict(zip(names, alerts_of(rig, "langgraph-worker", names), strict=True))
    for name in names:
        await rig.send(body(alerts[name]))
        await rig.run(10, alerts=False)
    for _ in range(2):
        await _fires_on(rig, list(alerts.values()), 1_640)
        for name in names[:2]:
            ended = {**alerts[name], "status": "resolved", "endsAt": rig.clock.now().isoformat()}
            await rig.send(body(ended))
            await rig.run(1, alerts=False)
            alerts[name] = {**alerts[name], "startsAt": rig.clock.now().isoformat()}
            await rig.send(body(alerts[name]))
            await rig.run(20, alerts=False)
    of_it = {i.id for i in await all_incidents(rig) if i.alertname == "HighErrorRate"}
    assert [run.incident_id in of_it for run in await all_runs(rig)].count(True) == 1
    await rig.close()
