"""Decide: rule, step and facts in, one decision with the whole trace out.

Called by the flow inside the transaction that reserves the budget, again right before each mutation, and by the command
line for explanations. Pure: the same input gives the same decision. Deny wins, then ask, then observe, then allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.decision import Code, Decision, GateResult, Mode, Verdict, strongest
from app.domain.plan import Step
from app.domain.target import Target
from app.domain.units import duration, utc
from app.policy.facts import Case, Facts, Gate, name_of
from app.policy.gates.people import approval, hands, kill_switch, trust
from app.policy.gates.target import blast_radius, new_pods, ownership, scope
from app.policy.gates.timing import (
    blocking,
    budget,
    busy,
    cooldown,
    flapping,
    freshness,
    rate_limit,
    storm,
    window,
)
from app.policy.model import Heartbeat, Policy, Rule

GATES: tuple[Gate, ...] = (
    kill_switch,  # people first: whatever else holds, a pause stops it
    scope,
    freshness,
    hands,  # who is at it already comes before who owns it in general
    ownership,
    window,
    blocking,
    cooldown,
    rate_limit,
    budget,
    new_pods,  # before the blast radius: what cannot come back is worse than what is at risk for a while
    blast_radius,
    busy,
    flapping,
    storm,  # before the two that a person can open, so that a storm is the reason that is shown
    trust,
    approval,
)
GATE_NAMES: tuple[str, ...] = tuple(name_of(gate) for gate in GATES)
"""The names with which they answer, in the same order."""

_NOT_OURS = frozenset(
    {
        Code.KILL_SWITCH,
        Code.PAUSED,
        Code.OUT_OF_SCOPE,
        Code.OPTED_OUT,
        Code.PROTECTED,
        Code.NOT_FIRING,
        Code.SILENCED,
        Code.BEING_DELETED,
    }
)
"""Denials that also silence the call for a person: nobody is to be woken for this target now."""

_WITHOUT_STEP = frozenset({Code.PERSON_NEEDED, Code.NO_STEP, Code.PROTECTED})
"""What is said where no step applies. A kind that is protected is so only from steps that change its objects."""

_OPENINGS = {
    Verdict.DENY: "Not acting",
    Verdict.ASK: "Waiting for a person",
    Verdict.OBSERVE: "Only observing",
}


def evaluate(case: Case) -> tuple[GateResult, ...]:
    """Every gate's answer, in order."""
    return tuple(gate(case) for gate in GATES)


def decide(policy: Policy, rule: Rule, step: Step, facts: Facts) -> Decision:
    """All gates over this step. Also the re-check before a mutation, with fresh facts and `approved_by` set."""
    case = Case(policy, rule, step, facts)
    return _of_step(case, step, evaluate(case))


def decide_briefly(policy: Policy, rule: Rule, step: Step, facts: Facts) -> Decision:
    """The same verdict, code, text and retry time as `decide`, without asking the gates that cannot change them any more: for
    whoever judges many moments and shows none. Its trace ends at the gate that settled it."""
    case, gates = Case(policy, rule, step, facts), []
    for gate in GATES:
        gates.append(gate(case))
        if gates[-1].verdict is Verdict.DENY and gates[-1].retry_at is None:
            break  # the first denial is the reason, and one that does not end by itself leaves no time to look again
    return _of_step(case, step, tuple(gates))


