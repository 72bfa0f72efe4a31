"""What is known of an incident before it is decided: what this service already did for it, and its trust level. Never acts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.alert import AlertStatus, ended_unmeasured
from app.domain.alert_report import Takers
from app.domain.change import Digested, DigestKey, Replaced
from app.domain.decision import Code, Decision, Mode
from app.domain.json import digest
from app.domain.outcome import HELPED, ActionResult, RunState, UndoResult
from app.domain.plan import ACCUSING, REPLACING
from app.domain.remediation import AnyRemediation, History, PastAlert
from app.domain.target import Target
from app.domain.units import counted, duration
from app.domain.verification import Worth
from app.flow.calling import severity
from app.flow.calling.attended import at_it, at_its_target, taken_before
from app.flow.ids import COUNTED_AGAINST_ENTRY, COUNTED_ENTRY
from app.flow.notifying.record import announce, escalate, is_theirs
from app.flow.running.journal import OWED
from app.flow.services import Services
from app.notify.timeline import Escalation, Topic, TrustChange, fact_from_json, fact_to_json
from app.policy import trust as policy_trust
from app.policy.facts import Fact, Facts, Unknown
from app.policy.gates.timing import DID_NOT_HELP
from app.policy.model import Policy, Rule, TargetClass, TrustTerms
from app.policy.trust import Change, Evidence, TrustLevel, next_text, proof_text
from app.store import approvals, facts, incidents, lately, people, runs, trust_levels, work
from app.store.incidents import Incident
from app.store.runs import Run
from app.store.trust_levels import StoredTrustLevel
from app.store.tx import Tx

# Trust: the trust levels of rules with mode earned, moved by what runs prove and what people say.
#
# A run's result is counted in the transaction that writes it, once whatever happens to the process; a person's reject
# counts against in the transaction of their answer, and their undo once it has taken something back. Called by the chapters that write results, by the facts
# of a decision, by the API and by buttons. The arithmetic is `app.policy.trust`. Never acts.

_MARK = 16
_COUNTED = frozenset({Change.COUNTED, Change.ASKED})
_TOLD = frozenset({Change.ASKED, Change.AGREED, Change.PROMOTED, Change.DEMOTED, Change.RESET})


@dataclass(frozen=True, slots=True)
class Moved:
    """A trust level's change: how it stands now, what that is called, and who or what moved it."""

    now: TrustLevel
    change: Change
    by: str = ""
    agreed: Mapping[str, str] | None = None
    once: str = ""


def trust_level_of(
    conn: Connection, rule: Rule, incident: Incident, target: Target, now: datetime
) -> Fact[TrustLevel | None]:
    """The fact for the gate; None where no trust level is asked for. One that was never begun begins now."""
    if rule.mode is not Mode.EARNED or incident.manual is not None:
        return None
    found = trust_levels.find(conn, _key(rule, incident, target))
    return policy_trust.fresh(rule.trust, now) if found is None else as_trust_level(found)


def theirs_since(
    conn: Connection, incident_id: str, changed_by: Fact[str], changed_at: datetime | None
) -> datetime | None:
    """When the last plan for the incident came to nothing because somebody else changed the target, while its question stood or right before its
    write; None otherwise."""
    last = runs.newest_of(conn, incident_id)
    if last is None or last.state not in (RunState.ABANDONED, RunState.TAKEN_OVER):
        return None
    before = changed_at is not None and changed_at < last.requested_at.replace(microsecond=0)
    return None if before or not changed_by or isinstance(changed_by, Unknown) else last.ended_at


