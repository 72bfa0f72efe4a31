"""Planned: one action of a run's step, with what carrying it out needs to know. Reads the store only."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from app.domain import half_way
from app.domain.actuator import Actuator, CheckResult
from app.domain.plan import Action
from app.flow.actuators import ACTUATORS
from app.flow.deciding.decide import firing_alerts
from app.flow.ids import action_id
from app.flow.running.progress import SoFar, so_far
from app.policy.model import Rule
from app.store import incidents, runs
from app.store.incidents import Incident, StoredAlert
from app.store.runs import JournalEntry, Run
from app.store.tx import PreImageUnreadable, Vault


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
