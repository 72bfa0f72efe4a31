"""Ending: what follows when a run ends, in one table and one function. Every run ends here, whatever ended it.

Owns the consequences: reservation, incident, escalation and page, what the run says about trust, its temporary change. Called by
`advance` inside the transaction of the transition. Never touches the cluster.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app.domain.json import JsonValue
from app.domain.outcome import HELPED, IncidentState, RunState
from app.domain.units import utc
from app.flow.calling import attended, severity
from app.flow.calling.attended import Left, at_it
from app.flow.deciding import history, settle
from app.flow.deciding.history import TAKEN_OVER_FOR
from app.flow.notifying.record import announce, end_run, escalate, is_theirs, move, taken
from app.flow.running import journal
from app.flow.running.life import Cause, Event, Life
from app.flow.services import Services
from app.flow.undoing import held, sending, temporary
from app.flow.verifying import standing
from app.notify.timeline import ApprovalAnswer, Escalation, Topic, fact_to_json
from app.notify.wording import UNDONE_REASON
from app.policy.model import Rule
from app.policy.trust import Evidence
from app.store import escalations, incidents, runs, work
from app.store import facts as counts
from app.store.incidents import Incident
from app.store.runs import Run
from app.store.tx import Tx

_AGAIN = timedelta(seconds=15)  # after a run was abandoned before it touched anything, before deciding anew


@dataclass(frozen=True, slots=True)
class Consequence:
    """What an end means. `gives_back`: the step's reservation counts no more when the step has changed nothing. `person`: the
    incident is handed to a person, who is paged. `evidence`: what the run says about its remediation."""

    gives_back: bool = True
    person: bool = True
    evidence: Evidence | None = None


CONSEQUENCES: Mapping[RunState, Consequence] = {
    RunState.FIXED: Consequence(gives_back=False, person=False, evidence=Evidence.FIXED),
    RunState.CONTAINED: Consequence(gives_back=False, person=False, evidence=Evidence.FIXED),
    RunState.STILL_FIRING: Consequence(),  # no fix that was verified, and no setback
    RunState.NOT_FIXED: Consequence(evidence=Evidence.NOT_FIXED),
    RunState.INCONCLUSIVE: Consequence(evidence=Evidence.UNCLEAR),
    RunState.PROBE_ERROR: Consequence(evidence=Evidence.UNCLEAR),
    RunState.TAKEN_OVER: Consequence(person=False),  # no setback of ours, and no fix
    RunState.REJECTED: Consequence(person=False),  # who said no has it; counted when they said it
    RunState.EXPIRED: Consequence(),  # nobody looked: somebody has to be called
    RunState.ABANDONED: Consequence(),  # untouched, the incident is decided anew instead
    RunState.FAILED: Consequence(),
    RunState.UNDONE: Consequence(gives_back=False, person=False, evidence=Evidence.UNDONE),
    RunState.UNDO_CONFLICT: Consequence(gives_back=False, person=False),  # their hand is on it already
    RunState.REVERTED: Consequence(gives_back=False, person=False),
    RunState.STUCK: Consequence(gives_back=False, evidence=Evidence.STUCK),  # what may have happened is spent
}

_WELL = frozenset({IncidentState.FIXED, IncidentState.CONTAINED})


@dataclass(frozen=True, slots=True)
class Ended:
    """When an ended run is looked at again, what it waits for (the end of a temporary change), and what its row keeps for it."""

    due_at: datetime | None = None
    waits_for: str = ""
    keeps: Mapping[str, JsonValue] = field(default_factory=dict)


def end(tx: Tx, services: Services, run: Run, life: Life) -> Ended:
    """End the run as its life says, with everything that follows. The only function that ends a run."""
    if run.state is RunState.UNDOING and life.cause is Cause.NONE:
        sending.leave(tx, services, run, life)
        ended = _not_undone(tx, run, life)
        _given_back(tx, run)
        return ended
    follows = CONSEQUENCES[life.state]
    incident = incidents.hold(tx, run.incident_id)
    if run.state is RunState.UNDOING:
        sending.leave(tx, services, run, life)
    if follows.gives_back:
        leave_step(tx, run, life.reason)
    end_run(tx, run.id, life.state, life.reason)
    if follows.evidence is not None and (
        life.state is not RunState.UNDONE or journal.took_back(tx.conn, run)
    ):
        history.count_run(tx, services, run, follows.evidence)
    if life.state in HELPED and life.cause is Cause.REVERT:
        keeps = temporary.go_on(tx, run, life)
        until = datetime.fromisoformat(str(keeps["until"])) if keeps else None
        return Ended(until, temporary.WAITS if until else "", keeps)
    if life.state in HELPED:
        return _helped(tx, run, life, incident)
    temporary.close(tx, run, life.state)
    if life.state is RunState.TAKEN_OVER:
        return _taken_over(tx, services, run, life, incident)
    if _nobody_to_call(tx, run, life, incident):
        _untouched(tx, incident, run, life.reason)
    elif follows.person and _has_it(tx, run, life):
        once = f"{run.id}/theirs/{life.undos}"
        reason = life.reason
        if life.state is RunState.EXPIRED:
            reason += f"; nobody else is called, as it is {at_it(tx.conn, run.incident_id)}"
        is_theirs(tx, incident, reason, once=once, reopen=True)
        announce(tx, Topic.MOVED, incident_id=incident.id, once=once)  # also where it was theirs before
        _watch(tx, incident)
    elif follows.person and (for_now := _nobody_for_now(tx, services, run, life, incident)):
        _untouched(tx, incident, run, f"{life.reason}; {for_now}")
        return Ended(
            keeps={journal.OWED: fact_to_json(Topic.ESCALATED, _why_handed_over(tx, run, life, incident))}
        )
    elif follows.person:
        _hand_over(tx, run, life, incident)
    elif life.state in (RunState.UNDONE, RunState.UNDO_CONFLICT, RunState.REJECTED):
        _leave_with_person(tx, services, run, life, incident)
    elif life.state is RunState.REVERTED and incident.state is IncidentState.ESCALATED:
        _nobody_needed(tx, run, incident)
    return Ended()


def _has_it(tx: Tx, run: Run, life: Life) -> bool:
    """Whoever has the incident has it by the very word that ended the run, or took it while a question stood that nobody answered: nobody
    else is called."""
    stays = _by_the_rule(run, life) and bool(run.life.get(journal.THEIRS))
    unanswered = life.state is RunState.EXPIRED and not journal.changed(tx.conn, run.id)
    return (stays or unanswered) and bool(at_it(tx.conn, run.incident_id))


def _by_the_rule(run: Run, life: Life) -> bool:
    """What did not come about is what the rule says otherwise: its undo, or its next step."""
    return run.state is RunState.CHOOSING or (run.state is RunState.UNDOING and life.cause is Cause.OTHERWISE)


def _hushed(tx: Tx, run: Run, life: Life, incident: Incident) -> bool:
    """A silence kept it in place, let no next step be, or hid whether it helped, and the alert fires: the call is owed until the silence is over, and
    whoever decides about the incident next makes it then."""
    kept = _by_the_rule(run, life) or life.state is RunState.INCONCLUSIVE
    fires = incident.manual is None and incidents.firing_count(tx.conn, incident.id) > 0
    return kept and fires and bool(run.life.get(journal.SILENCED))


def _nobody_for_now(tx: Tx, services: Services, run: Run, life: Life, incident: Incident) -> str:
    """Why nobody is called as yet, in words: a silence, or a call for another alert of the target that is for this one too. Nobody knows what a
    run that is stuck has left: it calls in any case."""
    if _hushed(tx, run, life, incident):
        return "nobody is called for it while that lasts"
    if life.state is RunState.STUCK or incidents.firing_count(tx.conn, incident.id) == 0:
        return ""
    work.lock_ledger(tx)  # of two that end at once one calls
    rule = Rule.from_json(run.settings["rule"])
    other = severity.called_beside(tx.conn, services.policy(), incident, rule, run.target_key)
    return f"a person is called for {other} on it, and nobody else for this while that lasts" if other else ""


def _not_undone(tx: Tx, run: Run, life: Life) -> Ended:
    """What a person ordered was not begun: the run is as it was before, with everything that had followed from its end."""
    end_run(tx, run.id, life.state, run.result or life.reason)
    once = f"{run.id}/not undone/{life.undos}/{tx.stamp}"
    announce(tx, Topic.MOVED, incident_id=run.incident_id, once=once)
    until = temporary.goes_on(tx, run) if life.state in HELPED else None
    if until is None:
        return Ended()
    return Ended(until, temporary.WAITS, {**journal.loan(run), "until": until.isoformat()})


def _given_back(tx: Tx, run: Run) -> None:
    """Who ordered it was taken for who has the incident. They have that no more with the order: whoever was called before is called anew, unless
    somebody has it by their own word, or nothing is left to be called for."""
    by, walk = run.life.get("withdrawn"), escalations.of_subject(tx, run.incident_id)
    incident = incidents.hold(tx, run.incident_id)
    stands = attended.left(tx.conn, incident, walk)
    told = f"the undo that was ordered is withdrawn by {by}, and"
    once = f"{run.id}/withdrawn/{run.life.get('undos', 0)}/{tx.stamp}"
    if by and stands is Left.OVER:
        move(tx, incident, IncidentState.RESOLVED, once=once, reason=f"{told} somebody has what it was for")
    elif by and stands is Left.ANEW:
        reason = f"{told} nobody has what it was for: {run.result}"
        held.call(tx, run, reason, stuck=False, reopen=False, once=once)


def _nobody_needed(tx: Tx, run: Run, incident: Incident) -> None:
    """A person was called because the temporary change could not be taken back, and it is by now. One who is called for an alert is
    needed as before."""
    if incidents.firing_count(tx.conn, incident.id) == 0:
        move(tx, incident, IncidentState.RESOLVED, once=f"{run.id}/reverted", reason="taken back after all")


def leave_step(tx: Tx, run: Run, why: str) -> None:
    """The run leaves its present step: a step that changed nothing (refused, rejected, expired, not needed any more) has spent
    nothing, and its approval request stands no more. What a long action did before it was stopped is spent."""
    if run.state is RunState.WAITING and run.answer != "rejected":
        _close_request(tx, run, why)
    done = journal.changed(tx.conn, run.id)
    if not any(entry.intent.get("step_index") == run.step_index for entry in done):
        work.give_back(tx, run.id, run.step_index)


def _helped(tx: Tx, run: Run, life: Life, incident: Incident) -> Ended:
    """An alert that joined after the last look keeps the incident open: it is decided anew, under its cooldown."""
    state = IncidentState.FIXED if life.state is RunState.FIXED else IncidentState.CONTAINED
    last = datetime.fromisoformat(run.life["watch"]["last"]["at"])
    if counts.joined_since(tx.conn, incident.id, last):
        reason = f"{state.value}, then another alert fired: {life.reason}"
        move(tx, incident, IncidentState.REFUSED, once=run.id, reason=reason)
        incidents.schedule(tx, incident.id, tx.now)
    else:
        move(tx, incident, state, once=run.id, reason=life.reason)
    until = temporary.grant(tx, run)
    return Ended(until, temporary.WAITS, {"until": until.isoformat()}) if until else Ended()


def _taken_over(tx: Tx, services: Services, run: Run, life: Life, incident: Incident) -> Ended:
    """Somebody else's hand is on the target. A person who took our change back, or went on from it, has the incident. What one does beside it has
    its time to help, and somebody is called for an alert that fires on after that; for a pipeline or controller that overrules us at once, and
    for whoever it was when it is not the first time. Nobody is called for what is deleted: it has overruled no step, and what has its name next is decided anew."""
    gone = bool(run.life.get("gone"))
    # While a question stood, or where nothing of the step is in place, no step was overruled: their change has its time to help, and it is decided
    # anew whether a person is needed.
    done = journal.changed(tx.conn, run.id)
    of_step = any(entry.intent.get("step_index") == run.step_index for entry in done)
    beside = not done or run.state is RunState.WAITING or (run.state is RunState.ACTING and not of_step)
    over = gone or beside or incidents.firing_count(tx.conn, incident.id) == 0
    if incident.manual is None and over:
        _untouched(tx, incident, run, life.reason)
        return Ended(keeps={"gone": gone})
    times = len(counts.taken_over(tx.conn, run.target_key, tx.now - TAKEN_OVER_FOR))
    if times > 1:
        life = replace(life, reason=f"{life.reason}; {times} runs on it were taken over in 7 days")
    if not gone and (times > 1 or not run.life.get("by_hand")):
        _hand_over(tx, run, life, incident)
    elif incident.manual is None and not run.life.get("with_ours"):
        owed = fact_to_json(Topic.ESCALATED, _why_handed_over(tx, run, life, incident))
        end = tx.now + Rule.from_json(run.settings["rule"]).verify.timeout
        _untouched(tx, incident, run, f"{life.reason}; a person is called when it still fires at {utc(end)}")
        incidents.schedule(tx, incident.id, end)
        return Ended(keeps={"gone": gone, journal.OWED: owed})
    else:
        _leave_with_person(tx, services, run, life, incident)
    return Ended(keeps={"gone": gone})


def _is_gone(tx: Tx, incident: Incident) -> bool:
    """Its alerts have resolved; an order has none, and is wanted as before."""
    return incident.manual is None and incidents.firing_count(tx.conn, incident.id) == 0


def _nobody_to_call(tx: Tx, run: Run, life: Life, incident: Incident) -> bool:
    """Nothing of the run is there, and either it is decided anew, or its alert has gone by itself."""
    if life.state is RunState.ABANDONED:
        return not _for_a_person(tx, run, incident)
    if life.state not in _GAVE_UP or not _is_gone(tx, incident):
        return False
    partly = any(standing.was_partly(entry) for entry in journal.changed(tx.conn, run.id))
    return not (partly or journal.in_place(tx.conn, run.id))


_GAVE_UP = (RunState.FAILED, RunState.NOT_FIXED, RunState.EXPIRED)


def _for_a_person(tx: Tx, run: Run, incident: Incident) -> bool:
    """What was abandoned has left something that somebody has to know of: an earlier action, or a part of a long one, unless its alert is
    gone by now."""
    if journal.in_place(tx.conn, run.id):
        return True
    return not _is_gone(tx, incident) and bool(journal.changed(tx.conn, run.id))


def _untouched(tx: Tx, incident: Incident, run: Run, reason: str) -> None:
    """Nothing was done, or what was is gone. An order is decided anew as well: whoever ordered or approved it meant the object as it was."""
    if _is_gone(tx, incident):
        move(tx, incident, IncidentState.RESOLVED, once=run.id, reason=reason)
        return
    move(tx, incident, IncidentState.REFUSED, once=run.id, reason=reason)
    incidents.schedule(tx, incident.id, tx.now + _AGAIN)


def _hand_over(tx: Tx, run: Run, life: Life, incident: Incident) -> None:
    """Hand the incident to a person. One that was closed, because its alert had gone, is open again for them."""
    once = f"{run.id}/{life.undos}" if life.undos else run.id
    escalate(tx, incident, _why_handed_over(tx, run, life, incident), once=once, run_id=run.id, reopen=True)
    _watch(tx, incident)


def _why_handed_over(tx: Tx, run: Run, life: Life, incident: Incident) -> Escalation:
    """What whoever gets the incident is told."""
    partly = any(standing.was_partly(entry) for entry in journal.changed(tx.conn, run.id))
    several = len(run.step.actions) > 1 or run.step_index > 0
    stands = journal.standing_of(tx.conn, run) if several or partly else standing.Standing()
    again = (_again(run, incident),) if partly and not several else ()
    return Escalation(
        reason=life.reason,
        tried=tuple(_tried(tx, run)),
        look_at=(f"remediator explain {run.id}",),
        stuck=life.state is RunState.STUCK,
        in_place=stands.in_place,
        done=stands.done,
        not_done=stands.not_done,
        commands=(*again, *stands.commands),
    )


def _again(run: Run, incident: Incident) -> str:
    """What a person types so that what a long action left is done: the plan is made anew from what is there."""
    given = incident.manual.params if incident.manual else {}
    params = "".join(f" --param {shlex.quote(f'{name}={value}')}" for name, value in sorted(given.items()))
    where = shlex.quote(run.target_key)
    return f"do what is left: remediator trigger {run.remediation} --target {where}{params} --reason WHY"


def _leave_with_person(tx: Tx, services: Services, run: Run, life: Life, incident: Incident) -> None:
    """A person said it: they have the incident, and nobody else is called."""
    words = {
        RunState.UNDONE: UNDONE_REASON,
        RunState.UNDO_CONFLICT: "not undone, somebody else changed it since: ",
        RunState.TAKEN_OVER: "left to whoever changed it: ",
    }
    theirs = ", whose it is now: nobody else is called" if life.state is RunState.REJECTED else ""
    reason = f"{words.get(life.state, '')}{life.reason}{theirs}"
    once = f"{run.id}/{life.state.value}/{life.undos}"
    if life.state is RunState.REJECTED:
        taken(tx, services, incident.id, run.answered_by)
    if not incident.state.closed and _settled(tx, run, life, incident):
        move(tx, incident, IncidentState.RESOLVED, once=once, reason=reason)
    elif not incident.state.closed:
        by = run.answered_by if life.state is RunState.REJECTED else ""
        is_theirs(tx, incident, reason, once=once, by=by)
        _watch(tx, incident)
    else:
        if life.state is RunState.UNDONE and incident.state in _WELL and not _helped_by_another(tx, run):
            # What had helped is taken back: nobody may read that it stands, in no report and no list.
            incidents.restate(tx, incident.id, IncidentState.RESOLVED, reason)
        announce(tx, Topic.MOVED, incident_id=incident.id, once=once)


def _settled(tx: Tx, run: Run, life: Life, incident: Incident) -> bool:
    """What was stuck is taken back after all, and its alert is gone, or it was an order's: nothing is left to be done."""
    stuck = incident.state is IncidentState.STUCK and life.state is RunState.UNDONE
    return (
        stuck
        and (incident.manual is not None or _is_gone(tx, incident))
        and not journal.in_place(tx.conn, run.id)
    )


