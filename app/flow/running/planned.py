"""Planned: one action of a run's step, with what carrying it out needs to know, and whether anything of it was done; and whether the plan of
a question that stands is still one. Reads the store, and for that the object; never writes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from app.domain import half_way
from app.domain.actuator import Actuator, CheckResult
from app.domain.errors import ObjectMissing, RemediatorError
from app.domain.json import JsonValue
from app.domain.plan import ROLLING, Action, Step
from app.domain.target import Kind, Target
from app.flow.actuators import ACTUATORS, may_be_begun
from app.flow.deciding.decide import firing_alerts, unheard
from app.flow.deciding.facts import Sight, changed_by
from app.flow.deciding.marks import leaving
from app.flow.ids import action_id
from app.flow.people import approval_request, approve
from app.flow.running import journal
from app.flow.running.life import Event, Found, Look
from app.flow.running.progress import SoFar, so_far
from app.flow.services import Services
from app.flow.undoing import holding
from app.kube import read
from app.kube.hands import Hand, resized
from app.policy import decide as policy_decide
from app.policy.facts import Facts, Unknown
from app.policy.gates.target import off_limits_by_name
from app.policy.model import Policy, Rule
from app.store import facts as counts
from app.store import incidents, runs, work
from app.store.incidents import Incident, StoredAlert
from app.store.runs import JournalEntry, Run
from app.store.tx import PreImageUnreadable, Tx, Vault


@dataclass(frozen=True, slots=True)
class Planned:
    """One action of a run's step with its real values, and the run it belongs to. `fault`: they cannot be had, and `action` is
    the sealed one. `begun`: something of the step may be in place already; `resumed`: this very action was begun before. `as_found`:
    `action` is what it comes to by what was found."""

    run: Run
    incident: Incident
    alerts: tuple[StoredAlert, ...]
    rule: Rule
    index: int
    action: Action
    fault: str = ""
    begun: bool = False
    resumed: bool = False
    as_found: bool = False

    @property
    def id(self) -> str:
        """Identity of the mutation."""
        return action_id(self.run.id, self.run.step_index, self.index)

    @property
    def told(self) -> Action:
        """As the journal has it: sealed. What goes by what it finds has nothing to hide."""
        return self.action if self.as_found else self.run.step.actions[self.index]

    def by(self, found: CheckResult) -> Planned:
        """What it comes to by the look right before."""
        return replace(self, action=found.action, as_found=True) if found.action else self

    @property
    def brings_back(self) -> bool:
        """It starts what its own step stopped: until it is done an application stands at 0."""
        return half_way.brings_back(self.run.step.actions, self.index)

    @property
    def actuator(self) -> Actuator:
        """Who carries it out."""
        return ACTUATORS[self.action.kind]

    @property
    def so_far(self) -> SoFar:
        """How far it has come, when it takes long."""
        return so_far(self.run)


def _sized(conn: Connection, run: Run, index: int) -> Action:
    """What starts again goes by the size that its stop found."""
    actions = run.step.actions
    stop = half_way.stop_before(actions, index)
    if stop is None:
        return actions[index]
    entry = runs.entry(conn, run.id, action_id(run.id, run.step_index, stop))
    if entry is None:
        return actions[index]
    return half_way.started_with(actions[index], Action.from_json(entry.intent["action"]), entry.generation)


def load_with_entry(
    conn: Connection, vault: Vault, run: Run, index: int
) -> tuple[Planned, JournalEntry | None]:
    """The action of this number with its real values, and its entry where it was begun before."""
    incident = incidents.get(conn, run.incident_id)
    alerts = firing_alerts(conn, incident.id)
    planned = Planned(
        run, incident, alerts, Rule.from_json(run.settings["rule"]), index, run.step.actions[index]
    )
    planned = replace(planned, action=_sized(conn, run, index))
    try:
        whole = vault.whole(conn, run.id, (run.step_index, index), planned.action)
        planned = replace(planned, action=whole)
    except PreImageUnreadable as error:
        planned = replace(planned, fault=str(error))
    recorded = runs.entry(conn, run.id, planned.id)
    resumed = recorded is not None
    return replace(planned, begun=index > 0 or resumed, resumed=resumed), recorded


async def as_read_back(services: Services, planned: Planned) -> Planned:
    """The same once reading back has told that it did not happen: an intent alone is no write, so that the step is not begun by it. What
    cannot be told may have been."""
    if planned.index > 0 or not planned.resumed or planned.so_far.text:
        return planned
    try:
        begun = await may_be_begun(services.clients, planned.action, planned.id, planned.so_far.state)
    except RemediatorError:
        return planned
    return replace(planned, begun=begun)


@dataclass(frozen=True, slots=True)
class Against:
    """Why the action is not taken, and what that makes of the run."""

    text: str
    event: Event = Event.ABANDONED


def in_force_for(tx: Tx, services: Services, planned: Planned, policy: Policy) -> Rule | Against:
    """The rule by this policy, or why the plan does not stand under it any more."""
    run = planned.run
    in_force = approve.rule_in_force(services, run, planned.incident, planned.alerts, policy)
    if isinstance(in_force, str):
        return Against(in_force)
    ordered = planned.incident.manual is not None
    if why := approve.holds_no_more(run, in_force, begun=planned.begun, ordered=ordered):
        again = not planned.begun and journal.changed(tx.conn, run.id)
        return Against(why, Event.ASKED_ANEW if again else Event.ABANDONED)
    asked = run.answer == approve.APPROVED and not planned.begun
    if asked and (void := approval_request.overtaken(tx.conn, run)):
        return Against(void)
    if not planned.begun and approve.too_late(run, in_force, tx.now):
        return Against(f"the approval by {run.answered_by} expired before it was begun", Event.EXPIRED)
    return in_force


async def look_asked(services: Services, run: Run) -> Look:
    """How the approval request stands, and whether there is still something to ask: it is withdrawn when somebody else has changed what the
    plan would change, or another run of ours, for a yes would be refused, and ends when its alert's source has that no more."""
    stands = await approve.look(services, run)
    gone, silenced = await _unheard(services, run)
    try:
        why, theirs = ("", None) if run.answer else await _moved_on(services, run)
    except RemediatorError:
        why, theirs = "", None  # looked at again, and before anything is written in any case

    def found(tx: Tx, held: Run) -> Found:
        told = stands(tx, held)
        if told.event is Event.WITHDRAWN and journal.changed(tx.conn, held.id):
            return replace(
                told, event=Event.ASKED_ANEW
            )  # an earlier step stands: what is next is decided by the rule as it is
        if gone and (told.event is Event.EXPIRED or (told.event is None and not held.answer)):
            return Found(Event.ALERT_GONE, f"while the approval request stood: {gone}")
        if told.event is Event.EXPIRED and silenced and not journal.changed(tx.conn, held.id):
            text = f"{told.text}, and nobody is called for it, as its alert is {silenced}: it is decided anew"
            return replace(told, event=Event.WITHDRAWN, text=text)
        if not why or told.event is not None or held.answer:
            return told
        # Where an earlier step stands, what somebody does beside it has its time to help: nothing is taken back under their hand.
        if theirs is not None and journal.changed(tx.conn, held.id):
            return Found(Event.TAKEN_OVER, why, keeps=theirs)
        return Found(Event.WITHDRAWN, why)

    return found


