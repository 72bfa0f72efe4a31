"""From looks to a result: settle time, time-out, and what is neither healthy nor failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.outcome import Result
from app.domain.verification import AlertCondition, Measurement, judge
from app.domain.workload import RolloutState

BEGAN = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
SETTLE, TIMEOUT = timedelta(seconds=30), timedelta(seconds=60)

# One letter a look: health, and what stands in its way.
_LOOKS = {
    "h": (RolloutState.COMPLETE, AlertCondition.GONE),
    "m": (RolloutState.COMPLETE, AlertCondition.NONE),
    "f": (RolloutState.COMPLETE, AlertCondition.FIRING),
    "p": (RolloutState.PROGRESSING, AlertCondition.GONE),
    "x": (RolloutState.FAILED, AlertCondition.FIRING),
    "e": (RolloutState.COMPLETE, AlertCondition.TOLD_EARLIER),
    "s": (RolloutState.COMPLETE, AlertCondition.SILENCED),
    "u": (RolloutState.COMPLETE, AlertCondition.UNREADABLE),
    "?": (RolloutState.UNKNOWN, AlertCondition.GONE),
}


def looks(letters: str, every: float = 10.0) -> list[Measurement]:
    """Looks `every` seconds, the first one right after the action; a blank is a look that was missed."""
    return [
        Measurement(BEGAN + timedelta(seconds=number * every), *_LOOKS[letter], "as seen")
        for number, letter in enumerate(letters)
        if letter != " "
    ]


def result(measured: Sequence[Measurement]) -> Result | None:
    verdict = judge(measured, BEGAN, SETTLE, TIMEOUT)
    return None if verdict is None else verdict[0]


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("", None),
        ("hhh", None),  # healthy for 20 s
        ("hhhh", Result.FIXED),
        ("mmmm", Result.FIXED),
        ("hhfhhh", None),  # begun anew
        ("fhhhh", Result.FIXED),
        ("px", Result.NOT_FIXED),
        ("fffffff", Result.NOT_FIXED),
        ("ppppppp", Result.NOT_FIXED),
        ("eeeeeee", Result.INCONCLUSIVE),
        ("sssssss", Result.INCONCLUSIVE),
        ("fffuuuu", Result.PROBE_ERROR),
        ("fff????", Result.PROBE_ERROR),
        ("uuuuuuu", Result.PROBE_ERROR),
    ],
)
def test_looks_become_a_result(letters: str, expected: Result | None) -> None:
    assert result(looks(letters)) is expected


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("ffffffh", None),  # healthy at the timeout for the first time
        ("ffffhhh", None),
        ("ffffhhhh", Result.FIXED),
        ("ffffffhhhh", Result.FIXED),
        ("ffffffhhf", Result.NOT_FIXED),  # the first unhealthy look after the timeout ends it
        ("ffffffhhe", Result.INCONCLUSIVE),
        ("ffffffhhu", Result.PROBE_ERROR),
        ("fffff    hhhh", Result.FIXED),  # nobody looked at the timeout itself
    ],
)
def test_what_is_healthy_at_the_timeout_gets_the_rest_of_its_settle_time(
    letters: str, expected: Result | None
) -> None:
    assert result(looks(letters)) is expected


@pytest.mark.parametrize("turns", range(14))
@pytest.mark.parametrize("last", "hfepsu?")
def test_the_question_is_answered_within_timeout_and_settle_time_whatever_happens(
    turns: int, last: str
) -> None:
    every = 7.0
    whole = looks("f" * turns + "h" * 3 + last * 200, every)
    ends = next(n for n in range(1, len(whole)) if result(whole[:n]) is not None)
    assert (whole[ends - 1].at - BEGAN).total_seconds() <= (TIMEOUT + SETTLE).total_seconds() + 2 * every


def test_the_text_says_how_long_it_was_watched() -> None:
    verdict = judge(looks("ffffffhhhh"), BEGAN, SETTLE, TIMEOUT)
    assert verdict == (Result.FIXED, "healthy for 30s: as seen")
    verdict = judge(looks("fffffff"), BEGAN, SETTLE, TIMEOUT)
    assert verdict == (Result.NOT_FIXED, "still not healthy after 1m00s: as seen")
