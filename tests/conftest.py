"""Options shared by all tests."""

from __future__ import annotations

import gc

import fastapi.dependencies.models
import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.long import exhaustive_among, long_among, outside

# What was imported stays; walking it in every full collection took a fifth of the time of most tests.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

# A traceback drawn with all its locals took longer than the fault that it tells of.
for _processor in structlog.get_config()["processors"]:
    if isinstance(_processor, structlog.dev.ConsoleRenderer):
        _processor.exception_formatter = structlog.dev.plain_traceback

# No test fails for its time: how long one takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--require-live` and `--require-browser` turn a skipped tier into a failure; `--part` bounds the long tests."""
    parser.addoption(
        "--require-live", action="store_true", default=False, help="fail instead of skipping the live tier"
    )
    parser.addoption("--part", default="1/1", help="of the long tests only this part, as 3/8")
    parser.addoption(
        "--require-browser",
        action="store_true",
        default=False,
        help="fail instead of skipping the browser tier",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what `make test` leaves to `make long`, and that to `make exhaustive`; of what is long only `--part` is run."""
    tests = [item.nodeid for item in items]
    long = long_among(tests)
    exhaustive = exhaustive_among(tests, long)
    try:
        others = outside(
            config.getoption("--part"), [test for test in tests if test in long and test not in exhaustive]
        )
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    for item in items:
        if item.nodeid in exhaustive:
            item.add_marker(pytest.mark.exhaustive)
        if item.nodeid in long:
            item.add_marker(pytest.mark.long)
    if others:
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in others])
        items[:] = [item for item in items if item.nodeid not in others]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The framework remembers what kind of callable each endpoint is, and with it whole services: a process has one, the tests
    have hundreds, and every full collection walks all of them."""
    if nextitem is None or nextitem.path != item.path:
        for kept in vars(fastapi.dependencies.models).values():
            if hasattr(kept, "cache_clear"):
                kept.cache_clear()
