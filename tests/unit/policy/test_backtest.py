"""Replays: what follows from a decision is simulated on the recorded alerts' own time, and no limit is ever exceeded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.decision import Decision
from app.policy.decide import decide
from app.policy.model import Policy
from app.policytools.assumed import ClusterFacts
from app.policytools.backtest import Acted, Replay
from app.policytools.backtest_history import Incident, Prepared
from app.policytools.backtest_known import Assumptions, Said
from app.policytools.backtest_records import Heard
from tests.unit.policy.cases import CATALOGUE, policy_of

MINUTE = 60_000_000
DAY = 1_770_000_000 * 1_000_000  # a plain instant in 2026


@dataclass
class Workflow:
    """A replay and what it said, minute by minute."""

    policy: Policy = field(default_factory=policy_of)
    assumed: Assumptions = field(default_factory=Assumptions)

    def __post_init__(self) -> None:
        self.replay = Checked(self.policy, CATALOGUE, self.assumed)

    def fires(self, minute: float, lasts: float | None = None, **labels: str) -> str:
        at = DAY + int(minute * MINUTE)
        ends = None if lasts is None else at + int(lasts * MINUTE)
        return word(self.replay.hear(Heard(at, all_labels(labels), firing=True, starts=at, ends=ends)))

    def repeats(self, minute: float, since: float, **labels: str) -> str:
        return word(self.replay.hear(Heard(at(minute), all_labels(labels), firing=True, starts=at(since))))

    def resolves(self, minute: float, since: float, **labels: str) -> str:
        return word(self.replay.hear(Heard(at(minute), all_labels(labels), firing=False, starts=at(since))))

    def acted(self) -> list[tuple[str, float, str]]:
        return [(a.what, (a.at - DAY) / MINUTE, a.said.target) for a in self.replay.acted]


class Checked(Replay):
    """Holds every decision of a replay against the live one."""

    def judge(self, prepared: Prepared, incident: Incident) -> Decision:
        facts = self._past.measure(prepared, incident, self.now)
        brief = super().judge(prepared, incident)
        live = decide(prepared.ground.policy, prepared.ground.rule, prepared.step, facts)
        assert brief.gates == live.gates[: len(brief.gates)]
        assert replace(brief, gates=()) == replace(live, gates=())
        assert brief.retry_at == live.retry_at
        assert facts.spend == {scope: self._past.spent(scope, self.now) for scope in prepared.scopes}
        return brief


def at(minute: float) -> int:
    return DAY + int(minute * MINUTE)


def all_labels(labels: dict[str, str]) -> dict[str, str]:
    return {"alertname": "HighErrorRate", "namespace": "rag7", "deployment": "a", **labels}


def word(said: Said) -> str:
    return f"{said.what} {said.code}".strip()


def test_it_acts_once_and_what_comes_while_it_is_at_work_joins() -> None:
    timeline = Workflow()
    assert timeline.fires(0) == "acted allowed"
    assert timeline.repeats(2, since=0) == "joined"
    assert timeline.acted() == [("acted", 0, "rag7/Deployment/a")]


def test_what_a_run_fixed_would_not_have_been_heard_again() -> None:
    timeline = Workflow()
    timeline.fires(0)
    assert timeline.repeats(30, since=0) == "fixed"
    assert timeline.fires(31) == "acted allowed"


def test_a_new_firing_within_the_cooldown_is_blocked_and_has_its_turn_when_it_ends() -> None:
    timeline = Workflow()
    timeline.fires(0)
    assert timeline.fires(8, lasts=60) == "blocked cooling_down"
    assert timeline.fires(40, namespace="other") == "blocked out_of_scope"
    assert [at for _, at, _ in timeline.acted()] == [0, 20]  # the run ended after 5 minutes, cooldown 15


def test_an_alert_that_ended_before_its_turn_gets_none() -> None:
    timeline = Workflow()
    timeline.fires(0)
    assert timeline.fires(8, lasts=5) == "blocked cooling_down"
    timeline.fires(40, namespace="other")
    assert len(timeline.acted()) == 1


def test_without_a_recorded_end_the_last_word_gets_stale_before_the_turn() -> None:
    timeline = Workflow(policy_of(rule="cooldown: 30m\n"))
    timeline.fires(0)
    assert timeline.fires(8) == "blocked cooling_down"
    timeline.fires(60, namespace="other")
    assert len(timeline.acted()) == 1


def test_a_run_that_does_not_help_hands_the_incident_to_a_person_until_the_alert_is_gone() -> None:
    timeline = Workflow(policy_of(rule="cooldown: 1m\n"), Assumptions(fixed=False))
    timeline.fires(0)
    assert timeline.repeats(20, since=0) == "person"
    assert timeline.resolves(25, since=0) == "resolved"
    assert timeline.fires(30) == "acted allowed"
    timeline.resolves(36, since=30)
    assert timeline.fires(40) == "asked flapping"


def test_a_question_takes_no_place_in_the_budgets() -> None:
    timeline = Workflow(policy_of("mode: approve\nbudgets: [{per: cluster, limit: 1 per 24h}]\n"))
    assert timeline.fires(0) == "asked approval_needed"
    assert timeline.fires(1, deployment="b") == "asked approval_needed"
    assert timeline.fires(40, deployment="c") == "asked approval_needed"


def test_a_question_whose_alert_resolves_is_void() -> None:
    timeline = Workflow(policy_of("mode: approve\n"))
    timeline.fires(0)
    timeline.resolves(3, since=0)
    assert timeline.fires(4) == "asked approval_needed"


def test_answers_can_be_assumed() -> None:
    timeline = Workflow(
        policy_of("mode: approve\n"), Assumptions(approvals="approved", run=timedelta(minutes=2))
    )
    assert timeline.fires(0) == "asked approval_needed"
    assert timeline.repeats(3, since=0) == "fixed"


def test_refused_incidents_have_their_turn_when_a_run_ends() -> None:
    timeline = Workflow(policy_of("blast_radius: {targets_in_flight: 1}\n"))
    timeline.fires(0, deployment="a")
    assert timeline.fires(1, lasts=60, deployment="b") == "blocked blast_radius"
    timeline.fires(9, namespace="other")
    assert timeline.acted() == [("acted", 0, "rag7/Deployment/a"), ("acted", 5, "rag7/Deployment/b")]


def test_many_targets_at_once_are_a_storm_also_those_without_a_rule() -> None:
    timeline = Workflow(policy_of("storm: {targets: 3, within: 5m}\n"))
    timeline.fires(0, alertname="DiskFull", deployment="x")
    timeline.fires(1, alertname="DiskFull", deployment="y")
    assert timeline.fires(2) == "observed storm"
    assert timeline.fires(9, deployment="z") == "acted allowed"


def test_pods_of_one_workload_are_one_incident() -> None:
    timeline = Workflow()
    assert timeline.fires(0, deployment="", pod="worker-5d9c7b8f6d-x2x4z") == "acted allowed"
    assert timeline.fires(1, deployment="", pod="worker-5d9c7b8f6d-b2b4b") == "joined"
    assert timeline.acted() == [("acted", 0, "rag7/Deployment/worker")]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"alertname": "Other"}, "observed no_rule"),
        ({"namespace": "Not A Name"}, "blocked no_target"),
        ({"namespace": "kube-system"}, "blocked protected"),
    ],
)
def test_what_needs_no_history(labels: dict[str, str], expected: str) -> None:
    assert Workflow().fires(0, None, **labels) == expected


def test_a_cluster_without_the_targets_blocks_all() -> None:
    timeline = Workflow(assumed=Assumptions(cluster=ClusterFacts(exists=False)))
    assert timeline.fires(0) == "blocked target_not_found"


def test_records_out_of_order_are_counted_and_time_never_goes_back() -> None:
    timeline = Workflow()
    timeline.fires(10)
    timeline.fires(5, deployment="b")
    assert timeline.replay.late == 1
    assert [at for _, at, _ in timeline.acted()] == [10, 10]


def test_what_is_long_past_is_forgotten() -> None:
    timeline = Workflow()
    for n in range(45_000):
        timeline.fires(n, deployment=f"d{n}", alertname="Other")
    assert len(timeline.replay._incidents) < 25_000
    assert len(timeline.replay._episodes) < 25_000


TIGHT = policy_of(
    "budgets:\n  - {per: cluster, limit: 4 per 1h}\n  - {per: target, limit: 2 per 1h}\nstorm: {targets: 4, within: 2m}\n",
    "limits: {in_all: 6 per 4h}\ncooldown: 3m\nblast_radius: {targets_in_flight: 2}\nflapping: {not_fixed: 2, fixed: 3, within: 2h}\n",
)
events = st.lists(
    st.tuples(
        st.integers(0, 12),  # minutes since the event before
        st.sampled_from("abcd"),
        st.sampled_from(["HighErrorRate", "HighErrorRate", "Other"]),
        st.none() | st.integers(1, 90),
        st.booleans(),
    ),
    max_size=60,
)
assumptions = st.builds(
    Assumptions,
    fixed=st.booleans(),
    approvals=st.sampled_from(["nobody", "approved"]),
    run=st.sampled_from([timedelta(minutes=1), timedelta(minutes=7)]),
)


@settings(max_examples=150, deadline=None)
@given(events, assumptions)
def test_every_decision_of_a_replay_is_the_live_one_and_no_limit_is_exceeded(
    stream: list[tuple[int, str, str, int | None, bool]], assumed: Assumptions
) -> None:
    timeline, minute, starts = Workflow(TIGHT, assumed), 0, dict.fromkeys("abcd", 0)
    for gap, name, alertname, lasts, resolve in stream:
        minute += gap
        if resolve:
            timeline.resolves(minute, since=starts[name], deployment=name, alertname=alertname)
        else:
            starts[name] = minute
            timeline.fires(minute, lasts, deployment=name, alertname=alertname)
    mine = timeline.replay.acted
    assert most_within([a for a in mine if a.what == "acted"], 60) <= 4
    assert most_within([a for a in mine if a.what == "acted"], 240) <= 6
    for target in {a.said.target for a in mine}:
        assert most_within([a for a in mine if a.said.target == target and a.what == "acted"], 60) <= 2


def most_within(acted: list[Acted], minutes: int) -> int:
    times = [a.at for a in acted]
    return max((sum(t <= u < t + minutes * MINUTE for u in times) for t in times), default=0)
