"""Approval request: a plan put to people, with everything they need to say yes or no.

Called by `decide` and `next_step` in the transaction that requests the step. When an approved plan could not be carried out
because things had changed meanwhile, the new question says what is different. Says too what holds a plan that is approved. Never takes answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile

from sqlalchemy import Connection

from app.domain import half_way
from app.domain.alert import AlertStatus
from app.domain.alert_report import Reported, combined
from app.domain.cluster import OPT
from app.domain.decision import Code, Decision, GateResult, Mode, Verdict
from app.domain.errors import RemediatorError
from app.domain.json import JsonValue
from app.domain.outcome import RunState
from app.domain.plan import Step, kinds_touched, touched
from app.domain.target import Target
from app.flow.calling import attended
from app.flow.deciding import facts, history, investigate, marks
from app.flow.ids import ASKS_BUT
from app.flow.notifying.gitops_patch import for_git
from app.flow.notifying.record import announce, tell
from app.flow.people.difference import difference
from app.flow.running.life import Found
from app.flow.services import Services
from app.notify.timeline import ApprovalAsked, Topic
from app.policy.gates.target import kept_away, off_limits_by_name
from app.policy.gates.timing import closes_before
from app.policy.holds import Touched, Write, holds
from app.policy.model import Policy, Rule
from app.policy.trust import TrustLevel
from app.store import approvals, incidents, lately, people, runs, steps, work
from app.store import facts as counts
from app.store.incidents import Incident, StoredAlert
from app.store.lately import Spell
from app.store.runs import Run
from app.store.tx import Tx

_ASKED = "asked"
_LEAST = timedelta(minutes=1)
"""A question stands so long at least, however long others stood before it."""
_LOOK = 2.0
"""Seconds that somebody who approves waits for what holds the plan to be read."""


def stands_until(tx: Tx, incident: Incident, target_key: str, rule: Rule) -> datetime:
    """Until when a first question stands. The alert may have gone and come back while nobody answered the ones before: their times add up, until
    it is gone for longer than twice as long as one stands, as what expires calls a person and what ends with its alert does not. So do those in
    which none was put, as so many had been. Where it is
    never there for as long as the least that a question stands, the next one calls at once. What is ordered has its own time."""
    expires = rule.approval.expires
    if incident.manual is not None:
        return tx.now + expires
    asked = approvals.unanswered(tx.conn, target_key, rule.remediation, tx.now - lately.ROW)
    stood = lately.added_up(_with_held_back(tx.conn, incident, asked), tx.now, 2 * expires)
    left, least = expires - stood, min(expires, _LEAST)
    return tx.now + (max(left, least) if left > -least else timedelta())


def _with_held_back(conn: Connection, incident: Incident, asked: Sequence[Spell]) -> list[Spell]:
    """These questions, which were put one after another, and the times between them in which the alert was there and its question waited; newest first."""
    if not asked:
        return []
    held = list[Spell]()
    for one in lately.earlier(conn, incident):
        if one.spell.since < asked[-1].since:
            break
        last = None if one.ran else work.latest_decision(conn, one.incident_id)
        if last is not None and last.body.get("code") == Code.TARGET_BUSY.value:
            held.append(one.spell)
    return sorted((*asked, *held), key=lambda spell: spell.ended, reverse=True)


def ask(tx: Tx, run: Run, seen: investigate.Seen, why: str, policy: Policy) -> None:
    """Put the question: plan, hash, expiry, how many have to agree. `run` stands on the step that is asked about."""
    approval = seen.subject.rule.approval
    actions = run.step.actions
    question = ApprovalAsked(
        run_id=run.id,
        plan_hash=run.plan_hash,
        expires_at=run.expires_at or tx.now + approval.expires,
        actions=tuple(a.summary for a in actions),
        why=why,
        pods_affected=run.step.pods_affected,
        undo=tuple(a.undo for a in actions),
        step_index=run.step_index,
        pods=seen.workload.desired if seen.workload else 0,
        approvals=approval.approvals,
        changed=_changed_since(tx.conn, run),
        patch=for_git(seen.workload, actions),
        known=(*_passed_over(seen), *_known(run.step, policy, tx.now + approval.expires)),
    )
    once = f"{run.id}/{run.step_index}"
    tell(tx, Topic.APPROVAL_ASKED, question, incident_id=run.incident_id, once=once, run_id=run.id)


def asked_by(decision: Decision) -> dict[str, JsonValue]:
    """For the settings of a run that is asked about: which gates ask, so that what they ask later is known for what it is."""
    return {_ASKED: [_key(gate) for gate in decision.gates if gate.verdict is Verdict.ASK]}


def came_since(run: Run, decision: Decision) -> str:
    """What a person would be asked by now, by a `decision` without anybody's approval, that was not asked when the question was put: whoever
    approved it did not know of it. Empty for nothing."""
    if _ASKED not in run.settings:
        return ""  # put by a version that did not write it down
    asks = [gate for gate in decision.gates if gate.verdict is Verdict.ASK]
    return "; ".join(f"{gate.gate}: {gate.value}" for gate in asks if _key(gate) not in run.settings[_ASKED])


def asked_by_gates(run: Run) -> bool:
    """Whether a gate asked for another reason than the mode of its rule."""
    by_mode = f"approval/{Code.APPROVAL_NEEDED.value}"
    return any(not str(key).startswith(by_mode) for key in run.settings.get(_ASKED, ()))


def still_asked(tx: Tx, incident: Incident, seen: investigate.Seen) -> investigate.Seen:
    """What was seen. A rule that acts by itself puts its plan to people too where they were asked about the alert already, and have not agreed."""
    rule = seen.subject.rule
    level = history.trust_level_of(tx.conn, rule, incident, seen.target, tx.now)
    mode = level.level if isinstance(level, TrustLevel) else rule.mode
    last = attended.asked_last(tx.conn, incident) if mode is Mode.AUTO else None
    if last is None:
        return seen
    return replace(seen, subject=replace(seen.subject, rule=_still_asking(rule, last)))


def _still_asking(rule: Rule, last: Run) -> Rule:
    """The rule, which asks as in the run `last`. What a gate asked about in any mode it puts to those whom the rule asks by now, as `approve` holds
    a plan against them."""
    approval = rule.approval if asked_by_gates(last) else Rule.from_json(last.settings["rule"]).approval
    return rule.model_copy(update={"mode": Mode.APPROVE, "approval": approval})


def unknown_hand(run: Run, changed: str) -> bool:
    """Whether any of these changes by somebody else, in the words of the gate `hands`, was not told when the question was put. Of a field beside the
    template and the size nobody can tell a change from a tool's annotation: its entry has one time for all."""
    if _ASKED not in run.settings:
        return False
    told = {_hand(part) for key in run.settings[_ASKED] for part in key.removeprefix(_HANDS).split("; ")}
    return any(_CHANGED.search(part) and _hand(part) not in told for part in changed.split("; "))


