"""Holding: what forbids the next write of a run, and the one write that people approved beforehand.

Owns how the holds of the policy (`app.policy.holds`) are asked for a run: by its actions right before they go out, by its undo, and by
the end of a temporary change, and whose hand is on an object that refused one. To start again what a run stopped is a part of the
plan that people approved: a freeze does not hold it. Writes only that a hold which people knew of is lifted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from app.domain import half_way
from app.domain.actuator import Means, Undone
from app.domain.cluster import Cluster
from app.domain.decision import Code, Mode
from app.domain.errors import Held, ObjectMissing, RemediatorError, TryLater
from app.domain.json import JsonValue, Obj
from app.domain.outcome import RunState
from app.domain.plan import Action, kinds_touched, touched
from app.domain.target import Target
from app.flow.deciding.decide import firing_alerts
from app.flow.deciding.facts import ALERTS
from app.flow.deciding.marks import leaving, of_others, of_what_is_there
from app.flow.each import each
from app.flow.people import approve, approvers
from app.flow.running import journal
from app.flow.running.life import Cause
from app.flow.services import Services
from app.kube.guarded import looked, older
from app.kube.hands import Hand, hand_between
from app.kube.read import View
from app.policy.facts import Fact, Unknown
from app.policy.gates.target import off_limits_by_name
from app.policy.holds import SCOPE, Hold, Touched, Write, holds, is_hold
from app.policy.model import Otherwise, Policy, Rule
from app.store import driving, incidents, people, runs
from app.store.runs import JournalEntry, Run
from app.store.tx import Tx

Touches = Sequence[Touched]
Holding = Callable[[Connection, Touches], tuple[Hold, ...]]
"""What forbids a write of a run, by the marks on what it changes."""


BEING_DELETED: Final = "being_deleted"
DELETED: Mapping[str, JsonValue] = {"by_hand": True, "gone": True}
"""What the row of a run keeps that ends because somebody is deleting what it changes."""


async def other_hand(services: Services, action: Action, since: datetime, before: Obj | None) -> Hand | None:
    """Somebody else's change of the action's object since it was looked at, as `before`; where that is not known, since then, its
    second included. Raises what `changed_object` does: nobody's hand and one that cannot be told are two things."""
    manifest = await changed_object(services, action)
    return None if manifest is None else hand_between(before, manifest, since)


async def changed_object(services: Services, action: Action) -> Obj | None:
    """The object that the action changes, as it is; None for an action that changes no fields, and when it is gone. Raises the port's
    read errors: whose hand is on what cannot be read is not known."""
    ref = action.object
    if not action.changes:
        return None
    try:
        return await services.cluster.get(ref.kind, ref.namespace, ref.name)
    except ObjectMissing:
        return None


async def size_before(services: Services, action: Action | Undone) -> int | None:
    """From how many pods this undo stops an object: what starts it again afterwards goes by it. None where that is no question, or nobody can
    tell."""
    if isinstance(action, Undone) or not half_way.goes_by_what_it_finds(action) or half_way.stops(action):
        return None
    with suppress(RemediatorError):
        manifest = await changed_object(services, action)
        found = ((manifest or {}).get("spec") or {}).get("replicas")
        return found if isinstance(found, int) else None
    return None


async def touched_by(
    services: Services, actions: Iterable[Action], cluster: Cluster | None = None
) -> tuple[Touched, ...]:
    """What these actions change, with the marks of its owners as they are now, read from `cluster` where somebody looks at it already, for what
    the scope says of writing to it once more. Raises TryLater when the marks cannot be read by now; marks that may not be read hold as unknown
    ones do."""
    found: dict[str, list[Action]] = {}
    for action in actions:
        found.setdefault(action.target.key, []).append(action)
    at = cluster or services.cluster
    return tuple([await _touched(services, at, together) for together in found.values()])


