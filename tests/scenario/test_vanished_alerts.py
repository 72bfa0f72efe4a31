"""Alerts that vanish without a word, and decisions that are cut off: no incident rests for ever, and none waits for its claim."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert_report import Reported
from app.domain.decision import Mode, Verdict
from app.domain.errors import ProbeUnavailable, StoreUnavailable
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.escalation import EscalationPolicy, EscalationStep
from app.policy.model import Approval
from app.store import escalations
from tests.scenario.calling import steps
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    alert,
    all_runs,
    body,
    born,
    decision,
    policy,
    the_incident,
    the_run,
    trail,
    writes,
)
from tests.scenario.test_promise_7_at_odd_moments import _held
from tests.scenario.test_questions_that_come_and_go import _gone_at_the_source
from tests.scenario.test_way_of_an_incident import Told, use

GHOSTS: dict[str, dict[str, Any]] = {
    "no rule": {"alertname": "NobodyKnowsIt"},
    "no target": {"deployment": "ghost"},
    "out of scope": {"namespace": "kube-system"},
    "only observed": {},
}


@pytest.mark.parametrize("asked", [True, False], ids=["its source is asked", "only messages tell"])
@pytest.mark.parametrize("labels", GHOSTS.values(), ids=GHOSTS.keys())
async def test_an_alert_that_vanishes_without_a_word_is_closed_however_far_its_incident_came(
    labels: dict[str, Any], asked: bool, tmp_path: Path
) -> None:
    """Also where nothing was read of a target, and without looking at anything again for it."""
    rig = await born(tmp_path, rules=policy({"mode": Mode.OBSERVE}), use_api=False)
    if asked:
        use(rig, alert_sources=Told(lambda _: Reported.GONE))
    await rig.send(body(alert(rig, **labels)))
    await rig.run(60, alerts=False)
    assert not (await the_incident(rig)).state.closed
    rig.stride = 600.0
    await rig.run(9 * 3_600 if asked else 40 * 3_600, alerts=False)
    incident = await the_incident(rig)
    assert incident.state is IncidentState.RESOLVED
    assert ("its source no longer has" if asked else "nothing was heard") in (
        await trail(rig, EventKind.INCIDENT_MOVED)
    )[-1].data["reason"]
    await rig.close()


@pytest.mark.parametrize("labels", list(GHOSTS.values())[:2], ids=list(GHOSTS)[:2])
async def test_what_still_fires_stays_open_whatever_nobody_says(
    labels: dict[str, Any], tmp_path: Path
) -> None:
    rig = await born(tmp_path, use_api=False)
    use(rig, alert_sources=Told(lambda _: Reported.FIRING))
    await rig.send(body(alert(rig, **labels)))
    rig.stride = 600.0
    await rig.run(30 * 3_600, alerts=False)
    assert not (await the_incident(rig)).state.closed
    await rig.close()


async def test_a_decision_that_the_store_cut_off_is_made_again_within_seconds(tmp_path: Path) -> None:
    """Later each time, long before its claim would have run out."""
    rig = await born(tmp_path, use_api=False)
    whole, failures = rig.services.store, list[float]()

    class Away:
        """The store does not answer the first reads of a decision."""

        def __getattr__(self, name: str) -> Any:
            return getattr(whole, name)

        async def read(self, fn: Any) -> Any:
            if "decide._load" in fn.__qualname__ or "_claimed" in fn.__qualname__:
                if len(failures) < 2:
                    failures.append(rig.clock.monotonic())
                    raise StoreUnavailable("the database is restarting")
                failures.append(rig.clock.monotonic())
            return await whole.read(fn)

    use(rig, store=Away())
    await rig.send(body(alert(rig)))
    rig.stride = 1.0
    await rig.run(30, alerts=False)
    first, second, third = failures[:3]
    assert (round(second - first), round(third - second)) == (5, 10)
    assert (await decision(rig)).verdict is Verdict.ALLOW
    await rig.close()


UNHEARD = {
    "gone": (Reported.GONE, IncidentState.RESOLVED, "its source no longer has the alert"),
    "silenced": (Reported.SILENCED, IncidentState.REFUSED, "nobody is called for it, as its alert is silenced"),
}  # fmt: skip


@pytest.mark.parametrize(("word", "becomes", "told"), UNHEARD.values(), ids=UNHEARD.keys())
async def test_a_question_about_an_alert_that_nobody_hears_any_more_pages_nobody_when_it_ends(
    word: Reported, becomes: IncidentState, told: str, tmp_path: Path
) -> None:
    """An alert that is silenced, or that resolved while it was, sends no message: its source is asked before people are."""
    source = Told(lambda _: Reported.FIRING)
    rig = await _asks(tmp_path, source)
    source.say = lambda _: word
    await rig.run(2_400, alerts=False)
    assert (await the_incident(rig)).state is becomes
    assert await trail(rig, EventKind.ESCALATED) == []
    run = (await all_runs(rig))[0]
    assert run.state is RunState.ABANDONED
    assert told in run.result
    await rig.close()


@pytest.mark.parametrize("word", [Reported.FIRING, Reported.UNKNOWN, Reported.TOLD])
async def test_a_question_that_nobody_answers_pages_where_its_source_does_not_say_otherwise(
    word: Reported, tmp_path: Path
) -> None:
    source = Told(lambda _: Reported.FIRING)
    rig = await _asks(tmp_path, source)
    source.say = lambda _: word
    await rig.run(2_400, alerts=False)
    assert (await all_runs(rig))[0].state is RunState.EXPIRED
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_no_further_step_of_an_escalation_is_asked_about_an_alert_that_is_gone(tmp_path: Path) -> None:
    """Its incident is closed when the step is due, and not hours later."""
    source = Told(lambda _: Reported.FIRING)
    steps = (
        EscalationStep(name="first", who=("slack:U07ABCD1234",)),
        EscalationStep(name="second", who=("slack:U07WXYZ5678",)),
    )
    rig = await _asks(tmp_path, source, escalation=EscalationPolicy(steps=steps))
    await rig.run(1_300, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    source.say = lambda _: Reported.GONE
    await rig.run(1_800, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    assert [event.data["step"] for event in await trail(rig, EventKind.STEP_ASKED)] == ["first"]
    await rig.close()


async def _asks(path: Path, source: Told, **of_policy: Any) -> Rig:
    """A question stands, good for 20 minutes, and nothing more is sent."""
    approval = Approval(expires=timedelta(minutes=20))
    rig = await born(path, rules=policy(of_policy, mode=Mode.APPROVE, approval=approval), use_api=False)
    use(rig, alert_sources=source)
    await rig.send(body(alert(rig)))
    rig.stride = 10.0
    await rig.run(60, alerts=False)
    assert (await all_runs(rig))[0].state is RunState.WAITING
    return rig


async def _acted(path: Path, story: str = "high-error-rate") -> Rig:
    """The step of the story is taken, and is being verified."""
    rig = await born(path, story)
    await rig.until(lambda: bool(writes(rig)))
    return rig


async def _result(rig: Rig) -> RunState:
    for _ in range(120):
        await rig.run(10)
        if (run := (await all_runs(rig))[0]).state.ended:
            await rig.run(5)
            return run.state
    raise AssertionError(rig.notebook.text[-2000:])


def _measures(rig: Rig, answer: Any) -> None:
    """From now on this is what Prometheus answers; the alert resolves as it does in the story."""

    async def instant(query: str) -> Any:
        assert "http_requests_total" in query
        if isinstance(answer, Exception):
            raise answer
        return answer

    vars(rig.cluster.metrics)["instant"] = instant


VANISHED: dict[str, tuple[Any, RunState, str]] = {
    "its series are gone": ([], RunState.INCONCLUSIVE, "5xx has no value any more"),
    "Prometheus was restarted, and nothing changed": ([({}, 0.34)], RunState.INCONCLUSIVE, "5xx is as it was before the step"),
    "Prometheus is away": (ProbeUnavailable("connection refused"), RunState.PROBE_ERROR, "whether its source is gone too is not known"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "ends", "words"), VANISHED.values(), ids=VANISHED.keys())
async def test_e_an_alert_whose_source_vanished_is_not_fixed(
    tmp_path: Path, answer: Any, ends: RunState, words: str
) -> None:
    """It is gone and so is what it is measured from: a person is told, and nothing is taken back."""
    rig = await _acted(tmp_path)
    _measures(rig, answer)
    assert await _result(rig) is ends
    assert writes(rig) == ["patch langgraph"]
    assert words in rig.notebook.text
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_e_what_is_measured_better_and_alert_gone_is_fixed(tmp_path: Path) -> None:
    rig = await _acted(tmp_path)
    _measures(rig, [({}, 0.004)])
    assert await _result(rig) is RunState.FIXED
    await rig.close()


async def test_e_a_share_of_errors_without_a_value_is_none_at_all_while_requests_are_counted(
    tmp_path: Path,
) -> None:
    """New pods have no series of failed requests before their first one fails."""
    rig = await _acted(tmp_path)

    async def instant(query: str) -> Any:
        return [] if 'status=~"5' in query else [({}, 9.0)]

    vars(rig.cluster.metrics)["instant"] = instant
    assert await _result(rig) is RunState.FIXED
    await rig.close()


@pytest.mark.parametrize("rows", [[], [({}, 0.0)]], ids=["no series", "counted as none"])
async def test_e_a_share_of_errors_that_fell_to_nothing_is_no_fix_while_error_lines_go_on(
    rows: list[Any], tmp_path: Path
) -> None:
    """The older version labels its answers otherwise: what silenced the alert is no second witness for it."""
    rig = await _acted(tmp_path)

    async def instant(query: str) -> Any:
        return rows if 'status=~"5' in query else [({}, 9.0)]

    async def logs(_query: Any) -> str:
        stamp = rig.clock.now().isoformat()
        return f"{stamp} ERROR TypeError: connect() got an unexpected keyword argument 'pool_size'\n" * 400

    vars(rig.cluster.metrics)["instant"], vars(rig.cluster)["logs"] = instant, logs
    assert await _result(rig) is RunState.INCONCLUSIVE
    assert writes(rig) == ["patch langgraph"]
    assert "the alert is gone, and what it told of goes on: error lines a minute" in rig.notebook.text
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_e_what_cannot_be_counted_any_more_is_not_fixed(tmp_path: Path) -> None:
    """The measure fell to nothing, and the logs cannot be read any more: the alert's silence alone is no fix."""
    rig = await _acted(tmp_path)

    async def instant(query: str) -> Any:
        return [({}, 0.0)] if 'status=~"5' in query else [({}, 9.0)]

    async def logs(_query: Any) -> str:
        raise ProbeUnavailable("logs cannot be read")

    vars(rig.cluster.metrics)["instant"], vars(rig.cluster)["logs"] = instant, logs
    assert await _result(rig) is RunState.PROBE_ERROR
    assert writes(rig) == ["patch langgraph"]
    said = "the alert is gone, and whether what it told of goes on could not be counted: error lines a minute"
    assert said in (await the_run(rig)).result
    assert "What was done stays in place" in (await the_run(rig)).result
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_e_logs_that_can_be_read_again_within_the_timeout_still_make_a_fix(tmp_path: Path) -> None:
    rig = await _acted(tmp_path)
    whole, began = rig.cluster.logs, rig.clock.monotonic()

    async def instant(query: str) -> Any:
        return [({}, 0.0)] if 'status=~"5' in query else [({}, 9.0)]

    async def logs(query: Any) -> str:
        if rig.clock.monotonic() - began > 240:
            return await whole(query)
        raise ProbeUnavailable("logs cannot be read")

    vars(rig.cluster.metrics)["instant"], vars(rig.cluster)["logs"] = instant, logs
    assert await _result(rig) is RunState.FIXED
    await rig.close()


