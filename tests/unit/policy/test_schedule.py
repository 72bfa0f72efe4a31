"""Schedules: which times there are when the clock changes, what becomes of those that passed, and what is refused with its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.domain.decision import Mode, Verdict
from app.policy.faults import PolicyInvalid
from app.policy.gates.people import approval
from app.policy.gates.timing import storm
from app.policy.load import load_policy
from app.policy.match import rule_for_order
from app.policy.schedule import Fate, Missed, Schedule, judge
from app.policytools.lint import lint
from app.policytools.lint_findings import Timing
from remediations import CATALOGUE
from tests.unit.policy.cases import ask_gate

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def schedule(
    cron: str = "30 2 * * *", zone: str = BERLIN, missed: str = "skip", late: str = "1h"
) -> Schedule:
    hours = timedelta(hours=int(late.removesuffix("h")))
    return Schedule(cron=cron, timezone=ZoneInfo(zone), missed=Missed(missed), late=hours)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}:00+00:00")


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("*/30 2 * * *", BERLIN, "2026-03-28T23:30", ["03-30T00:00", "03-30T00:30"]),  # not at all on the 29th
        ("*/30 2 * * *", BERLIN, "2026-10-24T23:30", ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30"]),
        ("0 3 13 * FRI", BERLIN, "2026-03-01T12:00", ["03-06T02:00", "03-13T02:00", "03-20T02:00"]),  # day or weekday
        ("0 3 15 * FRI", BERLIN, "2026-03-12T12:00", ["03-13T02:00", "03-15T02:00", "03-20T02:00"]),
        # Europe/Berlin, 29 March 2026: 02:00 is 03:00.
        ("30 2 * * *", BERLIN, "2026-03-27T12:00", ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
        ("0 3 * * *", BERLIN, "2026-03-28T12:00", ["03-29T01:00", "03-30T01:00"]),
        ("*/30 * * * *", BERLIN, "2026-03-29T00:00", ["03-29T00:30", "03-29T01:00", "03-29T01:30"]),
        ("15 */2 * * *", BERLIN, "2026-03-28T23:30", ["03-29T02:15", "03-29T04:15"]),
        # 25 October 2026: 03:00 is 02:00 once more.
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["10-25T00:30", "10-26T01:30"]),
        ("30 2 * * *", BERLIN, "2026-10-25T00:30", ["10-26T01:30"]),
        ("30 2 * * *", BERLIN, "2026-10-25T01:15", ["10-26T01:30"]),
        ("*/30 * * * *", BERLIN, "2026-10-25T00:00", ["10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"]),
        ("0 3 * * *", BERLIN, "2026-10-24T12:00", ["10-25T02:00", "10-26T02:00"]),
        # America/New_York, 8 March and 1 November 2026.
        ("30 2 * * *", NEW_YORK, "2026-03-07T12:00", ["03-08T07:00", "03-09T06:30"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T12:00", ["11-01T05:30", "11-02T06:30"]),
        ("30 1 * * *", NEW_YORK, "2026-11-01T06:15", ["11-02T06:30"]),
        ("30 1 * * 0", NEW_YORK, "2026-10-31T12:00", ["11-01T05:30", "11-08T06:30"]),
        # A zone of half an hour, and one without changes.
        ("0 2 * * *", "Australia/Lord_Howe", "2026-10-03T10:00", ["10-03T15:30", "10-04T15:00"]),
        ("30 2 * * *", "UTC", "2026-03-28T12:00", ["03-29T02:30", "03-30T02:30"]),
        ("0 0 29 2 *", "UTC", "2026-03-01T00:00", ["2028-02-29T00:00"]),
    ],
)  # fmt: skip
def test_each_time_comes_once_when_the_clock_changes(
    cron: str, zone: str, after: str, expected: list[str]
) -> None:
    wanted = tuple(at(text if text.startswith("20") else f"2026-{text}") for text in expected)
    assert schedule(cron, zone).coming(at(after), len(wanted)) == wanted


@pytest.mark.parametrize(
    ("cron", "zone", "a_day"),
    [
        ("30 2 * * *", BERLIN, True),
        ("30 1 * * *", NEW_YORK, True),
        ("0 3 * * *", BERLIN, True),
        ("*/30 * * * *", BERLIN, False),
        ("5 * * * *", NEW_YORK, False),
        ("10 */2 * * *", BERLIN, False),
        ("*/20 2 * * *", BERLIN, False),
    ],
)
def test_from_whatever_instant_somebody_looks_the_next_time_is_the_same_one(
    cron: str, zone: str, a_day: bool
) -> None:
    """Within the days of all four changes; and a daily time comes once on each day of the year."""
    times = schedule(cron, zone)
    for day in ("2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01"):
        begin = at(f"{day}T00:00") - timedelta(hours=2)
        in_order = times.coming(begin, 60)
        for look in (begin + timedelta(minutes=5 * n) for n in range(12 * 14)):
            assert times.first_after(look) == next(due for due in in_order if due > look), look
    if a_day:
        days = {due.astimezone(ZoneInfo(zone)).date() for due in times.coming(at("2025-12-31T23:00"), 365)}
        assert len(days) == 365


DUE = at("2026-03-04T01:30")  # 02:30 in Berlin


@pytest.mark.parametrize(
    ("missed", "late", "now", "due", "fate"),
    [
        ("skip", "1h", DUE, DUE, Fate.START),
        ("skip", "1h", DUE + timedelta(seconds=300), DUE, Fate.START),
        ("skip", "1h", DUE + timedelta(seconds=301), DUE, Fate.SKIPPED),
        ("once", "1h", DUE + timedelta(seconds=300), DUE, Fate.START),
        ("once", "1h", DUE + timedelta(seconds=301), DUE, Fate.LATE),
        ("once", "1h", DUE + timedelta(hours=1), DUE, Fate.LATE),
        ("once", "1h", DUE + timedelta(hours=1, seconds=1), DUE, Fate.TOO_LATE),
        # Three days without anybody: the newest counts, once for all.
        ("once", "2h", DUE + timedelta(days=3, hours=1), DUE + timedelta(days=3), Fate.LATE),
        ("skip", "1h", DUE + timedelta(days=3), DUE + timedelta(days=3), Fate.START),
        ("once", "1h", DUE + timedelta(days=3, seconds=5), DUE + timedelta(days=3), Fate.START),
        ("once", "30h", DUE + timedelta(days=3, hours=12), DUE + timedelta(days=3), Fate.LATE),
        ("skip", "1h", DUE + timedelta(days=3, hours=2), DUE + timedelta(days=3), Fate.SKIPPED),
        ("once", "1h", DUE + timedelta(days=3, hours=2), DUE + timedelta(days=3), Fate.TOO_LATE),
    ],
)
def test_what_passed_is_skipped_or_made_up_for_once_within_its_bound(
    missed: str, late: str, now: datetime, due: datetime, fate: Fate
) -> None:
    judged = judge(schedule(missed=missed, late=late), DUE, now)
    assert (judged.due, judged.fate) == (due, fate)
    assert judged.first == (DUE if due > DUE else None), "those before it are told by the first of them"


@pytest.mark.parametrize("cron", ["30 2 * * *", "*/30 2 * * *", "* * * * *", "0 3 13 * FRI", "59 23 L * *"])
@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK])
def test_of_several_that_passed_the_newest_counts(cron: str, zone: str) -> None:
    """Whichever it is, also where an hour comes twice or not at all."""
    times = schedule(cron, zone, missed="once")
    for day in ("2026-03-29", "2026-10-25", "2026-11-01"):
        passed = times.coming(at(f"{day}T00:00") - timedelta(hours=2), 9)
        for number, newest in enumerate(passed[:-1]):
            for now in (newest, newest + (passed[number + 1] - newest) / 2):
                assert judge(times, passed[0], now).due == newest


def test_what_is_far_too_late_costs_no_walk_through_all_its_times() -> None:
    """A minute's schedule after ten years: some steps, not five million."""
    judged = judge(
        schedule("* * * * *", missed="once", late="1h"), DUE, DUE + timedelta(days=3653, seconds=30)
    )
    assert judged.fate is Fate.START
    assert judged.due == DUE + timedelta(days=3653)


