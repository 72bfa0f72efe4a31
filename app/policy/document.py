"""The written form of a policy: what a YAML file may contain, and how several files become one `Policy`.

What a rule does not say it takes from the policy, field by field; what the policy does not say has the safe default.
Used by `app.policy.load` and for the JSON Schema. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeVar

from pydantic import Field

from app.domain.decision import Mode
from app.domain.json import digest
from app.domain.procedure import Procedure
from app.policy.block import Block
from app.policy.escalation import EscalationPolicy
from app.policy.matchers import NEVER, LabelMapping
from app.policy.model import (
    Approval,
    BlastRadius,
    Budget,
    Ceiling,
    Flapping,
    Heartbeat,
    NewPodsTerms,
    Otherwise,
    Ownership,
    Policy,
    Rule,
    RuleLimits,
    Scope,
    Scorecard,
    Storm,
    TargetSpec,
    Temporary,
    TrustTerms,
    Verify,
    Window,
)
from app.policy.procedures import agreed, watched
from app.policy.schedule import Schedule
from app.policy.values import Duration, Matcher

B = TypeVar("B", bound=Block)
VERSION_LENGTH = 12
"""Hex digits of `Policy.version`: short enough for a message, long enough to never meet twice."""


class RuleDocument(Block):
    """One rule as written."""

    name: str = Field(min_length=1, max_length=120, description="Unique; shown in every message.")
    when: Matcher | None = Field(
        default=None,
        description="Alertmanager matchers; a list of them means any of these. Only a procedure may do without.",
    )
    remediation: str = Field(description="A name of the catalogue.")
    target: TargetSpec = TargetSpec()
    mode: Mode | None = Field(
        default=None, description="observe, approve, auto or earned; observe, for a procedure approve."
    )
    params: Mapping[str, Any] = Field(
        default={}, description="Of the remediation; its defaults are the runbook's values."
    )
    order_params: Mapping[str, Any] = Field(
        default={}, description="The highest numbers that an order may ask for; else those of params."
    )
    steps: tuple[str, ...] = Field(
        default=(), description="Only these steps; none means all, in ladder order."
    )
    blocked_by: tuple[Matcher, ...] = Field(default=(), description="Added to the policy's blocked_by.")
    limits: RuleLimits = RuleLimits()
    cooldown: Duration | None = Field(
        default=None, description="Else the policy's; orders of a procedure have none unless it stands here."
    )
    freshness: Duration | None = None
    blast_radius: BlastRadius | None = None
    verify: Verify | None = None
    approval: Approval | None = None
    ownership: Ownership | None = None
    new_pods: NewPodsTerms | None = Field(
        default=None, description="What to do where a new pod's start cannot be proven."
    )
    flapping: Flapping | None = None
    otherwise: tuple[Otherwise, ...] | None = None
    temporary: Temporary | None = Field(
        default=None, description="Scale and memory changes are taken back after this, unless kept."
    )
    trust: TrustTerms | None = Field(default=None, description="For mode earned: what each level takes.")
    schedule: Schedule | None = Field(default=None, description="Orders a procedure by the clock.")


class Document(Block):
    """One file. Everything but `version` and `rules` may stand in one file only."""

    version: Literal[1] = Field(description="Version of this format.")
    mode: Ceiling = Field(default=Mode.AUTO, description="Ceiling over all rules.")
    scope: Scope | None = None
    budgets: tuple[Budget, ...] = ()
    windows: tuple[Window, ...] = Field(
        default=(), description="Acting is allowed only inside; none means any time."
    )
    freeze: tuple[Window, ...] = Field(default=(), description="No acting inside.")
    storm: Storm = Storm()
    flapping: Flapping = Flapping()
    blocked_by: tuple[Matcher, ...] = Field(
        default=(), description="No acting while an alert of these fires."
    )
    blast_radius: BlastRadius = BlastRadius()
    freshness: Duration = Field(
        default=timedelta(minutes=15), description="The alert's last word may be this old."
    )
    cooldown: Duration = Field(default=timedelta(minutes=15), description="Between two actions on a target.")
    verify: Verify = Verify()
    approval: Approval = Approval()
    ownership: Ownership = Ownership()
    new_pods: NewPodsTerms = NewPodsTerms()
    trust: TrustTerms = TrustTerms()
    labels: LabelMapping = Field(
        default=LabelMapping(), description="Which labels name namespace, pod and workload."
    )
    otherwise: tuple[Otherwise, ...] = (Otherwise.NEXT, Otherwise.UNDO, Otherwise.ESCALATE)
    scorecard: Scorecard | None = Field(
        default=None, description="When the week's scorecard is posted; never without."
    )
    heartbeats: tuple[Heartbeat, ...] = Field(
        default=(), description="Alerts that always fire; a person is called when one is missing."
    )
    escalation: EscalationPolicy | None = Field(
        default=None, description="Whom to ask when an incident needs a person; without it one page."
    )
    rules: tuple[RuleDocument, ...] = ()


def build_policy(
    head: Document, scope: Scope, rules: Iterable[Rule], places: Mapping[str, str] | None = None
) -> Policy:
    """One policy of the merged head and all resolved rules in order; `places` are theirs by name."""
    policy = Policy(
        version="",
        mode=head.mode,
        scope=scope,
        budgets=head.budgets,
        windows=head.windows,
        freeze=head.freeze,
        storm=head.storm,
        scorecard=head.scorecard,
        labels=head.labels,
        heartbeats=head.heartbeats,
        escalation=head.escalation,
        defaults=build_rule(_FOR_ORDERS, head),
        rules=tuple(rules),
        places=places or {},
    )
    content = digest(policy.model_dump(mode="json", by_alias=True))
    return policy.model_copy(update={"version": content[:VERSION_LENGTH]})


_FOR_ORDERS = RuleDocument(name="manual", remediation="", mode=Mode.APPROVE)
"""Base of the rule for an order whose remediation no rule names; never matched against alerts."""


def build_rule(rule: RuleDocument, head: Document, procedure: Procedure | None = None) -> Rule:
    """The rule with everything it does not say taken from what its procedure asks for, and from the head."""
    approval, verify = head.approval, head.verify
    if procedure is not None:
        approval, verify = agreed(approval, procedure), watched(verify, procedure)
    return Rule(
        name=rule.name,
        when=NEVER if rule.when is None else rule.when,
        target=rule.target,
        remediation=rule.remediation,
        mode=rule.mode or (Mode.OBSERVE if procedure is None else Mode.APPROVE),
        params=rule.params,
        order_params=rule.order_params,
        steps=rule.steps,
        blocked_by=(*head.blocked_by, *rule.blocked_by),
        limits=rule.limits,
        cooldown=head.cooldown if rule.cooldown is None else rule.cooldown,
        freshness=head.freshness if rule.freshness is None else rule.freshness,
        blast_radius=_over(head.blast_radius, rule.blast_radius),
        verify=_over(verify, rule.verify),
        approval=_over(approval, rule.approval),
        ownership=_over(head.ownership, rule.ownership),
        new_pods=_over(head.new_pods, rule.new_pods),
        flapping=_over(head.flapping, rule.flapping),
        otherwise=head.otherwise if rule.otherwise is None else rule.otherwise,
        temporary=rule.temporary,
        trust=_over(head.trust, rule.trust),
        labels=head.labels,
        procedure=procedure is not None,
        order_cooldown=None if procedure is None else rule.cooldown or timedelta(),
        schedule=rule.schedule,
    )


def _over(base: B, own: B | None) -> B:
    """`own` over `base`, field by field: only what is written replaces."""
    if own is None:
        return base
    return base.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})
