"""Trust: the trust levels of rules with mode earned, moved by what runs prove and what people say.

A run's result is counted in the transaction that writes it, once whatever happens to the process; a person's undo or
reject counts against in the transaction of their order. Called by the chapters that write results, by the facts of a
decision, by the API and by buttons. The arithmetic is `app.policy.trust`. Never acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from app.domain.decision import Mode
from app.domain.json import digest
from app.domain.target import Target
from app.flow.ids import COUNTED_AGAINST_ENTRY, COUNTED_ENTRY
from app.flow.notifying.record import announce
from app.flow.services import Services
from app.notify.timeline import Topic, TrustChange, fact_to_json
from app.policy import trust as policy_trust
from app.policy.facts import Fact
from app.policy.model import Policy, Rule, TargetClass, TrustTerms
from app.policy.trust import Change, Evidence, TrustLevel, next_text, proof_text
from app.store import facts, incidents, runs, trust_levels
from app.store.database import Tx
from app.store.incidents import Incident
from app.store.runs import Run
from app.store.trust_levels import StoredTrustLevel

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


def begin(tx: Tx, rule: Rule, incident: Incident, target: Target) -> None:
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


def count(tx: Tx, services: Services, run: Run, evidence: Evidence) -> None:
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
        move(tx, held, terms, Moved(now, change, once=f"{run.id}/{step}"))


def rule_of(policy: Policy, stored: StoredTrustLevel) -> Rule | None:
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


def mark_of(stored: StoredTrustLevel) -> str:
    """Names the question of a promotion that waits, so that a button answers only the one that was shown; else empty."""
    if stored.asked_at is None:
        return ""
    return digest([stored.key, stored.level.value, stored.asked_at.isoformat()])[:_MARK]


def move(tx: Tx, stored: StoredTrustLevel, terms: TrustTerms | None, moved: Moved) -> None:
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
    told = replace(_told(changed, before, terms, moved), mark=mark_of(changed))
    trust_levels.put(tx, changed, fact_to_json(Topic.TRUST, told), moved.by or "service")
    if moved.change is Change.PROMOTED:
        facts.wake_resting(tx, observed=True, alertname=stored.alertname)
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
    rule = rule_of(policy, stored)
    return rule.trust if rule else None
