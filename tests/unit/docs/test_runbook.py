"""docs/runbook.md says of every row of the runbook what does it and which test shows it; all of these are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from remediations import CATALOGUE
from tests.unit.docs.fences import table_under
from tests.unit.docs.tables import ROOT

DOCUMENT: Final = "docs/runbook.md"
SECTIONS: Final = {
    "Emergency contacts": 3,
    "High Error Rate": 5,
    "High Latency": 5,
    "Pod Crash Loop": 5,
    "Database Connection Issues": 5,
    "Out of Memory (OOM)": 4,
    "API Rate Limiting": 5,
    "Operational procedures": 7,
    "Maintenance tasks": 4,
    "Recovery procedures": 9,
}
"""Headings of the runbook with the number of their steps, the diagnosis among them."""
BY_HAND: Final[frozenset[str]] = frozenset()
"""Rows that are not implemented."""
OUTSIDE: Final = {
    "Disaster recovery: 1. Provision new cluster",
    "Disaster recovery: 5. Update DNS, load balancer",
}
"""Rows that no service in the cluster can do."""

Row = tuple[str, str, str]


def rows() -> list[Row]:
    """Row of the runbook, what does it, what shows it."""
    return [(a, b, c) for heading in SECTIONS for a, b, c in table_under(DOCUMENT, heading)]


def test_every_heading_and_step_of_the_runbook_has_its_row() -> None:
    assert {h: len(table_under(DOCUMENT, h)) for h in SECTIONS} == SECTIONS


def test_what_a_row_names_is_in_the_catalogue() -> None:
    named = {name for _, does, _ in rows() for name in re.findall(r"`([a-z-]+)(?:/[a-z-]+)?`", does)}
    assert named == set(CATALOGUE)
    steps = {step for _, does, _ in rows() for step in re.findall(r"`([a-z-]+/[a-z-]+)`", does)}
    assert steps == {f"{name}/{step}" for name, handler in CATALOGUE.items() for step in handler.steps}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_row_is_shown_by_a_test_or_says_that_it_is_done_by_hand(row: Row) -> None:
    what, does, shown = row
    found = re.findall(r"`([a-z0-9_/]+\.py)::(test_\w+)`", shown)
    assert bool(found) == (what not in BY_HAND | OUTSIDE)
    assert (what in OUTSIDE) == does.startswith("by hand")
    assert (what in BY_HAND) == does.startswith("not yet")
    for path, name in found:
        assert name in _tests_of(ROOT / "tests" / path), f"{path} has no {name} that runs"


@cache
def _tests_of(path: Path) -> set[str]:
    """The tests of a file that nothing keeps from running: none of these is skipped."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = " ".join(ast.unparse(mark) for mark in node.decorator_list)
            if "skip" not in marks and "xfail" not in marks:
                found.add(node.name)
    return found
