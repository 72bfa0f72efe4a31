"""Planned: one action of a run's step, with what carrying it out needs to know; and whether the plan of a question that stands is still one.
Reads the store, and for that the object; never writes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from app.domain import half_way
from app.domain.actuator import Actuator, CheckResult
from app.domain.errors import RemediatorError
from app.domain.plan import Action
from app.flow.actuators import ACTUATORS
from app.flow.deciding.decide import firing_alerts
from app.flow.ids import action_id
from app.flow.people import approve
from app.flow.running.life import Event, Found, Look
from app.flow.running.progress import SoFar, so_far
from app.flow.services import Services
from app.flow.undoing import holding
from app.policy.model import Rule
from app.store import incidents, runs
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
    return half_way.started_with(actions[index], Action.from_json(entry.intent["action"]) if entry else None)


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


async def look_asked(services: Services, run: Run) -> Look:
    """How the approval request stands, and whether there is still something to ask: it is withdrawn when somebody else has changed what the
    plan would change, for a yes would be refused. What changed by our own doing is told when it is answered."""
    stands = await approve.look(services, run)
    try:
        why = "" if run.answer else await _moved_on(services, run)
    except RemediatorError:
        return stands  # looked at again, and before anything is written in any case
    if not why:
        return stands

    def found(tx: Tx, held: Run) -> Found:
        told = stands(tx, held)
        return told if told.event is not None or held.answer else Found(Event.WITHDRAWN, why)

    return found


async def _moved_on(services: Services, run: Run) -> str:
    """Whose hand has been on the object since it was asked, where it is not as the plan's first action expects it; empty otherwise."""
    vault = services.store.vault
    planned, _ = await services.store.read(lambda conn: load_with_entry(conn, vault, run, 0))
    if planned.fault or not planned.action.changes:
        return ""
    checked = await planned.actuator.check(services.clients, planned.action)
    if checked.ref is not None:
        return ""
    hand = await holding.other_hand(services, planned.action, run.requested_at, None)
    return f"{hand.text} while the question stood: {checked.text}" if hand is not None else ""
