"""The trust level machine: Wilson's bound, promotions at their edges, setback at once, and what holds whatever happens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.decision import Mode
from app.domain.quantities import Percent
from app.domain.target import Kind, Target
from app.policy.model import Promotion, Proof, Start, TargetClass, TrustTerms
from app.policy.trust import (
    LEVELS,
    Change,
    Evidence,
    TrustLevel,
    class_of,
    count,
    fresh,
    key_of,
    lower,
    lower_bound,
    measured,
    missing,
    next_text,
    proof_text,
    proved,
    rise,
    share,
    tally_text,
)

NOV = datetime(2025, 11, 3, 7, 0, tzinfo=UTC)
NOW = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
TERMS = TrustTerms()
ASKED = TrustTerms(promotion=Promotion.ASKED)
P95 = Percent(9_500)
TARGET = Target("rag7", Kind.DEPLOYMENT, "langgraph")


def at(level: Mode, fixed: int = 0, runs: int | None = None, *, waits: bool = False) -> TrustLevel:
    return TrustLevel(level, NOV, fixed, fixed if runs is None else runs, waits)


@pytest.mark.parametrize(
    ("fixed", "runs", "confidence", "bound"),
    [
        (0, 0, 9_500, 0.0),
        (0, 1, 9_500, 0.0),
        (1, 1, 9_500, 0.2065),
        (3, 3, 9_500, 0.4385),
        (10, 10, 9_500, 0.7225),
        (12, 12, 9_500, 0.7575),
        (9, 10, 9_500, 0.5958),
        (5, 10, 9_500, 0.2366),
        (10, 10, 9_000, 0.7871),
        (10, 10, 9_999, 0.3978),
        (1_000, 1_000, 9_500, 0.9962),
    ],
)
def test_the_lower_bound_is_wilson_s(fixed: int, runs: int, confidence: int, bound: float) -> None:
    """Numbers of any table of the score interval."""
    assert lower_bound(fixed, runs, Percent(confidence)) == pytest.approx(bound, abs=5e-5)


@pytest.mark.parametrize(
    ("level", "fixed", "runs", "enough"),
    [
        (Mode.OBSERVE, 2, 2, False),
        (Mode.OBSERVE, 3, 3, True),
        (Mode.OBSERVE, 3, 4, False),  # 0.30
        (Mode.OBSERVE, 5, 6, True),  # 0.44
        (Mode.APPROVE, 9, 9, False),  # 0.70, but only 9 runs
        (Mode.APPROVE, 10, 10, True),
        (Mode.APPROVE, 10, 11, False),  # 0.62
        (Mode.APPROVE, 14, 15, True),  # 0.70
        (Mode.APPROVE, 13, 14, False),  # 0.69
        (Mode.AUTO, 500, 500, False),
    ],
)
def test_a_level_takes_enough_runs_and_enough_of_them_fixed(
    level: Mode, fixed: int, runs: int, enough: bool
) -> None:
    assert proved(at(level, fixed, runs), TERMS) is enough


def test_the_fixed_run_that_is_enough_promotes_and_counting_begins_again() -> None:
    after, change = count(at(Mode.OBSERVE, 2), Evidence.FIXED, TERMS, NOW, "run_9")
    assert change is Change.PROMOTED
    assert after == TrustLevel(
        Mode.APPROVE, NOW, why="3 of 3 fixed since 3 Nov 2025, lower bound 0.43 of 0.40 needed"
    )


def test_an_asked_promotion_waits_is_asked_once_and_is_withdrawn_by_doubt() -> None:
    asked, change = count(at(Mode.APPROVE, 9), Evidence.FIXED, ASKED, NOW, "run_1")
    assert (change, asked.level, asked.waits, asked.trials) == (Change.ASKED, Mode.APPROVE, True, 10)
    still, change = count(asked, Evidence.FIXED, ASKED, NOW, "run_2")
    assert (change, still.waits, still.trials) == (Change.COUNTED, True, 11)
    doubted, change = count(asked, Evidence.UNCLEAR, ASKED, NOW, "run_2")
    assert (change, doubted.waits, doubted.successes, doubted.trials) == (Change.COUNTED, False, 10, 11)
    set_back, change = count(asked, Evidence.NOT_FIXED, ASKED, NOW, "run_2")
    assert (change, set_back) == (Change.DEMOTED, TrustLevel(Mode.OBSERVE, NOW, why="run_2 did not fix it"))


def test_what_waited_for_a_person_is_promoted_by_the_next_run_once_nobody_has_to_be_asked() -> None:
    after, change = count(at(Mode.APPROVE, 10, waits=True), Evidence.FIXED, TERMS, NOW, "run_1")
    assert (after.level, after.waits, change) == (Mode.AUTO, False, Change.PROMOTED)


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        (Evidence.NOT_FIXED, "run_1 did not fix it"),
        (Evidence.STUCK, "run_1 got stuck"),
        (Evidence.UNDONE, "run_1 was undone"),
        (Evidence.REJECTED, "run_1 was rejected"),
    ],
)
@pytest.mark.parametrize(
    ("level", "below", "change"),
    [
        (Mode.AUTO, Mode.APPROVE, Change.DEMOTED),
        (Mode.APPROVE, Mode.OBSERVE, Change.DEMOTED),
        (Mode.OBSERVE, Mode.OBSERVE, Change.RESET),
    ],
)
def test_harm_costs_one_level_at_once_whatever_was_proved(
    evidence: Evidence, why: str, level: Mode, below: Mode, change: Change
) -> None:
    for terms in (TERMS, ASKED, None):
        assert count(at(level, 400), evidence, terms, NOW, "run_1") == (
            TrustLevel(below, NOW, why=why),
            change,
        )


def test_doubt_raises_nothing_even_where_enough_was_proved() -> None:
    after, change = count(at(Mode.APPROVE, 30), Evidence.UNCLEAR, TERMS, NOW, "run_1")
    assert (after.level, after.successes, after.trials, change) == (Mode.APPROVE, 30, 31, Change.COUNTED)
    waiting, change = count(at(Mode.APPROVE, 30, waits=True), Evidence.UNCLEAR, ASKED, NOW, "run_1")
    assert (waiting.waits, change) == (True, Change.COUNTED)


def test_without_terms_runs_are_counted_and_nothing_is_promoted() -> None:
    after, change = count(at(Mode.APPROVE, 50), Evidence.FIXED, None, NOW, "run_1")
    assert (after.level, after.trials, change) == (Mode.APPROVE, 51, Change.COUNTED)


def test_people_move_one_level_at_a_time() -> None:
    assert rise(at(Mode.OBSERVE, 1), NOW, "ana: enough")[0] == TrustLevel(
        Mode.APPROVE, NOW, why="ana: enough"
    )
    assert lower(at(Mode.AUTO, 9), NOW, "ana: no")[0] == TrustLevel(Mode.APPROVE, NOW, why="ana: no")
    with pytest.raises(ValueError, match="no level above auto"):
        rise(at(Mode.AUTO), NOW, "higher")


@pytest.mark.parametrize("broken", [(Mode.EARNED, 0, 0), (Mode.AUTO, 2, 1), (Mode.AUTO, -1, 1)])
def test_what_cannot_be_is_no_trust_level(broken: tuple[Mode, int, int]) -> None:
    with pytest.raises(ValueError, match="no trust level"):
        TrustLevel(broken[0], NOW, broken[1], broken[2])


@pytest.mark.parametrize(("per", "name"), [
    (TargetClass.NAMESPACE, "rag7"),
    (TargetClass.KIND, "rag7/Deployment"),
    (TargetClass.TARGET, "rag7/Deployment/langgraph"),
])  # fmt: skip
def test_a_class_has_the_name_that_people_know(per: TargetClass, name: str) -> None:
    assert class_of(per, TARGET) == name
    assert key_of("HighErrorRate", "restart", per, TARGET) == f"HighErrorRate/restart/{name}"


@pytest.mark.parametrize(("start", "level"), [(Start.OBSERVE, Mode.OBSERVE), (Start.APPROVE, Mode.APPROVE)])
def test_a_trust_level_begins_where_the_policy_says(start: Start, level: Mode) -> None:
    assert fresh(TrustTerms(start=start), NOW) == TrustLevel(level, NOW)


NEVER = TrustTerms(auto=Proof(runs=1, bound=0.997))


@pytest.mark.parametrize(
    ("trust_level", "terms", "more", "text"),
    [
        (at(Mode.OBSERVE), TERMS, 3,
         "3 more runs fixed in a row (ordered by hand: nothing acts by itself here) for level approve"),
        (at(Mode.APPROVE, 9), TERMS, 1, "1 more run fixed in a row for level auto"),
        (at(Mode.APPROVE, 9, 10), TERMS, 5, "5 more runs fixed in a row for level auto"),
        (at(Mode.APPROVE, 10), TERMS, 0, "the next fixed run leads to level auto"),
        (at(Mode.APPROVE, 10, waits=True), ASKED, 0, "a person confirms level auto"),
        (at(Mode.AUTO, 5), TERMS, None, ""),
        (at(Mode.APPROVE, 5), NEVER, None, "level auto cannot be earned: its bound is above what 1000 fixed runs prove"),
        (at(Mode.APPROVE, 5), None, None, "no rule with mode earned says what the next level takes"),
    ],
)  # fmt: skip
def test_what_would_have_to_happen_is_told(
    trust_level: TrustLevel, terms: TrustTerms | None, more: int | None, text: str
) -> None:
    assert missing(trust_level, terms) == more
    assert next_text(trust_level, terms) == text


def test_numbers_read_as_a_person_would_say_them() -> None:
    assert tally_text(at(Mode.AUTO)) == "no run counted since 3 Nov 2025"
    assert proof_text(at(Mode.AUTO, 7, 8), TERMS) == "7 of 8 fixed since 3 Nov 2025"
    assert proof_text(at(Mode.APPROVE, 12), TERMS) == (
        "12 of 12 fixed since 3 Nov 2025, lower bound 0.75 of 0.70 needed"
    )
    assert proof_text(at(Mode.APPROVE, 9), TERMS) == (
        "9 of 9 fixed since 3 Nov 2025, lower bound 0.70 of 0.70 needed, 9 of 10 runs"
    )
    assert (measured(0.6999), measured(0.7), share(0.7), share(0.705), share(0.4)) == (
        "0.69", "0.70", "0.70", "0.705", "0.40"
    )  # fmt: skip


counts = st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.integers(5_000, 9_999).map(Percent)
proofs = st.builds(Proof, runs=st.integers(1, 12), bound=st.floats(0.01, 0.99))
terms_any = st.builds(
    TrustTerms, start=st.sampled_from(Start), approve=proofs, auto=proofs, promotion=st.sampled_from(Promotion),
    confidence=confidences,
)  # fmt: skip


@given(counts, confidences)
def test_the_bound_lies_between_nothing_and_the_share_and_grows_with_proof(
    numbers: tuple[int, int], confidence: Percent
) -> None:
    fixed, runs = numbers
    bound = lower_bound(fixed, runs, confidence)
    assert 0 <= bound <= (fixed / runs if runs else 0) + 1e-12
    assert lower_bound(fixed + 1, runs + 1, confidence) >= bound
    assert lower_bound(fixed, runs + 1, confidence) <= bound + 1e-12
    if fixed < runs:
        assert lower_bound(fixed + 1, runs, confidence) >= bound


@given(counts, terms_any, st.sampled_from(LEVELS[:-1]))
def test_the_missing_runs_are_enough_and_one_less_is_not(
    numbers: tuple[int, int], terms: TrustTerms, level: Mode
) -> None:
    trust_level = at(level, *numbers)
    more = missing(trust_level, terms)
    if more is None:
        return
    assert proved(
        replace(trust_level, successes=trust_level.successes + more, trials=trust_level.trials + more), terms
    )
    if more:
        one_less = replace(
            trust_level, successes=trust_level.successes + more - 1, trials=trust_level.trials + more - 1
        )
        assert not proved(one_less, terms)


@given(st.lists(st.sampled_from(Evidence), max_size=60), terms_any)
def test_no_history_promotes_without_proof_or_survives_harm(
    history: list[Evidence], terms: TrustTerms
) -> None:
    trust_level = fresh(terms, NOV)
    for number, evidence in enumerate(history):
        now = NOV + timedelta(hours=number + 1)
        after, change = count(trust_level, evidence, terms, now, f"run_{number}")
        moved = LEVELS.index(after.level) - LEVELS.index(trust_level.level)
        assert abs(moved) <= 1
        assert (moved != 0) == (change in (Change.PROMOTED, Change.DEMOTED))
        if evidence.setback:
            assert moved == (-1 if trust_level.below else 0)
            assert (after.trials, after.waits, after.since) == (0, False, now)
        elif moved == 1:
            wanted = terms.approve if trust_level.level is Mode.OBSERVE else terms.auto
            assert evidence is Evidence.FIXED
            fixed, runs = trust_level.successes + 1, trust_level.trials + 1
            assert runs >= wanted.runs
            assert lower_bound(fixed, runs, terms.confidence) >= wanted.bound
            assert terms.promotion is Promotion.AUTOMATIC
        else:
            assert after.trials == trust_level.trials + 1
            assert after.successes == trust_level.successes + (evidence is Evidence.FIXED)
        trust_level = after