async def or_gone(
    services: Services, planned: Planned, judged: Against | frozenset[str]
) -> Against | frozenset[str]:
    """The same; where an approval is not good any more, nobody is woken for an alert that its source has no more."""
    if not isinstance(judged, Against) or judged.event is not Event.EXPIRED:
        return judged
    gone, _ = await _unheard(services, planned.run)
    return Against(f"{judged.text}, and {gone}", Event.ALERT_GONE) if gone else judged


async def _unheard(services: Services, run: Run) -> tuple[str, str]:
    """What the source says of the alert that is asked about, as `unheard` tells it: its messages alone do not say that it has ended while it was
    silenced. Not asked about what is approved, unless that has expired."""
    if run.answer and (run.expires_at is None or services.clock.now() < run.expires_at):
        return "", ""
    incident, alerts = await services.store.read(
        lambda conn: (incidents.get(conn, run.incident_id), firing_alerts(conn, run.incident_id))
    )
    if not alerts or incident.manual is not None:
        return "", ""
    over = (
        run.expires_at is not None and services.clock.now() >= run.expires_at
    )  # somebody would be woken now
    return await unheard(services, incident, alerts, now=over)


async def _moved_on(services: Services, run: Run) -> tuple[str, Mapping[str, JsonValue] | None]:
    """Whose hand has been on the object since it was asked, where it is gone, is being deleted, is kept from us by its owners, or is not as the
    plan's first action expects it; empty otherwise. And, where it is theirs by now, what the run keeps of that."""
    vault = services.store.vault
    planned, _ = await services.store.read(lambda conn: load_with_entry(conn, vault, run, 0))
    if planned.fault:
        return "", None
    if off_limits_by_name(services.policy().scope, planned.action.target.namespace):
        return "its namespace is out of the policy's scope since the question was put", THEIRS
    if gone := await leaving(services.cluster, planned.action.target):
        return f"{gone} while the question stood", holding.DELETED
    if off := await approval_request.kept_off(services, run):
        return f"{off} since the question was put", THEIRS
    if hand := await sized_by_others(services, run.step):
        return f"{hand.text} while the question stood", THEIRS
    if not planned.action.changes:
        return await _changed_beside(services, planned)
    checked = await planned.actuator.check(services.clients, planned.action)
    if checked.ref is not None:
        return await _changed_beside(services, planned)
    if checked.code == ObjectMissing.code:
        return f"{checked.text} while the question stood", holding.DELETED
    hand = await holding.other_hand(services, planned.action, run.requested_at, None)
    if hand is not None:
        return f"{hand.text} while the question stood: {checked.text}", THEIRS
    key, since = planned.action.target.key, run.requested_at
    ours, busy = await services.store.read(
        lambda conn: (
            counts.written_at(conn, key, since),
            work.busy_with_plan(conn, run.target_key, run.step.actions, excluding=run.id),
        )
    )
    if busy:
        return "", None  # at work still: decided now it would only be in its way
    return (
        f"another run of this service changed it while the question stood: {checked.text}" if ours else "",
        None,
    )


