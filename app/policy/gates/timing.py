"""Gates about the moment: freshness, window, blocking alerts, cooldown, rate limit and budget, target busy, flapping, storm. Pure; a
gate answers and never acts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import takewhile

from app.domain import half_way
from app.domain.decision import Code, GateResult, Verdict
from app.domain.outcome import HELPED, RunState
from app.domain.plan import Step
from app.domain.quantities import duration_text, wall_time_text
from app.domain.units import counted, duration, utc
from app.policy.calendar import is_open, next_change
from app.policy.facts import Case, Spend, Unknown, Voice
from app.policy.match import BudgetScope, Origin, scopes_for
from app.policy.matchers import When
from app.policy.model import Policy, Rule, Window

# Gate: does the alert still fire, by a word that is not too old? An old alert is a past fault.

_FRESHNESS = Voice("freshness")


@_FRESHNESS.of
def freshness(case: Case) -> GateResult:
    """Deny when the alert is resolved, silenced or inhibited, or its last word is older than the rule's freshness. A manual order
    has no alert; one of the clock that nobody approved is refused when it is later than its schedule allows."""
    facts, threshold = case.facts, f"fires, last word at most {duration_text(case.rule.freshness)} old"
    if late := _late(case):
        return late
    if facts.ordered_by:
        return _FRESHNESS.allow(f"ordered by {facts.ordered_by}, needs no alert", threshold)
    if isinstance(facts.firing, Unknown):
        return _FRESHNESS.unknown("state of the alert", facts.firing, threshold)
    if not facts.firing:
        return _FRESHNESS.deny(Code.NOT_FIRING, "the alert is resolved", threshold, "the alert fires again")
    if facts.silenced:
        remedy = "the silence or inhibition ends"
        return _FRESHNESS.deny(Code.SILENCED, facts.silenced, f"{threshold}, not silenced", remedy)
    if isinstance(facts.last_seen, Unknown):
        return _FRESHNESS.unknown("time of the alert's last word", facts.last_seen, threshold)
    age = facts.now - facts.last_seen
    if age > case.rule.freshness:
        remedy = "the alert is delivered again, or Alertmanager's API confirms it"
        return _FRESHNESS.deny(Code.STALE, f"last word {duration(age)} ago", threshold, remedy)
    return _FRESHNESS.allow(f"fires, last word {duration(age)} ago", threshold)


def _late(case: Case) -> GateResult | None:
    """The clock's order was stored in time, and came to be decided too late."""
    facts, schedule = case.facts, case.rule.schedule
    if facts.was_due is None or schedule is None or facts.approved_by:
        return None
    behind, allowed = facts.now - facts.was_due, schedule.decided_within
    if behind <= allowed:
        return None
    value = f"due {duration(behind)} ago"
    threshold = f"begun at most {duration_text(allowed)} late"
    return _FRESHNESS.deny(Code.STALE, value, threshold, "its next time comes, or a person orders it")


# Gate: may it act at this hour? No freeze may stand, and where windows are given one must be open.

_WINDOW = Voice("window")


@_WINDOW.of
def window(case: Case) -> GateResult:
    """Deny during a freeze (until it ends) and outside of all windows (until one opens)."""
    policy, now = case.policy, case.facts.now
    frozen = [f for f in policy.freeze if is_open(f, now)]
    threshold = _threshold(policy.windows, policy.freeze)
    if case.facts.brings_back:
        return _WINDOW.allow("it starts again what the same approved plan stopped", threshold)
    if frozen:
        end = next_change(policy.freeze, now, to_open=False)
        remedy = f"the freeze ends ({utc(end)})" if end else "the freeze is taken out of the policy"
        return _WINDOW.deny(Code.FROZEN, f"frozen: {window_text(frozen[0])}", threshold, remedy, end)
    open_now = [w for w in policy.windows if is_open(w, now)]
    if policy.windows and not open_now:
        opening = next_change(policy.windows, now, to_open=True)
        remedy = f"the next window opens ({utc(opening)})" if opening else "the policy names a coming window"
        return _WINDOW.deny(Code.OUTSIDE_WINDOW, f"{utc(now)}, no window open", threshold, remedy, opening)
    value = f"inside {open_now[0].name}" if open_now else "no freeze stands"
    soon = closes_before(policy, case.step, now) if case.step else ""
    return _WINDOW.allow(f"{value}; {soon}" if soon else value, threshold)


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


# Gate: does another alert fire under which nothing should be touched, such as a cluster upgrade or a dead API server?

_BLOCKING = Voice("blocking alerts")


def blocking_matchers(rule: Rule) -> tuple[When, ...]:
    """The matchers the flow asks about; `str` of each is its key in `Facts.blocking`."""
    return rule.blocked_by


