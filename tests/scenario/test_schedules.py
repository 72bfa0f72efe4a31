"""A procedure that the clock orders, from its time to its end: the same gates as for every order, and nobody's approval."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.errors import RemediatorError
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.flow.notifying import record
from app.flow.upkeep import schedules, views
from app.policy.load import load_policy
from app.policy.model import Policy
from app.sim.faults import Fault, FaultKind
from app.store import incidents, runs
from app.store import schedules as stored
from app.store.runs import Run
from remediations import CATALOGUE
from tests.orders import orders_world
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_incidents, body, the_incident, trail
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, access

BY = "schedule of rule nightly, due 2026-03-04 04:30 CET"


def nightly(  # what a test varies
    remediation: str = "scale",
    mode: str = "auto",
    params: str = "replicas: 5",
    head: str = "",
    target: str = "langgraph",
    *,
    by_hand: bool = True,
    missed: str = "skip",
) -> Policy:
    """Due at 03:30 UTC, half an hour after the rig's beginning. A rule for orders stands before it."""
    target = f"target: {{name: {{default: {target}}}, namespace: {{default: rag7}}}}"
    before = f"  - {{name: by hand, remediation: {remediation}, mode: observe}}\n" if by_hand else ""
    block = "schedule: {cron: '30 4 * * *', timezone: Europe/Berlin, missed: " + missed + "}"
    text = f"""version: 1
scope: {{namespaces: [rag7]}}
{head}
rules:
{before}  - {{name: nightly, remediation: {remediation}, mode: {mode}, params: {{{params}}}, {target}, {block}}}
"""
    return load_policy({"a.yaml": text}, CATALOGUE)


async def due(path: Path, policy: Policy) -> Rig:
    """A rig at the moment after the time has come."""
    rig = await Rig(path / "rig.sqlite", world=orders_world(), stride=15.0).born()
    rig.policy = policy
    assert await schedules.fire_due(rig.services) == 0
    rig.clock.advance(30 * 60 + 2)
    assert await schedules.fire_due(rig.services) == 1
    return rig


async def rested(rig: Rig) -> Run:
    """The run of the order, when it has ended or waits for a person."""

    async def over() -> bool:
        found = await rig.store.read(lambda conn: runs.page(conn, None, 9))
        return bool(found) and all(r.state.ended or r.state is RunState.WAITING for r in found)

    await rig.until(over, 3_600)
    (run,) = await rig.store.read(lambda conn: runs.page(conn, None, 9))
    return run


def replicas(rig: Rig) -> int:
    manifest = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    return int(manifest["spec"]["replicas"])  # type: ignore[index]


async def test_it_runs_under_its_own_rule_once_and_says_who_started_it(tmp_path: Path) -> None:
    rig = await due(tmp_path, nightly())
    run = await rested(rig)
    assert (run.state, run.rule, replicas(rig)) == (RunState.FIXED, "nightly", 5)
    assert f"Requested by {BY}" in rig.notebook.text
    (told,) = await trail(rig, EventKind.MANUAL_REQUESTED)
    assert (told.actor, told.data["reason"]) == (BY, "30 4 * * * in Europe/Berlin")
    assert await schedules.fire_due(rig.services) == 0
    following = rig.clock.now().replace(hour=3, minute=30) + timedelta(days=1)
    rig.clock.advance((following - rig.clock.now()).total_seconds())
    assert await schedules.fire_due(rig.services) == 1
    assert len(await all_incidents(rig)) == 2
    await rig.close()


@pytest.mark.parametrize(
    ("remediation", "mode", "params"),
    [("scale", "approve", "replicas: 5"), ("hotfix", "auto", "image: ':v1.5.0'")],
)
async def test_it_is_nobodys_approval(tmp_path: Path, remediation: str, mode: str, params: str) -> None:
    """Neither where the rule asks, nor where the procedure does although the rule acts by itself."""
    rig = await due(tmp_path, nightly(remediation, mode, params))
    run = await rested(rig)
    assert run.state is RunState.WAITING
    assert [m for m in rig.cluster.mutations if not m.dry_run] == []
    assert "not schedule of rule" not in rig.notebook.text, "the clock is nobody who could approve"
    await rig.close()