async def test_e_a_prometheus_that_stands_still_is_no_measurement_of_a_fix(tmp_path: Path) -> None:
    """It answers as before for ever: whether the errors are gone nobody knows."""
    rig = await _acted(tmp_path)
    began = rig.clock.monotonic() - 200

    async def instant(query: str) -> Any:
        return [({}, rig.clock.monotonic() - began if "timestamp(" in query else 0.004)]

    vars(rig.cluster.metrics)["instant"] = instant
    assert await _result(rig) is RunState.PROBE_ERROR
    assert "whether its source is gone too is not known: 5xx: its newest sample is " in rig.notebook.text
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


async def test_e_an_alert_about_an_event_that_comes_again_is_not_fixed(tmp_path: Path) -> None:
    """It resolves between two kills, and the rollout is complete all the while: the pods tell."""
    rig = await _acted(tmp_path, "out-of-memory")
    whole = rig.cluster.list_objects

    async def listed(kind: Kind, *arguments: Any, **options: Any) -> Any:
        found = await whole(kind, *arguments, **options)
        at = (rig.clock.now() - timedelta(seconds=10)).isoformat()
        for status in (
            s for o in found if kind is Kind.POD for s in o.get("status", {}).get("containerStatuses", ())
        ):
            status["restartCount"] = 1
            status["lastState"] = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": at}}
        return found

    vars(rig.cluster)["list_objects"] = listed
    assert await _result(rig) is RunState.INCONCLUSIVE
    assert "ended again 10s ago (OOMKilled)" in rig.notebook.text
    await rig.close()


async def test_an_undo_that_waits_keeps_no_further_step_from_being_asked_when_its_alert_vanishes(
    tmp_path: Path,
) -> None:
    """No look closes an incident that a run has, so that nothing ends it without a person."""
    rig = await _held(tmp_path)
    rig.policy = rig.policy.model_copy(update={"escalation": steps(), "version": "two"})
    await rig.run(30)
    incident = await the_incident(rig)
    _gone_at_the_source(rig)
    await rig.run(1_200, alerts=False)
    assert (await the_run(rig)).state is RunState.UNDOING
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    walk = (await rig.store.read(lambda conn: escalations.of_incident(conn, incident.id)))[-1]
    assert len(walk.asked) == 3
    await rig.close()