@_BLOCKING.of
def blocking(case: Case) -> GateResult:
    """Deny while an alert of the rule's `blocked_by` fires, or while that cannot be told."""
    matchers = [str(m) for m in blocking_matchers(case.rule)]
    if not matchers:
        return _BLOCKING.allow("none named", "none")
    threshold = f"none of: {'; '.join(matchers)}"
    known = case.facts.blocking
    if isinstance(known, Unknown):
        return _BLOCKING.unknown("firing alerts", known, threshold)
    missing = [m for m in matchers if m not in known]
    if missing:
        return _BLOCKING.unknown("firing alerts", Unknown(f"nobody looked for {missing[0]}"), threshold)
    names = _firing(matchers, known)
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        value = f"firing: {', '.join(names[:3])}{more}"
        return _BLOCKING.deny(Code.BLOCKING_ALERT, value, threshold, f"{names[0]} is resolved")
    return _BLOCKING.allow("none firing", threshold)


def _firing(matchers: list[str], known: Mapping[str, tuple[str, ...]]) -> list[str]:
    return sorted({name for m in matchers for name in known[m]})


# Gate: has the last action of this remediation on this target had time to work?

_COOLDOWN = Voice("cooldown")


@_COOLDOWN.of
def cooldown(case: Case) -> GateResult:
    """Deny until the cooldown since the last action is over; the end itself is over. A procedure is ordered again on purpose:
    its orders have a cooldown only where the rule writes one."""
    last, span = case.facts.last_action, case.rule.cooldown
    if case.facts.ordered_by and case.rule.order_cooldown is not None:
        span = case.rule.order_cooldown
    threshold = f"{duration_text(span)} since the last action"
    if isinstance(last, Unknown):
        return _COOLDOWN.unknown("time of the last action", last, threshold)
    if last is None:
        return _COOLDOWN.allow("no action before", threshold)
    age, end = case.facts.now - last, last + span
    if case.facts.now < end:
        remedy = f"the cooldown ends ({utc(end)})"
        return _COOLDOWN.deny(Code.COOLING_DOWN, f"last action {duration(age)} ago", threshold, remedy, end)
    return _COOLDOWN.allow(f"last action {duration(age)} ago", threshold)


# Gates rate limit and budget: is there room for one more action under every limit?
#
# The rate limit is the rule's own, the budget is shared by all rules. They differ in who set the limit, not in how it
# is measured.

_OWN, _SHARED = Voice("rate limit"), Voice("budget")


@_OWN.of
def rate_limit(case: Case) -> GateResult:
    """Deny when one of the rule's own limits is used up, until the oldest action leaves its window."""
    return _measure(case, _OWN, Origin.RULE, Code.RATE_LIMITED)


@_SHARED.of
def budget(case: Case) -> GateResult:
    """Deny when one of the shared budgets is used up, until the oldest action leaves its window."""
    return _measure(case, _SHARED, Origin.SHARED, Code.BUDGET_SPENT)


def _measure(case: Case, say: Voice, origin: Origin, code: Code) -> GateResult:
    scopes = [s for s in scopes_for(case.policy, case.rule, case.facts.target) if s.origin is origin]
    if not scopes:
        return say.allow("no limit set", "none")
    threshold = "; ".join(f"{s.limit} ({s.key})" for s in scopes)
    spend = case.facts.spend
    if isinstance(spend, Unknown):
        return say.unknown("spent actions", spend, threshold)
    uncounted = [s for s in scopes if s not in spend]
    if uncounted:
        return say.unknown("spent actions", Unknown(f"nobody counted {uncounted[0].key}"), threshold)
    full = [s for s in scopes if spend[s].count >= s.limit.count]
    if full:
        retry_at = _room_at(full, spend)
        when = f"an action leaves the window ({utc(retry_at)})" if retry_at else "the limit is raised"
        return say.deny(code, "; ".join(_used(s, spend) for s in full), threshold, when, retry_at)
    tightest = min(scopes, key=lambda s: s.limit.count - spend[s].count)
    return say.allow(_used(tightest, spend), threshold)


def _used(scope: BudgetScope, spend: Mapping[BudgetScope, Spend]) -> str:
    return f"{spend[scope].count} of {scope.limit} ({scope.key})"


def _room_at(full: list[BudgetScope], spend: Mapping[BudgetScope, Spend]) -> datetime | None:
    """When the last of the full scopes has room again; None when one never has (a limit of 0)."""
    ends = []
    for scope in full:
        oldest = spend[scope].oldest
        if oldest is None or not scope.limit.count:
            return None
        ends.append(oldest + scope.limit.window)
    return max(ends)


# Gate: is another run at work on this target? One at a time, always.
#
# A plan that waits for its first answer has written nothing and keeps nobody away; it is checked again before it
# acts.

_BUSY = Voice("target busy")
_NOT_BUSY = "no other run at work on the target"


