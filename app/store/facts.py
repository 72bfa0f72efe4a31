"""Counts and look-ups that the gates and the chapters of a run ask for, with the asking run's own traces left out.

Reads only, but for `renew`. Called by the flow inside its transactions. Never judges what it counts.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Connection, Integer, Text, bindparam, func, or_, select, update

from app.domain.alert import AlertStatus
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.store import runs as run_store
from app.store.encoding import micros, micros_or_none, moment, moment_or_none, storable, to_text
from app.store.runs import Run
from app.store.schema import AT_WORK, LIVE, OPEN, episodes, incidents, ledger, run_journal, runs
from app.store.segments import EPISODES_OF, episodes_of
from app.store.tx import Tx

# What every decision and every second look asks for is built once: building a statement takes ten times as long as
# executing it, and these stand between an alert and its write.
_INCIDENT, _TARGET, _REMEDIATION, _EXCLUDED = (
    bindparam(name, type_=Text()) for name in ("incident", "target", "remediation", "excluded")
)
_SINCE = bindparam("since", type_=BigInteger())
_LIVE_OF = select(runs.c.id).where(runs.c.incident_id == _INCIDENT, LIVE)
_COUNT_OF = select(func.count()).select_from(runs).where(runs.c.incident_id == _INCIDENT)
_BUSY_WITH = select(runs.c.id).where(AT_WORK, runs.c.target_key == _TARGET, runs.c.id != _EXCLUDED)
_WAITING = (
    select(runs.c.id)
    .where(LIVE, ~AT_WORK, runs.c.target_key == _TARGET, runs.c.id != _EXCLUDED)
    .order_by(runs.c.id)
)
_IN_FLIGHT = select(func.count()).select_from(runs).where(AT_WORK, runs.c.target_key != _EXCLUDED)
_SPENT = select(func.count(), func.min(ledger.c.at)).where(
    ledger.c.scope == bindparam("scope"),
    ledger.c.at >= _SINCE,
    ledger.c.spent.is_(True),
    ~((ledger.c.run_id == bindparam("run")) & (ledger.c.step_index == bindparam("step"))),
)
_HOLDS = select(func.count()).where(
    ledger.c.run_id == bindparam("run"), ledger.c.step_index == bindparam("step"), ledger.c.spent.is_(True)
)
_LAST_ACTION = (
    select(func.max(func.coalesce(ledger.c.released_at, ledger.c.at)))
    .select_from(runs.join(ledger, ledger.c.run_id == runs.c.id))
    .where(runs.c.target_key == _TARGET, runs.c.remediation == _REMEDIATION, ledger.c.spent.is_(True))
    .where(runs.c.id != _EXCLUDED, or_(runs.c.ended_at.is_not(None), AT_WORK))
)
_RESULTS = (
    select(runs.c.state, runs.c.ended_at)
    .where(runs.c.target_key == _TARGET, runs.c.remediation == _REMEDIATION, runs.c.id != _EXCLUDED)
    .where(runs.c.ended_at.is_not(None), runs.c.dry_run.is_(False))
    .order_by(runs.c.ended_at.desc(), runs.c.id.desc())
    .limit(bindparam("most", type_=Integer()))
)
_TARGETS_SINCE = select(
    func.count(func.distinct(func.coalesce(incidents.c.target_key, incidents.c.key)))
).where(
    incidents.c.opened_at >= _SINCE,
    incidents.c.state != IncidentState.MERGED.value,
    incidents.c.manual.is_(None),
)
_LAST_SEEN = select(func.max(episodes.c.last_seen)).where(
    EPISODES_OF, episodes.c.status == AlertStatus.FIRING.value
)


def live_of(conn: Connection, incident_id: str) -> Run | None:
    """The incident's run that has not ended."""
    found = conn.execute(_LIVE_OF, {"incident": incident_id}).scalar()
    return None if found is None else run_store.get(conn, found)


