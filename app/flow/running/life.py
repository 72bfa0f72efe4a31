"""The life of a run, from its request to its end, as one table. Read it top to bottom.

`LIFE` alone says what each event makes of a run in each state. The modules beside this one find out what happened, `advance` asks this table
and writes down the answer, and `ending` draws the consequences when a run has ended. Pure: no clock, no store, no cluster.

    requested ──> [waiting] ──> acting ──> verifying ──> fixed or contained ──> [undoing: its temporary change ends] ──> reverted
                      │            │           │
                      └────────────┴───────────┴──> what the rule says otherwise, in order:
                                                    next (choosing ──> acting or waiting), undo (undoing), escalate ──> its end
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.domain.json import JsonValue
from app.domain.outcome import RunState
from app.policy.model import Otherwise
from app.store.runs import Run
from app.store.tx import Tx

MAX_ATTEMPTS = 8
"""Attempts of one transition that got no answer (throttled, unreachable, an error of ours) before the run stops trying."""


class Event(StrEnum):
    """What can happen to a run."""

    BEGUN = "begun"  # the engine has it
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"  # nobody answered in time, or what was approved was not begun in time
    ALERT_GONE = "alert_gone"  # before another step was taken or the rule's undo begun, by a message or its source's word
    ASKED_ANEW = "asked_anew"  # the rule changed while people were asked about a later step: chosen again
    WITHDRAWN = "withdrawn"  # the rule was removed or lowered, the object changed by others, or the request expired under a silence
    APPLIED = "applied"  # one action is in place
    REFUSED = "refused"  # the cluster said no, or could not be asked: nothing of this action is in place
    ABANDONED = "abandoned"  # the check right before the write found a reason not to act
    UNCLEAR = "unclear"  # sent, and nobody can tell whether it happened
    FIXED = "fixed"
    CONTAINED = "contained"  # the alert is gone by relief that buys time
    STILL_FIRING = "still_firing"  # what the step was for is gone, and the alert fires on
    IN_PART = "in_part"  # some of it is gone or much less, and the alert fires on
    NOT_FIXED = "not_fixed"
    INCONCLUSIVE = "inconclusive"
    PROBE_ERROR = "probe_error"
    TAKEN_OVER = "taken_over"  # somebody else changed or deletes the target: their hand wins, nothing of ours is written over it
    STEP_FOUND = "step_found"  # the next step may be taken
    STEP_ASKS = "step_asks"  # the next step needs an approval
    NO_STEP = "no_step"
    ONE_UNDONE = "one_undone"  # one action was taken back, another one is left
    ALL_UNDONE = "all_undone"
    UNDO_CONFLICT = "undo_conflict"  # all done that could be; somebody else had changed some of it
    UNDO_FAILED = "undo_failed"
    NOT_WANTED = "not_wanted"  # the reason for an undo that was held went away, or somebody has the incident
    UNDO_ORDERED = "undo_ordered"  # a person wants it taken back
    ORDER_OVER = "order_over"  # the undo that a person ordered was not begun: withdrawn, or too late
    REVERT_DUE = "revert_due"  # the time of a temporary change is over, and so is its reason
    BROKEN = "broken"  # every attempt of this transition raised an unexpected error


class Cause(StrEnum):
    """Why a run undoes what it did."""

    NONE = ""
    OTHERWISE = "otherwise"  # the rule says so
    PERSON = "person"
    REVERT = "revert"  # a temporary change


@dataclass(frozen=True, slots=True)
class Life:
    """What the table needs to know of a run, and what it changes.

    `action` is the index of the action being carried out, of `actions` in this step. `in_place`: something of ours is in
    place, of any step; `loses` is why only a person's word takes it back, or the part of it that is not `loose`: what that would lose, whom it would
    bring back, or what helped. `kept`: this step has done what it is for, so that one that stops is no half change. `otherwise` is
    what the rule says, `rest` what of it is left to do. `outcome` and `reason` are how the run ends when nothing is left. `undos` counts how often its undo was begun; `despite` are the holds that the person who
    ordered it knew of, and their order is good `until` then (ISO 8601). `former` are cause, reason and `rest` of what was the service's undo before. `late`: what was done last
    was verified once more as the alert went.
    """

    state: RunState
    actions: int
    otherwise: tuple[Otherwise, ...]
    in_place: bool = False
    kept: bool = False
    loses: str = ""
    loose: bool = False
    action: int = 0
    rest: tuple[Otherwise, ...] = ()
    outcome: RunState | None = None
    reason: str = ""
    cause: Cause = Cause.NONE
    undos: int = 0
    despite: tuple[str, ...] = ()
    until: str = ""
    former: tuple[str, ...] = ()
    late: bool = False


Becomes = Callable[[Life, str], Life]
"""What an event makes of a life; the text says what happened in words."""


def into(state: RunState) -> Becomes:
    """Carry out the step from its first action on, ask about it first, or decide anew which one is next."""
    return lambda life, _text: replace(life, state=state, action=0)


def next_action_or_verify(life: Life, _text: str) -> Life:
    """The step's next action; verify after its last one."""
    done = life.action + 1
    state = RunState.ACTING if done < life.actions else RunState.VERIFYING
    return replace(life, state=state, action=done, in_place=True, late=False)


