"""Alertmanager's routes, inhibitions and time intervals: what keeps alerts away is named, and what keeps none is not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from app.doctor import routes
from app.doctor.findings import Level
from app.doctor.intervals import Holds, holds
from app.doctor.patient import Patient
from app.policy.load import load_policy
from remediations import CATALOGUE
from tests.unit.doctor.clinic import route

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HEARTBEAT = "heartbeats: [{alertname: Watchdog, missing_after: 2h}]\n"
OURS = {"receiver": "fix", "repeat_interval": "5m", "matchers": ['namespace="rag7"']}
BEAT = {"receiver": "fix", "repeat_interval": "5m", "matchers": ['alertname="Watchdog"']}
PAGER = {"receiver": "pager"}
DAY = [{"start_time": "00:00", "end_time": "24:00"}]


def findings(
    *children: dict[str, Any], when: str = 'alertname="HighErrorRate"', scope: str = "rag7", **config: Any
) -> list[tuple[str, str]]:
    """The code and text of all that is wrong with these routes, below a root that leads to the pager."""
    policy = load_policy(
        {
            "p.yaml": f"""
version: 1
scope: {{namespaces: ["{scope}"]}}
{HEARTBEAT}
rules:
  - name: err
    when: '{when}'
    target: {{kind: Deployment, name: {{label: deployment}}}}
    remediation: high-error-rate
