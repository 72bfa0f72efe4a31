"""Options shared by all tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--require-live` turns a skipped live tier into a failure."""
    parser.addoption(
        "--require-live", action="store_true", default=False, help="fail instead of skipping the live tier"
    )
