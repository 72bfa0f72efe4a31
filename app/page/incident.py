"""One incident as a page: how it stands, what a person can do now, and one timeline of everything.

Called by `app.page.site`. Reads the audit trail, as messages and `explain` do, and the run's row for what can be answered now.
Never changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from app.domain.events import EventKind
from app.domain.outcome import HELPED, RunState
from app.domain.verification import READINGS
from app.flow.ids import TEMPORARY_ENTRY
from app.flow.notifying import timeline as telling
from app.flow.people import approvers
from app.flow.people.approve import REJECTED
from app.flow.running.journal import carried_out, reverts
from app.flow.services import Services
from app.intake.auth import Scope
from app.notify.parent import parent
from app.notify.text import Line
from app.notify.timeline import Timeline
from app.notify.wording import Written, may_undo, state_word, written
from app.page.charts import Charts, charts_of
from app.page.closer import Closer
from app.page.entries import Deed, Entry, deeds, entries, mentions
from app.page.session import Visitor
from app.policy.explain import explain_lines
from app.policy.model import Rule
from app.store import audit, incidents, people, runs, work
from app.store import facts as counts
from app.store.audit import AuditEvent
from app.store.incidents import Incident
from app.store.portions import Newest
from app.store.runs import Run

_LONGEST_FIND = 200
SHOWN = 2_000
"""Records of the timeline that a page shows, the newest, and fewer where they are long; the audit trail has all."""
_MAX_SHOWN = 512 * 1024
"""Characters of them: a page of short labels has some ten times as many."""


@dataclass(frozen=True, slots=True)
class Question:
    """A plan that waits for an answer. `refused` says why this visitor cannot give it; empty when they can. `given`: who approved it
    already; as long as it has not begun a reject takes that back."""

    run: str
    incident: str
    place: str
    alertname: str
    remediation: str
    why: str
    deeds: tuple[Deed, ...]
    plan_hash: str
    expires: datetime | None
    wanted: int
    refused: str
    given: str


@dataclass(frozen=True, slots=True)
class Afterwards:
    """What can be ordered once a run has ended: to undo it, or to keep its temporary change. `done` is what it did."""

    run: str
    undo: bool
    keep: bool
    done: tuple[str, ...]
    refused: str


@dataclass(frozen=True, slots=True)
class Takes:
    """Whether somebody can take the incident. `has` says who has it, empty for nobody, `refused` why this visitor cannot take it."""

    has: str
    refused: str


@dataclass(frozen=True, slots=True)
class IncidentPage:
    """Everything that the page shows. `left_out` counts older records, `newest` and `decided` are the numbers of the
    newest record and of the last decision; `takes` is None when it is over, `charts` when nothing was verified. `find` is what the entries were searched
    for, and `hidden` how many do not have it; `closer` is what somebody asked the cluster for."""

    incident: Incident
    state: str
    summary: tuple[Line, ...]
    question: Question | None
    afterwards: Afterwards | None
    explained: Sequence[str]
    entries: Sequence[Entry]
    newest: int
    decided: int
    left_out: int = 0
    takes: Takes | None = None
    charts: Charts | None = None
    find: str = ""
    hidden: int = 0
    closer: Closer = field(default_factory=Closer)

    @property
    def planned(self) -> bool:
        """Whether there is a plan with objects to look at."""
        return self.question is not None or self.afterwards is not None


def look(
    conn: Connection, services: Services, incident_id: str, visitor: Visitor, find: str = ""
) -> IncidentPage:
    """The page of one incident; with `find` only the entries of the timeline that have these letters. Raises Missing."""
    incident = incidents.get(conn, incident_id)
    newest = Newest[AuditEvent](SHOWN, lambda record: record.size, _MAX_SHOWN)
    decided = 0

    def noted(record: AuditEvent) -> AuditEvent:
        nonlocal decided
        decided = record.seq if record.kind is EventKind.DECIDED else decided
        return record

    records = map(noted, audit.each_of_incident(conn, incident_id))
    timeline = telling.fold(incident_id, newest.passed(records))
    shown = newest.kept
    message = parent(timeline)
    lines = tuple(li for part in message.parts for li in part.lines)
    every = entries(shown, timeline)
    wanted = " ".join(find.split())[:_LONGEST_FIND]
    told = [one for one in every if mentions(one, wanted)]
    ordered = incident.manual is not None and written(timeline) is Written.NOTHING
    return IncidentPage(
        incident,
        state_word(incident.state, ordered=ordered),
        (message.headline, *lines),
        question(conn, services, incident, visitor),
        _afterwards(conn, timeline, visitor),
        explain_lines(timeline.decision) if timeline.decision else (),
        told,
        shown[-1].seq,
        decided,
        newest.left_out,
        _takes(conn, incident, timeline, visitor),
        _charts(conn, incident_id),
        wanted,
        len(every) - len(told),
    )


def _charts(conn: Connection, incident_id: str) -> Charts | None:
    """What the looks of its newest run that was verified read."""
    for run in reversed(counts.of_incident(conn, incident_id)):
        if READINGS in run.life:
            acted = [e.ended_at for e in carried_out(conn, run.id) if e.ended_at is not None]
            return charts_of(run, acted)
    return None


def _takes(conn: Connection, incident: Incident, timeline: Timeline, visitor: Visitor) -> Takes | None:
    if incident.state.closed:
        return None
    holder = people.holder_of(conn, incident.id)
    has = holder.text if holder is not None and timeline.called is None else ""
    said_no = timeline.answer is not None and timeline.answer.answer == REJECTED
    if timeline.answer is not None and said_no and not has and timeline.run_state is RunState.REJECTED:
        has = f"{timeline.answer.by}, who rejected its plan"
    return Takes(
        has, "" if visitor.may(Scope.OPERATE) else f"{visitor.principal.name} lacks the scope operate"
    )


def question(conn: Connection, services: Services, incident: Incident, visitor: Visitor) -> Question | None:
    """What waits for an answer about this incident, or was approved and has not begun; None when nothing does."""
    run = counts.live_of(conn, incident.id)
    if run is None or run.state is not RunState.WAITING or run.answer == REJECTED:
        return None
    rule = Rule.from_json(run.settings["rule"])
    return Question(
        run.id,
        incident.id,
        run.target_key,
        incident.alertname or run.remediation,
        run.remediation,
        run.step.why,
        deeds(run.step),
        run.plan_hash,
        run.expires_at,
        rule.approval.approvals,
        _why_not(services, run, rule, visitor),
        run.answered_by,
    )


def _why_not(services: Services, run: Run, rule: Rule, visitor: Visitor) -> str:
    if not visitor.may(Scope.OPERATE):
        return f"{visitor.principal.name} lacks the scope operate"
    approver = approvers.of_token(visitor.principal.name, services.people)
    refusal = approvers.against(approver, rule.approval, run.id)
    return refusal.message if refusal else ""


def _afterwards(conn: Connection, timeline: Timeline, visitor: Visitor) -> Afterwards | None:
    if not timeline.run_id:
        return None
    run = _run(conn, timeline.run_id)
    if run is None or not (run.state.ended or run.state is RunState.UNDOING):
        return None
    undo = may_undo(timeline)
    temporary = work.entry(conn, run.id, TEMPORARY_ENTRY)
    lasts = run.state in HELPED or reverts(run)
    keep = lasts and temporary is not None and temporary.outcome is None
    if not (undo or keep):
        return None
    done = tuple(a.summary for a in timeline.actions if a.reversible and not a.dry_run)
    refused = "" if visitor.may(Scope.OPERATE) else f"{visitor.principal.name} lacks the scope operate"
    return Afterwards(run.id, undo, keep, done, refused)


def _run(conn: Connection, run_id: str) -> Run | None:
    return runs.get(conn, run_id) if runs.known(conn, run_id) else None
