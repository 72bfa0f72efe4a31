"""The scorecard counts what the audit trail can prove: acted, verified fixed, harmful, how long it took."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.decision import Mode
from app.domain.outcome import RunState
from app.flow.notifying.scorecard import last_days
from app.policy.model import Temporary
from app.sim import SimCluster
from app.store import runs
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, born, policy, the_incident, the_run


async def test_a_fixed_run_counts_with_its_time_and_an_undone_one_as_harmful(tmp_path: Path) -> None:
    """One story, looked at before and after somebody undid it."""
    rig = await Rig(tmp_path / "store.sqlite").born()
    await rig.run(600)
    card = await last_days(rig.services, 7)
    assert (card["incidents"], card["acted"], card["fixed"], card["setbacks"]) == (1, 1, 1, 0)
    assert card["mitigate_seconds"]["median"] == card["mitigate_seconds"]["p90"]
    assert 120 <= card["mitigate_seconds"]["median"] <= 600  # the settle time at least
    run = (await rig.store.read(lambda conn: runs.page(conn, None, 1)))[0]
    await rig.operations.undo(run.id, "alice")
    await rig.run(30)
    card = await last_days(rig.services, 7)
    assert (card["fixed"], card["undone"], card["setbacks"]) == (0, 1, 1)
    await rig.close()


async def test_a_temporary_change_that_was_taken_back_is_no_setback(tmp_path: Path) -> None:
    """Its end is an undo, and nobody took anything back."""
    lent = policy(temporary=Temporary(revert_after=timedelta(minutes=5)))
    rig = await born(tmp_path, "high-latency", rules=lent)
    await rig.until(lambda: _state(rig, RunState.CONTAINED), 7_200)
    rig.cluster.traffic.set_rps("langgraph-api", 1.0)  # nothing needs it any more
    await rig.until(lambda: _state(rig, RunState.REVERTED), 7_200)
    card = await last_days(rig.services, 7)
    assert (card["fixed"], card["undone"], card["setbacks"]) == (1, 0, 0)
    await rig.close()


async def _state(rig: Rig, state: RunState) -> bool:
    return any(run.state is state for run in await all_runs(rig))


async def test_a_run_that_was_stopped_before_it_did_anything_harmed_nobody(tmp_path: Path) -> None:
    """A no to the first question is no setback; a no after something was changed is."""
    rig = await born(tmp_path, rules=policy(mode=Mode.APPROVE))
    await rig.until(lambda: _state(rig, RunState.WAITING))
    await rig.operations.reject((await the_run(rig)).id, "alice")
    await rig.run(30)
    card = await last_days(rig.services, 7)
    assert (card["acted"], card["setbacks"], card["runs"]) == (0, 0, {"rejected": 1})
    await rig.close()


async def test_two_spans_side_by_side_count_nothing_twice(tmp_path: Path) -> None:
    """What was between them is in the earlier one."""
    rig = await born(tmp_path)
    await rig.run(600)
    began = (await the_incident(rig)).opened_at
    rig.cluster = SimCluster(rig.clock)  # two weeks of traffic would take as long as they are
    rig.clock.advance((began + timedelta(days=14) - rig.clock.now()).total_seconds() - 1)
    card = await last_days(rig.services, 7)
    assert (card["incidents"], card["before"]) == (0, None), (
        "nobody counted at the beginning of the week before"
    )
    rig.clock.advance(1)
    card = await last_days(rig.services, 7)
    assert card["before"]["incidents"] == 1
    await rig.close()


async def test_a_dry_run_is_in_no_count(tmp_path: Path) -> None:
    """Somebody tries a procedure twice: there was no trouble, nothing was done, and no target is a repeat offender. An order that acts counts."""
    rig = await born(tmp_path)
    for number, dry_run in enumerate((True, True, False)):
        order = ManualRequest(
            "high-error-rate",
            "rag7/Deployment/langgraph",
            {},
            'no "dry_run":true, honestly',
            "kim",
            dry_run=dry_run,
        )
        now = rig.clock.now()
        given = Delivery(Source.MANUAL, now, "kim", dedupe_key=f"k{number}", manual=order)
        await rig.store.ingest(given)
        await rig.run(30, alerts=False)
        card = await last_days(rig.services, 7)
        assert card["incidents"] == (0 if dry_run else 1)
        assert sum(card["runs"].values()) == (0 if dry_run else 1)
        assert card["offenders"] == []
    await rig.close()


async def test_an_empty_week_has_no_time_to_mitigate(tmp_path: Path) -> None:
    """No fix, no number."""
    rig = await Rig(tmp_path / "store.sqlite").born()
    card = await last_days(rig.services, 7)
    assert (card["alerts"], card["acted"], card["mitigate_seconds"]["median"]) == (0, 0, None)
    await rig.close()