def of_incident(conn: Connection, incident_id: str) -> list[Run]:
    """All runs of an incident, oldest first."""
    ids = conn.execute(
        select(runs.c.id).where(runs.c.incident_id == incident_id).order_by(runs.c.requested_at, runs.c.id)
    ).scalars()
    return [run_store.get(conn, run_id) for run_id in ids]


def count_of(conn: Connection, incident_id: str) -> int:
    """How many runs were ever requested for the incident."""
    return int(conn.execute(_COUNT_OF, {"incident": incident_id}).scalar() or 0)


def busy_with(conn: Connection, target_key: str, *, excluding: str) -> str:
    """Id of another run that is at work on the target; empty when there is none. A plan that waits for its first answer is not at
    work."""
    found = conn.execute(_BUSY_WITH, {"target": target_key, "excluded": excluding}).scalar()
    return str(found or "")


def plans_waiting(conn: Connection, target_key: str, *, excluding: str) -> tuple[str, ...]:
    """Ids of other plans for the target that wait for an answer and have written nothing."""
    found = conn.execute(_WAITING, {"target": target_key, "excluded": excluding}).scalars()
    return tuple(str(run_id) for run_id in found)


def in_flight(conn: Connection, *, excluding: str) -> int:
    """Other targets that a run is at work on."""
    return int(conn.execute(_IN_FLIGHT, {"excluded": excluding}).scalar() or 0)


def spent(
    conn: Connection, scope: str, since: datetime, *, excluding: tuple[str, int]
) -> tuple[int, datetime | None]:
    """Reservations of a scope since then, and the oldest of them, without those of `excluding` (run, step)."""
    own = {"run": excluding[0], "step": excluding[1]}
    count, oldest = conn.execute(_SPENT, {"scope": scope, "since": micros(since), **own}).one()
    return int(count), moment_or_none(oldest)


def holds(conn: Connection, run_id: str, step_index: int) -> bool:
    """The step's reservation stands."""
    return bool(conn.execute(_HOLDS, {"run": run_id, "step": step_index}).scalar())


def last_action(conn: Connection, target_key: str, remediation: str, *, excluding: str) -> datetime | None:
    """When another run of this remediation last spent something on the target; what waits for its first answer has done nothing."""
    asked = {"target": target_key, "remediation": remediation, "excluded": excluding}
    return moment_or_none(conn.execute(_LAST_ACTION, asked).scalar())


def results(
    conn: Connection, target_key: str, remediation: str, limit: int, *, excluding: str
) -> list[tuple[RunState, datetime]]:
    """How and when the last runs of this remediation on the target ended, newest first."""
    asked = {"target": target_key, "remediation": remediation, "excluded": excluding, "most": limit}
    return [(RunState(state), moment(at)) for state, at in conn.execute(_RESULTS, asked)]


def taken_over(conn: Connection, target_key: str, since: datetime) -> list[Run]:
    """Runs on the target that ended since then because somebody else changed it, oldest first."""
    query = (
        select(runs.c.id)
        .where(runs.c.target_key == target_key, runs.c.state == RunState.TAKEN_OVER.value)
        .where(runs.c.ended_at >= micros(since))
        .order_by(runs.c.ended_at, runs.c.id)
    )
    return [run_store.get(conn, run_id) for run_id in conn.execute(query).scalars()]


_MOST_ALERTS = 200
_ALERTS_ON = (
    select(incidents.c.alertname, incidents.c.opened_at, incidents.c.closed_at)
    .where(incidents.c.target_key == _TARGET, incidents.c.target_key.is_not(None))
    .where(incidents.c.opened_at >= _SINCE, incidents.c.manual.is_(None), incidents.c.merged_into.is_(None))
    .order_by(incidents.c.opened_at.desc())
    .limit(_MOST_ALERTS)
)


def alerts_on(
    conn: Connection, target_key: str, since: datetime
) -> list[tuple[str, datetime, datetime | None]]:
    """Name, opening and close of the incidents on the target that were opened since then, oldest first, at most the newest
    200."""
    rows = conn.execute(_ALERTS_ON, {"target": target_key, "since": micros(since)}).all()
    return [(str(name), moment(opened), moment_or_none(closed)) for name, opened, closed in reversed(rows)]


