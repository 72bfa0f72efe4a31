"""The case before the gates: policy, rule, step and facts, and the words in which a gate answers.

Used by every gate and by `app.policy.decide`. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from app.domain.decision import Code, GateResult, Mode, Verdict
from app.domain.plan import Step
from app.policy.facts import Fact, Facts, Unknown
from app.policy.model import Policy, Rule
from app.policy.trust import LEVELS, TrustLevel


@dataclass(frozen=True, slots=True)
class Case:
    """What all gates look at. `step` is None when no step of the ladder applies."""

    policy: Policy
    rule: Rule
    step: Step | None
    facts: Facts

    @property
    def trust_level(self) -> Fact[TrustLevel]:
        """What a rule with mode earned goes by."""
        if self.facts.trust_level is None:
            return Unknown("nobody read it")
        return self.facts.trust_level

    @property
    def own_mode(self) -> Mode:
        """The rule's mode; for earned the level of its trust level. A person's order needs none and is a question at most."""
        if self.rule.mode is not Mode.EARNED:
            return self.rule.mode
        if self.facts.ordered_by:
            return Mode.APPROVE
        return Mode.OBSERVE if isinstance(self.trust_level, Unknown) else self.trust_level.level

    @property
    def mode(self) -> Mode:
        """The least free of the rule's own mode, the policy's ceiling and the process's ceiling."""
        modes = [self.own_mode, self.policy.mode, *([self.facts.ceiling] if self.facts.ceiling else [])]
        return min(modes, key=LEVELS.index)

    @property
    def somebody(self) -> str:
        """Who ordered it. Empty for nobody, and for an order of the clock, behind which nobody stands at that moment."""
        return "" if self.facts.scheduled else self.facts.ordered_by

    @property
    def storming(self) -> bool:
        """Known to be a storm, and nobody has ordered or approved this very plan."""
        count = self.facts.storm_targets
        by_itself = not (self.somebody or self.facts.approved_by)
        return by_itself and not isinstance(count, Unknown) and count >= self.policy.storm.targets

    @property
    def question(self) -> Verdict:
        """ASK, or OBSERVE where nobody should be asked: in observe mode nothing would follow from the answer, and in a
        storm the questions would be part of it."""
        return Verdict.OBSERVE if self.mode is Mode.OBSERVE or self.storming else Verdict.ASK

    @property
    def wants_another_word(self) -> bool:
        """An order is not its own approval, whatever the rule's mode is."""
        asked = self.rule.approval
        return asked.approvals > 1 or asked.four_eyes or not asked.order_counts

    @property
    def approved_by(self) -> str:
        """Who agreed to this plan: an approval, or the order itself of somebody who may approve, unless more people are asked for.
        Empty for nobody."""
        facts = self.facts
        if facts.approved_by:
            return f"approved by {facts.approved_by}"
        asked = self.rule.approval
        named = not asked.by or not {facts.ordered_by, *facts.ordered_as}.isdisjoint(asked.by)
        if self.somebody and facts.order_may_approve and named and not self.wants_another_word:
            return f"ordered by {facts.ordered_by}"
        return ""

    @property
    def approvers(self) -> str:
        """What opens a question, for people: `ana or eve approves`."""
        asked = self.rule.approval
        if asked.approvals == 1:
            return f"{' or '.join(asked.by) or 'someone who may operate'} approves"
        who = ", ".join(asked.by) or "those who may operate"
        return f"{asked.approvals} different people of: {who} approve"


Gate: TypeAlias = Callable[[Case], GateResult]


_NAMES: dict[Gate, str] = {}


def name_of(gate: Gate) -> str:
    """The name with which this gate answers. Raises KeyError for a gate that no voice speaks for."""
    return _NAMES[gate]


@dataclass(frozen=True, slots=True)
class Voice:
    """A gate's name, with which it answers."""

    gate: str

    def of(self, gate: Gate) -> Gate:
        """Decorator of the gate that answers with this voice, so that its name is known without asking it."""
        _NAMES[gate] = self.gate
        return gate

    def allow(self, value: str, threshold: str, code: Code = Code.ALLOWED) -> GateResult:
        """Nothing stands against it."""
        return GateResult(self.gate, Verdict.ALLOW, code, value, threshold)

    def deny(
        self, code: Code, value: str, threshold: str, remedy: str, retry_at: datetime | None = None
    ) -> GateResult:
        """Not now: `remedy` says what would have to change, `retry_at` when it does by itself."""
        return GateResult(self.gate, Verdict.DENY, code, value, threshold, remedy, retry_at)

    def hold(self, verdict: Verdict, code: Code, value: str, threshold: str, remedy: str) -> GateResult:
        """Ask or observe."""
        return GateResult(self.gate, verdict, code, value, threshold, remedy)

    def unknown(self, what: str, unknown: Unknown, threshold: str) -> GateResult:
        """A fact that this gate needs could not be read: closed."""
        remedy = f"{what} can be read again"
        return GateResult(
            self.gate, Verdict.DENY, Code.UNKNOWN_FACT, f"{what} unknown: {unknown.reason}", threshold, remedy
        )
