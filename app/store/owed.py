"""Owed: the one definition of what is still due of an incident that counts as over, and of what hangs on no incident.

Used by `retention`: nothing of this may go. What comes to be owed anew (an end that falls due, a question, a page) is added here, in the
list of `of_incident`. Conditions only: never executes anything.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import Text

from app.domain.alert import AlertStatus, Source
from app.domain.outcome import IncidentState, RunState
from app.domain.workflows import TEMPORARY_ENTRY
from app.store.audit import episodes_of_all
from app.store.escalations import LIVE as ASKED
from app.store.escalations import ROUND, escalations
from app.store.schema import (
    LIVE,
    OF_NO_INCIDENT,
    OPEN,
    RUN_DUE,
    UNSENT,
    digests,
    episodes,
    incidents,
    outbox,
    run_journal,
    runs,
    trust_levels,
)

_OVER = [state.value for state in IncidentState if state.closed]


class _Before(ColumnElement[str]):
    """The part of a text before the first mark, or all of it."""

    inherit_cache = False
    type = Text()

    def __init__(self, text: ColumnElement[str], mark: str) -> None:
        self.text, self.mark = text, mark


@compiles(_Before, "sqlite")
def _before_sqlite(element: _Before, compiler: SQLCompiler, **kw: Any) -> str:
    text, mark = compiler.process(element.text, **kw), element.mark
    return f"substr({text}, 1, instr({text} || '{mark}', '{mark}') - 1)"


@compiles(_Before, "postgresql")
def _before_postgresql(element: _Before, compiler: SQLCompiler, **kw: Any) -> str:
    return f"split_part({compiler.process(element.text, **kw)}, '{element.mark}', 1)"


_ABOUT = _Before(_Before(outbox.c.id, ":"), ROUND)
"""What a message of no incident is about: its id begins with that of an incident or of a storm's digest, or of a round of either."""


def of_incident(counted_since: int) -> ColumnElement[bool]:
    """Something of the incident is not over, whatever its own row says. `counted_since`, in microseconds: what limits of the policy still
    count."""
    mine = runs.c.incident_id == incidents.c.id
    other = incidents.alias("other")
    of_run = select(run_journal.c.run_id).where(
        run_journal.c.run_id == runs.c.id,
        run_journal.c.name == TEMPORARY_ENTRY,
        run_journal.c.outcome.is_(None),
    )
    return or_(
        # A run that goes on: it acts, verifies, takes back, or waits for an approval.
        exists().where(mine, LIVE),
        # One that is over and comes back: its temporary change ends, or nobody has said how that ended.
        exists().where(mine, RUN_DUE),
        exists().where(mine, of_run.exists()),
        # One whose undo failed: it can be ordered again, with the values from before.
        exists().where(mine, runs.c.state == RunState.STUCK.value),
        # What it has spent still counts, by budgets, limits and cooldowns.
        exists().where(mine, runs.c.updated_at >= counted_since),
        # A closed incident that needs a person after all, while a newer one has its place.
        incidents.c.state.not_in(_OVER),
        # People are asked for it, or for a storm that began with it: its page and its public entry are open.
        exists().where(
            ASKED, or_(escalations.c.incident_id == incidents.c.id, escalations.c.subject == incidents.c.id)
        ),
        # Something is not said yet: in its thread, to PagerDuty or on the status page.
        exists().where(outbox.c.incident_id == incidents.c.id, UNSENT),
        incidents.c.id.in_(select(_ABOUT).where(OF_NO_INCIDENT, UNSENT)),
        # A promotion waits for an answer in its thread.
        exists().where(trust_levels.c.incident_id == incidents.c.id, trust_levels.c.asked_at.is_not(None)),
        # It was merged, and is part of the story of the one that it joined.
        exists().where(other.c.id == incidents.c.merged_into),
    )


def of_message() -> ColumnElement[bool]:
    """A message of no incident that is not out, or by which is known what was told elsewhere of what is still here: which page and which
    public entry are open."""
    here = select(incidents.c.id).where(incidents.c.id == _ABOUT)
    storm = select(escalations.c.id).where(ASKED, escalations.c.subject == _ABOUT)
    return or_(UNSENT, here.exists(), storm.exists())


def of_digest() -> ColumnElement[bool]:
    """People are asked for the storm that the digest tells."""
    return exists().where(ASKED, escalations.c.subject == digests.c.id)


def taken_alerts(conn: Connection, before: int) -> list[str]:
    """Fingerprints of PagerDuty's incidents that fire and whose incident of ours is open since before then: whoever took one of them still
    has it."""
    long_open = list(
        conn.execute(select(incidents.c.id).where(OPEN, incidents.c.opened_at < before)).scalars()
    )
    if not long_open:
        return []
    fires = and_(episodes.c.source == Source.PAGERDUTY.value, episodes.c.status == AlertStatus.FIRING.value)
    query = select(episodes.c.fingerprint).where(episodes_of_all(conn, long_open), fires)
    return list(conn.execute(query).scalars())