_NOTE = re.compile(r" ?\([^()]*\)|\d+")
_HANDS = f"hands/{Code.CHANGED_SINCE.value}: "
_CHANGED = re.compile(r"\b(?:template|[rR]eplicas|minReplicas|maxReplicas|paused)\b")
_AT = re.compile(r" at \d\d:\d\d:\d\d UTC")


def _hand(told: str) -> str:
    """A change as it counts: with its time where that is the change's own."""
    return told if _CHANGED.search(told) else _AT.sub("", told)


def _key(gate: GateResult) -> str:
    """What is asked counts by name, without its numbers and notes: who knew of one owner, or of one thing that cannot be read, knew nothing of
    another one. Somebody's change counts with all that is told of it: each is another one."""
    named = gate.code in (Code.OWNED, Code.POD_UNPROVEN)
    hands = "; ".join(map(_hand, gate.value.split("; "))) if gate.code is Code.CHANGED_SINCE else ""
    whose = hands or (_NOTE.sub("", gate.value) if named else "")
    return f"{gate.gate}/{gate.code.value}{f': {whose}' if whose else ''}"


def _passed_over(seen: investigate.Seen) -> tuple[str, ...]:
    """Why the steps that the remediation would take before this one do not apply: who is asked about the second best asks that first."""
    before = takewhile(lambda step: not step.applies, seen.ladder)
    return tuple(f"{step.name} comes first and does not apply: {step.why}" for step in before)