def _helped_by_another(tx: Tx, run: Run) -> bool:
    return any(
        other.state in HELPED and other.id != run.id for other in counts.of_incident(tx.conn, run.incident_id)
    )


def _watch(tx: Tx, incident: Incident) -> None:
    """A person has it. Whether its alert is still there is looked at now and then: it may have resolved during the run."""
    if incident.manual is None:
        incidents.schedule(tx, incident.id, settle.watched(tx.now, incident.id))


def _close_request(tx: Tx, run: Run, why: str) -> None:
    """The approval request stands no more; whoever looks at it reads why."""
    word = "expired" if run.expires_at is not None and tx.now >= run.expires_at else "refused"
    fact = ApprovalAnswer(run.id, word, "service", why or "it is not needed any more")
    once = f"{run.id}/{run.step_index}"
    announce(tx, Topic.APPROVAL_ANSWERED, incident_id=run.incident_id, once=once, fact=fact)


def _tried(tx: Tx, run: Run) -> list[str]:
    """What was carried out or refused by the cluster, also at its dry run, and what became of it. What our own check stopped was
    not tried."""
    lines = []
    for entry in runs.entries(tx.conn, run.id):
        answer = (entry.outcome or {}).get("answer") or {}
        event, some = answer.get("event"), standing.was_partly(entry)
        if not some and event in (None, Event.ABANDONED.value, Event.TAKEN_OVER.value):
            continue
        what = f"{entry.intent['step']}: {entry.intent.get('kind', '')} {entry.intent.get('object', '')}"
        reached = event if answer.get("reached", True) else "the cluster could not be reached"
        word = "not to its end" if some else reached
        lines.append(what if event == Event.APPLIED.value else f"{what} ({word})")
    return lines


__all__ = ["CONSEQUENCES", "Consequence", "Ended", "end"]
