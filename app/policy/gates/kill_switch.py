"""Gate: the switches that people set. A pause denies; a ceiling of observe lets the service only look."""

from __future__ import annotations

from datetime import UTC, datetime

from app.domain.decision import Code, GateResult, Mode, Verdict
from app.policy.facts import Pause, Unknown
from app.policy.gates.case import Case, Voice
from app.policy.units import moment

_SAY = Voice("kill switch")
_THRESHOLD = "no pause, ceiling above observe"
_FOREVER = datetime.max.replace(tzinfo=UTC)


def kill_switch(case: Case) -> GateResult:
    """Deny under a pause that covers this target, rule or remediation; observe under a ceiling of observe, except for a
    dry run, which changes nothing."""
    pauses = case.facts.pauses
    if isinstance(pauses, Unknown):
        return _SAY.unknown("pauses", pauses, _THRESHOLD)
    in_force = [p for p in pauses if _covers(p, case) and (p.until is None or p.until > case.facts.now)]
    if in_force:
        return _paused(max(in_force, key=lambda p: p.until or _FOREVER))
    for who, ceiling in (("the service", case.facts.ceiling), ("the policy", case.policy.mode)):
        if ceiling is Mode.OBSERVE and not case.facts.dry_run:
            value, remedy = f"{who} is set to observe", f"the mode of {who} is raised"
            return _SAY.hold(Verdict.OBSERVE, Code.CEILING, value, _THRESHOLD, remedy)
    return _SAY.allow("no pause", _THRESHOLD)


def _paused(pause: Pause) -> GateResult:
    """Shown is the pause that ends last: until then nothing happens."""
    end = moment(pause.until) if pause.until else "when someone resumes it"
    value = f"{pause.scope} paused by {pause.author}: {pause.reason or 'no reason given'}"
    code = Code.KILL_SWITCH if pause.scope == "all" else Code.PAUSED
    return _SAY.deny(code, value, _THRESHOLD, f"the pause ends ({end})", pause.until)


def _covers(pause: Pause, case: Case) -> bool:
    target = case.facts.target
    return pause.scope in {
        "all",
        f"namespace:{target.namespace}",
        f"target:{target.key}",
        f"rule:{case.rule.name}",
        f"remediation:{case.rule.remediation}",
    }
