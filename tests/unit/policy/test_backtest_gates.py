"""The replay's quick gates against the live ones: every gate's word, the decision and the time of the next look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.decision import strongest
from app.domain.outcome import RunState
from app.domain.plan import ActionKind
from app.domain.target import Kind, Target
from app.domain.workload import Manager
from app.policy.assumed import GATE_NAMES, ClusterFacts, Ground, PodNumbers, StepSpec, step_of
from app.policy.backtest_gates import Hours, Measured, Prepared, facts_of, judge_quickly, prepare
from app.policy.backtest_records import instant, micros
from app.policy.decide import decide
from app.policy.trust import LEVELS
from tests.unit.policy.cases import CATALOGUE, policy_of

SECOND, MINUTE = 1_000_000, 60_000_000
START = micros(datetime(2026, 3, 20, tzinfo=UTC))
DAYS = 20 * 24 * 60 * MINUTE  # over the change to daylight saving time in Europe
BUDGETS = "budgets:\n  - {per: cluster, limit: 4 per 1h}\n  - {per: target, limit: 2 per 1h and 3 per 24h}\n"
POLICIES = tuple(
    policy_of(head, rule)
    for head, rule in (
        ("", ""),
        (BUDGETS, "limits: {per_target: 2 per 1h, in_all: 5 per 24h}\ncooldown: 20m\n"),
        (BUDGETS + "mode: approve\n", "flapping: {not_fixed: 1, fixed: 2, within: 2h}\n"),
        ("storm: {targets: 3, within: 5m}\nflapping: {not_fixed: 1, fixed: 1, within: 1h}\n", "freshness: 5m\n"),
        ("mode: observe\n", "flapping: {not_fixed: 1}\n"),
        ("mode: approve\nstorm: {targets: 2, within: 1m}\n", "blast_radius: {pods: 0%, minimum: 0, targets_in_flight: 1}\n"),
        ('freeze:\n  - {name: evening, days: [fri, sat], from: "16:00", to: "02:30", timezone: Europe/Berlin}\n', ""),
        ('windows:\n  - {name: day, from: "02:15", to: "03:45", timezone: Europe/Berlin}\n' + BUDGETS, "limits: {in_all: 0 per 1h}\n"),
        ("trust: {start: approve}\n" + BUDGETS, "mode: earned\nflapping: {not_fixed: 1, fixed: 1, within: 1h}\n"),
        ("mode: approve\nstorm: {targets: 3, within: 5m}\n", "mode: earned\ntrust: {per: target}\n"),
        ("mode: observe\n", "mode: earned\n"),
        ('windows:\n  - {name: past, dates: ["2020-01-01"], timezone: UTC}\n', "ownership: {gitops: deny, hpa: ask}\n"),
    )
)  # fmt: skip
KINDS = (ActionKind.ROLL_BACK, ActionKind.SCALE, ActionKind.DELETE_POD, ActionKind.ROLLOUT_RESTART)

clusters = st.builds(
    ClusterFacts,
    replicas=st.builds(
        PodNumbers,
        desired=st.integers(0, 9),
        ready=st.integers(0, 9),
        at_once=st.none() | st.integers(0, 4),
    ),
    managers=st.lists(st.sampled_from(Manager), max_size=2, unique=True).map(tuple),
    marks=st.dictionaries(
        st.sampled_from(["namespace", "object"]), st.sampled_from(["true", "false", "yes"])
    ),
    paused=st.sampled_from([False, False, False, True]),
)
steps = st.builds(
    StepSpec,
    kinds=st.lists(st.sampled_from(KINDS), max_size=2, unique=True).map(tuple),
    pods=st.none() | st.integers(0, 5),
)
targets = st.sampled_from(
    [
        Target("rag7", Kind.DEPLOYMENT, "langgraph"),
        Target("team-a", Kind.DEPLOYMENT, "langgraph"),
        Target("kube-system", Kind.DEPLOYMENT, "dns"),
        Target("other", Kind.DEPLOYMENT, "x"),
    ]
)


@st.composite
def moments(draw: st.DrawFn) -> tuple[Prepared, Measured]:
    """A rule on a target and any history of it."""
    policy = draw(st.sampled_from(POLICIES))
    ground = Ground(policy, policy.rules[0], draw(targets), draw(clusters))
    p = prepare(ground, step_of(draw(steps), ground, CATALOGUE))
    now = START + draw(st.integers(0, DAYS // SECOND)) * SECOND + draw(st.sampled_from([0, 1]))
    ago = st.integers(0, 21).map(lambda n: now - n * MINUTE) | st.integers(0, 90_000).map(
        lambda n: now - n * SECOND
    )
    spend = []
    for room in p.rooms:
        count = draw(st.integers(0, room.most + 1))
        spend.append((count, now - draw(st.integers(0, room.window)) if count else None))
    quiet = Measured(now, True, now, tuple((0, None) for _ in p.rooms), None, False, 0, (), 1)
    noise: dict[str, st.SearchStrategy[Any]] = {
        "firing": st.booleans(),
        "last_seen": ago,
        "spend": st.just(tuple(spend)),
        "last_action": ago,
        "busy": st.booleans(),
        "in_flight": st.integers(0, 4),
        "results": st.lists(st.tuples(st.sampled_from(RunState), ago), max_size=5).map(tuple),
        "storm_targets": st.integers(0, 12),
        "level": st.sampled_from(LEVELS),
    }
    loud = draw(st.sets(st.sampled_from(sorted(noise)), max_size=4))
    return p, quiet._replace(**{name: draw(noise[name]) for name in sorted(loud)})


@settings(max_examples=300, deadline=None)
@given(moments())
def test_the_quick_gates_say_what_the_live_gates_say(case: tuple[Prepared, Measured]) -> None:
    p, measured = case
    live = decide(p.ground.policy, p.ground.rule, p.step, facts_of(p, measured))
    quick = judge_quickly(p, measured, Hours())
    assert [(w.verdict, w.code) for w in quick.words] == [(g.verdict, g.code) for g in live.gates]
    assert (quick.verdict, quick.code) == (live.verdict, live.code)
    against = strongest(live.gates)
    assert quick.gate == (against.gate if against else "")
    assert (None if quick.retry_at is None else instant(quick.retry_at)) == live.retry_at


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, DAYS // SECOND), min_size=2, max_size=6),
    st.sampled_from([POLICIES[6], POLICIES[7]]),
)
def test_hours_that_are_remembered_are_the_hours_of_each_moment(offsets: list[int], policy: object) -> None:
    assert policy in POLICIES
    ground = Ground(
        next(p for p in POLICIES if p is policy),
        POLICIES[0].rules[0],
        Target("rag7", Kind.DEPLOYMENT, "langgraph"),
        ClusterFacts(),
    )
    p = prepare(ground, step_of(StepSpec(), ground, CATALOGUE))
    remembering = Hours()
    for offset in sorted(offsets):
        for now in (START + offset * SECOND, START + offset * SECOND + 1, START + (offset + 59) * SECOND):
            assert remembering.at(p, now) == Hours().at(p, now)


def test_a_question_behind_a_denial_that_ends_does_not_hide_its_end() -> None:
    policy = POLICIES[2]  # asks
    ground = Ground(policy, policy.rules[0], Target("rag7", Kind.DEPLOYMENT, "a"), ClusterFacts())
    p = prepare(ground, step_of(StepSpec(), ground, CATALOGUE))
    now = micros(datetime(2026, 3, 4, tzinfo=UTC))
    spend = tuple((0, None) for _ in p.rooms)
    cooling = Measured(now, True, now, spend, now - 5 * MINUTE, False, 0, (), 1)
    quick = judge_quickly(p, cooling, Hours())
    assert (quick.gate, quick.retry_at) == ("cooldown", now + 10 * MINUTE)
    assert decide(policy, ground.rule, p.step, facts_of(p, cooling)).retry_at == instant(now + 10 * MINUTE)


def test_the_names_of_the_gates_are_in_their_order() -> None:
    ground = Ground(POLICIES[0], POLICIES[0].rules[0], Target("rag7", Kind.DEPLOYMENT, "a"), ClusterFacts())
    p = prepare(ground, step_of(StepSpec(), ground, CATALOGUE))
    now = micros(datetime(2026, 3, 4, tzinfo=UTC))
    quiet = Measured(now, True, now, tuple((0, None) for _ in p.rooms), None, False, 0, (), 1)
    gates = decide(p.ground.policy, p.ground.rule, p.step, facts_of(p, quiet)).gates
    assert tuple(g.gate for g in gates) == GATE_NAMES


def test_instants_survive_as_numbers() -> None:
    at = datetime(2026, 3, 4, 3, 0, 0, 123456, tzinfo=UTC)
    assert instant(micros(at)) == at
    assert instant(micros(at) + 5) - at == timedelta(microseconds=5)
