"""Times as senders write them, and Alertmanager's fingerprint."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intake.body import rfc3339
from app.intake.fingerprint import fingerprint

DATA = Path(__file__).parent / "data"
BASE = datetime(2026, 3, 4, 10, 15, 22, tzinfo=UTC)

TIMES = [
    ("2026-03-04T10:15:22Z", BASE),
    ("2026-03-04t10:15:22z", BASE),
    ("2026-03-04 10:15:22Z", BASE),
    ("2026-03-04T10:15:22.7Z", BASE.replace(microsecond=700_000)),
    ("2026-03-04T10:15:22.713Z", BASE.replace(microsecond=713_000)),
    ("2026-03-04T10:15:22.123456Z", BASE.replace(microsecond=123_456)),
    ("2026-03-04T10:15:22.1234567Z", BASE.replace(microsecond=123_456)),
    ("2026-03-04T10:15:22.123456999Z", BASE.replace(microsecond=123_456)),
    ("2026-03-04T12:15:22+02:00", BASE),
    ("2026-03-04T04:45:22-05:30", BASE),
    ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
]
NO_TIMES = [
    None, 0, 1772619322, True, "", "now", "2026-03-04", "2026-03-04T10:15:22", "2026-03-04T10:15Z", "2026-W10-3T10:15:22Z",
    "20260304T101522Z", "2026-03-04T10:15:22,5Z", "2026-03-04T10:15:22.Z", "2026-03-04T10:15:22.1234567890Z",
    "2026-02-30T10:15:22Z", "2026-03-04T24:00:00Z", "2026-03-04T10:15:60Z", "2026-03-04T10:15:22+25:00",
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+02:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-02:00",
    "2026-03-04T10:15:22Z\n", "٢٠٢٦-03-04T10:15:22Z",
]  # fmt: skip


@pytest.mark.parametrize(("text", "time"), TIMES)
def test_rfc_3339_times_are_read_in_utc_and_cut_to_microseconds(text: str, time: datetime) -> None:
    found = rfc3339(text)
    assert found == time
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_usable_time_is_none(text: object) -> None:
    assert rfc3339(text) is None


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)), st.integers(-23 * 60, 23 * 60))  # noqa: DTZ001
def test_a_time_written_with_any_offset_is_the_same_moment(naive: datetime, minutes: int) -> None:
    time = naive.replace(tzinfo=UTC)
    try:
        local = (time + timedelta(minutes=minutes)).replace(tzinfo=None)
    except OverflowError:
        return
    sign = "-" if minutes < 0 else "+"
    text = f"{local.isoformat()}{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    assert rfc3339(text) == time


def _example_alerts() -> list[tuple[dict[str, str], str]]:
    body = json.loads((DATA / "alertmanager-firing.json").read_text())
    return [(alert["labels"], alert["fingerprint"]) for alert in body["alerts"]]


@pytest.mark.parametrize(("labels", "expected"), _example_alerts())
def test_the_fingerprint_is_the_one_alertmanager_computes(labels: dict[str, str], expected: str) -> None:
    assert fingerprint(labels) == expected


def test_the_fingerprint_does_not_depend_on_the_order_of_labels() -> None:
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})


def test_the_separator_keeps_names_and_values_apart() -> None:
    assert fingerprint({"ab": "c"}) != fingerprint({"a": "bc"})


def test_no_labels_give_the_offset_basis() -> None:
    assert fingerprint({}) == "cbf29ce484222325"


def test_an_unencodable_label_still_has_a_fingerprint() -> None:
    assert len(fingerprint({"a": "\ud800"})) == 16
