"""Gates about time: freshness, window, blocking alerts, cooldown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.decision import Code, Verdict
from app.policy.facts import Unknown
from app.policy.gates.timing import blocking, cooldown, freshness, window
from tests.unit.policy.cases import NOW, ask_gate


@pytest.mark.parametrize(
    ("age", "code"),
    [
        (timedelta(0), Code.ALLOWED),
        (timedelta(minutes=15), Code.ALLOWED),
        (timedelta(minutes=15, seconds=1), Code.STALE),
    ],
)
def test_the_last_word_may_be_as_old_as_the_rule_says(age: timedelta, code: Code) -> None:
    result = ask_gate(freshness, rule="freshness: 15m\n", last_seen=NOW - age)
    assert result.code is code
    assert result.retry_at is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"firing": False}, Code.NOT_FIRING),
        ({"firing": Unknown("Alertmanager did not answer in 3 s")}, Code.UNKNOWN_FACT),
        ({"last_seen": Unknown("no delivery")}, Code.UNKNOWN_FACT),
        ({"firing": False, "last_seen": Unknown("no delivery")}, Code.NOT_FIRING),
        ({"firing": False, "ordered_by": "ben"}, Code.ALLOWED),
    ],
)
def test_only_an_alert_that_surely_fires_is_acted_on(changes: dict[str, Any], code: Code) -> None:
    result = ask_gate(freshness, **changes)
    assert result.code is code
    assert result.verdict is (Verdict.ALLOW if code is Code.ALLOWED else Verdict.DENY)


FREEZE = 'freeze: [{name: release, days: [wed], from: "03:00", to: "05:00", timezone: UTC}]\n'
WINDOWS = 'windows: [{name: night, from: "22:00", to: "04:00", timezone: UTC}]\n'


@pytest.mark.parametrize(
    ("head", "now", "code", "retry_at"),
    [
        ("", "2026-03-04T12:00:00", Code.ALLOWED, None),
        (FREEZE, "2026-03-04T02:59:59", Code.ALLOWED, None),
        (FREEZE, "2026-03-04T03:00:00", Code.FROZEN, "2026-03-04T05:00:00"),
        (FREEZE, "2026-03-04T05:00:00", Code.ALLOWED, None),
        (WINDOWS, "2026-03-04T03:59:59", Code.ALLOWED, None),
        (WINDOWS, "2026-03-04T04:00:00", Code.OUTSIDE_WINDOW, "2026-03-04T22:00:00"),
        (WINDOWS + FREEZE, "2026-03-04T03:30:00", Code.FROZEN, "2026-03-04T05:00:00"),
        (WINDOWS + FREEZE, "2026-03-04T12:00:00", Code.OUTSIDE_WINDOW, "2026-03-04T22:00:00"),
        (WINDOWS + FREEZE, "2026-03-04T23:00:00", Code.ALLOWED, None),
    ],
)
def test_it_acts_inside_of_windows_and_outside_of_freezes(
    head: str, now: str, code: Code, retry_at: str | None
) -> None:
    result = ask_gate(window, head, now=datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert result.code is code
    assert result.retry_at == (datetime.fromisoformat(retry_at).replace(tzinfo=UTC) if retry_at else None)


def test_a_freeze_without_end_says_what_has_to_change() -> None:
    head = "freeze: [{name: always, timezone: UTC}]\n"
    result = ask_gate(window, head)
    assert (result.code, result.retry_at) == (Code.FROZEN, None)
    assert result.remedy == "the freeze is taken out of the policy"


def test_the_window_is_shown_with_its_days_hours_and_zone() -> None:
    result = ask_gate(window, FREEZE)
    assert result.value == "frozen: release (wed 03:00-05:00 UTC)"
    assert result.threshold == "any time, not in release (wed 03:00-05:00 UTC)"
    assert result.remedy == "the freeze ends (2026-03-04 05:00:00 UTC)"


KEY, OWN_KEY = 'alertname="KubeAPIDown"', 'alertname="Upgrade"'
BLOCKED_HEAD = f"blocked_by: ['{KEY}']\n"
BLOCKED_RULE = f"blocked_by: ['{OWN_KEY}']\n"


@pytest.mark.parametrize(
    ("known", "code"),
    [
        ({KEY: (), OWN_KEY: ()}, Code.ALLOWED),
        ({KEY: ("KubeAPIDown",), OWN_KEY: ()}, Code.BLOCKING_ALERT),
        ({KEY: (), OWN_KEY: ("Upgrade",)}, Code.BLOCKING_ALERT),
        ({KEY: ()}, Code.UNKNOWN_FACT),
        (Unknown("Alertmanager answered 502"), Code.UNKNOWN_FACT),
    ],
)
def test_alerts_of_the_policy_and_of_the_rule_block(known: Any, code: Code) -> None:
    result = ask_gate(blocking, BLOCKED_HEAD, BLOCKED_RULE, blocking=known)
    assert result.code is code
    assert result.verdict is (Verdict.ALLOW if code is Code.ALLOWED else Verdict.DENY)


def test_without_blocking_alerts_nothing_has_to_be_known() -> None:
    assert ask_gate(blocking, blocking=Unknown("no Alertmanager")).verdict is Verdict.ALLOW


def test_many_blocking_alerts_are_counted() -> None:
    known = {KEY: ("D", "B", "A", "C"), OWN_KEY: ("A",)}
    assert (
        ask_gate(blocking, BLOCKED_HEAD, BLOCKED_RULE, blocking=known).value == "firing: A, B, C and 1 more"
    )


@pytest.mark.parametrize(
    ("age", "code"),
    [
        (None, Code.ALLOWED),
        (timedelta(minutes=15), Code.ALLOWED),
        (timedelta(minutes=14, seconds=59), Code.COOLING_DOWN),
        (timedelta(0), Code.COOLING_DOWN),
    ],
)
def test_the_cooldown_is_over_at_its_end(age: timedelta | None, code: Code) -> None:
    last = None if age is None else NOW - age
    result = ask_gate(cooldown, rule="cooldown: 15m\n", last_action=last)
    assert result.code is code
    if code is Code.COOLING_DOWN and last:
        assert result.retry_at == last + timedelta(minutes=15)


def test_an_unknown_last_action_closes_the_cooldown() -> None:
    assert ask_gate(cooldown, last_action=Unknown("store is busy")).code is Code.UNKNOWN_FACT