async def _touched(services: Services, cluster: Cluster, actions: Sequence[Action]) -> Touched:
    plain, scope = by_name(actions), services.policy().scope
    if off_limits_by_name(scope, plain.target.namespace):
        return plain
    try:
        marks: Fact[Mapping[str, str]] | None
        marks = await of_what_is_there(cluster, scope, plain.target)
        more = await of_others(cluster, scope, plain.target, plain.others)
        marks = {**(marks or {}), **more} if more else marks
    except TryLater as error:
        text = f"whether {plain.target} is off limits by now could not be read: {error.message}"
        raise TryLater(text, code=error.code, retry_after=error.retry_after) from error
    except RemediatorError as error:
        marks = Unknown(error.message)
    return replace(plain, marks=marks)


def by_name(actions: Sequence[Action]) -> Touched:
    """What actions on one target change, without the marks of its owners."""
    target = actions[0].target
    others = tuple(one for one in touched(actions) if one != target)
    return Touched(target, frozenset(kinds_touched(target.kind, actions)), others=others)


def held(conn: Connection, services: Services, run: Run, touched: Touches = ()) -> str:
    """What forbids this run's next write that is no action, in words; empty when it may happen."""
    return words(holds_on(conn, services, run, run.life.get("despite", ()), touched))


def holds_on(
    conn: Connection, services: Services, run: Run, despite: Collection[str], touched: Touches = ()
) -> tuple[Hold, ...]:
    """What forbids the run's next write, but for the holds whose keys are in `despite`."""
    now = services.clock.now()
    target = Target.parse(run.target_key)
    rule = rule_now(conn, services, run)
    names = (run.rule, rule.name) if isinstance(rule, Rule) else (run.rule,)
    write = Write(target, names, run.remediation, frozenset(despite), tuple(touched))
    return holds(services.policy(), services.ceiling, people.pauses_in_force(conn, now), write, now)


def let_pass(tx: Tx, services: Services, run: Run, policy: Policy, rules: Iterable[str]) -> frozenset[str]:
    """The keys of what stands by this policy at the moment of this decision, for rules of these names: what its gates have judged and let
    pass. What is set a moment later is none of it."""
    write = Write(Target.parse(run.target_key), tuple(rules), run.remediation)
    found = holds(policy, services.ceiling, people.pauses_in_force(tx.conn, tx.now), write, tx.now)
    return frozenset(hold.key for hold in found)


def rule_now(conn: Connection, services: Services, run: Run) -> Rule | str:
    """The rule in force for what the run was about, whatever it is called by now, or why there is none. It goes by the alerts that fire,
    once they are gone by those that did."""
    if not run.settings:
        return "nobody knows under which rule it was decided"
    incident = incidents.get(conn, run.incident_id)
    alerts = firing_alerts(conn, incident.id) or incidents.alerts(conn, incident.id, ALERTS)
    return approve.rule_in_force(services, run, incident, alerts)


def not_by_itself(conn: Connection, services: Services, run: Run, cause: Cause) -> str:
    """Why the rule in force would not have it taken back by itself, though the rule at the time would: the stricter counts. Empty when
    it would, and where a person ordered it."""
    if cause is Cause.PERSON or not run.settings:
        return ""
    rule = rule_now(conn, services, run)
    if isinstance(rule, str):
        return rule
    if rule.mode is Mode.OBSERVE:
        return f"the rule {rule.name!r} only observes by now"
    asked = Rule.from_json(run.settings["rule"])
    if rule.mode is not Mode.AUTO and approvers.changed(asked.approval, rule.approval):
        return f"the rule {rule.name!r} asks others by now"
    if cause is Cause.OTHERWISE:
        return "" if Otherwise.UNDO in rule.otherwise else f"the rule {rule.name!r} undoes nothing any more"
    return "" if rule.temporary else f"the rule {rule.name!r} has no temporary changes any more"