def decide_without_step(
    policy: Policy, rule: Rule, ladder: Sequence[Step], facts: Facts, rest: str = ""
) -> Decision:
    """No step applies: PERSON_NEEDED with the advice, or NO_STEP with every step's reason; an order is told every step's reason
    in any case; unless the target is none of our business (paused, out of scope, not firing, silenced, being deleted) or is not known to be, which is then the
    answer. In a storm nobody is called for one target, nor while another run mends it or something else is under way that may help, nor as long as the
    alert may yet resolve by that; nor while somebody has the incident, who reads the same.

    The verdict is DENY, in observe mode OBSERVE. Where the investigation says that nothing is to be done (`rest`) it is
    NOTHING_TO_DO and OBSERVE: nobody is called for a workload that is healthy again or still starting, and an order of what stands already
    has ended well.
    """
    case = Case(policy, rule, None, facts)
    gates = evaluate(case)
    silencing = next((g for g in gates if g.verdict is Verdict.DENY and _is_not_ours(g)), None)
    if silencing:
        return _against(policy, rule, silencing, gates, "")
    if case.storming:
        return _in_storm(policy, rule, gates)
    if rest:
        return _ended(
            policy, rule, (Verdict.OBSERVE, Code.NOTHING_TO_DO, f"Nothing is done: {rest}"), "", gates
        )
    observes = case.mode is Mode.OBSERVE
    if not (observes or facts.ordered_by) and (
        mending := next((g for g in gates if g.code is Code.TARGET_BUSY), None)
    ):
        return _against(policy, rule, mending, gates, "")
    verdict = Verdict.OBSERVE if observes else Verdict.DENY
    advice = [step.advice for step in ladder if step.advice]
    if facts.ordered_by and not advice and any(step.stands for step in ladder):
        told = (Verdict.OBSERVE, Code.NOTHING_TO_DO, f"Nothing is done: {_refused(ladder)}")
        return _ended(policy, rule, told, "", gates)
    if facts.ordered_by and ladder:
        code = Code.PERSON_NEEDED if advice else Code.NO_STEP
        return _ended(policy, rule, (verdict, code, f"Nothing is done: {_refused(ladder)}"), "", gates)
    theirs = "" if observes or facts.ordered_by else facts.theirs
    quiet = f"; nobody is called, as it is {theirs}" if theirs else ""
    if advice:
        quiet = "; only observing, so nobody is called" if observes else quiet
        text = f"A person is needed: {'; '.join(_once(advice))}{quiet}"
        code = Code.ACKNOWLEDGED if theirs else Code.PERSON_NEEDED
        return _ended(policy, rule, (verdict, code, text), "", gates)
    reasons = "; ".join(f"{step.name}: {step.why}" for step in ladder) or "the remediation has no step left"
    code = Code.ACKNOWLEDGED if theirs else Code.NO_STEP
    return _ended(policy, rule, (verdict, code, f"No step applies. {reasons}{quiet}"), "", gates)


def not_yet(word: Decision, ladder: Sequence[Step], now: datetime, *, waits: bool) -> Decision:
    """The word where no step applies and one of them soon will, by the clock alone: NOT_YET where it `waits` for that, and nobody is called
    before. Else the same word, with that said."""
    found = [(step.later, step) for step in ladder if step.later is not None and step.later > now]
    if word.code not in _WITHOUT_STEP or not found:
        return word
    at, step = min(found, key=lambda pair: pair[0])
    told = f"{step.name} may be taken at {utc(at)}, if it lasts: {step.why}"
    if not waits:
        return replace(word, text=f"{word.text}; {told}")
    return replace(word, code=Code.NOT_YET, text=f"Not yet: {told}", again=at)


def _once(advice: Sequence[str]) -> list[str]:
    """Each advice, without what an earlier one ended with as well, such as the error that both are about."""
    told: list[str] = []
    for text in dict.fromkeys(advice):
        parts = text.split("; ")
        ends = ("; ".join(parts[n:]) for n in range(1, len(parts)))
        same = next((end for end in ends if any(t.endswith(f"; {end}") for t in told)), "")
        told.append(text.removesuffix(f"; {same}") if same else text)
    return told


def _is_not_ours(gate: GateResult) -> bool:
    return gate.code in _NOT_OURS or (gate.gate == "scope" and gate.code is Code.UNKNOWN_FACT)


def _refused(ladder: Sequence[Step]) -> str:
    """Why an order's steps do not apply, each with what a person may do instead."""
    told = []
    for step in ladder:
        why = step.why.rstrip(".")
        more = "" if not step.advice or step.advice.startswith(why) else f" ({step.advice})"
        text = step.advice if step.advice.startswith(why) else f"{why}{more}"
        told.append(f"{step.name}: {text}" if len(ladder) > 1 else text)
    return "; ".join(dict.fromkeys(told))


def decide_unseen(policy: Policy, rule: Rule, facts: Facts) -> Decision:
    """The word in a storm so big that the cluster is not even looked at: what the store knows can deny, what nobody
    looked at is said so, and the rest is the storm. `facts` must be of a storm."""
    gates = tuple(_unseen(g) for g in evaluate(Case(policy, rule, None, facts)))
    against = strongest(gates)
    if against is not None and against.verdict is Verdict.DENY:
        return _against(policy, rule, against, gates, "")
    return _in_storm(policy, rule, gates)


