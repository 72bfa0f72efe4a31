"""Recorded alerts are read in their three forms; what cannot be read is counted with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.policytools.backtest_records import Heard, Reading, instant, read_lines

LABELS = {"alertname": "HighErrorRate", "namespace": "rag7"}


def read(*lines: Any) -> tuple[list[Heard], Reading]:
    reading = Reading()
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return list(read_lines("a.jsonl", raw, reading)), reading


def when(at: int | None) -> str:
    return "" if at is None else instant(at).strftime("%H:%M:%S")


def test_a_plain_alert_is_heard_when_it_starts_or_was_received() -> None:
    (plain, received), _ = read(
        {"labels": LABELS, "startsAt": "2026-03-04T03:00:00.123456789Z", "endsAt": "2026-03-04T03:10:00Z"},
        {"labels": LABELS, "startsAt": "2026-03-04T04:00:00+01:00", "receivedAt": "2026-03-04T03:00:30Z"},
    )
    assert (when(plain.at), when(plain.ends), plain.firing) == ("03:00:00", "03:10:00", True)
    assert (when(received.at), when(received.starts), received.ends) == ("03:00:30", "03:00:00", None)


def test_an_alertmanager_body_has_an_alert_for_each_of_its_alerts() -> None:
    alerts = [
        {"status": "firing", "labels": LABELS, "startsAt": "2026-03-04T03:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "ab"},
        {"status": "resolved", "labels": LABELS, "startsAt": "2026-03-04T02:00:00Z", "endsAt": "2026-03-04T03:00:05Z"},
    ]  # fmt: skip
    (firing, resolved), reading = read(
        {"version": "4", "alerts": alerts, "receivedAt": "2026-03-04T03:01:00Z"}
    )
    assert (firing.firing, firing.ends, when(firing.at)) == (True, None, "03:01:00")
    assert firing.episode.endswith("/ab")
    assert (resolved.firing, when(resolved.at)) == (False, "03:01:00")
    (unreceived,), _ = read({"version": "4", "alerts": alerts[1:]})
    assert when(unreceived.at) == "03:00:05"
    assert (reading.lines, reading.alerts) == (1, 2)


def test_an_audit_export_gives_its_alerts_and_passes_over_the_rest() -> None:
    episode = "20260304T030000.000000Z/alertmanager/ab"
    at = 1_772_593_200_000_000
    fired = {"labels": LABELS, "starts_at": "2026-03-04T03:00:00+00:00", "episode": episode}
    rows = [
        {"seq": 1, "at": at, "kind": "service.started", "data": {}},
        {"seq": 2, "at": at, "kind": "alert.fired", "data": fired},
        {"seq": 3, "at": at + 1, "kind": "alert.resolved", "data": {"episode": episode}},
    ]
    (first, last), reading = read(*rows)
    assert (first.labels, first.firing, first.episode) == (LABELS, True, episode)
    assert (last.firing, last.episode, last.at) == (False, episode, at + 1)
    assert reading.passed_over == 1


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{", "a.jsonl:1: not JSON"),
        (b"[]", "a.jsonl:1: list indices"),
        ({"startsAt": "2026-03-04T03:00:00Z"}, "a.jsonl:1: no labels"),
        ({"labels": LABELS}, "a.jsonl:1: no startsAt"),
        ({"labels": LABELS, "startsAt": "2026-03-04T03:00:00"}, "has no offset from UTC"),
        ({"labels": LABELS, "startsAt": "soon"}, "Invalid isoformat"),
        ({"labels": {}, "startsAt": "2026-03-04T03:00:00Z"}, "labels are texts"),
        ({"labels": {"a": 1}, "startsAt": "2026-03-04T03:00:00Z"}, "labels are texts"),
        (
            {"labels": LABELS, "startsAt": "2026-03-04T03:00:00Z", "status": "odd"},
            "status is firing or resolved",
        ),
        ({"seq": 1, "kind": "alert.fired", "at": 1, "data": {}}, "no starts_at"),
    ],
)
def test_what_cannot_be_read_is_counted_with_its_place(line: Any, fault: str) -> None:
    heard, reading = read(line, {"labels": LABELS, "startsAt": "2026-03-04T03:00:00Z"})
    assert len(heard) == 1
    assert reading.unreadable == 1
    assert fault in reading.faults[0]


def test_only_the_first_faults_are_kept_and_blank_lines_are_nothing() -> None:
    _, reading = read(*[b"{"] * 9, b"  \n")
    assert (reading.unreadable, len(reading.faults), reading.lines) == (9, 5, 9)


def test_the_recorded_bodies_of_the_examples_are_read(tmp_path: Path) -> None:
    body = {
        "version": "4",
        "alerts": [{"status": "firing", "labels": LABELS, "startsAt": "2026-03-04T03:00:00Z"}],
    }
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(body) + "\n")
    with file.open("rb") as lines:
        assert len(list(read_lines("a", lines, Reading()))) == 1