def begin_trust(tx: Tx, rule: Rule, incident: Incident, target: Target) -> None:
    """In the transaction of a decision: from now on there is a trust level that orders count in and people can move."""
    if rule.mode is not Mode.EARNED or incident.manual is not None:
        return
    key, trust_level = _key(rule, incident, target), policy_trust.fresh(rule.trust, tx.now)
    stored = StoredTrustLevel(
        key=key,
        alertname=incident.alertname,
        remediation=rule.remediation,
        target_class=policy_trust.class_of(rule.trust.per, target),
        rule=rule.name,
        level=trust_level.level,
        since=trust_level.since,
        why=trust_level.why,
        incident_id=incident.id,
    )
    told = _told(stored, trust_level, rule.trust, Moved(trust_level, Change.OPENED))
    trust_levels.open_one(tx, stored, fact_to_json(Topic.TRUST, told))


def count_run(tx: Tx, services: Services, run: Run, evidence: Evidence) -> None:
    """Count what the run says, in the transaction that writes it: in its alert's trust levels, an order's in those of every
    alert of this remediation and class. A run counts once, and against once."""
    target = Target.parse(run.target_key)
    order = incidents.get(tx.conn, run.incident_id)
    alertname = None if order.manual is not None else order.alertname
    classes = [policy_trust.class_of(per, target) for per in TargetClass]
    found = trust_levels.concerned(tx, run.remediation, classes, alertname)
    step = COUNTED_AGAINST_ENTRY if evidence.setback else COUNTED_ENTRY
    if not found or runs.begin_entry(tx, run.id, step, {"entry": "counted", "as": evidence.value}).resumed:
        return
    runs.end_entry(tx, run.id, step, {"trust_levels": [s.key for s in found]})
    policy = services.policy()
    for stored in found:
        terms = terms_of(policy, stored)
        now, change = policy_trust.count(as_trust_level(stored), evidence, terms, tx.now, run.id)
        held = replace(stored, incident_id=run.incident_id, run_id=run.id)
        move_trust(tx, held, terms, Moved(now, change, once=f"{run.id}/{step}"))


def rule_behind(policy: Policy, stored: StoredTrustLevel) -> Rule | None:
    """The rule that uses this trust level now; None when none does."""
    rule = policy.rule(stored.rule)
    if rule is None or rule.mode is not Mode.EARNED or rule.remediation != stored.remediation:
        return None
    same = stored.target_class.count("/") == list(TargetClass).index(rule.trust.per)
    return rule if same else None


def as_trust_level(stored: StoredTrustLevel) -> TrustLevel:
    """A row as the policy's arithmetic wants it."""
    waits = stored.asked_at is not None
    return TrustLevel(stored.level, stored.since, stored.successes, stored.trials, waits, stored.why)


def promotion_mark(stored: StoredTrustLevel) -> str:
    """Names the question of a promotion that waits, so that a button answers only the one that was shown; else empty."""
    if stored.asked_at is None:
        return ""
    return digest([stored.key, stored.level.value, stored.asked_at.isoformat()])[:_MARK]


def move_trust(tx: Tx, stored: StoredTrustLevel, terms: TrustTerms | None, moved: Moved) -> None:
    """Write the trust level with its audit record; tell what is news in the thread, and wake what waited for it."""
    now = moved.now
    asked_at = (stored.asked_at or tx.now) if now.waits else None
    changed = replace(
        stored,
        level=now.level,
        since=now.since,
        successes=now.successes,
        trials=now.trials,
        why=now.why,
        asked_at=asked_at,
        agreed=moved.agreed if moved.change is not Change.COUNTED else stored.agreed,
    )
    before = as_trust_level(stored)
    told = replace(_told(changed, before, terms, moved), mark=promotion_mark(changed))
    trust_levels.put(tx, changed, fact_to_json(Topic.TRUST, told), moved.by or "service")
    if moved.change is Change.PROMOTED:
        work.wake_resting(tx, observed=True, alertname=stored.alertname)
    if moved.change in _TOLD and stored.incident_id:
        once = f"{moved.once}/{stored.key}"
        announce(tx, Topic.TRUST, incident_id=stored.incident_id, once=once, fact=told)