def verify_late_help_or(state: RunState) -> Becomes:
    """The alert went away before another step was taken: an earlier one may have helped late, which is looked at once; after that the rest of the rule
    follows, however often the alert comes and goes. What the present step left half done is undone."""

    def becomes(life: Life, text: str) -> Life:
        if (life.state is RunState.ACTING and life.action > 0) or (life.in_place and life.late):
            return rest_of_otherwise(state)(life, text)
        if life.in_place:
            return replace(life, state=RunState.VERIFYING, late=True)
        return end(life, life.outcome or state, text)

    return becomes


def verify_late_help(life: Life, text: str) -> Life:
    """The alert went away before the rule's undo was begun: what was to be taken back may have helped late, which is looked at once; after
    that it stays, and a person is asked."""
    if life.cause is not Cause.OTHERWISE or life.late:
        return leave_in_place(life, text)
    return replace(life, state=RunState.VERIFYING, cause=Cause.NONE, rest=(), late=True)


def finish(state: RunState) -> Becomes:
    """It ends here: a person has to look before anything else is done."""
    return lambda life, text: end(life, state, text)


def helped(state: RunState) -> Becomes:
    """It helped: what earlier steps did not do is no news any more."""
    return lambda life, text: end(replace(life, reason=""), state, text)


def helped_in_part(life: Life, text: str) -> Life:
    """The step stays, and with it all that it stands on: to take it back would make things worse. What the rule says otherwise follows, but for the
    undo; that of a later step that does not help is its own."""
    rest = tuple(word for word in life.otherwise if word is not Otherwise.UNDO)
    return go_on(replace(_noted(life, RunState.STILL_FIRING, text), rest=rest))


def otherwise(outcome: RunState) -> Becomes:
    """The step did not help: everything that the rule says otherwise. What was left half done is undone in any case."""

    def becomes(life: Life, text: str) -> Life:
        rest = _HALF_DONE if _half(life) else life.otherwise
        return go_on(replace(_noted(life, outcome, text), rest=rest))

    return becomes


def rest_of_otherwise(outcome: RunState) -> Becomes:
    """Nothing was done in this step: what is left of what the rule says after an earlier one. Half done is undone, and what stops
    after the action that the step is for goes by all that the rule says."""

    def becomes(life: Life, text: str) -> Life:
        noted = _noted(life, outcome, text)
        if _half(life):
            return go_on(replace(noted, rest=_HALF_DONE))
        return go_on(replace(noted, rest=life.otherwise) if life.kept else noted)

    return becomes


def leave_to_them(life: Life, text: str) -> Life:
    """Somebody changed the object right before our write: it is theirs. Only what this step left half done is undone."""
    if _half(life):
        return rest_of_otherwise(RunState.TAKEN_OVER)(life, text)
    return end(life, RunState.TAKEN_OVER, text)


_HALF_DONE = (Otherwise.UNDO, Otherwise.ESCALATE)


def _half(life: Life) -> bool:
    return life.state is RunState.ACTING and life.action > 0 and not life.kept


def after_undo(life: Life, text: str) -> Life:
    """What was to be taken back is taken back: go on with the rule, or the end that the order or the revert meant. By itself only what did not
    help was: the rest is still in place."""
    life = replace(life, in_place=bool(life.loses) and life.cause is Cause.OTHERWISE, loose=False)
    match life.cause:
        case Cause.PERSON:
            return end(life, RunState.UNDONE, text)
        case Cause.REVERT:
            return end(life, RunState.REVERTED, text)
        case _:
            return go_on(replace(life, reason=_joined(life.reason, f"undo: {text}")))


