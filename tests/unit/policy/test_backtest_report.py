"""The report of a replay: counts, reasons, differences between two policies, limits. Golden texts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from inline_snapshot import snapshot

from app.domain.errors import BadInput
from app.domain.workload import Manager
from app.policy.model import Policy
from app.policytools.assumed import ClusterFacts
from app.policytools.backtest import Replay
from app.policytools.backtest_known import Assumptions
from app.policytools.backtest_records import Heard, Reading, micros
from app.policytools.backtest_report import Backtest, limits_hit
from app.policytools.backtest_text import assumed_lines, report_json, report_lines
from tests.unit.policy.cases import CATALOGUE, policy_of

START = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)


def heard(minute: int, name: str = "HighErrorRate", namespace: str = "rag7") -> Heard:
    at = micros(START + timedelta(minutes=minute))
    labels = {"alertname": name, "namespace": namespace, "deployment": f"d{minute % 2}"}
    return Heard(at, labels, firing=True, starts=at, ends=at + 60_000_000)


def replayed(new: Policy, old: Policy | None = None) -> Backtest:
    backtest = Backtest(
        Replay(new, CATALOGUE, Assumptions()), Replay(old, CATALOGUE, Assumptions()) if old else None
    )
    for record in [*map(heard, range(0, 40, 3)), heard(50, "Other"), heard(60, namespace="team-payments")]:
        backtest.hear(record)
    return backtest


CALM = policy_of("mode: observe\n")
EAGER = policy_of("budgets: [{per: cluster, limit: 3 per 1h}]\n")


def test_one_policy_is_told_in_counts_and_reasons() -> None:
    text = "\n".join(report_lines(replayed(EAGER), Reading()))
    assert text.replace(EAGER.version, "VERSION") == snapshot("""\
16 records replayed, 2026-03-04 03:00:00 UTC to 2026-03-04 04:00:00 UTC

Assumed:
- every target exists: 3 of 3 pods ready, 0 taken down at once
- a run takes 5m, then the alert is gone; nobody answers a question
- an alert fires until its recorded end and is confirmed until then; without one it fires until it is said to be resolved
- nobody pauses anything and no blocking alert fires; the first step that the rule allows applies

Policy VERSION
        3  acts by itself  on 2 targets
       12  blocked  cooldown: cooling_down 8, budget: budget_spent 3, scope: out_of_scope 1
        1  only observed  no_rule 1
  records by rule: acted, asked, blocked, observed
    no rule       0       0       0       1
    errors        3       0      12       0\
""")


def test_two_policies_are_told_with_the_differences_first() -> None:
    lines = report_lines(
        replayed(EAGER, CALM), Reading(unreadable=2, passed_over=3, faults=["a.jsonl:1: not JSON"])
    )
    assert "\n".join(lines[:2] + lines[8:16]) == snapshot("""\
16 records replayed, 2026-03-04 03:00:00 UTC to 2026-03-04 04:00:00 UTC; 3 lines without alerts; 2 lines unreadable, among them:
a.jsonl:1: not JSON

14 records decided differently (old -> new):
        8  HighErrorRate rag7: observed (ceiling) -> blocked (cooling_down), first 2026-03-04 03:06:00 UTC
        3  HighErrorRate rag7: observed (ceiling) -> acted by errors, first 2026-03-04 03:00:00 UTC
        3  HighErrorRate rag7: observed (ceiling) -> blocked (budget_spent), first 2026-03-04 03:27:00 UTC
  new automatic: 2 x HighErrorRate on rag7/Deployment/d0
  new automatic: 1 x HighErrorRate on rag7/Deployment/d1
""")


def test_a_policy_against_itself_differs_in_nothing() -> None:
    backtest = replayed(EAGER, EAGER)
    assert not backtest.differences
    assert "No record is decided differently" in report_lines(backtest, Reading())
    assert backtest.newly_automatic() == []


@pytest.mark.parametrize(
    ("limit", "hit"),
    [
        ("new-auto", True),
        ("new-auto:rag*", True),
        ("new-auto:prod", False),
        ("more-actions-than:2", True),
        ("more-actions-than:3", False),
    ],
)
def test_limits_are_held_against_the_new_policy(limit: str, hit: bool) -> None:
    assert bool(limits_hit(replayed(EAGER, CALM), [limit])) is hit


def test_a_limit_says_what_broke_it() -> None:
    assert limits_hit(replayed(EAGER, CALM), ["new-auto", "more-actions-than:0"]) == snapshot(
        [
            "new-auto: new automatic actions: 2 x HighErrorRate on rag7/Deployment/d0; 1 x HighErrorRate on rag7/Deployment/d1",
            "more-actions-than:0: 3 automatic actions",
        ]
    )


@pytest.mark.parametrize("limit", ["newauto", "more-actions-than", "more-actions-than:x", ""])
def test_a_limit_that_is_none_is_refused(limit: str) -> None:
    with pytest.raises(BadInput, match="expected new-auto"):
        limits_hit(replayed(EAGER), [limit])


def test_the_json_report_has_the_same_counts() -> None:
    data = json.loads(json.dumps(report_json(replayed(EAGER, CALM), Reading(), [])))
    assert data["policy"]["totals"]["acted"] == 3
    assert data["against"]["totals"]["acted"] == 0
    assert {row["target"] for row in data["new_automatic"]} == {"rag7/Deployment/d0", "rag7/Deployment/d1"}
    assert data["records"] == 16
    assert sum(d["count"] for d in data["differences"]) > 0


def test_what_is_assumed_is_said() -> None:
    odd = Assumptions(
        cluster=ClusterFacts(replicas=8, managers=(Manager.FLUX,), marks={"object": "true"}, exists=False),
        fixed=False,
        approvals="approved",
        run=timedelta(minutes=9),
    )
    assert assumed_lines(odd, policy_of())[:2] == snapshot(
        [
            "no target exists: 8 of 8 pods ready, 2 taken down at once; managed by flux; marks object=true",
            "a run takes 9m, and does not help; every question is approved at once",
        ]
    )