def _told(
    stored: StoredTrustLevel, before: TrustLevel, terms: TrustTerms | None, moved: Moved
) -> TrustChange:
    return TrustChange(
        key=stored.key,
        change=moved.change.value,
        before=before.level.value,
        level=moved.now.level.value,
        text=f"level {moved.now.level}: {proof_text(moved.now, terms)}",
        why=f"{stored.run_id} was counted" if moved.change in _COUNTED else moved.now.why,
        next=next_text(moved.now, terms),
        by=moved.by,
    )


def _key(rule: Rule, incident: Incident, target: Target) -> str:
    return policy_trust.key_of(incident.alertname, rule.remediation, rule.trust.per, target)


def terms_of(policy: Policy, stored: StoredTrustLevel) -> TrustTerms | None:
    """What the levels take by the policy in force; None when no rule uses this trust level."""
    rule = rule_behind(policy, stored)
    return rule.trust if rule else None


# History: what this service already did for an incident, as handlers and gates need to know it. Reads the store only.

TAKEN_OVER_FOR = timedelta(days=7)
"""So long a run that somebody took over is remembered: its step is not repeated, and the second such run calls a person. And so long one whose
plan somebody rejected, or who had it taken back: its step is asked about."""
_ALERTS = timedelta(days=90)  # how far back alerts say something about a revision
_MEMORY = timedelta(hours=6)  # how far back memory samples help to tell a leak


def counted_for(policy: Policy) -> timedelta:
    """How long what a run did is counted by anything of this policy: budgets, limits, cooldowns, the circuit breaker, and what is remembered of
    runs that were taken over."""
    rules = (policy.defaults, *policy.rules)
    own = (limits for rule in rules for limits in (rule.limits.per_target, rule.limits.in_all) if limits)
    windows = [limit.window for limits in (*(b.limit for b in policy.budgets), *own) for limit in limits.each]
    cooldowns = [span for rule in rules for span in (rule.cooldown, rule.order_cooldown) if span is not None]
    return max((TAKEN_OVER_FOR, *windows, *cooldowns, *(rule.flapping.within for rule in rules)))


def history_of(
    conn: Connection,
    incident_id: str,
    target_key: str,
    now: datetime,
    key: DigestKey,
    rotates: Collection[str],
) -> History:
    """Revisions (by their keyed fingerprints) this target was rolled away from in any incident, steps already tried (a refused
    one too), those of them that were never really taken or that helped, those that somebody took back, memory samples of the target's pods, keys rotated
    away from (as records show them) by the remediations `rotates`."""
    tried: dict[str, None] = {}
    not_taken: dict[str, str] = {}
    helped: dict[str, str] = {}
    for run in facts.of_incident(conn, incident_id):
        names: dict[int, str] = {}
        for entry in runs.entries(conn, run.id):
            intent, outcome = entry.intent, entry.outcome or {}
            if _tried(intent, outcome):
                names[intent.get("step_index", 0)] = intent["step"]
                tried[intent["step"]] = None
                if outcome.get("result") in (ActionResult.REFUSED, ActionResult.PARTLY):
                    not_taken[intent["step"]] = str(outcome.get("answer", {}).get("text", "it was refused"))
            elif intent.get("entry") == "verified" and (step := names.get(intent.get("step_index", 0))):
                text = str(outcome.get("text", ""))
                if outcome.get("rolled_out") is False and not outcome.get("serving"):
                    not_taken[step] = text or "its rollout did not finish"
                if outcome and Worth.of(outcome) is Worth.BETTER:
                    helped[step] = text
    return History(
        left_revisions=Digested(key, _left(conn, target_key)),
        tried=tuple(tried),
        not_taken=not_taken,
        helped=helped,
        overruled={
            run.step.name: f"{run.result} ({run.id})"
            for run in facts.taken_over(conn, target_key, now - TAKEN_OVER_FOR)
        },
        refused=approvals.refused(conn, target_key, now - TAKEN_OVER_FOR)
        if people.another_on(conn, target_key, incident_id)
        else {},
        alerts=tuple(PastAlert(*row) for row in facts.alerts_on(conn, target_key, now - _ALERTS)),
        memory=facts.samples_of(conn, target_key, now - _MEMORY),
        replaced=Replaced(key, _replaced(conn, target_key, rotates)),
        watched=facts.watched(conn),
    )