def after_conflict(life: Life, text: str) -> Life:
    """Somebody else's hand wins: what they changed stays, and a person hears of it."""
    if life.cause is Cause.OTHERWISE:
        return after_undo(life, text)
    return end(life, RunState.UNDO_CONFLICT, text)


def undo(cause: Cause) -> Becomes:
    """Begin to take everything back that is in place, newest first."""
    return lambda life, _text: replace(
        life, state=RunState.UNDOING, cause=cause, undos=life.undos + 1, rest=(), reason="", former=()
    )


def order(life: Life, _text: str) -> Life:
    """The undo that is under way is a person's from now on: whoever is at it goes on."""
    rule = (life.cause.value, life.reason, *life.rest)
    former = life.former if life.cause is Cause.PERSON else rule
    return replace(life, cause=Cause.PERSON, rest=(), reason="", former=former)


def leave_in_place(life: Life, text: str) -> Life:
    """What was held is not done later on its own: a person is asked, and a temporary change goes on. Their own order stands."""
    match life.cause:
        case Cause.PERSON:
            return life
        case Cause.REVERT:
            return end(life, life.outcome or RunState.FIXED, text)
        case _:
            return end(life, life.outcome or RunState.ABANDONED, text)


def not_undone(life: Life, text: str) -> Life:
    """Nothing of what a person ordered was written: the run is as it had ended, and an undo of the rule's is left out of what the rule says."""
    cause, reason, *rest = life.former or ("", "")
    kept = replace(life, cause=Cause.NONE, rest=tuple(map(Otherwise, rest)), despite=(), until="", former=())
    if cause == Cause.OTHERWISE:
        return go_on(replace(kept, cause=Cause.OTHERWISE, reason=_joined(reason, text)))
    return end(kept, life.outcome or RunState.ABANDONED, text)


def go_on(life: Life) -> Life:
    """The first thing left of what the rule says otherwise, or the end."""
    for number, word in enumerate(life.rest):
        rest = life.rest[number + 1 :]
        if word is Otherwise.UNDO and life.in_place and life.loses:
            life = replace(life, reason=_joined(life.reason, f"not undone by itself: {life.loses}"))
        if word is Otherwise.UNDO and life.in_place and (life.loose or not life.loses):
            life = replace(life, cause=Cause.OTHERWISE, undos=life.undos + 1)
            return replace(life, state=RunState.UNDOING, rest=rest)
        if word is Otherwise.NEXT:
            return replace(life, state=RunState.CHOOSING, rest=rest)
        if word is Otherwise.ESCALATE:
            break
    return end(life, life.outcome or RunState.ABANDONED, "")


def end(life: Life, state: RunState, text: str) -> Life:
    """Over, for the reasons so far and this one."""
    return replace(life, state=state, outcome=state, rest=(), reason=_joined(life.reason, text))


def _noted(life: Life, outcome: RunState, text: str) -> Life:
    """An earlier step that acted and did not help stays the outcome where what follows did nothing: that only says why. One that helped in part is
    the outcome whatever earlier steps did not do, or later ones do: it is kept."""
    weak = (RunState.NOT_FIXED, RunState.STILL_FIRING)
    stands = life.outcome is RunState.STILL_FIRING or outcome not in weak
    kept = life.outcome if life.outcome is not None and stands else outcome
    return replace(life, outcome=kept, reason=_joined(life.reason, text))


def _joined(before: str, text: str) -> str:
    return "; ".join(part for part in (before, text) if part)


