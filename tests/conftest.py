"""Options shared by all tests."""

from __future__ import annotations

import gc

import pytest

# What was imported stays; walking it in every full collection took a fifth of the time of most tests.
gc.freeze()
gc.set_threshold(50_000, 20, 20)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--require-live` turns a skipped live tier into a failure."""
    parser.addoption(
        "--require-live", action="store_true", default=False, help="fail instead of skipping the live tier"
    )