@_BUSY.of
def busy(case: Case) -> GateResult:
    """Deny while another run is at work on the target; plans for it that wait for an answer are named. Where no step applies, deny
    also for as long as `verify.timeout` after another run mended the target, as its other alerts take their time to resolve, and after
    somebody else's change made our question void: theirs has its time to help as well. And while something else is under way: a question
    about the target stands, another alert of it is still looked at or has called a person, somebody changed it after the alert fired, or that
    fired less than a minute ago, so that another one of the same fault may follow, or comes and goes and people were called for it lately. A step that people would be asked about waits for another
    alert's question, and for as long after a run mended the target."""
    run = case.facts.busy_with
    if isinstance(run, Unknown):
        return _BUSY.unknown("runs on the target", run, _NOT_BUSY)
    if run:
        return _BUSY.deny(Code.TARGET_BUSY, f"{run} is at work", _NOT_BUSY, f"{run} ends")
    if case.step is None and (trying := _given_time(case)):
        return trying
    if beside := case.facts.beside:
        return _BUSY.deny(Code.TARGET_BUSY, beside.what, _NOT_BUSY, beside.ends, beside.until)
    if waiting := case.facts.waiting:
        told = ", ".join(waiting)
        return _BUSY.allow(f"free; waiting for an answer, with nothing written: {told}", _NOT_BUSY)
    return _BUSY.allow("free", _NOT_BUSY)


def _given_time(case: Case) -> GateResult | None:
    """Something else was done a moment ago that may yet help."""
    facts = case.facts
    done = [
        (facts.mended_at, "another run mended it"),
        (facts.theirs_since, f"{facts.changed_by}, before our write: noticed"),
    ]
    for at, what in done:
        if at is not None and facts.now < (end := at + case.rule.verify.timeout):
            text = f"{what} {duration(facts.now - at)} ago"
            remedy = "the alert resolves, or its time for that is over"
            return _BUSY.deny(Code.TARGET_BUSY, text, _NOT_BUSY, remedy, end)
    return None


# Gate: the circuit breaker. After fixes that did not hold, a person decides, or the automation hides the real fault.

_FLAPPING = Voice("flapping")
DID_NOT_HELP = frozenset(
    {
        RunState.NOT_FIXED,
        RunState.INCONCLUSIVE,
        RunState.PROBE_ERROR,
        RunState.FAILED,
        RunState.UNDONE,
        RunState.STUCK,
    }
)
"""Endings of a run that acted or tried to. Rejected, expired and abandoned runs say nothing about the remediation."""
_WORKED = HELPED | {RunState.STILL_FIRING, RunState.REVERTED}
"""Endings after which the fault was gone, or less, for a while, also where a temporary change was taken back at its end: one that comes back again and again is no matter of the alert's window. Who reads
it is told how many were no fix."""


@_FLAPPING.of
def flapping(case: Case) -> GateResult:
    """Ask after too many runs in a row that did not fix it, or when it was fixed again and again within the window. A procedure
    that is ordered again after it went well is no fault that comes back."""
    rules, results = case.rule.flapping, case.facts.results
    within = duration_text(rules.within)
    on_purpose = bool(case.facts.ordered_by) and case.rule.procedure
    threshold = f"fewer than {rules.not_fixed} not fixed in a row"
    if not on_purpose:
        eased = not isinstance(results, Unknown) and any(r.state is RunState.STILL_FIRING for r in results)
        threshold += f" and {rules.fixed} fixed{' or helped' if eased else ''} within {within}"
    if isinstance(results, Unknown):
        return _FLAPPING.unknown("results of earlier runs", results, threshold)
    since = case.facts.now - rules.within
    tried = [r.state for r in results if r.at > since and r.state in DID_NOT_HELP | _WORKED]
    failures = len(list(takewhile(lambda state: state in DID_NOT_HELP, tried)))
    fixes = sum(state in _WORKED for state in tried)
    helped = tried.count(RunState.STILL_FIRING)
    value = f"{failures} not fixed in a row, {fixes - helped} fixed within {within}"
    if helped:
        value += f" and {helped} that only helped, as their alert fired on"
    if failures < rules.not_fixed and (on_purpose or fixes < rules.fixed):
        return _FLAPPING.allow(value, threshold)
    if case.approved_by:
        return _FLAPPING.allow(f"{value}; {case.approved_by}", threshold)
    remedy = "a person approves another attempt, or earlier runs leave the window"
    return _FLAPPING.hold(case.question, Code.FLAPPING, value, threshold, remedy)


# Gate: are many targets in trouble at once? Then the cause is elsewhere, and acting on each of them makes it worse.

_STORM = Voice("storm")


@_STORM.of
def storm(case: Case) -> GateResult:
    """Observe during a storm. A person's order or approval of this plan goes through: they saw it."""
    rules, count = case.policy.storm, case.facts.storm_targets
    within = duration_text(rules.within)
    threshold = f"fewer than {rules.targets} targets with new alerts within {within}"
    if isinstance(count, Unknown):
        return _STORM.unknown("targets with new alerts", count, threshold)
    value = f"{counted(count, 'target')} with new alerts within {within}"
    if case.storming:
        remedy = "fewer targets are in trouble, or a person orders the remediation"
        return _STORM.hold(Verdict.OBSERVE, Code.STORM, value, threshold, remedy)
    return _STORM.allow(value, threshold)
