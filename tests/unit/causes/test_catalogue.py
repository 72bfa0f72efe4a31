"""Every cause has a row in a table of manifests, and a line in the reference."""

from __future__ import annotations

from pathlib import Path

from remediations.causes import CauseCode
from tests.unit.causes.test_before_they_run import MADE, PLACED, STARTED
from tests.unit.causes.test_others import OTHERS, SETS, UNMADE
from tests.unit.causes.test_while_they_run import AROUND, ENDED, UNREADY

ROWS = (*MADE, *PLACED, *STARTED, *ENDED, *UNREADY, *AROUND, *OTHERS, *UNMADE, *SETS)
REFERENCE = Path(__file__).parents[3] / "docs" / "reference.md"


def test_every_cause_stands_in_a_table_of_manifests() -> None:
    assert {row.code for row in ROWS} == set(CauseCode)
    assert len(ROWS) == len({row.name for row in ROWS})


def test_every_cause_stands_in_the_reference_in_the_order_of_the_way_of_a_pod() -> None:
    section = REFERENCE.read_text(encoding="utf-8").partition("## Causes\n")[2].partition("\n## ")[0]
    rows = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert rows == [code.value for code in CauseCode]


def test_causes_that_a_release_can_bring_are_rolled_back_in_some_row_and_left_alone_in_another() -> None:
    """No code decides by itself."""
    acted = {row.code for row in ROWS if row.step == "roll-back"}
    left = {row.code for row in ROWS if not row.step}
    assert acted
    assert acted - left <= {
        CauseCode.ARCHITECTURE,
        CauseCode.SECURITY_CONTEXT,
        CauseCode.CANNOT_START,
        CauseCode.ENDS,
        CauseCode.STARTUP_PROBE,
    }
