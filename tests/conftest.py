"""Options shared by all tests."""

from __future__ import annotations

import gc

import fastapi.dependencies.models
import pytest

# What was imported stays; walking it in every full collection took a fifth of the time of most tests.
gc.freeze()
gc.set_threshold(50_000, 20, 20)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--require-live` turns a skipped live tier into a failure."""
    parser.addoption(
        "--require-live", action="store_true", default=False, help="fail instead of skipping the live tier"
    )


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The framework remembers what kind of callable each endpoint is, and with it whole services: a process has one, the tests
    have hundreds, and every full collection walks all of them."""
    if nextitem is None or nextitem.path != item.path:
        for kept in vars(fastapi.dependencies.models).values():
            if hasattr(kept, "cache_clear"):
                kept.cache_clear()
