"""Several alerts for one fault: the run of one of them mends the target, and nobody is called for the others meanwhile; what mends nothing
swallows no call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from app.domain.decision import Code, Mode
from app.domain.errors import StoreUnavailable
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.policy.escalation import EscalationPath, EscalationPolicy, EscalationStep
from app.policy.model import Policy
from app.store.incidents import Incident
from app.store.schema import runs
from tests.crash.conftest import ALL
from tests.crash.test_store_faults import FaultyStore
from tests.scenario.rig import Died, Reaper, Rig
from tests.scenario.scenes import alert, all_incidents, all_runs, body, born, decision, policy, trail
from tests.scenario.test_alerts_that_fire_on import fires_on

ERRORS = ("high-error-rate", "langgraph", ("HighLatency", "HighErrorRate"))
CRASHES = ("pod-restarting", "langgraph-worker", ("HighLatency", "KubePodNotReady", "PodRestarting"))
MEMORY = ("out-of-memory", "langgraph-embedder", ("KubePodCrashLooping", "OOMKilled", "HighErrorRate"))


async def test_another_alert_for_the_same_fault_waits_for_the_run_that_mends_it(tmp_path: Path) -> None:
    """No step of its own applies: nobody is called for it while our run is at work, nor before it had time to resolve."""
    rig = await born(tmp_path, use_api=False)
    await rig.send(body(alert(rig)))
    await rig.run(5, alerts=False)
    (run,) = await all_runs(rig)
    other = alert(rig, alertname="APIRateLimiting", started=10)
    await rig.send(body(other))
    await rig.run(20, alerts=False)
    waits = next(i for i in await all_incidents(rig) if i.alertname == "APIRateLimiting")
    assert waits.state is IncidentState.REFUSED
    assert f"target busy: {run.id} is at work" in rig.notebook.text
    await rig.send(body(alert(rig, "resolved")))
    await rig.run(200, alerts=False)
    first, waits = await all_incidents(rig)
    assert (first.state, waits.state) == (IncidentState.FIXED, IncidentState.REFUSED)
    await rig.send(body({**other, "status": "resolved", "endsAt": rig.clock.now().isoformat()}))
    await rig.run(30, alerts=False)
    assert (await all_incidents(rig))[1].state is IncidentState.RESOLVED
    assert "ESCALATED" not in rig.notebook.text
    await rig.close()


def alerts_of(rig: Rig, name: str, names: tuple[str, ...]) -> list[dict[str, object]]:
    return [alert(rig, alertname=n, deployment=name, severity="critical") for n in names]


async def end(rig: Rig, alerts: list[dict[str, object]]) -> None:
    await rig.send(
        body(*({**a, "status": "resolved", "endsAt": rig.clock.now().isoformat()} for a in alerts))
    )


async def _of(rig: Rig, alertname: str) -> Incident:
    return next(i for i in await all_incidents(rig) if i.alertname == alertname)


async def calls_for(rig: Rig, alertname: str) -> int:
    wanted = (await _of(rig, alertname)).id
    return sum(event.incident_id == wanted for event in await trail(rig, EventKind.ESCALATED))


@pytest.mark.parametrize(
    ("scenario", "name", "names"), [ERRORS, CRASHES, MEMORY], ids=["errors", "a crash loop", "memory"]
)
async def test_of_several_alerts_in_one_body_the_one_that_can_be_mended_is_waited_for(
    scenario: str, name: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    """Whichever is decided first: the one with a step gets its run, and the others are told as mended by it."""
    rig = await born(tmp_path, scenario, use_api=False)
    alerts = alerts_of(rig, name, names)
    await rig.send(body(*alerts))
    await rig.run(90, alerts=False)
    (run,) = await all_runs(rig)
    waits = await decision(rig, (await _of(rig, names[0])).id)
    assert (waits.code, f"{run.id} is at work" in waits.text) == (Code.TARGET_BUSY, True)
    await end(rig, alerts)
    await rig.run(600, alerts=False)
    assert await trail(rig, EventKind.ESCALATED) == []
    assert (await _of(rig, names[0])).state is IncidentState.RESOLVED
    told = "\n".join(rig.notebook.parents.values())
    assert "without our doing" not in told
    assert f"The alert resolved after {run.id} of this service had changed its target" in told
    await rig.close()


@pytest.mark.parametrize("ends", ["nobody answers", "somebody says no"])
async def test_while_people_are_asked_about_the_target_nobody_is_called_for_its_other_alerts(
    tmp_path: Path, ends: str
) -> None:
    """The question mended nothing: a person is called then, once for both."""
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    fires_on(rig)
    await rig.send(body(*alerts_of(rig, "langgraph", ("HighLatency", "HighErrorRate"))))
    await rig.run(60, alerts=False)
    (run,) = await all_runs(rig)
    assert run.state is RunState.WAITING
    assert f"{run.id} waits for an answer" in (await decision(rig, (await _of(rig, "HighLatency")).id)).text
    await rig.run(240, alerts=False)
    assert await trail(rig, EventKind.ESCALATED) == []
    if ends == "somebody says no":
        await rig.operations.reject(run.id, "kim", run.plan_hash)
        await rig.run(30, alerts=False)
        assert await calls_for(rig, "HighLatency") == 1
    await rig.run(4_000, alerts=False)
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


@pytest.mark.parametrize("severe", [False, True], ids=["as severe", "more severe"])
async def test_a_run_that_did_not_help_calls_once_for_both_alerts(tmp_path: Path, *, severe: bool) -> None:
    """It swallows no call: one that is more severe makes its own, and so does one that is left alone."""
    rig = await born(tmp_path)
    fires_on(rig)
    (beside,) = alerts_of(rig, "langgraph", ("HighLatency",))
    mended = alert(rig, severity="warning" if severe else "critical")
    await rig.send(body(beside, mended))
    await rig.run(20, alerts=False)
    (run,) = await all_runs(rig)
    while not run.state.ended:
        assert await trail(rig, EventKind.ESCALATED) == []
        await rig.run(20, alerts=False)
        (run,) = await all_runs(rig)
    assert run.state not in (RunState.FIXED, RunState.CONTAINED)
    await rig.run(60, alerts=False)
    assert (await calls_for(rig, "HighErrorRate"), await calls_for(rig, "HighLatency")) == (1, int(severe))
    await rig.run(2_000, alerts=False)
    assert (await calls_for(rig, "HighErrorRate"), await calls_for(rig, "HighLatency")) == (1, int(severe))
    await end(rig, [mended])
    await rig.run(400, alerts=False)
    assert await calls_for(rig, "HighLatency") == 1
    await rig.close()


async def test_nobody_waits_for_an_undo_that_something_holds(tmp_path: Path) -> None:
    """It changes nothing until that lets it go, which nobody can tell."""
    rig = await born(tmp_path)
    fires_on(rig)
    await rig.send(body(*alerts_of(rig, "langgraph", ("HighErrorRate",))))
    await rig.run(20, alerts=False)
    (run,) = await all_runs(rig)
    held = {"waits_for": "held: a freeze stands", "due_at": None}
    await rig.store.write(lambda tx: tx.conn.execute(update(runs).where(runs.c.id == run.id).values(**held)))
    await rig.send(body(*alerts_of(rig, "langgraph", ("HighLatency",))))
    await rig.run(10, alerts=False)
    assert await calls_for(rig, "HighLatency") == 1
    await rig.close()


async def test_two_alerts_without_a_step_call_once_and_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """One call for one target, at once; whoever is left alone by its end calls by itself."""
    rig = await born(tmp_path, use_api=False)
    names = ("APIRateLimiting", "HighLatency")
    alerts = alerts_of(rig, "langgraph", names)
    await rig.send(body(*alerts))
    await rig.run(30, alerts=False)
    calls = [await calls_for(rig, name) for name in names]
    assert sorted(calls) == [0, 1]
    called, other = sorted(names, key=lambda name: -calls[names.index(name)])
    assert f"a person is called for {(await _of(rig, called)).id} on it" in rig.notebook.text
    await rig.run(900, alerts=False)
    assert [await calls_for(rig, called), await calls_for(rig, other)] == [1, 0]
    await end(rig, [alerts[names.index(called)]])
    await rig.run(330, alerts=False)
    assert [await calls_for(rig, called), await calls_for(rig, other)] == [1, 1]
    await rig.close()


@pytest.mark.parametrize("lag", [300, 1_200])
async def test_a_call_is_for_what_comes_within_the_timeout_after_it_and_for_nothing_later(
    tmp_path: Path, lag: float
) -> None:
    """BRISK has five minutes: what comes later may be another fault."""
    rig = await born(tmp_path, use_api=False)
    first, second = alerts_of(rig, "langgraph", ("APIRateLimiting", "HighLatency"))
    await rig.send(body(first))
    await rig.run(lag - 10, alerts=False)
    assert await calls_for(rig, "APIRateLimiting") == 1
    await rig.send(body(second))
    await rig.run(30, alerts=False)
    assert await calls_for(rig, "HighLatency") == int(lag > 300)
    await rig.close()


def _other_steps(rule: str, more: str) -> Policy:
    """What this rule decides asks others than the rest, or whom the rest asks after somebody else or not as soon."""
    page, owners = (
        EscalationStep(name="on-call", page=True),
        EscalationStep(name="owners", who=("slack:U0ANN",)),
    )
    hour = page.model_copy(update={"answer_within": timedelta(hours=8)})
    usual, own = {
        "others": ((page,), (owners, page)),
        "later": ((page, owners), (owners,)),
        "slower": ((hour, owners), (page, owners)),
        "fewer": ((page, owners), (page,)),
    }[more]
    return policy(
        {"escalation": EscalationPolicy(steps=usual, paths=(EscalationPath(rules=(rule,), steps=own),))}
    )


@pytest.mark.parametrize("more", ["nothing", "severity", "others", "later", "slower", "fewer"])
async def test_a_call_is_for_another_alert_where_it_asks_all_whom_that_one_would(
    tmp_path: Path, more: str
) -> None:
    shipped = policy().rules
    rule = next(one.name for one in shipped if one.remediation == "high-latency")
    rig = await born(
        tmp_path,
        use_api=False,
        rules=policy() if more in ("nothing", "severity") else _other_steps(rule, more),
    )
    severity = "warning" if more == "severity" else "critical"
    await rig.send(body(alert(rig, alertname="APIRateLimiting", deployment="langgraph", severity=severity)))
    await rig.run(30, alerts=False)
    await rig.send(body(*alerts_of(rig, "langgraph", ("HighLatency",))))
    await rig.run(30, alerts=False)
    assert await calls_for(rig, "APIRateLimiting") == 1
    assert await calls_for(rig, "HighLatency") == int(more not in ("nothing", "fewer"))
    await rig.close()


async def safely(rig: Rig, act: Callable[[], Awaitable[object]]) -> None:
    """Do it, again after a death or a fault: a sender sends again what nobody took."""
    while True:
        with suppress(Died, StoreUnavailable):
            await act()
            if not rig.reaper.dead:
                return
        if rig.reaper.dead:
            await rig.die()
            await rig.born()


async def _live(path: Path, reaper: Reaper, faulty: int = 0) -> tuple[Rig, int]:
    """Two alerts in one body, the second of which is mended; how many boundaries, or calls of the store, that crosses."""
    rig = Rig(path / "rig.sqlite", use_api=False)
    rig.policy, rig.reaper = policy(), reaper
    await rig.born()
    store = FaultyStore(rig.services.store, faulty, 8)
    if faulty:
        object.__setattr__(rig.services, "store", store)
    alerts = alerts_of(rig, "langgraph", ("HighLatency", "HighErrorRate"))
    await safely(rig, lambda: rig.send(body(*alerts)))
    while not rig.cluster.mutations:
        await safely(rig, lambda: rig.run(10, alerts=False))
    for _ in range(6):
        await safely(rig, lambda: rig.run(10, alerts=False))
    ended = [{**a, "status": "resolved", "endsAt": rig.clock.now().isoformat()} for a in alerts]
    await safely(rig, lambda: rig.send(body(*ended)))
    for _ in range(40):
        await safely(rig, lambda: rig.run(30, alerts=False))
    return rig, store.calls if faulty else reaper.crossed


STEP = 1 if ALL else 31


@pytest.mark.parametrize("how", ["a death", "faults of the store"])
async def test_wherever_it_is_cut_the_run_is_waited_for_and_nothing_waits_for_ever(
    tmp_path: Path, how: str
) -> None:
    faults = how != "a death"
    n, many = 1, 2
    while n < many:
        path = tmp_path / str(n)
        path.mkdir()
        rig, crossed = await _live(path, Reaper(None if faults else n), n if faults else 0)
        many = max(many, crossed if faults or n > 1 else 60)
        assert all(i.state.closed for i in await all_incidents(rig)), (n, rig.notebook.text[-2000:])
        assert [run.state for run in await all_runs(rig)] == [RunState.FIXED], n
        assert await trail(rig, EventKind.ESCALATED) == [], (n, rig.notebook.text[-2000:])
        await rig.close()
        n += STEP


@pytest.mark.parametrize("later", [1, 20, 30])
async def test_the_call_for_an_alert_that_no_step_helps_waits_a_moment_for_the_one_that_a_step_does(
    tmp_path: Path, later: float
) -> None:
    rig = await born(tmp_path, use_api=False)
    first = alert(rig, alertname="APIRateLimiting", started=0)
    await rig.send(body(first))
    await rig.run(later, alerts=False)
    await rig.send(body(second := alert(rig, started=0)))
    await rig.run(60, alerts=False)
    (run,) = await all_runs(rig)
    await end(rig, [second])
    await rig.run(200, alerts=False)
    assert (await _of(rig, "HighErrorRate")).state is IncidentState.FIXED, run.result
    assert await calls_for(rig, "APIRateLimiting") == 0
    await end(rig, [first])
    await rig.run(30, alerts=False)
    assert (await _of(rig, "APIRateLimiting")).state is IncidentState.RESOLVED
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


async def test_a_person_is_called_a_minute_after_an_alert_that_no_step_helps_fired_alone(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path, use_api=False)
    await rig.send(body(alert(rig, alertname="APIRateLimiting", started=15)))
    await rig.run(40, alerts=False)
    assert await calls_for(rig, "APIRateLimiting") == 0
    assert "another alert of the same fault may follow within a minute" in rig.notebook.text
    await rig.run(10, alerts=False)
    assert await calls_for(rig, "APIRateLimiting") == 1
    await rig.close()
