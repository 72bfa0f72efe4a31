"""Every step of every story twice: a step is executed at least once, so it must not matter if it is executed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.cases import Case, cases
from tests.crash.lives import live, undisturbed
from tests.crash.twice import TwiceEngine


@pytest.mark.parametrize("case", cases(), ids=lambda c: str(c).replace(" ", "-"))
async def test_a_run_whose_steps_are_all_executed_twice_ends_as_if_once(case: Case, tmp_path: Path) -> None:
    """One mutation an action, one message a transition, the same end."""
    once, _ = await undisturbed(case, tmp_path)
    twice, rig = await live(case, tmp_path / "twice.sqlite", engine_type=TwiceEngine)
    await rig.close()
    assert twice == once
