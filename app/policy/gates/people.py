"""Gates that people open and close: kill switch, hands, trust, approval. Pure; a gate answers and never acts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Protocol

from app.domain.decision import Code, GateResult, Mode, Verdict
from app.domain.quantities import duration_text
from app.domain.target import Kind, Target
from app.domain.units import counted, duration, utc
from app.policy.facts import Case, Pause, Unknown, Voice
from app.policy.model import Policy, TrustTerms
from app.policy.trust import TrustLevel, next_text, proof, proof_text, share, tally_text

# Gate: the switches that people set. A pause denies; a ceiling of observe lets the service only look.

_KILL_SWITCH = Voice("kill switch")
_NOTHING_STOPS = "no pause, ceiling above observe"
_FOREVER = datetime.max.replace(tzinfo=UTC)


@_KILL_SWITCH.of
def kill_switch(case: Case) -> GateResult:
    """Deny under a pause that covers this target, something else that is written, the rule or remediation; observe under a ceiling of observe, except for a
    dry run, which changes nothing."""
    pauses = case.facts.pauses
    if isinstance(pauses, Unknown):
        return _KILL_SWITCH.unknown("pauses", pauses, _NOTHING_STOPS)
    in_force = [p for p in pauses if (p.until is None or p.until > case.facts.now) and _covers(p, case)]
    if in_force:
        return _paused(case.policy, max(in_force, key=lambda p: p.until or _FOREVER))
    for who in only_observing(case.policy, case.facts.ceiling):
        if not case.facts.dry_run:
            value, remedy = f"{who} is set to observe", f"the mode of {who} is raised"
            return _KILL_SWITCH.hold(Verdict.OBSERVE, Code.CEILING, value, _NOTHING_STOPS, remedy)
    return _KILL_SWITCH.allow("no pause", _NOTHING_STOPS)


def _paused(policy: Policy, pause: Pause) -> GateResult:
    """Shown is the pause that ends last: until then nothing happens."""
    end = utc(pause.until) if pause.until else "when someone resumes it"
    value = (
        f"{pause.scope} paused by {pause.author}: {pause.reason or 'no reason given'}{renamed(policy, pause)}"
    )
    code = Code.KILL_SWITCH if pause.scope == "all" else Code.PAUSED
    return _KILL_SWITCH.deny(code, value, _NOTHING_STOPS, f"the pause ends ({end})", pause.until)


def _covers(pause: Pause, case: Case) -> bool:
    written = (case.facts.target, *case.facts.touched)
    if nameless(case.policy, pause) and pause.remediation == case.rule.remediation:
        return True
    return covers(pause.scope, written, (case.rule.name,), case.rule.remediation)


class OfARule(Protocol):
    """A pause, as far as it may be of a rule."""

    @property
    def scope(self) -> str:
        """What it covers."""
        ...

    @property
    def remediation(self) -> str:
        """What the rule of this name did, while there was one; empty where that is not known."""
        ...


def nameless(policy: Policy, pause: OfARule) -> bool:
    """It is of a rule that no policy has any more: renamed, or gone. What came in its place is not known, so that it holds everything
    that does what the rule did."""
    kind, _, name = pause.scope.partition(":")
    return kind == "rule" and all(rule.name != name for rule in policy.rules)


def renamed(policy: Policy, pause: OfARule) -> str:
    """Why such a pause holds what has another name; empty for any other one."""
    if not nameless(policy, pause) or not pause.remediation:
        return ""
    return f" (no rule has that name any more, so that it holds all of {pause.remediation})"


def covers(scope: str, written: Iterable[Target], rules: Iterable[str], remediation: str) -> bool:
    """Whether a pause of this scope covers a write to any of these, for a rule of any of these names."""
    named = {"all", f"remediation:{remediation}", *(f"rule:{rule}" for rule in rules)}
    for one in written:
        named |= {f"namespace:{one.namespace}", f"target:{one.key}"}
        # What is behind a Service is not known: it may be whatever is paused there.
        if one.kind is Kind.SERVICE and scope.startswith(f"target:{one.namespace}/"):
            return True
    return scope in named


def only_observing(policy: Policy, ceiling: Mode | None) -> tuple[str, ...]:
    """Whose ceiling lets nothing be written: the service's, the policy's, both or none."""
    whose = (("the service", ceiling), ("the policy", policy.mode))
    return tuple(who for who, mode in whose if mode is Mode.OBSERVE)


# Gate: is somebody at it? Whoever acknowledged the incident, changed the target since the alert fired, or deletes it or what it is in, has it.

_HANDS = Voice("hands")
_NOBODY_AT_IT = "no acknowledgement, and no change of the target by others since the alert fired"
_STAYS = "neither it, its namespace nor an owner is being deleted"


@_HANDS.of
def hands(case: Case) -> GateResult:
    """Deny what is being deleted, and while somebody has acknowledged the incident, or for an order of the clock any incident of its target; ask when
    somebody has another incident of it, or somebody else changed the target after the alert fired or it was ordered. Who orders or approves this very plan
    knows of what stood then, and of nothing that came since: an order is no word for what others changed after it. What is being deleted nobody can keep."""
    facts = case.facts
    if isinstance(facts.leaving, Unknown):
        return _HANDS.unknown("whether it is being deleted", facts.leaving, _STAYS)
    if facts.leaving:
        remedy = "it is there anew: a deletion cannot be stopped"
        return _HANDS.deny(Code.BEING_DELETED, facts.leaving, _STAYS, remedy)
    if isinstance(facts.changed_by, Unknown):
        return _HANDS.unknown("who changed the target", facts.changed_by, _NOBODY_AT_IT)
    theirs = facts.acknowledged or (facts.acknowledged_beside if facts.scheduled else "")
    value = "; ".join(filter(None, (facts.acknowledged, facts.acknowledged_beside, facts.changed_by)))
    if not value:
        return _HANDS.allow("nobody is at it", _NOBODY_AT_IT)
    agreed = case.approved_by and not facts.taken_since
    if agreed and (facts.approved_by or not facts.changed_by):
        return _HANDS.allow(f"{value}; {case.approved_by}", _NOBODY_AT_IT)
    if theirs and not agreed:
        until = facts.acknowledged_until
        when = "the acknowledgement ends" if until is None else f"they no longer have it, at {utc(until)}"
        remedy = f"{when}, or a person orders it"
        return _HANDS.deny(Code.ACKNOWLEDGED, value, _NOBODY_AT_IT, remedy, until)
    if not facts.changed_by:
        remedy = f"{case.approvers} that it is done beside them, or they no longer have that"
        return _HANDS.hold(case.question, Code.TAKEN_BESIDE, value, _NOBODY_AT_IT, remedy)
    remedy = f"{case.approvers} that it is written over what they did"
    return _HANDS.hold(case.question, Code.CHANGED_SINCE, value, _NOBODY_AT_IT, remedy)


# Gate: what has been earned. In mode earned the trust level, made of verified fixes, says how far the rule may go by
# itself.
#
# Beside `approval`, because a person can open this one too. A person's own order needs none: its result counts in it.

_TRUST = Voice("trust")


@_TRUST.of
def trust(case: Case) -> GateResult:
    """Observe at level observe, ask at level approve until a person agreed, allow at level auto; not in use in other modes."""
    if case.rule.mode is not Mode.EARNED:
        return _TRUST.allow("not in use", f"mode {case.rule.mode} needs no trust level")
    if case.facts.dry_run:
        return _TRUST.allow("dry run: nothing is changed", "anything", Code.DRY_RUN)
    if case.facts.ordered_by:
        return _TRUST.allow(f"ordered by {case.facts.ordered_by}", "an order needs no trust level")
    trust_level, terms = case.trust_level, case.rule.trust
    if isinstance(trust_level, Unknown):
        return _TRUST.unknown("the trust level", trust_level, "level auto")
    if trust_level.level is Mode.AUTO:
        return _TRUST.allow(f"level auto: {tally_text(trust_level)}", "level auto")
    value, threshold = (
        f"level {trust_level.level}: {proof_text(trust_level, terms)}",
        _threshold(trust_level, terms),
    )
    remedy = next_text(trust_level, terms)
    if trust_level.level is Mode.OBSERVE:
        return _TRUST.hold(Verdict.OBSERVE, Code.NOT_EARNED, value, threshold, remedy)
    if case.facts.approved_by:
        return _TRUST.allow(f"{value}; approved by {case.facts.approved_by}", threshold)
    who = case.approvers
    return _TRUST.hold(case.question, Code.NOT_EARNED, value, threshold, f"{who}; {remedy}")


def _threshold(trust_level: TrustLevel, terms: TrustTerms) -> str:
    wanted = proof(trust_level, terms)
    if wanted is None:
        return f"level {trust_level.level}"
    takes = f"from {counted(wanted.runs, 'run')} and a lower bound of {share(wanted.bound)}"
    if trust_level.level is Mode.OBSERVE:
        return f"level approve, {takes}, or an order"
    return f"level auto, {takes}, or an approval"


# Gate: how far may the rule go by itself? The last one, because it is the one a person can open.

_APPROVAL = Voice("approval")


@_APPROVAL.of
def approval(case: Case) -> GateResult:
    """Observe in mode observe, ask in mode approve until a person agreed; mode earned is left to the gate trust. A dry run
    changes nothing and needs nobody. A step of which something is not known asks in every mode that acts."""
    mode, threshold = case.mode, f"mode {case.mode}"
    if mode is not case.own_mode:
        threshold += f" (rule {case.rule.mode}, lowered by a ceiling)"
    if case.facts.dry_run:
        return _APPROVAL.allow("dry run: nothing is changed", threshold, Code.DRY_RUN)
    unsure = case.step.asks if case.step else ""
    if unsure and mode is not Mode.OBSERVE and not case.approved_by:
        return _APPROVAL.hold(
            case.question, Code.UNSURE, unsure, "known to be safe without asking", case.approvers
        )
    if case.rule.mode is Mode.EARNED and mode is case.own_mode and not case.facts.ordered_by:
        return _APPROVAL.allow("left to the gate trust", "mode earned")
    if mode is Mode.OBSERVE:
        remedy = "the mode is raised to approve or auto"
        return _APPROVAL.hold(Verdict.OBSERVE, Code.MODE_OBSERVE, "only looks", threshold, remedy)
    if case.outdated is not None and not case.approved_by:
        value = f"ordered {duration(case.outdated)} ago, and nobody approved since"
        holds = f"{threshold}, an order holds for {duration_text(case.rule.approval.expires)}"
        return _APPROVAL.hold(case.question, Code.APPROVAL_NEEDED, value, holds, case.approvers)
    if mode is Mode.AUTO and not (case.facts.ordered_by and case.wants_another_word):
        return _APPROVAL.allow("acts by itself", threshold)
    if case.approved_by:
        return _APPROVAL.allow(case.approved_by, threshold)
    four_eyes = case.rule.approval.four_eyes and case.somebody
    ordered = f", not {case.somebody} who ordered it" if four_eyes else ""
    return _APPROVAL.hold(
        case.question, Code.APPROVAL_NEEDED, "nobody approved yet", threshold, f"{case.approvers}{ordered}"
    )
