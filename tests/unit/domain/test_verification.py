"""From looks to a result: settle time, time-out, and what is neither healthy nor failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.evidence import LookedAgain, Trouble, look_again
from app.domain.json import JsonValue
from app.domain.outcome import Result
from app.domain.verification import (
    AlertCondition,
    Measurement,
    Reading,
    Watch,
    judge,
    may_have_helped,
    weigh,
    with_reading,
)
from app.domain.workload import RolloutState

BEGAN = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
SETTLE, TIMEOUT = timedelta(seconds=30), timedelta(seconds=60)

# One letter a look: health, and what stands in its way.
_LOOKS: dict[str, tuple[Any, ...]] = {
    "h": (RolloutState.COMPLETE, AlertCondition.GONE),
    "m": (RolloutState.COMPLETE, AlertCondition.NONE),
    "f": (RolloutState.COMPLETE, AlertCondition.FIRING),
    "p": (RolloutState.PROGRESSING, AlertCondition.GONE),
    "i": (RolloutState.PROGRESSING, AlertCondition.FIRING),
    "d": (RolloutState.PROGRESSING, AlertCondition.FIRING, "no image"),
    "D": (RolloutState.PROGRESSING, AlertCondition.GONE, "no image"),
    "x": (RolloutState.FAILED, AlertCondition.FIRING),
    "e": (RolloutState.COMPLETE, AlertCondition.TOLD_EARLIER),
    "s": (RolloutState.COMPLETE, AlertCondition.SILENCED),
    "u": (RolloutState.COMPLETE, AlertCondition.UNREADABLE),
    "?": (RolloutState.UNKNOWN, AlertCondition.GONE),
}


def _seen(seconds: float, letter: str) -> Measurement:
    rollout, alert, *doomed = _LOOKS[letter]
    return Measurement(BEGAN + timedelta(seconds=seconds), rollout, alert, "as seen", doomed="".join(doomed))


def looks(letters: str, every: float = 10.0, gap: float = 100.0) -> Watch:
    """Looks `every` seconds, the first one right after the action; a blank is a look that was missed, `|` a new process."""
    watch, since, fresh = Watch(), 0.0, False
    for number, letter in enumerate(letters.replace("|", "")):
        if letter != " ":
            seen = _seen(number * every, letter)
            watch = watch.look(seen, None if fresh else since, gap)
            since = 0.0
        since += every
        fresh = letters[: number + 1].count("|") < letters[: number + 2].count("|")
    return watch


def result(watch: Watch) -> Result | None:
    verdict = judge(watch, SETTLE, TIMEOUT)
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
        ("ppppppp", None),  # no alert fires, and the rollout goes on: slow is not failed
        ("p" * 18, None),
        ("p" * 19, Result.INCONCLUSIVE),
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
    every, whole = 7.0, "f" * turns + "h" * 3 + last * 200
    ends = next(n for n in range(1, len(whole)) if result(looks(whole[:n], every)) is not None)
    limit = (3 if last == "p" else 1) * TIMEOUT.total_seconds() + SETTLE.total_seconds()
    assert (ends - 1) * every <= limit + 2 * every


def test_the_text_says_how_long_it_was_watched() -> None:
    verdict = judge(looks("ffffffhhhh"), SETTLE, TIMEOUT)
    assert verdict == (Result.FIXED, "healthy for 30s: as seen")
    verdict = judge(looks("iiiiiii"), SETTLE, TIMEOUT)
    assert verdict == (Result.NOT_FIXED, "still not healthy after 1m: as seen")


def test_e_a_healthy_rollout_under_a_firing_alert_is_called_what_it_is() -> None:
    verdict = judge(looks("iffffff"), SETTLE, TIMEOUT)
    text = "the change is in place and its rollout is healthy, and the alert still fires after 1m: as seen"
    assert verdict == (Result.NOT_FIXED, text)


def _counted(**values: float) -> list[Trouble]:
    return [Trouble(what, value, 5.0) for what, value in values.items()]


LOADED = [Trouble("pain", 12, 5), Trouble("cpu", 9, 5, of_load=True)]


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        (_counted(errors=180), _counted(errors=0), True),
        (_counted(errors=180), _counted(errors=180), False),
        (_counted(errors=180, crashes=9), _counted(errors=0, crashes=9), False),
        (_counted(errors=180, crashes=9), _counted(crashes=9), False),
        (
            _counted(errors=180, crashes=9),
            _counted(errors=0),
            "in part",
        ),  # one of them was not measured again
        (_counted(errors=180), _counted(errors=90), "in part"),
        (_counted(errors=180), _counted(errors=150), False),
        (_counted(errors=180, crashes=9), _counted(errors=90, crashes=9), False),
        (_counted(latency=12, cpu=9), _counted(latency=3.5, cpu=9), False),
        (LOADED, _counted(pain=6, cpu=9), "in part"),
        # What users feel is not known any more: load, which follows what is asked, tells nothing by itself.
        (LOADED, _counted(cpu=9), None),
        (LOADED, _counted(cpu=6), None),
        (LOADED, _counted(cpu=0), None),
        ([*LOADED, Trouble("crashes", 9, 5)], _counted(cpu=6, crashes=9), False),
        ([*LOADED, Trouble("crashes", 9, 5)], _counted(cpu=9, crashes=0), "in part"),
        (_counted(pain=12, errors=9), _counted(pain=6, errors=9), False),
        (_counted(errors=180), [], None),
        (_counted(errors=2), _counted(errors=2), None),  # nothing was wrong with it
        ([], _counted(errors=0), None),
        ([Trouble("this error", 9, 0, "errors")], [Trouble("errors", 7)], True),  # looked through, not found
    ],
)
def test_what_a_step_was_for_is_looked_at_again(
    before: list[Trouble], after: list[Trouble], gone: bool | str | None
) -> None:
    """One that is as before outweighs all others but what users feel; what is not measured again is not gone."""
    found = look_again(before, after, "pain")
    assert (found.gone, found.partly) == (None if gone == "in part" else gone, gone == "in part")


@pytest.mark.parametrize(
    ("gone", "expected", "said"),
    [
        (True, Result.STILL_FIRING, "it helped, and the alert still fires after 1m: 0 now; as seen"),
        (False, Result.NOT_FIXED, "and after 1m it did not help: 0 now; as seen"),
        (None, Result.INCONCLUSIVE, "and the alert still fires after 1m: as seen"),
    ],
)
def test_a_firing_alert_is_no_proof_that_a_step_failed(
    gone: bool | None, expected: Result, said: str
) -> None:
    watch = looks("iffffff")
    verdict = judge(watch, SETTLE, TIMEOUT)
    assert verdict is not None
    assert may_have_helped(verdict, watch)
    result, text = weigh(verdict, watch, LookedAgain(gone, "0 now"))
    assert result is expected
    assert text.endswith(said)


def test_a_step_that_helped_in_part_is_not_called_a_failure() -> None:
    watch = looks("iffffff")
    verdict = judge(watch, SETTLE, TIMEOUT)
    assert verdict is not None
    result, text = weigh(verdict, watch, LookedAgain(None, "6 now", partly=True))
    assert (result, text) == (
        Result.IN_PART,
        "it helped in part, and the alert still fires after 1m: 6 now; as seen",
    )


@pytest.mark.parametrize("letters", ["px", "iiiiiii", "hhhh", "sssssss", "fffuuuu"])
def test_what_speaks_against_a_step_beside_the_alert_is_not_weighed_again(letters: str) -> None:
    watch = looks(letters)
    assert not may_have_helped(judge(watch, SETTLE, TIMEOUT), watch)


def test_e_what_somebody_else_changed_is_not_judged_as_ours() -> None:
    """Neither fixed, however healthy it is, nor failed."""
    for letters in ("hhhh", "fffffff", "px", "i"):
        watch = looks(letters)
        seen = replace(watch.last, hand="kubectl-edit changed replicas") if watch.last else None
        verdict = judge(replace(watch, last=seen), SETTLE, TIMEOUT)
        assert verdict is not None
        assert verdict[0] is Result.TAKEN_OVER
        assert "kubectl-edit changed replicas" in verdict[1]


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("dd", None),  # two looks may be a registry that is slow to answer
        ("ddd", Result.NOT_FIXED),
        ("ddidd", None),  # one of them may get ready after all
        ("DDD", Result.INCONCLUSIVE),  # no alert fires: nothing is taken back
    ],
)
def test_e_a_rollout_that_cannot_succeed_ends_early_with_its_cause(
    letters: str, expected: Result | None
) -> None:
    verdict = judge(looks(letters), SETTLE, TIMEOUT)
    assert (verdict and verdict[0]) is expected
    if verdict is not None:
        assert verdict[1] == "the rollout cannot succeed: no image; as seen"


def test_f3_a_rollout_that_progresses_while_the_alert_is_gone_is_never_not_fixed() -> None:
    """However slow, and whatever came before."""
    for before in ("", "f", "i", "iiiiiii", "d", "dd"):
        for turns in range(1, 30):
            verdict = judge(looks(before + "p" * turns), SETTLE, TIMEOUT)
            assert verdict is None or verdict[0] is Result.INCONCLUSIVE


def test_e_a_step_counts_as_taken_once_its_rollout_was_seen_complete() -> None:
    assert [looks(letters).rolled_out for letters in ("iii", "pi", "if", "fi")] == [False, False, True, True]


def test_health_that_nobody_watched_does_not_count() -> None:
    """Dead for a minute between two healthy looks: settling begins anew."""
    watch = looks("hh")
    assert watch.healthy == 10.0
    seen = _seen(0, "h")
    assert watch.look(seen, 60.0, 30.0).healthy == 0.0
    assert watch.look(seen, None, 30.0).healthy == 0.0  # another process: nobody can tell how long
    assert watch.look(seen, 20.0, 30.0).healthy == 30.0


@pytest.mark.parametrize("jump", [-7_200.0, 7_200.0])
def test_a_clock_that_jumps_neither_fixes_nor_fails_anything(jump: float) -> None:
    """Only the monotonic clock counts: what the wall clock says at a look changes no result."""
    seen = _seen(jump, "f")
    watch = looks("f").look(seen, 10.0, 30.0)
    assert (watch.watched, result(watch)) == (10.0, None)
    healthy = _seen(jump, "h")
    assert result(looks("h").look(healthy, 10.0, 30.0)) is None


def test_a_dead_process_does_not_bring_the_timeout_nearer_than_a_gap() -> None:
    seen = _seen(0, "f")
    assert looks("f").look(seen, 100_000.0, 30.0).watched == 30.0
    assert looks("f").look(seen, None, 30.0).watched == 0.0


@pytest.mark.parametrize("letter", "fh")
@pytest.mark.parametrize("seconds", [None, 60.0], ids=["a process of its own", "slower than any gap"])
def test_a_verification_whose_looks_never_join_ends_too(letter: str, seconds: float | None) -> None:
    """Each look is made by another process, or comes later than what counts as watched."""
    watch = Watch()
    for number in range(20):
        seen = _seen(60 * number, letter)
        watch = watch.look(seen, seconds if number else 0.0, 30.0)
        if result(watch) is not None:
            break
    assert result(watch) is (Result.NOT_FIXED if letter == "f" else Result.INCONCLUSIVE)


def test_a_watch_comes_back_as_it_was() -> None:
    watch = looks("fhh")
    assert Watch.from_json(watch.to_json()) == watch
    assert Watch.from_json({}) == Watch()


@pytest.mark.parametrize(
    ("effect", "result"),
    [(True, Result.FIXED), (False, Result.NOT_FIXED), (None, Result.PROBE_ERROR)],
)
def test_what_the_action_was_for_is_measured_as_well(effect: bool | None, result: Result) -> None:
    """Rollout healthy and alert gone: without the effect that is no fix, and an effect that nobody could measure is unknown."""
    watch = Watch()
    for number in range(20):
        seen = replace(_seen(number * 60.0, "h"), effect=effect)
        assert Measurement.from_json(seen.to_json()) == seen
        watch = watch.look(seen, 60.0, 180.0)
    judged = judge(watch, timedelta(minutes=2), timedelta(minutes=10))
    assert judged is not None
    assert judged[0] is result


def test_what_a_step_was_for_and_cannot_come_any_more_ends_it_at_once() -> None:
    """A Job that has failed: nobody waits for the timeout, and a look that says less is waited for."""
    lost = replace(_seen(0, "h"), effect=False, over=True, text="Job backup failed")
    verdict = judge(Watch().look(lost, 0.0, 100.0), timedelta(minutes=2), timedelta(hours=2))
    assert verdict == (Result.NOT_FIXED, "what it was for has failed: Job backup failed")
    assert Measurement.from_json(lost.to_json()) == lost
    under_way = replace(lost, over=False)
    assert judge(Watch().look(under_way, 0.0, 100.0), timedelta(minutes=2), timedelta(hours=2)) is None


def test_what_is_kept_of_the_looks_is_bounded_and_has_the_first_and_the_last() -> None:
    kept: list[JsonValue] = []
    for second in range(1_000):
        kept = with_reading(kept, Reading(BEGAN + timedelta(seconds=second), ready=second))
        assert len(kept) <= 60
    ready = [Reading.from_json(one).ready for one in kept if isinstance(one, dict)]
    assert (ready[0], ready[-1]) == (0, 999)
    assert ready == sorted(ready, key=lambda n: n or 0)
    assert len(ready) > 30


def test_a_reading_is_the_same_after_the_store() -> None:
    for reading in (Reading(BEGAN), Reading(BEGAN, 0, 2, 0.0, 5)):
        assert Reading.from_json(reading.to_json()) == reading
