"""Gate: may it act at this hour? No freeze may stand, and where windows are given one must be open."""

from __future__ import annotations

from datetime import datetime

from app.domain import half_way
from app.domain.decision import Code, GateResult
from app.domain.plan import Step
from app.domain.units import utc
from app.policy.calendar import is_open, next_change
from app.policy.gates.case import Case, Voice
from app.policy.model import Policy, Window
from app.policy.units import wall_time_text

_SAY = Voice("window")


@_SAY.of
def window(case: Case) -> GateResult:
    """Deny during a freeze (until it ends) and outside of all windows (until one opens)."""
    policy, now = case.policy, case.facts.now
    frozen = [f for f in policy.freeze if is_open(f, now)]
    threshold = _threshold(policy.windows, policy.freeze)
    if case.facts.brings_back:
        return _SAY.allow("it starts again what the same approved plan stopped", threshold)
    if frozen:
        end = next_change(policy.freeze, now, to_open=False)
        remedy = f"the freeze ends ({utc(end)})" if end else "the freeze is taken out of the policy"
        return _SAY.deny(Code.FROZEN, f"frozen: {window_text(frozen[0])}", threshold, remedy, end)
    open_now = [w for w in policy.windows if is_open(w, now)]
    if policy.windows and not open_now:
        opening = next_change(policy.windows, now, to_open=True)
        remedy = f"the next window opens ({utc(opening)})" if opening else "the policy names a coming window"
        return _SAY.deny(Code.OUTSIDE_WINDOW, f"{utc(now)}, no window open", threshold, remedy, opening)
    value = f"inside {open_now[0].name}" if open_now else "no freeze stands"
    soon = closes_before(policy, case.step, now) if case.step else ""
    return _SAY.allow(f"{value}; {soon}" if soon else value, threshold)


def closes_before(policy: Policy, step: Step, begins: datetime) -> str:
    """A warning when a freeze begins, or the last open window ends, before a step of several actions that begins then is certain to be
    over; else empty. It is held half way then."""
    over = begins + half_way.longest(step.actions)
    frozen = next_change(policy.freeze, begins, to_open=True) if policy.freeze else None
    closed = next_change(policy.windows, begins, to_open=False) if policy.windows else None
    words = (("a freeze begins", frozen), ("the window ends", closed))
    told = [f"{word} at {utc(at)}" for word, at in words if at is not None and at < over]
    return f"{' and '.join(told)}, and this may take until {utc(over)}" if told else ""


def window_text(one: Window) -> str:
    """A window for people: `release evening (fri 16:00-23:59 Europe/Berlin)`."""
    days = ",".join(d.isoformat() for d in one.dates) or ",".join(one.days) or "daily"
    return f"{one.name} ({days} {wall_time_text(one.start)}-{wall_time_text(one.end)} {one.timezone})"


def _threshold(windows: tuple[Window, ...], freeze: tuple[Window, ...]) -> str:
    allowed = "any time" if not windows else "only in " + "; ".join(map(window_text, windows))
    return allowed + (", not in " + "; ".join(map(window_text, freeze)) if freeze else "")