S, E = RunState, Event
LIFE: Mapping[tuple[RunState, Event], Becomes] = {
    # The engine has it. Whoever needs an approval waits from the start.
    (S.REQUESTED, E.BEGUN): into(S.ACTING),
    # A person is asked. The first step has nothing behind it; a later one goes on with the rest of the rule, or is theirs who came meanwhile.
    (S.WAITING, E.APPROVED): into(S.ACTING),
    (S.WAITING, E.REJECTED): rest_of_otherwise(S.REJECTED),
    (S.WAITING, E.EXPIRED): rest_of_otherwise(S.EXPIRED),
    (S.WAITING, E.WITHDRAWN): rest_of_otherwise(S.ABANDONED),
    (S.WAITING, E.ASKED_ANEW): into(S.CHOOSING),
    (S.WAITING, E.TAKEN_OVER): finish(S.TAKEN_OVER),
    (S.WAITING, E.ALERT_GONE): verify_late_help_or(S.ABANDONED),
    # The step's actions, one after the other, each checked right before it is sent.
    (S.ACTING, E.APPLIED): next_action_or_verify,
    (S.ACTING, E.REFUSED): otherwise(S.FAILED),
    (S.ACTING, E.ASKED_ANEW): into(S.CHOOSING),
    (S.ACTING, E.ABANDONED): rest_of_otherwise(S.ABANDONED),
    (S.ACTING, E.ALERT_GONE): verify_late_help_or(S.ABANDONED),
    (S.ACTING, E.EXPIRED): rest_of_otherwise(S.EXPIRED),
    (S.ACTING, E.UNCLEAR): finish(S.STUCK),
    (S.ACTING, E.TAKEN_OVER): leave_to_them,
    # Did it help? Only a certain "no" is followed by another step or an undo.
    (S.VERIFYING, E.FIXED): helped(S.FIXED),
    (S.VERIFYING, E.CONTAINED): helped(S.CONTAINED),
    # An alert that fires on over a long window is no proof against the step: a person has the alert, and nothing is taken back.
    (S.VERIFYING, E.STILL_FIRING): helped(S.STILL_FIRING),
    (S.VERIFYING, E.IN_PART): helped_in_part,
    (S.VERIFYING, E.NOT_FIXED): otherwise(S.NOT_FIXED),
    (S.VERIFYING, E.INCONCLUSIVE): finish(S.INCONCLUSIVE),
    (S.VERIFYING, E.PROBE_ERROR): finish(S.PROBE_ERROR),
    (S.VERIFYING, E.TAKEN_OVER): finish(S.TAKEN_OVER),
    # The next step of the ladder, decided anew like the first one.
    (S.CHOOSING, E.STEP_FOUND): into(S.ACTING),
    (S.CHOOSING, E.STEP_ASKS): into(S.WAITING),
    (S.CHOOSING, E.TAKEN_OVER): finish(S.TAKEN_OVER),
    (S.CHOOSING, E.ALERT_GONE): verify_late_help_or(S.ABANDONED),
    (S.CHOOSING, E.NO_STEP): lambda life, text: go_on(replace(life, reason=_joined(life.reason, text))),
    # Taking back, newest first: because the rule says so, a person ordered it, or a temporary change ends.
    (S.UNDOING, E.ONE_UNDONE): lambda life, _text: life,
    (S.UNDOING, E.ALL_UNDONE): after_undo,
    (S.UNDOING, E.UNDO_CONFLICT): after_conflict,
    (S.UNDOING, E.UNDO_FAILED): finish(S.STUCK),
    (S.UNDOING, E.TAKEN_OVER): finish(S.TAKEN_OVER),
    (S.UNDOING, E.NOT_WANTED): leave_in_place,
    (S.UNDOING, E.ALERT_GONE): verify_late_help,
    (S.UNDOING, E.UNDO_ORDERED): order,
    (S.UNDOING, E.ORDER_OVER): not_undone,
    # After its end.
    **{(state, E.REVERT_DUE): undo(Cause.REVERT) for state in (S.FIXED, S.CONTAINED)},
    **{(state, E.UNDO_ORDERED): undo(Cause.PERSON) for state in S if state.ended},
    # No attempt got past an error: nobody knows what is in place.
    **{(state, E.BROKEN): finish(S.STUCK) for state in S if not state.ended},
}


def transition(life: Life, event: Event, text: str = "") -> Life | None:
    """What the event makes of this life; None when it means nothing in this state (it came too late)."""
    becomes = LIFE.get((life.state, event))
    return None if becomes is None else becomes(life, text)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a run found. Without an `event` it is looked at again in `seconds`; `failed` then says that an attempt
    was lost, so that waits grow and end, unless it is `patient`: then whoever looks ends them. `waits_for` says in words what it waits for. `keeps` stands in the row until the
    state changes. `also` is written in the transaction of the transition."""

    event: Event | None = None
    text: str = ""
    seconds: float = 0.0
    failed: bool = False
    patient: bool = False
    waits_for: str = ""
    keeps: Mapping[str, JsonValue] = field(default_factory=dict)
    also: Callable[[Tx, Run], None] | None = None
    over: bool = False


Look = Callable[[Tx, Run], Found]
"""A look that belongs into the transaction of its transition."""


def last_attempt(run: Run) -> bool:
    """No further attempt follows this one."""
    return run.attempt + 1 >= MAX_ATTEMPTS
