"""Gate: does another alert fire under which nothing should be touched, such as a cluster upgrade or a dead API server?"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.decision import Code, GateResult
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice
from app.policy.matchers import When
from app.policy.model import Rule

_SAY = Voice("blocking alerts")


def blocking_matchers(rule: Rule) -> tuple[When, ...]:
    """The matchers the flow asks about; `str` of each is its key in `Facts.blocking`."""
    return rule.blocked_by


@_SAY.of
def blocking(case: Case) -> GateResult:
    """Deny while an alert of the rule's `blocked_by` fires, or while that cannot be told."""
    matchers = [str(m) for m in blocking_matchers(case.rule)]
    if not matchers:
        return _SAY.allow("none named", "none")
    threshold = f"none of: {'; '.join(matchers)}"
    known = case.facts.blocking
    if isinstance(known, Unknown):
        return _SAY.unknown("firing alerts", known, threshold)
    missing = [m for m in matchers if m not in known]
    if missing:
        return _SAY.unknown("firing alerts", Unknown(f"nobody looked for {missing[0]}"), threshold)
    names = _firing(matchers, known)
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        value = f"firing: {', '.join(names[:3])}{more}"
        return _SAY.deny(Code.BLOCKING_ALERT, value, threshold, f"{names[0]} is resolved")
    return _SAY.allow("none firing", threshold)


def _firing(matchers: list[str], known: Mapping[str, tuple[str, ...]]) -> list[str]:
    return sorted({name for m in matchers for name in known[m]})
