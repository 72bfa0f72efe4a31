"""The policy in force as a page: its rules in order, how far they are trusted, and which of them an alert would meet.

Called by `app.page.site`. Reads only. It tells the rule and the target that labels lead to; what the gates would say depends on
the cluster at that moment, and `remediator policy explain` shows it under assumptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.domain.decision import Mode
from app.domain.units import duration
from app.flow.services import Services
from app.flow.upkeep import views
from app.policy.match import Hint, match_rule, target_hint
from app.policy.matchers import labels_of
from app.policy.model import Policy, Rule
from app.policy.trust import LEVELS

_LONGEST = 2_000


@dataclass(frozen=True, slots=True)
class Row:
    """One rule, its file and line, and in words what starts it, its target, who approves and what else holds."""

    rule: Rule
    place: str
    starts: str
    target: str
    approval: str
    terms: str


@dataclass(frozen=True, slots=True)
class Met:
    """What an alert with these labels meets: the rule and its place in the policy, counted from 0. Without a rule all else is
    empty; `why_none` says why no target is named."""

    rule: str = ""
    place: int = 0
    remediation: str = ""
    mode: str = ""
    target: str = ""
    said_by: str = ""
    why_none: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyPage:
    """Everything that the page shows. `met` is None before labels were given."""

    policy: Policy
    ceiling: Mode
    rows: Sequence[Row]
    trust: Sequence[Mapping[str, Any]]
    labels: str
    met: Met | None


async def look(services: Services, labels: str) -> PolicyPage:
    """The page. Raises BadInput (`bad_labels`) for labels that are none."""
    policy, asked = services.policy(), labels.strip()[:_LONGEST]
    met = meets(policy, services.ceiling, labels_of(asked, "labels")) if asked else None
    rows = [_row(rule, policy.places.get(rule.name, "")) for rule in policy.rules]
    return PolicyPage(policy, services.ceiling, rows, await views.trust(services), asked, met)


def meets(policy: Policy, ceiling: Mode, labels: Mapping[str, str]) -> Met:
    """The rule for these labels, its target by the labels alone, and the mode under both ceilings."""
    matched = match_rule(policy, labels)
    if matched is None:
        return Met()
    rule, hint = matched.rule, target_hint(matched.rule, labels)
    place = next(n for n, one in enumerate(policy.rules) if one.name == rule.name)
    met = Met(rule.name, place, rule.remediation, mode_of(rule, policy, ceiling), also=matched.also)
    if isinstance(hint, Hint):
        target = f"{hint.namespace}/{hint.kind.value}/{hint.name}"
        return replace(met, target=target, said_by=hint.said_by)
    return replace(met, why_none=hint.why)


def mode_of(rule: Rule, policy: Policy, ceiling: Mode) -> str:
    """What the rule may do under both ceilings, in words."""
    highest = min(policy.mode, ceiling, key=LEVELS.index)
    if rule.mode is Mode.EARNED:
        return rule.mode.value if highest is Mode.AUTO else f"{rule.mode.value}, {highest.value} at most"
    lowest = min(rule.mode, highest, key=LEVELS.index)
    return lowest.value if lowest is rule.mode else f"{lowest.value}, by a ceiling"


def _row(rule: Rule, place: str) -> Row:
    starts = f"alerts with {rule.when}" if rule.when.lists else "orders"
    asked = rule.approval
    who = ", ".join(asked.by) or "whoever may operate"
    approval = f"{asked.approvals} of {who}" if asked.approvals > 1 else who
    return Row(rule, place, starts, _target(rule), approval, _terms(rule))


def _target(rule: Rule) -> str:
    name = rule.target.name
    named = f'label "{name.label}"' if name.label else ""
    default = f"else {name.default}" if named and name.default else name.default
    return " ".join(part for part in (rule.target.kind.value, named, default) if part)


def _terms(rule: Rule) -> str:
    otherwise = ", then ".join(o.value for o in rule.otherwise) or "nothing"
    return f"cooldown {duration(rule.cooldown)}; when it did not help: {otherwise}"