async def test_page_and_api_tell_the_next_times_and_what_became_of_the_last(tmp_path: Path) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world(), stride=15.0).born()
    rig.policy = nightly(mode="approve")
    browser = Browser(app_of(rig, access()))
    page = await browser.login()
    assert "nightly 2026-03-04 03:30:00 UTC 2026-03-04 04:30 CET none yet" in page.text
    await schedules.fire_due(rig.services)
    rig.clock.advance(30 * 60 + 2)
    await schedules.fire_due(rig.services)
    incident = await the_incident(rig)
    page = await browser.get("/")
    assert (
        "nightly 2026-03-05 03:30:00 UTC 2026-03-05 04:30 CET 2026-03-04 03:30:00 UTC ordered: undecided"
        in page.text
    )
    assert f'href="/incidents/{incident.id}"' in page.answer.text
    (told,) = await views.schedules(rig.services)
    assert told["next"][:2] == ["2026-03-05T03:30:00+00:00", "2026-03-06T03:30:00+00:00"]
    assert {
        k: told[k]
        for k in (
            "rule",
            "cron",
            "timezone",
            "missed",
            "last_due",
            "last_result",
            "last_outcome",
            "last_good",
            "last_incident",
        )
    } == {
        "rule": "nightly",
        "cron": "30 4 * * *",
        "timezone": "Europe/Berlin",
        "missed": "skip",
        "last_due": "2026-03-04T03:30:00+00:00",
        "last_result": "ordered",
        "last_outcome": "undecided",
        "last_good": None,
        "last_incident": incident.id,
    }
    await browser.close()
    await rig.close()


def gauge(rig: Rig, name: str, **labels: str) -> float | None:
    return rig.services.metrics.registry.get_sample_value(f"remediator_{name}", {"rule": "nightly", **labels})


@pytest.mark.parametrize(
    ("policy", "outcome", "without"),
    [
        (nightly(), "fixed", 0),
        (nightly(params="replicas: 3"), "nothing_to_do", 0),
        (nightly(head="mode: observe"), "refused", 1),
        (nightly(mode="approve"), "expired", 1),
    ],
)
async def test_how_its_order_ended_is_kept_and_told_after_a_restart_as_well(
    tmp_path: Path, policy: Policy, outcome: str, without: int
) -> None:
    """That it was ordered says nothing: a backup can fail for weeks."""
    rig = await due(tmp_path, policy)

    async def over() -> bool:
        found = await rig.store.read(lambda conn: runs.page(conn, None, 9))
        return bool(found) and all(r.state.ended for r in found)

    await rig.until(over, 9_000)
    for _ in range(2):
        await record.set_gauges(rig.services)
        assert gauge(rig, "schedule_outcome", outcome=outcome) == 1
        assert gauge(rig, "schedule_times_without_success") == without
        due_at = rig.clock.now().replace(hour=3, minute=30, second=0, microsecond=0)
        ago = (rig.clock.now() - due_at).total_seconds()
        assert gauge(rig, "schedule_last_good_seconds") == pytest.approx(ago, abs=2)
        await rig.die()
        await rig.born()
        rig.policy = policy
    (told,) = await views.schedules(rig.services)
    assert (told["last_result"], told["last_outcome"]) == ("ordered", outcome)
    assert told["last_good"] == (None if without else "2026-03-04T03:30:00+00:00")
    await rig.close()


async def test_a_time_that_was_passed_over_is_said_in_the_channel_once_of_many_in_a_row(
    tmp_path: Path,
) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world(), stride=15.0).born()
    rig.policy = nightly()
    await schedules.fire_due(rig.services)
    assert gauge(rig, "schedules_total", result="skipped") == 0, (
        "a counter that appears at 1 shows no increase"
    )
    for _ in range(2):
        rig.clock.advance(24 * 3_600)
        await schedules.fire_due(rig.services)
        await rig.run(30, alerts=False)
    posts = [text for _, _, text in rig.notebook.posts if "AUDIT TRAIL" not in text]
    assert posts == ["Not started: schedule of rule nightly, due 2026-03-04 04:30 CET: nothing ran then"]
    assert gauge(rig, "schedules_total", result="skipped") == 2
    await record.set_gauges(rig.services)
    assert gauge(rig, "schedule_times_without_success") == 2
    await rig.close()