def targets_since(conn: Connection, since: datetime) -> int:
    """Distinct targets (or, before one is resolved, incident keys) in trouble by incidents opened since then."""
    return int(conn.execute(_TARGETS_SINCE, {"since": micros(since)}).scalar() or 0)


def last_seen(conn: Connection, incident_id: str) -> datetime | None:
    """When an alert of the incident was last said to fire."""
    return moment_or_none(conn.execute(_LAST_SEEN, episodes_of(conn, incident_id)).scalar())


def renew(tx: Tx, run_id: str, expires_at: datetime | None) -> None:
    """Give the question of a run that goes on with another step its own end."""
    tx.conn.execute(update(runs).where(runs.c.id == run_id).values(expires_at=micros_or_none(expires_at)))


def relabel(tx: Tx, incident_id: str, episode: str, labels: dict[str, str]) -> None:
    """Give an episode the labels that its sender told later; its incident takes name, namespace and severity from them."""
    tx.conn.execute(update(episodes).where(episodes.c.key == episode).values(labels=to_text(labels)))
    tx.conn.execute(
        update(incidents)
        .where(incidents.c.id == incident_id)
        .values(
            alertname=storable(labels.get("alertname", "")),
            namespace=storable(labels.get("namespace", "")),
            severity=storable(labels.get("severity", "")),
        )
    )
    tx.audit(EventKind.ALERT_ENRICHED, incident_id=incident_id, data={"episode": episode, "labels": labels})


def wake_resting(tx: Tx, *, observed: bool, limit: int | None = None, alertname: str | None = None) -> None:
    """Have refused and, if wanted, `observed` incidents (of one alert, or of all) looked at again now: something that may
    have held them back has changed. Those that are being decided too: they may have been measured before this commits.
    With `limit` only the longest open ones, so that a storm does not rush in at every run's end."""
    states = [IncidentState.REFUSED.value] + ([IncidentState.OBSERVED.value] if observed else [])
    chosen = select(incidents.c.id).where(OPEN, incidents.c.state.in_(states)).order_by(incidents.c.id)
    if alertname is not None:
        chosen = chosen.where(incidents.c.alertname == storable(alertname))
    chosen = chosen.limit(limit)
    tx.conn.execute(update(incidents).where(incidents.c.id.in_(chosen)).values(due_at=tx.stamp))


def joined_since(conn: Connection, incident_id: str, since: datetime) -> bool:
    """An alert joined the incident after this moment and fires."""
    query = (
        select(func.count())
        .select_from(episodes)
        .where(EPISODES_OF, episodes.c.first_seen > micros(since))
        .where(episodes.c.status == AlertStatus.FIRING.value)
    )
    return bool(conn.execute(query, episodes_of(conn, incident_id)).scalar())


_FIRING_ON = (
    select(incidents.c.alertname)
    .distinct()
    .where(OPEN, incidents.c.target_key == _TARGET, incidents.c.target_key.is_not(None))
    .where(incidents.c.manual.is_(None))
    .order_by(incidents.c.alertname)
)


def firing_on(conn: Connection, target_key: str) -> list[str]:
    """Names of alerts with an open incident on the target."""
    return list(conn.execute(_FIRING_ON, {"target": target_key}).scalars())


def later_temporary(conn: Connection, target_key: str, run_id: str, entry: str) -> str:
    """Another run on the target whose temporary change was granted later and is still open; empty when there is none."""
    own = run_journal.alias()
    begun = select(own.c.begun_at).where(own.c.run_id == run_id, own.c.name == entry).scalar_subquery()
    query = (
        select(runs.c.id)
        .join(run_journal, run_journal.c.run_id == runs.c.id)
        .where(runs.c.target_key == target_key, runs.c.id != run_id)
        .where(run_journal.c.name == entry, run_journal.c.outcome.is_(None), run_journal.c.begun_at > begun)
        .order_by(run_journal.c.begun_at.desc(), runs.c.id.desc())
        .limit(1)
    )
    return str(conn.execute(query).scalar() or "")