THEIRS: Mapping[str, JsonValue] = {"by_hand": True, "with_ours": True}


async def _changed_beside(services: Services, planned: Planned) -> tuple[str, Mapping[str, JsonValue] | None]:
    """Somebody's change of the target that stands in no way of the plan, and that nobody knew of when they were asked: a yes would be refused for it."""
    run = planned.run
    workload = await read.read_workload(services.cluster, Target.parse(run.target_key))
    sight = Sight(workload.target, workload, run.step.actions, incident=planned.incident)
    changed, _ = await changed_by(services, sight, planned.alerts)
    if isinstance(changed, Unknown) or not approval_request.unknown_hand(run, changed):
        return "", None
    return f"{changed}, while the question stood", THEIRS


async def sized_by_others(services: Services, step: Step) -> Hand | None:
    """Who else gave another size to what the step sets a size of, or of which it replaces all pods: people were asked about so many. What
    stops or starts from any size has no such number."""
    for action in (one for one in step.actions if not half_way.goes_by_what_it_finds(one)):
        size = next((c.before for c in action.changes if c.path == "/spec/replicas"), None)
        asked = action.params.get("pods", action.pods_affected) if action.kind in ROLLING else size
        if isinstance(asked, int) and action.object.kind in (Kind.DEPLOYMENT, Kind.STATEFUL_SET):
            manifest = await holding.changed_object(services, action)
            if manifest is not None and (hand := resized(manifest, asked)):
                return hand
    return None


_MEMORY = timedelta(minutes=15)


async def written_by_a_lost_copy(services: Services, planned: Planned, found: CheckResult) -> str:
    """Why not to touch an object whose last action is unknown here: the store is an older copy of itself, so that cooldown,
    budgets and what was tried are forgotten as well. After the cooldown it is as good as any object."""
    mark = found.mark
    if mark is None or not (run_id := mark.action_id.partition("/")[0]):
        return ""
    if await services.store.read(lambda conn: runs.known(conn, run_id)):
        return ""
    at = mark.at
    if at is None or services.clock.now() - at >= max(planned.rule.cooldown, _MEMORY):
        return ""
    return f"the object carries our action {mark.action_id} of {at:%H:%M:%S} UTC, which this store does not know: is it a restored copy?"


def came_since(policy: Policy, rule: Rule, planned: Planned, measured: Facts) -> str:
    """What nobody knew of who approved this plan, because it was not there when they were asked; empty for nothing, and once it is begun."""
    if planned.run.answer != approve.APPROVED or planned.begun:
        return ""
    unapproved = policy_decide.decide(policy, rule, planned.run.step, replace(measured, approved_by=""))
    since = approval_request.came_since(planned.run, unapproved)
    return f"it was not so when it was asked, and has to be asked anew: {since}" if since else ""


async def theirs_by_now(
    services: Services, planned: Planned, found: CheckResult, hand: Hand | None = None
) -> tuple[str, Mapping[str, JsonValue]] | None:
    """Where an earlier step stands, and nothing of this one: who has the object by now, in words, and what the run keeps of that; what they did has
    its time to help. None where it is nobody's, or the step is begun."""
    stands = await services.store.read(lambda conn: journal.changed(conn, planned.run.id))
    if planned.begun or not stands:
        return None
    if found.code == ObjectMissing.code:
        return found.text, holding.DELETED
    if hand is None:
        with suppress(RemediatorError):  # nobody's hand that can be told
            hand = await holding.other_hand(services, planned.action, planned.run.requested_at, None)
    if hand is None:
        return None
    return f"{hand.text}{'' if found.ref is not None else f': {found.text}'}", hand.kept


def theirs_or(tx: Tx, run: Run) -> Event:
    """What becomes of a plan beside which somebody else came: where an earlier step stands, it is left to them, and decided anew in any case."""
    return Event.TAKEN_OVER if journal.changed(tx.conn, run.id) else Event.ABANDONED