def rotating(catalogue: Mapping[str, AnyRemediation], remediation: str) -> list[str]:
    """Names of the remediations that replace values; none where this one does not, as it asks for none that was replaced."""
    asking = catalogue.get(remediation)
    if asking is None or REPLACING.isdisjoint(asking.actions):
        return []
    return [name for name, handler in catalogue.items() if not REPLACING.isdisjoint(handler.actions)]


def _replaced(conn: Connection, target_key: str, rotates: Collection[str]) -> dict[str, datetime]:
    """What this service replaced in Secrets, as records show it, for any target of the namespace: several may share a Secret. A
    write with an unclear outcome counts. When one was taken back, the key that it had brought was left as well."""
    found: dict[str, datetime] = {}
    if not rotates:
        return found
    namespace = Target.of_key(target_key).namespace
    for entry in (e for kind in REPLACING for e in runs.entries_in(conn, namespace, rotates, kind)):
        result = (entry.outcome or {}).get("result", ActionResult.UNCLEAR)
        if entry.intent.get("entry") != "action" or result == ActionResult.REFUSED:
            continue
        changes = entry.intent["action"]["changes"]
        found |= {str(c["before"]): entry.begun_at for c in changes}
        for back in runs.entries(conn, entry.run_id):
            if (
                back.intent.get("of") == entry.name
                and (back.outcome or {}).get("result") == UndoResult.UNDONE
            ):
                found |= {str(c["after"]): back.begun_at for c in changes}
    return found


def _left(conn: Connection, target_key: str) -> frozenset[str]:
    """Fingerprints that this service rolled the target away from, in any incident that is still remembered. One whose
    write had an unclear outcome counts: to refuse a good version costs a question, to return to a bad one an outage."""
    found = set()
    for entry in (e for kind in ACCUSING for e in runs.entries_on(conn, target_key, kind)):
        result = (entry.outcome or {}).get("result", ActionResult.UNCLEAR)
        if result in (ActionResult.APPLIED, ActionResult.UNCLEAR) and entry.intent.get("entry") == "action":
            found.add(str(entry.intent.get("left") or ""))
    return frozenset(found - {""})


def _tried(intent: Mapping[str, Any], outcome: Mapping[str, Any]) -> bool:
    """The cluster has answered. What our own check stopped before anything was sent may be planned again."""
    stopped = outcome.get("answer", {}).get("event") in ("abandoned", "taken_over", "asked_anew")
    return intent.get("entry") in ("action", "none") and bool(outcome) and not stopped


_ENDED = 2_001  # alerts of an incident that are looked at


def source_gone(conn: Connection, incident_id: str) -> str:
    """Why the end of the incident's alerts says nothing of the trouble, as a sentence; empty when it was measured."""
    ended = (a for a in incidents.alerts(conn, incident_id, _ENDED) if a.status is AlertStatus.RESOLVED)
    reason = next(filter(None, (ended_unmeasured(a.annotations) for a in ended)), "")
    return f"the alert ended because its source vanished: Grafana says {reason}" if reason else ""


def owed(conn: Connection, incident_id: str) -> tuple[str, Escalation] | None:
    """The last run of the incident and the call that its end would have made, had it not ended under a silence, beside another call or with a
    person's hand on the target; None where none is owed."""
    last = runs.page(conn, None, 1, incident_id)
    why = fact_from_json(Topic.ESCALATED, last[0].life.get(OWED, {})) if last else None
    return (last[0].id, why) if isinstance(why, Escalation) else None


_BESIDE = timedelta(minutes=5)
"""Until it is looked again whether what a person was called for beside it is over."""