def _known(step: Step, policy: Policy, latest: datetime) -> tuple[str, ...]:
    """What an approval says yes to: that what is stopped is started again in a freeze too, and what may hold the plan half way when it
    begins at the `latest` moment."""
    stopped = [str(a.target) for a in step.actions if half_way.stops(a)]
    again = [
        f"{name} is started again whatever becomes of this, also in a freeze that begins meanwhile; only a pause or the mode observe"
        " that somebody sets meanwhile holds that, and then a person is called"
        for name in stopped
        if len(step.actions) > 1
    ]
    soon = closes_before(policy, step, latest)
    return (*again, *([f"answered at the last moment, {soon}"] if soon else ()))


def _changed_since(conn: Connection, run: Run) -> tuple[str, ...]:
    """Why the approved plan of the run before was not carried out, and what differs in this one."""
    before = [r for r in counts.of_incident(conn, run.incident_id) if r.requested_at < run.requested_at]
    last = before[-1] if before else None
    if last is None or last.state is not RunState.ABANDONED or last.answer != "approved":
        return ()
    why = f"{last.answered_by} approved a plan that was not carried out: {last.result}"
    return (why, *difference(last.step, run.step))


def overtaken(conn: Connection, run: Run) -> str:
    """That another run has changed the target since an alert's question about a first step was put: a yes to it is one to what was there before.
    A later step has its target to itself, and an order is its giver's, who knows of both. Empty for nothing."""
    if run.step_index > 0 or incidents.get(conn, run.incident_id).manual is not None:
        return ""
    other = steps.written_beside(conn, run)
    return f"another run of this service changed it while the question stood: {other}" if other else ""


def held_by(tx: Tx, services: Services, run: Run, in_force: Rule | str) -> str:
    """What would stop the approved plan right now, of what people set: pauses, a ceiling, a freeze, the scope; empty for nothing."""
    target, actions = Target.parse(run.target_key), run.step.actions
    names = (run.rule, in_force.name) if isinstance(in_force, Rule) else (run.rule,)
    changed = Touched(target, frozenset(kinds_touched(target.kind, actions)), others=touched(actions))
    write = Write(target, names, run.remediation, touched=(changed,))
    paused = people.pauses_in_force(tx.conn, tx.now)
    return "; ".join(hold.text for hold in holds(services.policy(), services.ceiling, paused, write, tx.now))


def under_a_hold(run: Run, told: Found) -> Callable[[Tx, Run], None] | None:
    """The parent message says what came over a question, or that it is over; None where that is no news."""
    words = (run.waits_for, told.waits_for)
    if told.event is not None or words[0] == words[1] or not any(word.startswith(ASKS_BUT) for word in words):
        return None
    return lambda tx, held: announce(
        tx, Topic.MOVED, incident_id=held.incident_id, once=f"{held.id}/asks/{tx.stamp}"
    )


def _asked_about(conn: Connection, run_id: str) -> tuple[Run, list[StoredAlert]]:
    run = runs.get(conn, run_id)
    every = incidents.alerts(conn, run.incident_id, facts.ALERTS)
    return run, [alert for alert in every if alert.status is AlertStatus.FIRING]


async def seen_to_hold(services: Services, run_id: str) -> str:
    """What else would stop it, of what the store does not know: its alert is silenced or gone, its owners' marks. One look at each, as short as
    somebody waits for an answer; what could not be read says nothing here, as all of it is read again before anything is written."""
    run, alerts = await services.store.read(lambda conn: _asked_about(conn, run_id))
    found = list[str]()
    with suppress(RemediatorError, TimeoutError):
        async with asyncio.timeout(_LOOK):
            heard = combined(await facts.reports(services, alerts))
            silent = {Reported.SILENCED: heard.text, Reported.GONE: "gone, by its source's word"}
            found += [f"the alert is {silent[heard.state]}"] if alerts and heard.state in silent else []
            found += filter(None, [await kept_off(services, run)])
    return "; ".join(found)


async def kept_off(services: Services, run: Run) -> str:
    """That the owners keep the service off what the plan changes, by their marks as they are now; empty when they do not, and for what is off
    limits, of which nothing is read. Raises the port's read errors."""
    scope, target = services.policy().scope, Target.parse(run.target_key)
    if off_limits_by_name(scope, target.namespace):
        return ""
    own = await marks.of_target(services.cluster, scope, target)
    others = await marks.of_others(services.cluster, scope, target, touched(run.step.actions))
    if not kept_away(scope, {**own, **others}):
        return ""
    told = [f"{OPT}={mark} on the {where}" for where, mark in {**own, **others}.items() if mark != "true"]
    return f"its owners keep it away ({', '.join(told) or f'{OPT} is not set'})"
