"""The policy in force as a page: its rules in order, how far they are trusted, and which of them an alert would meet.

Called by `app.page.site`. Reads the store and Alertmanager, and of the cluster only what we may do there: of an alert that nobody raised it tells rule, target
and every gate that can be told without more, as it stands now, and names the gates that only the moment itself can tell. The judging is put in by the command that serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from app.domain.decision import Code, Decision, GateResult, Mode, strongest
from app.domain.errors import BadInput, RemediatorError
from app.domain.free_text import told_of
from app.domain.plan import Step
from app.domain.target import Target
from app.domain.units import duration
from app.flow.calling.attended import at_it
from app.flow.deciding.facts import blocking_alerts, pauses
from app.flow.deciding.history import as_trust_level
from app.flow.deciding.investigate import disabled_there
from app.flow.services import Services
from app.flow.upkeep import views
from app.observe.alertmanager import matcher
from app.page.requests import WhatIf
from app.policy.decide import decide_without_step, said
from app.policy.facts import NOT_LOOKED, Fact, Facts, Past, Spend, Unknown
from app.policy.match import Hint, match_rule, scopes_for, target_hint
from app.policy.matchers import labels_of
from app.policy.model import PROTECTED_NAMESPACES, Policy, Rule
from app.policy.trust import LEVELS, fresh, key_of
from app.store import facts as counts
from app.store import incidents, trust_levels

_LONGEST = 2_000
_RESULTS = 20


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
class Word:
    """What the policy would say: the decision in a sentence, the step that is assumed, the gates that can be told now, the names of those that only the
    moment itself can tell, and what else is assumed."""

    text: str
    step: str
    gates: Sequence[GateResult]
    later: Sequence[GateResult]
    assumed: str


@dataclass(frozen=True, slots=True)
class PolicyPage:
    """Everything that the page shows. `met` is None before labels were given; `word` where nobody can judge them; `fault` says why the labels are
    none."""

    policy: Policy
    ceiling: Mode
    rows: Sequence[Row]
    trust: Sequence[Mapping[str, Any]]
    labels: str
    met: Met | None
    word: Word | None = None
    fault: str = ""


async def look(services: Services, labels: str, what_if: WhatIf | None = None) -> PolicyPage:
    """The page. Labels that are none are told beside what was typed."""
    policy, asked, fault = services.policy(), labels.strip()[:_LONGEST], ""
    met, word, named = None, None, None
    try:
        named = labels_of(asked, "labels") if asked else None
    except BadInput as error:
        fault = told_of(error.message)
    if named is not None:
        met = meets(policy, services.ceiling, named)
        word = await _word(services, policy, named, what_if) if what_if and met.target else None
    rows = [_row(rule, policy.places.get(rule.name, "")) for rule in policy.rules]
    trust = await views.trust(services)
    return PolicyPage(policy, services.ceiling, rows, trust, asked, met, word, fault)


async def _word(
    services: Services, policy: Policy, labels: Mapping[str, str], what_if: WhatIf
) -> Word | None:
    matched = match_rule(policy, labels)
    if matched is None:
        return None
    blocking, silenced = await blocking_alerts(services, matched.rule), await _silenced(services, labels)
    name = labels.get("alertname", "")

    facts: list[Facts] = []

    def judged(conn: Connection) -> Decision:
        def known(rule: Rule, target: Target) -> Facts:
            found = _known(conn, services, rule, target, name)
            silent = "" if isinstance(silenced, Unknown) else silenced
            facts.append(replace(found, blocking=blocking, silenced=silent))
            return facts[-1]

        return what_if(policy, labels, services.clock.now(), known)[0]

    decision = await services.store.read(judged)
    told = [gate for gate in decision.gates if not _later(gate)]
    later = [gate for gate in decision.gates if _later(gate)]
    text = await _disabled(services, policy, matched.rule, decision.step, facts[-1]) if facts else ""
    return Word(text or _said(told, later), decision.step, told, later, _assumed(silenced))


def _later(gate: GateResult) -> bool:
    """Only the moment itself can tell. What was asked and is not known is told: as it stands, it closes the gate each time."""
    return gate.code is Code.UNKNOWN_FACT and gate.value.endswith(f" unknown: {NOT_LOOKED.reason}")


async def _disabled(services: Services, policy: Policy, rule: Rule, step: str, facts: Facts) -> str:
    """What is decided where the remediation lacks a right; empty where it lacks none. Nothing is asked about what the scope leaves out."""
    if facts.target.namespace in PROTECTED_NAMESPACES or not policy.scope.covers(facts.target.namespace):
        return ""
    disabled = await disabled_there(services, rule, facts.target, came=False)
    if disabled is None:
        return ""
    why, advice = disabled
    unmarked = replace(facts, marks={})  # nobody looked; without a step that would be the answer
    return decide_without_step(policy, rule, [Step(step, why, advice=advice)], unmarked).text


def _said(told: Sequence[GateResult], later: Sequence[GateResult]) -> str:
    if (against := strongest(told)) is not None:
        return said(against)
    rest = f"; {len(later)} can only be told at the time" if later else ""
    return f"Nothing known stands against it: {len(told)} of {len(told) + len(later)} gates allow it{rest}"


def _assumed(silenced: Fact[str]) -> str:
    fires = "the alert fires and was just heard"
    if isinstance(silenced, Unknown):
        return f"{fires}, and nobody has silenced it ({silenced.reason})"
    return fires


async def _silenced(services: Services, labels: Mapping[str, str]) -> Fact[str]:
    """By what alerts with these labels are silenced, by Alertmanager's word; empty where one of them is heard."""
    if services.firing_alerts is None:
        return Unknown("no Alertmanager is configured to ask")
    try:
        listed = await services.firing_alerts.firing_matching([matcher(*pair) for pair in labels.items()])
    except RemediatorError as error:
        return Unknown(f"Alertmanager could not be asked: {error.message}")
    if not listed:
        return Unknown("Alertmanager has no such alert now, and tells silences of those that it has")
    return listed[0].hidden if all(one.hidden for one in listed) else ""