def _unseen(gate: GateResult) -> GateResult:
    """A gate that is closed only because nobody looked does not deny: looking is put off, not impossible."""
    if gate.code is not Code.UNKNOWN_FACT:
        return gate
    return gate._replace(verdict=Verdict.OBSERVE, remedy="the storm is over, then the cluster is looked at")


def _in_storm(policy: Policy, rule: Rule, gates: tuple[GateResult, ...]) -> Decision:
    """Only observing, because of the storm, whatever other gate would have said so first."""
    return _against(policy, rule, next(g for g in gates if g.code is Code.STORM), gates, "")


def no_rule(policy: Policy, alertname: str) -> Decision:
    """No rule matches the alert: observe, and say so."""
    text = f"Only observing: no rule matches alert {alertname or 'without a name'}"
    return Decision(Verdict.OBSERVE, Code.NO_RULE, text, "", "", "", (), policy.version)


def beats(policy: Policy, heartbeat: Heartbeat) -> Decision:
    """The alert is one that always fires: nothing to do as long as it is heard of."""
    text = (
        f"Only observing: {heartbeat.alertname} is a heartbeat; a person is called when it is not heard of for "
        f"{duration(heartbeat.missing_after)}"
    )
    return Decision(Verdict.OBSERVE, Code.NO_RULE, text, "", "", "", (), policy.version)


def heartbeat_missing(policy: Policy, alertname: str, said: str) -> Decision:
    """Alerts may not reach this service any more: only a person can mend that."""
    text = (
        f"A person is needed: {said}. Other alerts may not arrive either: check that Prometheus runs and fires {alertname}, that "
        "Alertmanager runs and reaches this service, and the route in its configuration"
    )
    return Decision(Verdict.DENY, Code.PERSON_NEEDED, text, "", "", "", (), policy.version)


def not_measured(policy: Policy, rule: Rule, reason: str) -> Decision:
    """Grafana fires the alert because it could not evaluate its rule: nothing says that anything is wrong with a workload."""
    text = (
        f"A person is needed: Grafana could not evaluate the alert's rule ({reason}), so nothing was measured. Look at the rule's query "
        "and at its data source"
    )
    return _ended(policy, rule, (Verdict.DENY, Code.PERSON_NEEDED, text))


def no_target(policy: Policy, rule: Rule, why: str) -> Decision:
    """The alert's labels do not name a target."""
    return _ended(policy, rule, (Verdict.DENY, Code.NO_TARGET, f"Not acting: {why}"))


def target_not_found(policy: Policy, rule: Rule, target: str | Target, why: str) -> Decision:
    """The labels name a target that the cluster does not have or does not show."""
    text = f"Not acting: {target} cannot be found: {why}"
    return _ended(policy, rule, (Verdict.DENY, Code.TARGET_NOT_FOUND, text))


def _of_step(case: Case, step: Step, gates: tuple[GateResult, ...]) -> Decision:
    policy, rule, against = case.policy, case.rule, strongest(gates)
    if against is not None:
        return _against(policy, rule, against, gates, step.name)
    text = f'Allowed by rule "{rule.name}": {len(gates)} of {len(gates)} gates'
    if not case.facts.dry_run:
        return _ended(policy, rule, (Verdict.ALLOW, Code.ALLOWED, text), step.name, gates)
    real = replace(case, facts=replace(case.facts, dry_run=False))
    stands = strongest(evaluate(real))
    if stands is not None:
        remedy = f"; it takes: {stands.remedy}" if stands.remedy else ""
        text = f"{text} as a dry run; the order itself: {said(stands)}{remedy}"
    return _ended(policy, rule, (Verdict.ALLOW, Code.DRY_RUN, text), step.name, gates)


def _against(
    policy: Policy, rule: Rule, gate: GateResult, gates: tuple[GateResult, ...], step: str
) -> Decision:
    return _ended(policy, rule, (gate.verdict, gate.code, said(gate)), step, gates)


def said(gate: GateResult) -> str:
    """What a gate that stands against it makes of the decision, in a sentence."""
    return f"{_OPENINGS[gate.verdict]}: {gate.gate}: {gate.value} (allowed: {gate.threshold})"


def _ended(
    policy: Policy,
    rule: Rule,
    word: tuple[Verdict, Code, str],
    step: str = "",
    gates: tuple[GateResult, ...] = (),
) -> Decision:
    return Decision(*word, rule.name, rule.remediation, step, gates, policy.version)
