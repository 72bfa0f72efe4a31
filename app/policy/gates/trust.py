"""Gate: what has been earned. In mode earned the trust level, made of verified fixes, says how far the rule may go by itself.

Beside `approval`, because a person can open this one too. A person's own order needs none: its result counts in it.
"""

from __future__ import annotations

from app.domain.decision import Code, GateResult, Mode, Verdict
from app.domain.units import counted
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice
from app.policy.model import TrustTerms
from app.policy.trust import TrustLevel, next_text, proof, proof_text, share, tally_text

_SAY = Voice("trust")


@_SAY.of
def trust(case: Case) -> GateResult:
    """Observe at level observe, ask at level approve until a person agreed, allow at level auto; not in use in other modes."""
    if case.rule.mode is not Mode.EARNED:
        return _SAY.allow("not in use", f"mode {case.rule.mode} needs no trust level")
    if case.facts.dry_run:
        return _SAY.allow("dry run: nothing is changed", "anything", Code.DRY_RUN)
    if case.facts.ordered_by:
        return _SAY.allow(f"ordered by {case.facts.ordered_by}", "an order needs no trust level")
    trust_level, terms = case.trust_level, case.rule.trust
    if isinstance(trust_level, Unknown):
        return _SAY.unknown("the trust level", trust_level, "level auto")
    if trust_level.level is Mode.AUTO:
        return _SAY.allow(f"level auto: {tally_text(trust_level)}", "level auto")
    value, threshold = (
        f"level {trust_level.level}: {proof_text(trust_level, terms)}",
        _threshold(trust_level, terms),
    )
    remedy = next_text(trust_level, terms)
    if trust_level.level is Mode.OBSERVE:
        return _SAY.hold(Verdict.OBSERVE, Code.NOT_EARNED, value, threshold, remedy)
    if case.facts.approved_by:
        return _SAY.allow(f"{value}; approved by {case.facts.approved_by}", threshold)
    who = case.approvers
    return _SAY.hold(case.question, Code.NOT_EARNED, value, threshold, f"{who}; {remedy}")


def _threshold(trust_level: TrustLevel, terms: TrustTerms) -> str:
    wanted = proof(trust_level, terms)
    if wanted is None:
        return f"level {trust_level.level}"
    takes = f"from {counted(wanted.runs, 'run')} and a lower bound of {share(wanted.bound)}"
    if trust_level.level is Mode.OBSERVE:
        return f"level approve, {takes}, or an order"
    return f"level auto, {takes}, or an approval"