def test_a_time_is_told_as_people_in_its_zone_read_it() -> None:
    assert schedule().told(at("2026-03-29T01:00")) == "2026-03-29 03:00 CEST"
    assert schedule().told(at("2026-10-25T01:30")) == "2026-10-25 02:30 CET"


HEAD = "version: 1\nscope: {namespaces: [rag7]}\nrules:\n"
TARGET = "target: {name: {default: langgraph}, namespace: {default: rag7}}"


def rules(block: str, remediation: str = "scale", rest: str = f"params: {{replicas: 3}}, {TARGET}") -> str:
    return f"{HEAD}  - {{name: nightly, remediation: {remediation}, {rest}, schedule: {{{block}}}}}\n"


GOOD = "cron: '30 2 * * *', timezone: Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rules("cron: '61 2 * * *', timezone: UTC"), "no cron expression: bad minute"),
        (rules("cron: '30 2 * *', timezone: UTC"), "expected five fields"),
        (rules("cron: '* 30 2 * * *', timezone: UTC"), "expected five fields"),
        (rules("cron: '@daily', timezone: UTC"), "expected five fields"),
        (rules("cron: '0 0 30 2 *', timezone: UTC"), "no cron expression: bad day-of-month"),
        (rules("cron: '', timezone: UTC"), "expected five fields"),
        (rules("cron: 30, timezone: UTC"), ""),
        (rules("cron: '30 2 * * *', timezone: Europe/Berlinn"), "unknown time zone 'Europe/Berlinn'"),
        (rules("cron: '30 2 * * *'"), 'the key "timezone" is missing'),
        (rules(f"{GOOD}, misssed: once"), 'unknown key "misssed", did you mean "missed"?'),
        (rules(f"{GOOD}, missed: twice"), "twice"),
        (rules(f"{GOOD}, late: 2h"), "late is for missed: once"),
        (rules(f"{GOOD}, missed: once, late: 299s"), "expected 5m to 7d"),
        (rules(f"{GOOD}, missed: once, late: 8d"), "expected 5m to 7d"),
        (rules(GOOD, rest=TARGET), "a schedule needs replicas"),
        (rules(GOOD, rest="params: {replicas: 3}"), "target.name.default and target.namespace.default"),
        (
            rules(GOOD, "high-latency", f"when: 'alertname=\"A\"', {TARGET}"),
            "high-latency is no procedure: it is started by alerts, not by the clock",
        ),
        (rules(GOOD, "hotfix", f"params: {{image: ':v1'}}, approval: {{order_counts: true}}, {TARGET}"), "hotfix needs a person's approval"),
        (rules(GOOD, "database-restore", f"approval: {{approvals: 1}}, {TARGET}"), "database-restore needs a person's approval"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy({"a.yaml": text}, CATALOGUE)
    (fault, *_) = caught.value.faults
    assert message in fault.message
    assert (fault.file, fault.line) == ("a.yaml", 4)
    assert fault.column > 1


def test_a_rule_with_a_schedule_is_kept_as_it_was_for_its_run() -> None:
    (rule,) = load_policy({"a.yaml": rules(f"{GOOD}, missed: once, late: 2h")}, CATALOGUE).rules
    assert rule.schedule == schedule(missed="once", late="2h")
    assert type(rule).from_json(rule.to_json()).schedule == rule.schedule
    assert datetime(2026, 3, 4, 1, 30, tzinfo=UTC) == rule.schedule.first_after(at("2026-03-04T00:00"))


@pytest.mark.parametrize(
    ("by_hand", "expected"),
    [
        ("", ("manual scale", Mode.APPROVE)),
        ("  - {name: by hand, remediation: scale, mode: observe}\n", ("by hand", Mode.OBSERVE)),
    ],
)
def test_a_rule_with_a_schedule_rules_the_orders_of_its_clock_alone(
    by_hand: str, expected: tuple[str, Mode]
) -> None:
    """It is auto so that the clock may act on its target; whoever may only order would act without approval, anywhere."""
    policy = load_policy(
        {"a.yaml": rules(GOOD, rest=f"mode: auto, params: {{replicas: 5}}, {TARGET}") + by_hand}, CATALOGUE
    )
    rule = rule_for_order(policy, "scale", {"replicas": 9}, CATALOGUE["scale"].procedure)
    assert (rule.name, rule.mode) == expected
    assert rule.params == {"replicas": 9}


WINDOW = "{name: w, timezone: Europe/Berlin, from: "


@pytest.mark.parametrize(
    ("head", "closed"),
    [
        ("", False),
        (f"windows: [{WINDOW}'02:00', to: '03:00'}}]", False),
        (f"windows: [{WINDOW}'04:00', to: '05:00'}}]", True),
        (f"windows: [{WINDOW}'02:00', to: '03:00', days: [sun]}}]", False),
        (f"freeze: [{WINDOW}'02:00', to: '04:00'}}]", True),
        (f"freeze: [{WINDOW}'02:00', to: '03:00', days: [sat, sun]}}]", False),
    ],
)
def test_lint_tells_the_next_times_and_whether_any_of_them_may_act(head: str, closed: bool) -> None:
    text = rules(GOOD).replace("rules:", f"{head}\nrules:")
    found = lint(load_policy({"a.yaml": text}, CATALOGUE), (), Timing(at("2026-03-27T12:00")))
    told = {f.code: f for f in found if f.code.startswith("schedule")}
    assert told["schedule"].text == "due 2026-03-28 02:30 CET, 2026-03-29 03:00 CEST, 2026-03-30 02:30 CEST"
    assert ("schedule_closed" in told) is closed


@pytest.mark.parametrize(
    ("remediation", "rest", "idle"),
    [
        ("scale", "mode: auto, params: {replicas: 3}", ""),
        ("scale", "mode: auto, params: {replicas: 0}", "replicas: 0 without to_zero: true is always refused"),
        ("scale", "mode: auto, params: {replicas: 0, to_zero: true}", ""),
        ("scale", "mode: observe, params: {replicas: 3}", "mode: observe only looks"),
        (
            "adjust-hpa",
            "mode: auto",
            "none of min, max, utilization, average, value is given, so nothing is ever set",
        ),
        ("adjust-hpa", "mode: auto, params: {max: 6}", ""),
        ("adjust-hpa", "mode: auto, params: {average: 2Gi, resource: memory}", ""),
    ],
)
def test_lint_warns_of_a_schedule_whose_orders_can_do_nothing(remediation: str, rest: str, idle: str) -> None:
    policy = load_policy({"a.yaml": rules(GOOD, remediation, f"{rest}, {TARGET}")}, CATALOGUE)
    found = lint(policy, (), Timing(at("2026-03-27T12:00")))
    assert [f.text for f in found if f.code == "schedule_idle"] == ([idle] if idle else [])


BY = "schedule of rule nightly, due 2026-03-04 04:30 CET"


@pytest.mark.parametrize("may_approve", [False, True])
@pytest.mark.parametrize(
    ("rule", "approved_by", "verdict"),
    [
        ("mode: approve\n", "", Verdict.ASK),
        ("mode: approve\n", "ana", Verdict.ALLOW),
        ("mode: auto\n", "", Verdict.ALLOW),
        ("mode: auto\napproval: {order_counts: false}\n", "", Verdict.ASK),
        ("mode: auto\napproval: {order_counts: false}\n", "ana", Verdict.ALLOW),
        ("mode: auto\napproval: {approvals: 2}\n", "", Verdict.ASK),
        ("mode: observe\n", "", Verdict.OBSERVE),
    ],
)
def test_the_clock_approves_nothing(rule: str, approved_by: str, verdict: Verdict, may_approve: bool) -> None:
    found = ask_gate(
        approval,
        rule=rule,
        ordered_by=BY,
        scheduled=True,
        order_may_approve=may_approve,
        approved_by=approved_by,
    )
    assert found.verdict is verdict
    assert "schedule" not in found.remedy


def test_in_a_storm_the_clock_is_no_person_who_knows_what_they_do() -> None:
    storming: dict[str, Any] = {"storm_targets": 10, "ordered_by": BY}
    assert ask_gate(storm, **storming).verdict is Verdict.ALLOW
    assert ask_gate(storm, **storming, scheduled=True).verdict is Verdict.OBSERVE
    assert ask_gate(storm, **storming, scheduled=True, approved_by="ana").verdict is Verdict.ALLOW