def brings_back(run: Run, index: int) -> bool:
    """Action `index` of the present step starts what the step stopped, and people approved a plan that says so: a freeze that began
    meanwhile does not hold it. A pause and a ceiling do: somebody set them, who may know why nothing may start."""
    return run.answer == "approved" and half_way.brings_back(run.step.actions, index)


def holds_on_start(
    conn: Connection, services: Services, run: Run, despite: Collection[str], touched: Touches = ()
) -> tuple[Hold, ...]:
    """What holds the start of what this run stopped, by people's approval of its plan."""
    found = holds_on(conn, services, run, despite, touched)
    return tuple(hold for hold in found if hold.code is not Code.FROZEN)


def holds_on_undo(
    conn: Connection, services: Services, run: Run, acted: JournalEntry, touched: Touches
) -> tuple[Hold, ...]:
    """What holds the undo of this action: nothing where there is nothing to write. To start again what the run stopped was approved
    with its plan."""
    despite, action = run.life.get("despite", ()), Action.from_json(acted.intent["action"])
    if not action.reversible:
        return ()
    if run.answer == "approved" and len(run.step.actions) > 1 and half_way.stops(action):
        return holds_on_start(conn, services, run, despite, touched)
    return holds_on(conn, services, run, despite, touched)


async def forget_lifted(services: Services) -> None:
    """Forget the holds that people knew of when they ordered an undo and that are lifted by now: what is set anew comes after the order.
    What could not be looked at is not known to be lifted. A part of the sweep. Raises StoreUnavailable, and ExceptionGroup with what
    failed; one run holds up no other."""
    concerned = await services.store.read(driving.with_despite)
    await each({run.id: partial(_forget_of, services, run) for run in concerned})


async def _forget_of(services: Services, run: Run) -> None:
    touched: Touches | None = ()
    if any(key.startswith(SCOPE) for key in run.life["despite"]):
        there = await services.store.read(lambda conn: journal.in_place(conn, run.id))
        try:
            touched = await touched_by(services, journal.actions(there))
        except TryLater:
            touched = None
    await services.store.write(lambda tx: _forget(tx, services, run.id, touched))


def _forget(tx: Tx, services: Services, run_id: str, touched: Touches | None) -> None:
    run = runs.hold(tx, run_id)
    known = list(run.life.get("despite", ()))
    stand = {hold.key for hold in holds_on(tx.conn, services, run, (), touched or ())}
    blind = () if touched is not None else (SCOPE,)
    left = [key for key in known if key in stand or not is_hold(key) or key.startswith(blind)]
    if left != known and run.state is RunState.UNDOING:
        driving.change(tx, run_id, {**run.life, "despite": left})


def words(found: Collection[Hold]) -> str:
    """All of them in one sentence; empty for none."""
    return "; ".join(hold.text for hold in found)


def unread(found: Collection[Hold]) -> bool:
    """Nothing holds it but that something could not be read: nobody wants it held."""
    return bool(found) and all(hold.code is Code.UNKNOWN_FACT for hold in found)


def means(services: Services, holding: Holding, actions: Sequence[Action] = ()) -> Means:
    """What one write of a run is made with: what holds it by then stops each request right before it goes out, by Held, with the code
    `being_deleted` for what somebody is deleting with what `actions` change; one that was looked at too long ago raises TryLater. What they change and its namespace are read once for that and for
    the marks of their owners."""
    targets = sorted({action.target for action in actions})

    async def ask() -> None:
        view = View(services.cluster)
        if why := await leaving(view, *targets):
            raise Held(why, code=BEING_DELETED)
        touched = await touched_by(services, actions, view)
        since = looked()
        found = await services.store.read(lambda conn: holding(conn, touched))
        if found:
            raise Held(words(found))
        if older(since):  # stopped meanwhile: what came since would not be obeyed
            raise TryLater("not sent: it was looked at too long ago")

    return Means(services.clients, ask, services.clock.sleep)
