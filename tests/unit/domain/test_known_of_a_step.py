"""What is known of a step that came up in part, that is slow, or whose numbers tell nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.evidence import Trouble, look_again
from app.domain.outcome import Result
from app.domain.verification import AlertCondition, Measurement, Watch, judge, may_have_helped
from app.domain.workload import RolloutState
from tests.unit.domain.test_verification import BEGAN, SETTLE, TIMEOUT, _seen, looks, result


def _lines(value: float, *, pods: int = 2, other: float = 300, **how: Any) -> list[Trouble]:
    lines = Trouble("lines", value, 5, of_load=True, pods=pods, needs="other", **how)
    return [lines, Trouble("other", other)]


@pytest.mark.parametrize(
    ("before", "after", "expected", "said"),
    [
        # More pods write more: what users feel is what counts, and without it nobody can tell.
        ([*_lines(400), Trouble("5xx", 0.63, 0.01)], [*_lines(308, pods=5), Trouble("5xx", 0.08)], "in part", "0.08 now"),
        ([*_lines(400), Trouble("5xx", 0.6, 0.01)], [*_lines(400, pods=5), Trouble("5xx", 0.6)], False, "0.6 now"),
        (_lines(400), _lines(308, pods=5), None, "5 pods write more than 2"),
        (_lines(400), _lines(100, pods=5), "in part", "100 now"),
        (_lines(400), _lines(390), False, "390 now"),
        # Nothing is asked of the pods: no errors are no news, unless users are seen to be served.
        (_lines(180), _lines(0, other=0), None, "nothing may be asked of the pods"),
        (_lines(180), _lines(0, other=280), True, "0 now"),
        (_lines(180, other=0), _lines(0, other=0), True, "0 now"),
        ([*_lines(180), Trouble("5xx", 0.6, 0.01)], [*_lines(0, other=0), Trouble("5xx", 0)], True, "0 now"),
        # A log that was cut has at least so many.
        (_lines(180), _lines(0, least=True), None, "a log was cut"),
        (_lines(180, least=True), _lines(170), None, "a log was cut"),
        (_lines(180, least=True), _lines(0), True, "0 now"),
    ],
)  # fmt: skip
def test_numbers_that_tell_nothing_are_told_from_those_that_do(
    before: list[Trouble], after: list[Trouble], expected: bool | str | None, said: str
) -> None:
    found = look_again(before, after, "5xx")
    assert (found.gone, found.partly) == (None if expected == "in part" else expected, expected == "in part")
    assert said in found.text


def test_kills_that_became_rarer_are_help_in_part_although_the_same_containers_are_killed() -> None:
    before = [Trouble("containers", 2, 0, finer="kills"), Trouble("kills", 1.9)]
    rarer = look_again(before, [Trouble("containers", 2, 0), Trouble("kills", 0.9)])
    assert (rarer.gone, rarer.partly) == (None, True)
    assert rarer.text == "containers: 2 before the step, 2 now (kills: 1.9 before the step, 0.9 now)"
    assert look_again(before, [Trouble("containers", 2, 0), Trouble("kills", 1.8)]).gone is False
    assert look_again(before, [Trouble("containers", 2, 0)]).gone is False


def _half_way(rollout: RolloutState, alert: AlertCondition, **how: Any) -> Watch:
    watch = Watch()
    for number in range(60):
        seen = Measurement(BEGAN + timedelta(seconds=10 * number), rollout, alert, "as seen", **how)
        watch = watch.look(seen, 10.0 if number else 0.0, 100.0)
        if judge(watch, SETTLE, TIMEOUT) is not None:
            break
    return watch


@pytest.mark.parametrize("alert", AlertCondition)
def test_a_rollout_within_its_own_deadline_is_waited_for_whatever_the_alert_says(
    alert: AlertCondition,
) -> None:
    watch = _half_way(RolloutState.PROGRESSING, alert, deadline=300.0)
    assert watch.watched == 300.0
    assert result(watch) is not Result.NOT_FIXED


def test_a_change_of_a_size_is_waited_for_as_long_as_one_more_pod_comes_up() -> None:
    watch = Watch()
    for number in range(30):
        serving = min(number // 2, 5)
        seen = replace(_seen(10.0 * number, "i"), serving=serving)
        watch = watch.look(seen, 10.0 if number else 0.0, 100.0)
        if result(watch) is not None:
            break
    assert (watch.most, watch.moved, watch.watched) == (5, 100.0, 160.0)
    assert may_have_helped(judge(watch, SETTLE, TIMEOUT), watch)


def test_what_is_complete_later_than_the_timeout_gets_its_settle_time_from_then_on() -> None:
    watch = _half_way(RolloutState.PROGRESSING, AlertCondition.GONE, deadline=300.0)
    watch = replace(watch, watched=200.0, rolling=200.0)
    verdicts = []
    for number, letter in enumerate("fhhhh"):
        watch = watch.look(_seen(10.0 * number, letter), 10.0, 100.0)
        verdicts.append(result(watch))
    assert verdicts == [None, None, None, None, Result.FIXED]


def test_health_that_the_counts_speak_against_is_none() -> None:
    watch = looks("hhhh")
    assert result(watch) is Result.FIXED
    doubted = watch.doubted("184 before, 184 now")
    assert result(doubted) is None
    assert doubted.last is not None
    assert (doubted.last.alert, doubted.last.text) == (
        AlertCondition.VANISHED,
        "as seen; 184 before, 184 now",
    )
    assert doubted.look(_seen(40, "h"), 10.0, 100.0).healthy == 0.0
