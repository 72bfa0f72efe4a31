"""The overview: what needs a person now, what is open, and how the service itself stands.

Called by `app.page.site`. Reads only, all that is shown of the store in one look, so that no two parts tell different moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.alert import Source
from app.domain.outcome import IncidentState
from app.flow.readiness.health import Findings
from app.flow.services import Services
from app.flow.upkeep import views
from app.page.incident import Question, question
from app.page.session import Visitor
from app.policy.gates.people import only_observing
from app.policy.schedule import Schedule
from app.store import facts as counts
from app.store import outbox, people, schedule_ends, schedules, standing, trail, work
from app.store.incidents import Incident
from app.store.people import Pause
from app.store.standing import Heard

SHOWN = 20
"""Incidents of one kind that the overview shows; the list has all."""
_SENDERS = frozenset({Source.ALERTMANAGER, Source.PAGERDUTY, Source.ORCHESTRATION})
"""Who sends alerts by itself; a person's orders and the service's own words are not waited for."""
SILENT = timedelta(minutes=30)
"""Without a delivery for so long a sender is marked: a live Alertmanager repeats what fires more often than that."""


@dataclass(frozen=True, slots=True)
class Storm:
    """Targets in trouble within `within`, and from how many on the service only looks."""

    targets: int
    limit: int
    within: timedelta

    @property
    def now(self) -> bool:
        """There is a storm."""
        return self.targets >= self.limit


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A rule that the clock orders. `told` is its next time in its zone; `last` is the last one that came, `fate` what became of it, `outcome`
    how its order stands."""

    rule: str
    due: datetime | None
    told: str
    last: datetime | None
    fate: str
    incident: str
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that the page shows. `first_run`: no alert was ever heard. `counts` has open incidents by state."""

    first_run: bool
    questions: Sequence[Question]
    stuck: Sequence[Incident]
    escalated: Sequence[Incident]
    others: Sequence[Incident]
    counts: Mapping[IncidentState, int]
    pauses: Sequence[Pause]
    observing: Sequence[str]
    storm: Storm
    budgets: Sequence[Mapping[str, Any]]
    schedules: Sequence[Scheduled]
    heard: Sequence[Heard]
    replicas: Sequence[str]
    waiting: int
    oldest: datetime | None
    health: Findings
    head: int
    newest: str

    @property
    def whole(self) -> Sequence[Mapping[str, Any]]:
        """Budgets of single targets that nothing was taken from: there are many, and they say nothing."""
        return [b for b in self.budgets if b["per"] == "target" and not b["spent"]]

    @property
    def used(self) -> Sequence[Mapping[str, Any]]:
        """All other budgets."""
        return [b for b in self.budgets if b not in self.whole]

    @property
    def needs(self) -> int:
        """How many incidents need a person."""
        return sum(self.counts.get(state, 0) for state in standing.NEEDING)

    @property
    def first(self) -> Sequence[tuple[int, str, str]]:
        """What is read first: how many incidents need a person and for what, each with its state."""
        waiting = self.counts.get(IncidentState.WAITING, 0)
        told = {
            IncidentState.STUCK: "stuck",
            IncidentState.WAITING: "waits for an answer" if waiting == 1 else "wait for an answer",
            IncidentState.ESCALATED: "escalated",
        }
        return [(n, words, state.value) for state, words in told.items() if (n := self.counts.get(state, 0))]

    @property
    def open(self) -> int:
        """How many incidents are open."""
        return sum(self.counts.values())


async def look(services: Services, health: Findings, visitor: Visitor) -> Overview:
    """The overview now. Raises StoreUnavailable."""
    spent = await views.budgets(services)
    return await services.store.read(lambda conn: _look(conn, services, (health, spent), visitor))


def _look(
    conn: Connection,
    services: Services,
    known: tuple[Findings, Sequence[Mapping[str, Any]]],
    visitor: Visitor,
) -> Overview:
    now, policy = services.clock.now(), services.policy()
    newest = standing.newest(conn)
    asked = [
        question(conn, services, i, visitor) for i in standing.open_in(conn, IncidentState.WAITING, SHOWN)
    ]
    messages = outbox.pending(conn, 1)
    since = now - policy.storm.within
    return Overview(
        first_run=newest is None,
        questions=sorted((q for q in asked if q is not None), key=lambda q: q.expires or now),
        stuck=standing.open_in(conn, IncidentState.STUCK, SHOWN),
        escalated=standing.open_in(conn, IncidentState.ESCALATED, SHOWN),
        others=_others(conn),
        counts=standing.open_counts(conn),
        pauses=people.pauses_in_force(conn, now),
        observing=only_observing(policy, services.ceiling),
        storm=Storm(counts.targets_since(conn, since), policy.storm.targets, policy.storm.within),
        budgets=known[1],
        schedules=[_scheduled(conn, r.name, r.schedule, now) for r in policy.rules if r.schedule],
        heard=[h for h in standing.heard(conn) if h.source in _SENDERS],
        replicas=(services.replica, *work.claim_holders(conn, services.replica)),
        waiting=outbox.depth(conn),
        oldest=messages[0].created_at if messages else None,
        health=known[0],
        head=trail.head(conn).seq,
        newest=newest or "",
    )


def _scheduled(conn: Connection, rule: str, schedule: Schedule, now: datetime) -> Scheduled:
    due = schedule.first_after(now)
    told = schedule.told(due) if due else ""
    for last in schedules.newest(conn, rule):
        fate = last.fate.replace("_", " ")
        outcome = schedule_ends.outcome_of(conn, last).replace("_", " ")
        return Scheduled(rule, due, told, last.due, fate, last.incident_id, outcome)
    return Scheduled(rule, due, told, None, "", "")


def _others(conn: Connection) -> list[Incident]:
    """The newest open incidents that need nobody at present."""
    states = [s for s in IncidentState if not s.closed and s not in standing.NEEDING]
    found = [i for state in states for i in standing.open_in(conn, state, SHOWN)]
    return sorted(found, key=lambda i: i.id, reverse=True)[:SHOWN]