def pay(tx: Tx, policy: Policy, incident: Incident, call: tuple[str, Escalation], again: datetime) -> None:
    """Make that call, unless it is not owed any more: the alert is gone, or another run came. The incident is a person's then, and is looked at
    `again` to see whether its alert is still there. Whoever took it meanwhile has it, and nobody is called; nor while another incident's call
    is for it too, or what somebody else did has its time to help."""
    work.lock_ledger(tx)
    held, (run_id, why) = incidents.hold(tx, incident.id), call
    if held.state.closed or owed(tx.conn, held.id) != call or incidents.firing_count(tx.conn, held.id) == 0:
        incidents.schedule(tx, held.id, tx.now)
        return
    run = runs.get(tx.conn, run_id)
    rule = Rule.from_json(run.settings["rule"])
    theirs = (
        None
        if run.state is not RunState.TAKEN_OVER or run.ended_at is None
        else run.ended_at + rule.verify.timeout
    )
    if theirs is not None and tx.now < theirs:
        incidents.schedule(tx, held.id, theirs)
        return
    if severity.called_beside(tx.conn, policy, held, rule, run.target_key) and not at_it(tx.conn, held.id):
        incidents.schedule(tx, held.id, tx.now + _BESIDE)
        return
    once = f"{run_id}/owed"
    if at_it(tx.conn, held.id):
        is_theirs(tx, held, why.reason, once=once)
    else:
        escalate(tx, held, why, once=once, run_id=run_id)
    incidents.schedule(tx, held.id, again)


# Whether what was done before was for good: asked where nothing may be done for a while.

_FAILED = DID_NOT_HELP - {RunState.UNDONE}  # who ordered an undo has it
_WORKED = HELPED | {RunState.STILL_FIRING, RunState.REVERTED}
_TELLING = DID_NOT_HELP | _WORKED
"""Endings that say whether a step helped."""


def not_for_good(rule: Rule, decision: Decision, measured: Facts) -> str:
    """Why nobody can count on what was done before: the last run on the target did not help, or its trouble comes back each time. A cooldown
    that ends soon after one fix is no reason: that fix may be given its time."""
    if isinstance(measured.results, Unknown) or isinstance(measured.spend, Unknown):
        return ""
    last = next((run for run in measured.results if run.state in _TELLING), None)
    if last is not None and last.state in _FAILED:
        return f"the last run on it ended {last.state.value.replace('_', ' ')}"
    window = max([rule.flapping.within, *(scope.limit.window for scope in measured.spend)])
    helped = sum(run.state in _WORKED and run.at > measured.now - window for run in measured.results)
    told = f"{counted(helped, 'run')} on it helped within {duration(window)} and it comes back"
    if decision.code is Code.COOLING_DOWN:
        later = decision.retry_at is not None and decision.retry_at - measured.now > rule.approval.expires
        return told if helped > 1 or (helped and later) else ""
    own = [s for s, spend in measured.spend.items() if s.key.endswith(measured.target.key)]
    full = any(0 < s.limit.count <= measured.spend[s].count for s in own)
    return told if helped else "it was changed as often as its limit allows" if full else ""


def had_before(tx: Tx, incident: Incident) -> tuple[str, datetime | None]:
    """Who took the same alert a while ago, and until when they have it; nothing is looked for where it is the first on its target."""
    if not people.another_on(tx.conn, incident.target_key, incident.id):
        return "", None
    taken = taken_before(tx.conn, incident, lately.earlier(tx.conn, incident), tx.now)
    return (taken.text, taken.until) if taken else ("", None)


def taken_beside(tx: Tx, keys: Sequence[str], incident: Incident, known: str, said: Takers) -> str:
    """Who is at what is written (the `keys`) by anything else than the incident's own standing word; looked for only where anybody may be."""
    at_all = said.of_any or people.perhaps_taken(tx.conn, keys, incident.id)
    return at_its_target(tx.conn, keys, incident, tx.now, known, said) if at_all else ""
