"""The scorecard counts what the audit trail can prove: acted, verified fixed, harmful, how long it took."""

from __future__ import annotations

from pathlib import Path

from app.flow import views
from app.store import runs
from tests.scenario.rig import Rig


async def test_a_fixed_run_counts_with_its_time_and_an_undone_one_as_harmful(tmp_path: Path) -> None:
    """One story, looked at before and after somebody undid it."""
    rig = await Rig(tmp_path / "store.sqlite").born()
    await rig.run(600)
    card = await views.scorecard(rig.services, 7)
    assert (card["incidents"], card["acted"], card["fixed"], card["harmful"]) == (1, 1, 1, 0)
    assert card["mitigate_seconds"]["median"] == card["mitigate_seconds"]["p90"]
    assert 120 <= card["mitigate_seconds"]["median"] <= 600  # the settle time at least
    run = (await rig.store.read(lambda conn: runs.page(conn, None, 1)))[0]
    await rig.operations.undo(run.id, "alice")
    await rig.run(30)
    card = await views.scorecard(rig.services, 7)
    assert (card["fixed"], card["harmful"]) == (0, 1)
    await rig.close()


async def test_an_empty_week_has_no_time_to_mitigate(tmp_path: Path) -> None:
    """No fix, no number."""
    rig = await Rig(tmp_path / "store.sqlite").born()
    card = await views.scorecard(rig.services, 7)
    assert (card["alerts"], card["acted"], card["mitigate_seconds"]["median"]) == (0, 0, None)
    await rig.close()
