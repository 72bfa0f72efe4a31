"""Gate: the switches that people set. A pause denies; a ceiling of observe lets the service only look."""

from __future__ import annotations

from datetime import UTC, datetime

from app.domain.decision import Code, GateResult, Mode, Verdict
from app.domain.target import Target
from app.domain.units import utc
from app.policy.facts import Pause, Unknown
from app.policy.gates.case import Case, Voice
from app.policy.model import Policy

_SAY = Voice("kill switch")
_THRESHOLD = "no pause, ceiling above observe"
_FOREVER = datetime.max.replace(tzinfo=UTC)


@_SAY.of
def kill_switch(case: Case) -> GateResult:
    """Deny under a pause that covers this target, rule or remediation; observe under a ceiling of observe, except for a
    dry run, which changes nothing."""
    pauses = case.facts.pauses
    if isinstance(pauses, Unknown):
        return _SAY.unknown("pauses", pauses, _THRESHOLD)
    in_force = [p for p in pauses if (p.until is None or p.until > case.facts.now) and _covers(p, case)]
    if in_force:
        return _paused(max(in_force, key=lambda p: p.until or _FOREVER))
    for who in only_observing(case.policy, case.facts.ceiling):
        if not case.facts.dry_run:
            value, remedy = f"{who} is set to observe", f"the mode of {who} is raised"
            return _SAY.hold(Verdict.OBSERVE, Code.CEILING, value, _THRESHOLD, remedy)
    return _SAY.allow("no pause", _THRESHOLD)


def _paused(pause: Pause) -> GateResult:
    """Shown is the pause that ends last: until then nothing happens."""
    end = utc(pause.until) if pause.until else "when someone resumes it"
    value = f"{pause.scope} paused by {pause.author}: {pause.reason or 'no reason given'}"
    code = Code.KILL_SWITCH if pause.scope == "all" else Code.PAUSED
    return _SAY.deny(code, value, _THRESHOLD, f"the pause ends ({end})", pause.until)


def _covers(pause: Pause, case: Case) -> bool:
    return pause.scope in scopes_of(case.facts.target, case.rule.name, case.rule.remediation)


def scopes_of(target: Target, rule: str, remediation: str) -> frozenset[str]:
    """The scopes of pauses that cover a write, whatever it is."""
    return frozenset(
        {
            "all",
            f"namespace:{target.namespace}",
            f"target:{target.key}",
            f"rule:{rule}",
            f"remediation:{remediation}",
        }
    )


def only_observing(policy: Policy, ceiling: Mode | None) -> tuple[str, ...]:
    """Whose ceiling lets nothing be written: the service's, the policy's, both or none."""
    whose = (("the service", ceiling), ("the policy", policy.mode))
    return tuple(who for who, mode in whose if mode is Mode.OBSERVE)