@pytest.mark.parametrize("taken", [True, False])
async def test_it_leaves_a_target_alone_on_whose_alert_a_person_is(tmp_path: Path, taken: bool) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world(), stride=15.0, use_api=False).born()
    rig.policy = nightly()
    await schedules.fire_due(rig.services)
    await rig.operations.pause("all", "so that nothing is done on it", "kim", None)
    await rig.send(body(alert(rig)))
    await rig.turn()
    incident = await the_incident(rig)
    await rig.store.write(lambda tx: incidents.set_target(tx, incident.id, "rag7/Deployment/langgraph"))
    if taken:
        await rig.operations.acknowledge(incident.id, "kim")
    await rig.operations.resume("all", "kim")
    rig.clock.advance(30 * 60 - 10)
    await rig.send(body(alert(rig)))
    rig.clock.advance(12)
    assert await schedules.fire_due(rig.services) == 1
    await rig.run(300, alerts=False)
    run = await rested(rig)
    assert run.state is (RunState.ABANDONED if taken else RunState.FIXED)
    assert (f"{incident.id} on this target is acknowledged through API by kim" in rig.notebook.text) is taken
    await rig.close()


async def test_the_service_runs_it_as_a_task_of_its_own(tmp_path: Path) -> None:
    """So its failures are counted, told by /readyz and tried again like those of every task."""
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world(), stride=15.0).born()
    rig.policy = nightly()
    (task,) = [t for t in rig.loops.tasks() if t.name == "schedules"]
    assert await task.body() == 0
    rig.clock.advance(30 * 60 + 2)
    assert await task.body() == 1
    assert task.pause <= 5.0
    await rig.close()


FREEZE = "freeze: [{name: release, timezone: UTC}]"
CLOSED = 'windows: [{name: evening, from: "20:00", to: "22:00", timezone: UTC}]'
SPENT = "budgets: [{per: cluster, limit: 0 per 1h}]"


@pytest.mark.parametrize(
    ("head", "gate"),
    [
        ("", "paused by kim: a move"),
        ("mode: observe", "observe"),
        (FREEZE, "freeze"),
        (CLOSED, "window"),
        (SPENT, "per 1h"),
    ],
)
async def test_promise_10_pause_ceiling_freeze_window_and_budget_hold_for_it(
    tmp_path: Path, head: str, gate: str
) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world(), stride=15.0).born()
    rig.policy = nightly(head=head)
    await schedules.fire_due(rig.services)
    if not head:
        await rig.operations.pause("all", "a move", "kim", None)
    rig.clock.advance(30 * 60 + 2)
    assert await schedules.fire_due(rig.services) == 1
    run = await rested(rig)
    assert (run.state, replicas(rig)) == (RunState.ABANDONED, 3)
    assert gate in rig.notebook.text
    assert (await the_incident(rig)).state is IncidentState.RESOLVED
    await rig.close()


async def test_an_order_whose_rule_is_gone_by_then_is_not_carried_out(tmp_path: Path) -> None:
    rig = await due(tmp_path, nightly())
    rig.policy = load_policy({"a.yaml": "version: 1\nscope: {namespaces: [rag7]}\n"}, CATALOGUE)
    run = await rested(rig)
    assert (run.state, replicas(rig)) == (RunState.ABANDONED, 3)
    assert "the rule whose schedule ordered it is gone" in rig.notebook.text
    assert await schedules.fire_due(rig.services) == 0
    # A replica that has not reloaded may still know the rule: the row goes when its next time has passed.
    assert [row.terms for row in (await rig.store.read(stored.every)).values()] == ["gone"]
    rig.clock.advance(86_400)
    assert await schedules.fire_due(rig.services) == 0
    assert await rig.store.read(stored.every) == {}
    await rig.close()


