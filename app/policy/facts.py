"""What the gates judge by: the facts of one moment, and the case that is made of them, policy, rule and step.

The flow gathers the facts and hands them to `app.policy.decide`. Pure: never reads anything itself and never asks the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

from app.domain.decision import Code, GateResult, Mode, Verdict
from app.domain.new_pods import NewPods
from app.domain.outcome import RunState
from app.domain.owner import Owners
from app.domain.plan import Step
from app.domain.target import Target
from app.domain.workload import Manager
from app.policy.match import BudgetScope
from app.policy.model import Policy, Rule
from app.policy.trust import LEVELS, TrustLevel

# Facts: everything the gates look at, as values, gathered by the flow at one moment.
#
# The flow fills `Facts` (cluster reads, store counts, Alertmanager) and hands it to `decide`; whatever could not be
# read is `Unknown` with the reason, and closes the gate that needs it. Never reads anything itself and never asks the
# time: `now` is a fact too.
#
# Whoever re-checks a run before it touches anything gathers the same facts again *without the run's own traces*: its
# own reservation is not in `spend`, its own steps are not in `last_action` and `results`, it is not in `busy_with`
# and not in `targets_in_flight`.

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that could not be read. `reason` is one clause for people: what was asked and why it failed."""

    reason: str


NOT_LOOKED = Unknown("nobody looked")
NOT_READ = "the target is off limits, so nothing of it was read"
"""Why there is none where the scope or an owner's mark keeps away: only the gate `scope` says what would change that."""
Fact: TypeAlias = "T | Unknown"
"""A value, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A switch set by a person. `scope`: all, namespace:X, target:N/K/N, rule:NAME or remediation:NAME; of a rule `remediation` is what it
    did, while there was one of that name."""

    scope: str
    reason: str
    author: str
    until: datetime | None = None
    remediation: str = ""


@dataclass(frozen=True, slots=True)
class Spend:
    """What was spent of one budget scope inside its window. `oldest` is the first of these reservations, None for 0."""

    count: int
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replicas:
    """Pods of the workload: wanted, ready now, and of the newest template.

    `at_once` is how many pods its controller takes down at the same time in a rolling update; None when that is not
    known, which is read as all of them.
    """

    desired: int
    ready: int
    updated: int
    at_once: int | None = None

    @property
    def broken(self) -> int:
        """Pods wanted and not ready."""
        return max(0, self.desired - self.ready)


@dataclass(frozen=True, slots=True)
class Past:
    """How an earlier run of this remediation on this target ended."""

    state: RunState
    at: datetime


