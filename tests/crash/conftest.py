"""How much is cut: all of it with CRASH_ALL=1, else what fits into every day's test run; what is left out is told."""

from __future__ import annotations

import os
from typing import Any

import pytest

ALL = os.environ.get("CRASH_ALL", "") not in ("", "0")
_KEY = "crash_left_out"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly what the default run leaves out."""
    left_out = 0
    for report in terminalreporter.stats.get("passed", []):
        left_out += sum(int(value) for key, value in report.user_properties if key == _KEY)
    if left_out:
        terminalreporter.write_line(
            f"crash harness: {left_out} cuts left out in this run; CRASH_ALL=1 makes them all", yellow=True
        )


@pytest.fixture
def left_out(record_property: Any) -> Any:
    """Tell how many cuts a test leaves out."""
    return lambda number: record_property(_KEY, number)
