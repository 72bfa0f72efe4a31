"""An alert that counts over a long window fires on after its cause is gone: what helped is not taken back for that, and who has taken an
incident keeps every write that would follow by itself."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert_report import AlertReport, Reported
from app.domain.cluster import LogQuery
from app.domain.events import EventKind
from app.domain.outcome import HELPED, IncidentState, RunState
from app.domain.target import Kind
from app.flow.running.ending import CONSEQUENCES
from app.policy.gates.timing import DID_NOT_HELP
from app.policy.model import Otherwise, Rule
from app.policy.trust import Evidence
from tests.crash.worlds import flood
from tests.scenario.rig import Rig, shipped_policy
from tests.scenario.scenes import (
    alert,
    all_incidents,
    all_runs,
    body,
    born,
    policy,
    the_incident,
    the_run,
    trail,
    writes,
)

UNDO = (Otherwise.UNDO, Otherwise.ESCALATE)
NEXT = (Otherwise.NEXT, *UNDO)


def fires_on(rig: Rig) -> list[Any]:
    """From now on Alertmanager says that every alert fires; the list is its word, and may be changed."""
    word: list[Any] = [Reported.FIRING, "fires", ""]

    async def states(alerts: list[Any]) -> list[AlertReport]:
        return [AlertReport(*word)] * len(alerts)

    vars(rig.cluster.alertmanager)["states"] = states
    return word


async def ended(rig: Rig) -> RunState:
    """Let the run write, and come to its end with no word that the alert has resolved."""
    await rig.until(lambda: bool(writes(rig)), 300)
    for _ in range(100):
        await rig.run(20, alerts=False)
        state = (await all_runs(rig))[-1].state
        if state.ended:
            await rig.run(60, alerts=False)
            return state
    raise AssertionError(rig.notebook.text[-2000:])


def image(rig: Rig, name: str = "langgraph", namespace: str = "rag7") -> str:
    found = rig.cluster.peek(Kind.DEPLOYMENT, namespace, name)
    assert found is not None
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


@pytest.mark.parametrize(
    ("scenario", "name", "bad", "said"),
    [
        ((), "langgraph", "v1.5.0", "error lines a minute"),
        (("pod-restarting",), "langgraph-worker", "v1.5.1", "containers in trouble"),
    ],
    ids=["errors", "a crash loop"],
)
async def test_a_rollback_that_worked_stays_while_the_alert_fires_on(
    scenario: tuple[str, ...], name: str, bad: str, said: str, tmp_path: Path
) -> None:
    """Its errors or crashes are gone: a person gets the alert, and the accused version does not come back."""
    rig = await born(tmp_path, *scenario, rules=shipped_policy())
    assert image(rig, name) == bad
    fires_on(rig)
    assert await ended(rig) is RunState.STILL_FIRING
    assert image(rig, name) == "v1.4.2"
    assert writes(rig) == [f"patch {name}"]
    run, incident = await the_run(rig), await the_incident(rig)
    assert run.result.startswith("it helped, and the alert still fires after")
    assert said in run.result
    assert incident.state is IncidentState.ESCALATED
    assert "it helped, and the alert still fires" in rig.notebook.text
    await rig.close()


async def test_a_rollback_after_which_the_errors_go_on_is_not_flipped(tmp_path: Path) -> None:
    """Both versions fail: it did not help, and which of them runs is for a person to say."""
    rig = await born(tmp_path, rules=shipped_policy())
    fires_on(rig)
    await rig.until(lambda: bool(writes(rig)), 120)

    async def logs(_query: LogQuery) -> str:
        stamp = rig.clock.now().isoformat()
        return f"{stamp} ERROR TypeError: connect() got an unexpected keyword argument 'pool_size'\n" * 400

    measured = rig.cluster.metrics.instant

    async def instant(query: str) -> list[tuple[Mapping[str, str], float]]:
        return [(labels, 0.4) for labels, _ in await measured(query)]

    vars(rig.cluster)["logs"] = logs
    vars(rig.cluster.metrics)["instant"] = instant
    assert await ended(rig) is RunState.NOT_FIXED
    assert image(rig) == "v1.4.2"
    result = (await the_run(rig)).result
    assert "it did not help: error lines a minute" in result
    assert "not undone by itself: to put revision 2 back would bring back what was rolled back" in result
    await rig.close()


async def test_a_step_that_helped_in_part_stays_and_what_is_left_to_do_is_told(tmp_path: Path) -> None:
    """The latency is a quarter of what it was: to take the replicas back would bring it all back."""
    base = flood()
    eased = tuple(b.model_copy(update={"capacity": 4.0}) if b.capacity else b for b in base.behaviours)
    world = base.model_copy(update={"behaviours": eased})
    rig = await born(tmp_path, rules=policy(otherwise=UNDO, steps=("scale-out",)), world=world)
    fires_on(rig)
    assert await ended(rig) is RunState.STILL_FIRING
    assert writes(rig) == ["patch langgraph-api"]
    result = (await the_run(rig)).result
    assert "it helped in part, and the alert still fires" in result
    assert "The cause is still there: " in result
    await rig.close()


async def test_a_step_after_which_the_trouble_goes_on_is_undone(tmp_path: Path) -> None:
    """More replicas, and the latency is what it was."""
    rig = await born(tmp_path, rules=policy(otherwise=UNDO, steps=("scale-out",)), world=flood())
    fires_on(rig)
    assert await ended(rig) is RunState.NOT_FIXED
    assert writes(rig) == ["patch langgraph-api", "patch langgraph-api (undo)"]
    assert "it did not help: Latency" in (await the_run(rig)).result
    await rig.close()


async def test_after_a_step_that_failed_a_refusal_that_time_lifts_calls_a_person_at_once(
    tmp_path: Path,
) -> None:
    """Its alert went away for a moment, and with it the call: the next incident waits for the cooldown, and somebody knows."""
    rules = policy(otherwise=UNDO, steps=("scale-out",), cooldown=timedelta(hours=1))
    rig = await born(tmp_path, rules=rules, world=flood())
    words = fires_on(rig)
    assert await ended(rig) is RunState.NOT_FIXED
    slow = {"alertname": "HighLatency", "deployment": "langgraph-api"}
    words[0] = Reported.GONE
    await rig.send(body(alert(rig, "resolved", started=1_000, **slow)))
    await rig.run(30, alerts=False)
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    words[0] = Reported.FIRING
    await rig.send(body(alert(rig, started=1, **slow)))
    await rig.run(30, alerts=False)
    first, second = await all_incidents(rig)
    assert (first.state, second.state) == (IncidentState.RESOLVED, IncidentState.REFUSED)
    (called,) = [r for r in await trail(rig, EventKind.ESCALATED) if r.incident_id == second.id]
    said = "the last run on it ended not fixed, the alert fires, and nothing may be done now: "
    assert called.data["reason"].startswith(said)
    assert "cooldown" in called.data["reason"]
    await rig.run(600, alerts=False)
    assert len([r for r in await trail(rig, EventKind.ESCALATED) if r.incident_id == second.id]) == 1
    await rig.close()


async def _none(*_arguments: Any) -> list[Any]:
    return []


async def _nan(*_arguments: Any) -> list[Any]:
    return [({}, math.nan)]


def _away(rig: Rig) -> None:
    rig.cluster.metrics.available = False


def _renamed(rig: Rig) -> None:
    vars(rig.cluster.metrics)["instant"] = _none


def _no_number(rig: Rig) -> None:
    vars(rig.cluster.metrics)["instant"] = _nan


def _frozen(rig: Rig) -> None:
    rig.cluster.metrics.freeze()


def _no_pods(rig: Rig) -> None:
    rig.cluster.deny("list", Kind.POD)


@pytest.mark.parametrize("otherwise", [UNDO, NEXT], ids=["undo", "next step"])
@pytest.mark.parametrize(
    ("scenario", "name", "blind", "said"),
    [
        ("high-latency", "langgraph-api", _away, "Latency: 12 before the step, not measured"),
        ("high-latency", "langgraph-api", _renamed, "Latency: 12 before the step, not measured"),
        ("high-latency", "langgraph-api", _no_number, "Latency: 12 before the step, not measured"),
        ("high-latency", "langgraph-api", _frozen, "Latency: 12 before the step, not measured"),
        ("out-of-memory", "langgraph-embedder", _no_pods, "containers in trouble: 2 before the step, not measured"),
    ],
    ids=["Prometheus is away", "the metric is renamed", "the metric has no number", "Prometheus stands still", "pods may not be listed"],
)  # fmt: skip
async def test_a_step_of_which_nothing_was_measured_stays_and_a_person_gets_the_command(
    scenario: str, name: str, blind: Callable[[Rig], None], said: str, otherwise: Any, tmp_path: Path
) -> None:
    """It helped, and the alert fires on over its long window: its word alone takes nothing back, takes no further step, and is no setback."""
    rig = await born(tmp_path, scenario, rules=policy(otherwise=otherwise))
    fires_on(rig)
    await rig.until(lambda: bool(writes(rig)), 300)
    rig.cluster.metrics_api = False
    blind(rig)
    assert await ended(rig) is RunState.INCONCLUSIVE
    assert writes(rig) == [f"patch {name}"]
    run = await the_run(rig)
    assert "whether it helped is not known" in run.result
    assert said in run.result
    told = rig.notebook.text.split("Escalated")[-1]
    assert f"What was done stays in place. To take it back: remediator undo {run.id}" in told
    assert CONSEQUENCES[run.state].evidence is Evidence.UNCLEAR
    await rig.operations.undo(run.id, "ann")
    await rig.run(60, alerts=False)
    assert writes(rig)[1:] == [f"patch {name} (undo)"]
    await rig.close()


@pytest.mark.parametrize("blind", [_away, _frozen], ids=["away", "no scrapes any more"])
@pytest.mark.parametrize("early", [15, 200])
async def test_what_is_not_measured_up_to_the_end_is_no_verdict(
    early: int, blind: Callable[[Rig], None], tmp_path: Path
) -> None:
    """A source that goes away shortly before the end of the window tells nothing of the whole of it, whatever was seen until then."""
    rig = await born(tmp_path, "high-latency", rules=policy(otherwise=UNDO))
    fires_on(rig)
    await rig.until(lambda: bool(writes(rig)), 300)
    timeout = Rule.from_json((await the_run(rig)).settings["rule"]).verify.timeout.total_seconds()
    await rig.run(timeout - early, alerts=False)
    rig.cluster.metrics_api = False
    blind(rig)
    if blind is _frozen and early < 180:  # what is younger than some scrapes is a measurement
        assert await ended(rig) is RunState.STILL_FIRING
    else:
        assert await ended(rig) is RunState.INCONCLUSIVE
        assert "Latency: 12 before the step, not measured" in (await the_run(rig)).result
    assert writes(rig) == ["patch langgraph-api"]
    await rig.close()


OPTED_OUT = "/metadata/annotations/alert-remediator.io~1enabled"


def _unreadable(rig: Rig) -> None:
    rig.cluster.deny("get", Kind.DEPLOYMENT)


def _opted_out(rig: Rig) -> None:
    edit = {"op": "add", "path": OPTED_OUT, "value": "false"}
    rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph-api", [edit], "kubectl-edit")


@pytest.mark.parametrize(
    ("shut", "said"),
    [
        (_unreadable, "whether it is off limits by now could not be read: cannot get deployments"),
        (_opted_out, "the target is off limits by now (its mark)"),
    ],
)
async def test_a_rollout_that_may_not_be_read_is_not_called_not_fixed_and_stays_once_it_may(
    shut: Callable[[Rig], None], said: str, tmp_path: Path
) -> None:
    rig = await born(tmp_path, "high-latency", rules=policy(otherwise=UNDO, steps=("scale-out",)))
    fires_on(rig)
    await rig.until(lambda: bool(writes(rig)), 300)
    await rig.run(60, alerts=False)
    shut(rig)
    assert await ended(rig) is RunState.PROBE_ERROR
    rig.cluster.allow("get", Kind.DEPLOYMENT)
    await rig.run(120, alerts=False)
    run = await the_run(rig)
    assert (run.state, writes(rig)) == (RunState.PROBE_ERROR, ["patch langgraph-api"])
    assert said in run.result
    assert f"remediator undo {run.id}" in run.result
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    await rig.close()


def test_what_helped_under_a_firing_alert_is_neither_a_fix_nor_a_setback() -> None:
    """For trust, the circuit breaker and the statistics; a person has the alert."""
    follows = CONSEQUENCES[RunState.STILL_FIRING]
    assert follows.evidence is None
    assert follows.person
    assert RunState.STILL_FIRING not in DID_NOT_HELP | HELPED


Word = Callable[[Rig, list[Any]], Awaitable[None]]


async def _in_slack_or_the_api(rig: Rig, _word: list[Any]) -> None:
    (incident,) = await all_incidents(rig)
    await rig.operations.acknowledge(incident.id, "ann")


async def _in_pagerduty(_rig: Rig, word: list[Any]) -> None:
    word[2] = "acknowledged in PagerDuty by Ann at 03:01"


async def _silenced(_rig: Rig, word: list[Any]) -> None:
    word[0], word[1] = Reported.SILENCED, "silenced by Ann"


@pytest.mark.parametrize("otherwise", [UNDO, NEXT], ids=["undo", "next step"])
@pytest.mark.parametrize("says", [_in_slack_or_the_api, _in_pagerduty, _silenced])
async def test_who_has_taken_an_incident_while_a_step_is_verified_keeps_undo_and_next_step(
    says: Word, otherwise: tuple[Otherwise, ...], tmp_path: Path
) -> None:
    """Nothing is done on it by itself any more, and the run names its undo."""
    rules = policy(otherwise=otherwise, cooldown=timedelta(seconds=1))
    rig = await born(tmp_path, rules=rules, world=flood())
    word = fires_on(rig)
    await rig.until(lambda: bool(writes(rig)), 300)
    await rig.run(60)
    await says(rig, word)
    await ended(rig)
    assert writes(rig) == ["patch langgraph-api"]
    run = await the_run(rig)
    if says is _silenced:
        assert run.state is RunState.INCONCLUSIVE
    else:
        assert run.state is RunState.NOT_FIXED
        assert "stays in place until somebody says otherwise (remediator undo" in run.result
    await rig.operations.undo(run.id, "ann")
    await rig.run(60)
    assert writes(rig)[1:] == ["patch langgraph-api (undo)"], "a person's order is not held"
    assert len(await trail(rig, EventKind.UNDO_INTENDED)) == 1
    await rig.close()