def _known(conn: Connection, services: Services, rule: Rule, target: Target, alertname: str) -> Facts:
    """What the store knows now. What only the cluster knows nobody looked at, so that its gates say so."""
    now, policy = services.clock.now(), services.policy()
    incident = incidents.open_for_target(conn, target.key, alertname, "")
    holder = at_it(conn, incident.id) if incident else ""
    level = trust_levels.find(conn, key_of(alertname, rule.remediation, rule.trust.per, target))
    past = counts.results(conn, target.key, rule.remediation, _RESULTS, excluding="")
    return Facts(
        now=now,
        target=target,
        firing=True,
        last_seen=now,
        marks=NOT_LOOKED,
        managers=NOT_LOOKED,
        rollout_paused=NOT_LOOKED,
        replicas=NOT_LOOKED,
        changed_by="" if holder else NOT_LOOKED,
        acknowledged=holder,
        spend={
            scope: Spend(*counts.spent(conn, scope.key, now - scope.limit.window, excluding=("", -1)))
            for scope in scopes_for(policy, rule, target)
        },
        last_action=counts.last_action(conn, target.key, rule.remediation, excluding=""),
        busy_with=counts.busy_with(conn, target.key, excluding=""),
        waiting=counts.plans_waiting(conn, target.key, excluding=""),
        targets_in_flight=counts.in_flight(conn, excluding=target.key),
        results=tuple(Past(state, at) for state, at in past),
        storm_targets=counts.targets_since(conn, now - policy.storm.within),
        pauses=pauses(conn, now),
        ceiling=services.ceiling,
        trust_level=None
        if rule.mode is not Mode.EARNED
        else as_trust_level(level)
        if level
        else fresh(rule.trust, now),
    )


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
