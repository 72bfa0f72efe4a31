"""A brief decision is the whole one without the gates that could not change it: same word, same text, same next look."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.decision import Mode, Verdict
from app.domain.outcome import RunState
from app.domain.workload import Manager
from app.policy.decide import decide, decide_briefly
from app.policy.facts import Past, Pause, Spend, Unknown
from app.policy.match import scopes_for
from app.policy.model import Policy
from app.policy.trust import LEVELS, TrustLevel
from tests.unit.policy.cases import NOW, TARGET, facts_of, policy_of, step_of

BUDGETS = "budgets:\n  - {per: cluster, limit: 4 per 1h}\n  - {per: target, limit: 2 per 1h and 3 per 24h}\n"
POLICIES = tuple(
    policy_of(head, rule)
    for head, rule in (
        ("", ""),
        (BUDGETS, "limits: {per_target: 2 per 1h, in_all: 5 per 24h}\ncooldown: 20m\n"),
        (BUDGETS + "mode: approve\n", "flapping: {not_fixed: 1, fixed: 2, within: 2h}\n"),
        (BUDGETS + "storm: {targets: 3, within: 5m}\n", "limits: {in_all: 0 per 1h}\nfreshness: 5m\n"),
        ("mode: observe\n", "flapping: {not_fixed: 1}\nownership: {gitops: deny, hpa: ask}\n"),
        ('windows:\n  - {name: day, from: "02:15", to: "02:45", timezone: Europe/Berlin}\n' + BUDGETS, ""),
        ("trust: {start: approve}\n" + BUDGETS, "mode: earned\nblocked_by: ['alertname=\"Upgrade\"']\n"),
    )
)  # fmt: skip
ago = st.integers(0, 90_000).map(lambda n: NOW - timedelta(seconds=n))
soon = st.integers(1, 90_000).map(lambda n: NOW + timedelta(seconds=n))
unknown = st.just(Unknown("nobody answers"))
NOISE: dict[str, st.SearchStrategy[Any]] = {
    "firing": st.booleans() | unknown,
    "last_seen": ago | unknown,
    "managers": st.lists(st.sampled_from(Manager), max_size=2, unique=True).map(tuple) | unknown,
    "marks": st.dictionaries(st.sampled_from(["namespace", "object"]), st.sampled_from(["true", "false"])),
    "last_action": ago | unknown,
    "busy_with": st.sampled_from(["", "run_1"]),
    "targets_in_flight": st.integers(0, 4),
    "results": st.lists(st.builds(Past, st.sampled_from(RunState), ago), max_size=4).map(tuple),
    "storm_targets": st.integers(0, 12),
    "pauses": st.lists(
        st.builds(
            Pause, st.sampled_from(["all", "rule:errors"]), st.just(""), st.just("ana"), st.none() | soon
        ),
        max_size=2,
    ).map(tuple),
    "ceiling": st.sampled_from([None, Mode.OBSERVE, Mode.APPROVE]),
    "approved_by": st.sampled_from(["", "ana"]),
    "dry_run": st.booleans(),
    "trust_level": st.sampled_from(LEVELS).map(lambda level: TrustLevel(level, NOW)) | unknown,
}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Policy, dict[str, Any]]:
    """A policy, and up to five facts that are not as usual."""
    policy = draw(st.sampled_from(POLICIES))
    spend = {}
    for scope in scopes_for(policy, policy.rules[0], TARGET):
        count = draw(st.sampled_from([0, scope.limit.count, scope.limit.count + 1]))
        spend[scope] = Spend(count, draw(ago) if count else None)
    noise = {**NOISE, "spend": st.just(spend)}
    loud = draw(st.sets(st.sampled_from(sorted(noise)), max_size=5))
    return policy, {name: draw(noise[name]) for name in sorted(loud)}


@settings(max_examples=300, deadline=None)
@given(cases())
def test_a_brief_decision_says_what_the_whole_one_says(case: tuple[Policy, dict[str, Any]]) -> None:
    policy, changes = case
    facts = facts_of(policy, **changes)
    whole = decide(policy, policy.rules[0], step_of(), facts)
    brief = decide_briefly(policy, policy.rules[0], step_of(), facts)
    assert replace(brief, gates=()) == replace(whole, gates=())
    assert brief.retry_at == whole.retry_at
    assert brief.gates == whole.gates[: len(brief.gates)]


def test_a_brief_decision_asks_no_gate_behind_a_denial_that_does_not_end_by_itself() -> None:
    facts = facts_of(POLICIES[0], marks={"object": "false"})
    gates = decide_briefly(POLICIES[0], POLICIES[0].rules[0], step_of(), facts).gates
    assert [g.gate for g in gates if g.verdict is Verdict.DENY] == [gates[-1].gate] == ["scope"]