@dataclass(frozen=True, slots=True)
class Beside:
    """What else is under way about the target and may yet help an alert that no step of its own helps: `what` it is, what `ends` it, and
    when that is known to be over."""

    what: str
    ends: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Measured at `now` (UTC) for one target, rule and step.

    Mode ceiling: `ceiling` is the process setting, None for no ceiling.
    Alert: `firing` is the word of the best source; `silenced` says by what all its firing alerts are silenced or inhibited, empty
    for not at all; `last_seen` the newest moment at which any source (a delivery, or a
    poll of Alertmanager's API) said that it fires.
    Hands: `acknowledged` says by whom the incident is acknowledged, empty for nobody; `acknowledged_until` when that ends by itself, None for not; `acknowledged_beside` who has another incident of the target; `taken_since` that they did so after the word that
    lets this plan go on was given, and are not who gave it; `changed_by` who else changed the target since
    the alert fired, what and when; `leaving` what is being deleted and takes it with it: itself, its namespace, an owner, empty for nothing.
    Marks: `marks` are the values of the label or annotation `alert-remediator.io/enabled` by where it stands (`namespace`,
    `object`, or what else is written by its name), absent where it is not set. `touched` is what is written beside the target.
    Cluster: `managers` (an autoscaler counts as Manager.HPA), `owners` (other controllers of what the step changes),
    `rollout_paused`, `replicas`, and `new_pods`: what is known of
    whether the step's new pods could start.
    Store: `spend` by scope of `match.scopes_for`; `last_action` of this remediation on this target, None for never;
    `busy_with` is the run at work on the target, empty for none; `mended_at` when a run of another incident that was open with this
    one last ended well on it, None for not lately; `theirs_since` when a question of this incident came to nothing because `changed_by` did
    something while it stood, None for never; `beside` is what else is under way, gathered where no step of the incident applies or people would be asked; `waiting` are other plans for it that wait for an answer and
    have written nothing; `targets_in_flight` counts the other targets that a run is at work on; `results` newest first; `storm_targets` counts distinct targets with new alerts inside the storm window, this one
    included.
    Blocking: `blocking` has for each matcher text of `blocking_matchers` the names of firing alerts that match it.
    Trust: `trust_level` of this alert, remediation and class of targets, for a rule with mode earned; None for other rules.
    People: `ordered_by` is set for a manual request, `ordered_as` are the other names of who ordered it,
    `order_may_approve` says whether its caller may also approve, `scheduled` that the clock ordered it and nobody, `approved_by` is set once a person approved this very plan.
    `ordered_at` is when the order was given, `was_due` when the clock's order should have begun; None once the step has begun.
    Half way: `brings_back`: the write starts what the same approved plan stopped.
    """

    now: datetime
    target: Target
    firing: Fact[bool]
    last_seen: Fact[datetime]
    marks: Fact[Mapping[str, str]]
    managers: Fact[tuple[Manager, ...]]
    rollout_paused: Fact[bool]
    replicas: Fact[Replicas]
    spend: Fact[Mapping[BudgetScope, Spend]]
    last_action: Fact[datetime | None]
    busy_with: Fact[str]
    targets_in_flight: Fact[int]
    results: Fact[tuple[Past, ...]]
    storm_targets: Fact[int]
    pauses: Fact[tuple[Pause, ...]] = ()
    blocking: Fact[Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    ceiling: Mode | None = None
    silenced: str = ""
    acknowledged: str = ""
    acknowledged_until: datetime | None = None
    acknowledged_beside: str = ""
    changed_by: Fact[str] = ""
    leaving: Fact[str] = ""
    ordered_by: str = ""
    ordered_as: tuple[str, ...] = ()
    order_may_approve: bool = False
    scheduled: bool = False
    ordered_at: datetime | None = None
    was_due: datetime | None = None
    approved_by: str = ""
    brings_back: bool = False
    dry_run: bool = False
    trust_level: Fact[TrustLevel | None] = None
    waiting: tuple[str, ...] = ()
    mended_at: datetime | None = None
    theirs_since: datetime | None = None
    beside: Beside | None = None
    new_pods: Fact[NewPods] = NOT_LOOKED
    owners: Fact[Owners] = NOT_LOOKED
    touched: tuple[Target, ...] = ()
    taken_since: bool = False

    @property
    def theirs(self) -> str:
        """Whose the incident is as long as it lasts, in words, so that nobody is called; not of whoever had its alert before."""
        return self.acknowledged if self.acknowledged_until is None else ""


# The case before the gates: policy, rule, step and facts, and the words in which a gate answers.
#
# Used by every gate and by `app.policy.decide`. Pure.


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
    def outdated(self) -> timedelta | None:
        """How long ago a person's order was given that holds no more: it does as long as an approval would. None for one that holds."""
        at = None if self.facts.scheduled else self.facts.ordered_at
        age = timedelta() if at is None else self.facts.now - at
        return age if age > self.rule.approval.expires else None

    @property
    def approved_by(self) -> str:
        """Who agreed to this plan: an approval, or the order itself of somebody who may approve, unless more people are asked for.
        Empty for nobody."""
        facts = self.facts
        if facts.approved_by:
            return f"approved by {facts.approved_by}"
        asked = self.rule.approval
        named = not asked.by or not {facts.ordered_by, *facts.ordered_as}.isdisjoint(asked.by)
        counts = facts.order_may_approve and named and not self.wants_another_word and self.outdated is None
        if self.somebody and counts:
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
        remedy = "" if unknown.reason == NOT_READ else f"{what} can be read again"
        return GateResult(
            self.gate, Verdict.DENY, Code.UNKNOWN_FACT, f"{what} unknown: {unknown.reason}", threshold, remedy
        )


def may_act(rule: Rule, policy: Policy, ceiling: Mode = Mode.AUTO) -> bool:
    """Whether the rule may come to change something, as far as can be told without a look at a target."""
    return Mode.OBSERVE not in (policy.mode, ceiling, rule.mode)