async def test_an_order_by_hand_neither_runs_under_the_rule_nor_keeps_it_from_its_time(
    tmp_path: Path,
) -> None:
    """A token that may only order acts nowhere without an approval, and what it left waiting on another target is no run of the rule."""
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world(), stride=15.0).born()
    rig.policy = nightly("deploy", params="image: ':v1.4.3'", by_hand=False)
    await schedules.fire_due(rig.services)
    order = ManualRequest(
        "deploy", "rag7/Deployment/langgraph-api", {"image": ":v1.5.0", "container": "api"}, "a release", "ci"
    )
    await rig.store.ingest(Delivery(Source.MANUAL, rig.clock.now(), "ci", manual=order))
    waits = await rested(rig)
    assert (waits.rule, waits.state) == ("manual deploy", RunState.WAITING)
    assert [m for m in rig.cluster.mutations if not m.dry_run] == []
    following = rig.clock.now().replace(hour=3, minute=30, second=1)
    rig.clock.advance((following - rig.clock.now()).total_seconds())
    assert await schedules.fire_due(rig.services) == 1
    (fire,) = await rig.store.read(lambda conn: stored.newest(conn, "nightly"))
    assert fire.fate == "ordered"
    await rig.close()


@pytest.mark.parametrize("waits", [False, True])
async def test_an_order_whose_rule_has_another_target_by_then_is_not_carried_out(
    tmp_path: Path, waits: bool
) -> None:
    """The params of the rule in force are meant for the target of the rule in force."""
    rig = await due(tmp_path, nightly(mode="approve" if waits else "auto"))
    if waits:
        assert (await rested(rig)).state is RunState.WAITING
    rig.policy = nightly(mode="auto", params="replicas: 9", target="langgraph-api")
    if waits:
        (run,) = await rig.store.read(lambda conn: runs.page(conn, None, 9))
        with suppress(RemediatorError):
            await rig.operations.approve(run.id, "kim", run.plan_hash)

    async def over() -> bool:
        return all(r.state.ended for r in await rig.store.read(lambda conn: runs.page(conn, None, 9)))

    await rig.until(over, 3_600)
    run = await rested(rig)
    assert (run.state, replicas(rig)) == (RunState.ABANDONED, 3)
    assert [m for m in rig.cluster.mutations if not m.dry_run] == []
    assert "the rule whose schedule ordered it is gone, or is for something else now" in rig.notebook.text
    await rig.close()


async def test_a_death_after_its_time_came_leaves_the_order_to_be_carried_out_once(tmp_path: Path) -> None:
    rig = await due(tmp_path, nightly())
    await rig.die()
    await rig.born()
    assert await schedules.fire_due(rig.services) == 0
    run = await rested(rig)
    assert (run.state, replicas(rig)) == (RunState.FIXED, 5)
    assert rig.services.metrics.schedules.labels("nightly", "ordered")._value.get() == 0
    await rig.close()


async def test_a_read_that_fails_in_passing_does_not_end_an_order_of_the_clock(tmp_path: Path) -> None:
    rig = await due(tmp_path, nightly())
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="list", kind=Kind.LIMIT_RANGE, times=1))
    assert (await rested(rig)).state is RunState.FIXED
    assert replicas(rig) == 5
    await rig.close()


async def test_an_order_of_the_clock_that_ends_because_something_cannot_be_read_calls_a_person(
    tmp_path: Path,
) -> None:
    """Nobody waits for its answer, so that nobody else would hear of it."""
    rig = await due(tmp_path, nightly())
    rig.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="list", kind=Kind.LIMIT_RANGE, times=10**6))
    assert (await rested(rig)).state is RunState.ABANDONED
    assert (await the_incident(rig)).state is IncidentState.ESCALATED
    assert any(record.kind is EventKind.ESCALATED for record in await trail(rig))
    assert replicas(rig) == 3
    await rig.close()
