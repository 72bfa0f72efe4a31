"""Lint of mode earned: levels that nothing can reach, and numbers that say something else than their writer may think.

Called by `app.policytools.lint`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from app.domain.decision import Mode
from app.domain.units import counted
from app.policy.model import Policy, Rule, TargetClass, TrustTerms
from app.policy.trust import LEVELS, MAX_RUNS, TrustLevel, lower_bound, measured, missing, proof, share
from app.policytools.lint_findings import Finding, Severity

_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def trust_findings(policy: Policy, rule: Rule) -> Iterator[Finding]:
    """What is odd about how this rule earns its trust."""
    terms = rule.trust
    if rule.mode is not Mode.EARNED:
        if terms != policy.defaults.trust:
            text = f"its trust is not in use: its mode is {rule.mode}, not earned"
            yield _of(rule, "autonomy_unused", Severity.NOTE, text)
        return
    for level in LEVELS[:-1]:
        yield from _level(rule, TrustLevel(level, _ANY_TIME))
    if terms.auto.bound < terms.approve.bound or terms.auto.runs < terms.approve.runs:
        text = f"to act alone takes less ({_takes(terms, Mode.APPROVE)}) than to ask ({_takes(terms, Mode.OBSERVE)})"
        yield _of(rule, "autonomy_upside_down", Severity.WARNING, text)
    if policy.mode is Mode.APPROVE:
        text = "the policy's mode is approve, so level auto still asks"
        yield _of(rule, "autonomy_capped", Severity.NOTE, text)
    if terms.per is TargetClass.NAMESPACE and len(policy.scope.protected_kinds) == 0:
        text = "per namespace with no protected kind: what a Deployment earns also counts for a StatefulSet"
        yield _of(rule, "autonomy_wide", Severity.NOTE, text)


def _level(rule: Rule, trust_level: TrustLevel) -> Iterator[Finding]:
    terms, wanted = rule.trust, proof(trust_level, rule.trust)
    above, more = trust_level.above, missing(trust_level, rule.trust)
    if wanted is None:
        return
    if more is None:
        best = lower_bound(MAX_RUNS, MAX_RUNS, terms.confidence)
        text = f"level {above} is never earned: even {MAX_RUNS} of {MAX_RUNS} fixed prove {best:.4f}, not {share(wanted.bound)}"
        yield _of(rule, "never_earned", Severity.ERROR, text)
    elif more > wanted.runs:
        proves = measured(lower_bound(wanted.runs, wanted.runs, terms.confidence))
        text = (
            f"level {above} takes {counted(more, 'fixed run')} in a row, not {wanted.runs}: {wanted.runs} of {wanted.runs}"
            f" prove {proves}, not {share(wanted.bound)}"
        )
        yield _of(rule, "autonomy_runs", Severity.NOTE, text)


def _takes(terms: TrustTerms, level: Mode) -> str:
    wanted = proof(TrustLevel(level, _ANY_TIME), terms)
    return "nothing" if wanted is None else f"{counted(wanted.runs, 'run')}, {share(wanted.bound)}"


def _of(rule: Rule, code: str, severity: Severity, text: str) -> Finding:
    return Finding(code, severity, True, rule.name, "", "", text)
