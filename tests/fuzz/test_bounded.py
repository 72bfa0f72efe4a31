"""Every fuzz target on its corpus, on some hundred mutations of it, and on much of the same. The long run is `make fuzz`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from random import Random

import pytest
import structlog

from tests.fuzz import __main__ as command
from tests.fuzz import corpus
from tests.fuzz.mutate import mutations
from tests.fuzz.target import FuzzTarget
from tests.fuzz.targets import TARGETS

_MUTATIONS = 150
_PUMPED = 6


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Some targets configure or cause logs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [logging.NullHandler()]
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_from_outside_raise_or_stall(name: str) -> None:
    target = TARGETS[name]
    seeds = [*target.seeds, *corpus.read(name)]
    for data in seeds:
        target.run(data)
    random = Random(name)
    for data in mutations(seeds, target.words, random, _MUTATIONS):
        target.run(data)
    for data in random.sample(seeds, min(_PUMPED, len(seeds))):
        target.pump(data)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_kept_and_small(name: str) -> None:
    kept = corpus.read(name)
    assert 0 < len(kept) <= corpus.MAX_INPUTS
    assert max(map(len, kept)) <= corpus.LONGEST


def test_a_target_that_takes_quadratic_time_is_found() -> None:
    def quadratic(data: bytes) -> None:
        for end in range(len(data)):
            sum(data[:end])

    with pytest.raises(AssertionError, match="of processor time"):
        FuzzTarget("slow", quadratic, (b"a",), pumped=4_096, seconds=0.02).pump(b"a")


def test_an_unknown_target_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as end:
        command.main(["no-such-target"])
    assert end.value.code == 2
