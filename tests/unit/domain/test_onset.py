"""Since when requests fail, told from recorded shares: what an earlier outage says of a release, and what an earlier release does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.onset import Since, onset
from app.domain.ports import Sample

DEPLOYED = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So many seconds after the release."""
    return DEPLOYED + timedelta(seconds=seconds)


def rows(*failing: tuple[float, float], share: float = 0.3) -> list[Sample]:
    """Shares of half an hour before the release and five minutes since; of the requests between these moments this share failed."""

    def of(t: float) -> float:
        felt = sum(max(0.0, min(end, t) - max(start, t - 300)) for start, end in failing)
        return share * min(1.0, felt / 300)

    return [Sample(at(t), of(t)) for t in range(-1_800, 301, 15)]


NOW = (15.0, 300.0)


def test_what_failed_before_a_release_and_recovered_leaves_it_a_suspect() -> None:
    found = onset(rows((-700, -400), NOW), {}, DEPLOYED, at(12))
    assert found.since is Since.UNKNOWN
    assert found.why.startswith("requests began to fail 11 min before it as well and then recovered")


def test_an_outage_that_came_with_an_earlier_release_accuses_that_one_and_clears_nobody() -> None:
    found = onset(rows((-700, -400), NOW), {}, DEPLOYED, at(12), [at(-712)])
    assert found.since is Since.WITH


def test_an_outage_that_the_record_begins_with_may_be_of_a_release_before_the_record() -> None:
    shares = rows((-2_400, -1_200), NOW)
    assert onset(shares, {}, DEPLOYED, at(12), [at(-2_412)]).since is Since.WITH
    assert onset(shares, {}, DEPLOYED, at(12), [at(-9_000)]).since is Since.UNKNOWN
    assert onset(shares, {}, DEPLOYED, at(12)).since is Since.UNKNOWN


def test_an_outage_that_began_before_an_earlier_release_is_not_its_own() -> None:
    found = onset(rows((-1_000, -500), NOW), {}, DEPLOYED, at(12), [at(-800)])
    assert found.since is Since.UNKNOWN


def test_one_of_two_outages_that_no_release_brought_is_enough_to_ask() -> None:
    shares = rows((-1_700, -1_640), (-700, -400), NOW)
    assert onset(shares, {}, DEPLOYED, at(12), [at(-712)]).since is Since.UNKNOWN
    assert onset(shares, {}, DEPLOYED, at(12), [at(-712), at(-1_720)]).since is Since.WITH


def test_a_request_that_failed_in_a_quiet_night_is_no_outage() -> None:
    """One of two requests in five minutes is half of them."""
    shares = rows((-700, -640), NOW)
    rate = {r.at: 5.0 if r.at >= at(-240) else 0.01 for r in shares}
    assert onset(shares, rate, DEPLOYED, at(12)).since is Since.WITH


@given(start=st.integers(-1_700, -520), long=st.integers(60, 180), share=st.floats(0.05, 1.0))
def test_no_release_is_accused_while_what_failed_before_it_may_have_come_again(
    start: int, long: int, share: float
) -> None:
    found = onset(rows((start, start + long), NOW, share=share), {}, DEPLOYED, at(12))
    assert found.since is not Since.WITH