"""
        },
        CATALOGUE,
    )
    made = {**route(), **config}
    made["route"] = {"receiver": "pager", "group_interval": "1m", "routes": list(children)}
    patient = SimpleNamespace(
        policy=policy,
        settings=SimpleNamespace(access=SimpleNamespace(tokens=True), external_url=""),
        clock=SimpleNamespace(now=lambda: NOW),
    )
    found = routes.judged(made, cast("Patient", patient))
    return [(one.code, one.text) for one in found if one.level in (Level.FAIL, Level.WARN)]


def keeping(*matchers: str, **more: Any) -> dict[str, Any]:
    """A route to the pager that takes these."""
    return {**PAGER, "matchers": list(matchers), **more}


ASTRAY: dict[str, tuple[tuple[dict[str, Any], ...], dict[str, Any], tuple[str, str]]] = {
    "one alternative of a rule goes elsewhere": (
        (keeping('alertname="HighErrorRate"'), OURS, BEAT),
        {"when": 'alertname=~"HighErrorRate|Other"'},
        ("route_elsewhere", "alerts of rag7 for err (alertname=HighErrorRate) go to pager and never to fix"),
    ),
    "critical alerts are kept above ours": (
        (keeping('severity="critical"'), OURS, BEAT),
        {},
        ("route_keeps", "alerts of rag7 with severity=critical go to pager and not to fix"),
    ),
    "all but one team's are kept above ours": (
        (keeping('team!="x"'), OURS, BEAT),
        {},
        ("route_keeps", "alerts of rag7 with none of the labels that the routes ask for go to pager"),
    ),
    "an alternation that no rule says is kept": (
        (keeping('severity=~"critical|page"'), OURS, BEAT),
        {"when": 'alertname="HighErrorRate",severity!="page"'},
        ("route_keeps", "with severity=critical go"),
    ),
    "an alert of a pattern that a route names is kept": (
        (keeping('alertname="KubeDown"'), OURS, BEAT),
        {"when": 'alertname=~"Kube.+"'},
        ("route_keeps", "with alertname=KubeDown go to pager"),
    ),
    "a heartbeat has no route": (
        (OURS,),
        {},
        ("heartbeat_astray", "no route leads Watchdog, which is about no namespace, to fix"),
    ),
    "a heartbeat is kept above its route": (
        (keeping('alertname="Watchdog"'), OURS, BEAT),
        {},
        ("heartbeat_astray", "no route leads Watchdog"),
    ),
    "what always fires inhibits ours": (
        (OURS, BEAT),
        {
            "inhibit_rules": [
                {"source_matchers": ['alertname="Watchdog"'], "target_matchers": ['namespace="rag7"']}
            ]
        },
        ("inhibited", 'silences alerts of rag7 (namespace="rag7") while Watchdog fires'),
    ),
    "the same in the older words": (
        (OURS, BEAT),
        {
            "inhibit_rules": [
                {"source_match": {"alertname": "Watchdog"}, "target_match_re": {"alertname": "High.*"}}
            ]
        },
        ("inhibited", "while Watchdog fires"),
    ),
    "a heartbeat comes too seldom by its own route": (
        (OURS, {**BEAT, "repeat_interval": "2h"}),
        {},
        ("heartbeat_pace", "Watchdog counts as missing after 2h, and its route repeats it after up to 2h1m"),
    ),
    "the rule's route is too slow, the heartbeat's is not": (
        ({**OURS, "repeat_interval": "1h"}, BEAT),
        {},
        ("repeat_interval", "repeats an alert after up to 1h1m"),
    ),
    "a scope of patterns: the route is too slow": (
        ({**OURS, "repeat_interval": "1h"}, BEAT),
        {"scope": "team-*"},
        ("repeat_interval", "repeats an alert after up to 1h1m"),
    ),
}


@pytest.mark.parametrize("case", ASTRAY)
def test_what_keeps_alerts_from_us_is_named(case: str) -> None:
    children, more, (code, words) = ASTRAY[case]
    ((found, text),) = findings(*children, **more)
    assert (found, words in text) == (code, True), text


SOUND: dict[str, tuple[tuple[dict[str, Any], ...], dict[str, Any]]] = {
    "the pager above ours says continue": ((keeping('severity="critical"', **{"continue": True}), OURS, BEAT), {}),
    "each severity has its own route to us": (
        (
            {**OURS, "matchers": ['namespace="rag7"', 'severity="critical"']},
            {**OURS, "matchers": ['namespace="rag7"', 'severity!="critical"']},
            BEAT,
        ),
        {},
    ),
    "what nobody acts on is kept": ((keeping('severity="none"'), OURS, BEAT), {}),
    "ours asks for a label of its own": (({**OURS, "matchers": ['namespace="rag7"', "team=a"]}, BEAT), {}),
    "the heartbeat's own route is slow and quick enough": ((OURS, {**BEAT, "repeat_interval": "1h"}), {}),
    "a slow child of ours for what no rule names": (
        ({**OURS, "routes": [{"matchers": ['alertname="Slow"'], "repeat_interval": "12h"}]}, BEAT),
        {},
    ),
    "Watchdog inhibits only what has no namespace, as it": (
        (OURS, BEAT),
        {
            "inhibit_rules": [
                {"source_matchers": ['alertname="Watchdog"'], "target_matchers": ["severity=~.+"], "equal": ["namespace"]}
            ]
        },
    ),
    "critical alerts inhibit warnings": (
        (OURS, BEAT),
        {
            "inhibit_rules": [
                {"source_matchers": ['severity="critical"'], "target_matchers": ['severity="warning"']}
            ]
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SOUND)
def test_what_keeps_nothing_from_us_is_no_finding(case: str) -> None:
    children, more = SOUND[case]
    assert findings(*children, **more) == []


def test_many_alternatives_and_labels_are_judged_in_bounded_work() -> None:
    many = [keeping(f'{name}="{value}"') for name in "abcdefgh" for value in range(9)]
    words = "|".join(f"Alert{number}" for number in range(60))
    found = findings(*many, OURS, BEAT, when=f'alertname=~"{words}",pod=~"{words}"')
    assert {code for code, _ in found} == {"route_keeps"}


ALWAYS: list[list[dict[str, Any]]] = [
    [{}],
    [{"times": DAY}],
    [{"weekdays": ["monday:friday"]}, {"weekdays": ["saturday", "sunday"]}],
    [{"weekdays": ["sunday:saturday"], "months": ["january:december"], "days_of_month": ["1:-1"]}],
    [{"times": [{"start_time": "00:00", "end_time": "12:00"}, {"start_time": "12:00", "end_time": "24:00"}]}],
    [{"times": [{"start_time": "00:00", "end_time": 1440}]}],  # 24:00 without quotes, as YAML reads it
    [{"years": ["2020:2099"]}, {"years": [2100]}],
]
NEVER: list[list[dict[str, Any]]] = [
    [],
    [{"years": ["2020"]}],
    [{"years": ["2019:2025"], "times": DAY}],
    [{"months": ["february"], "days_of_month": ["30:31"]}],
]
AT_TIMES: list[list[dict[str, Any]]] = [
    [{"weekdays": ["saturday", "sunday"]}],
    [{"times": [{"start_time": "00:00", "end_time": "23:59"}]}],
    [{"days_of_month": ["-3:-1"]}],
    [{"months": ["1:11"]}],
    [{"years": ["2026"]}],
    [{"years": ["2050"]}],
    [{"weekdays": ["caturday"]}],  # what cannot be read is nothing certain
]


@pytest.mark.parametrize(
    ("intervals", "word"),
    [
        *((one, Holds.ALWAYS) for one in ALWAYS),
        *((one, Holds.NEVER) for one in NEVER),
        *((one, Holds.AT_TIMES) for one in AT_TIMES),
    ],
)
def test_intervals_hold_always_never_or_at_times(intervals: list[dict[str, Any]], word: Holds) -> None:
    assert holds(intervals, NOW) is word


@pytest.mark.parametrize(
    ("key", "intervals", "words"),
    [
        ("mute_time_intervals", [{"times": DAY}], "is always muted (x)"),
        ("mute_time_intervals", [{"years": ["2020"]}], ""),
        ("mute_time_intervals", [{"weekdays": ["sunday"]}], "is silent at times (x)"),
        ("active_time_intervals", [{}], ""),
        ("active_time_intervals", [{"years": ["2020"]}], "is never active (x)"),
        ("active_time_intervals", [{"weekdays": ["sunday"]}], "is silent at times (x)"),
    ],
)
def test_a_route_is_said_to_be_silent_as_its_intervals_say(
    key: str, intervals: list[dict[str, Any]], words: str
) -> None:
    named = [{"name": "x", "time_intervals": intervals}]
    found = findings({**OURS, key: ["x"]}, BEAT, time_intervals=named)
    assert [code for code, _ in found] == (["route_muted"] if words else [])
    assert all(words in text for _, text in found)


def test_a_muted_route_of_ours_that_no_alert_of_ours_takes_is_nobodys_business() -> None:
    other = {**OURS, "matchers": ['namespace="other"'], "mute_time_intervals": ["x"]}
    named = [{"name": "x", "time_intervals": [{}]}]
    assert findings(OURS, BEAT, other, time_intervals=named) == []


def test_the_example_of_the_chart_lets_everything_through() -> None:
    example = Path(__file__).parents[3] / "charts/alert-remediator/examples/alertmanager.yml"
    made = yaml.safe_load(example.read_text("utf-8"))
    assert findings(*made["route"]["routes"], receivers=made["receivers"]) == []
