"""Counts and look-ups that the gates and the chapters of a run ask for, with the asking run's own traces left out; memory samples.

Reads only, but for `renew`, the samples and what was watched. Called by the flow inside its transactions. Never judges what it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Text, bindparam, func, insert, or_, select, update

from app.domain.alert import AlertStatus
from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.ports import Sample
from app.store import runs as run_store
from app.store.audit import EPISODES_OF, episodes_of
from app.store.connection import micros, micros_or_none, moment, moment_or_none, storable, to_json, to_text
from app.store.driving import WAITS_HELD
from app.store.moments import WATCHED
from app.store.runs import Run
from app.store.schema import (
    ABOUT_RUN,
    AT_WORK,
    LIVE,
    OPEN,
    audit,
    episodes,
    incidents,
    installation,
    ledger,
    run_journal,
    runs,
    samples,
)
from app.store.tx import Tx

# Memory samples of pods, so that growth shows across restarts of the pod and of this service.
#
# Called by the flow. Pruned by `retention`. Never judges them.


def put_samples(tx: Tx, target_key: str, taken: Iterable[tuple[str, datetime, int]]) -> int:
    """Keep samples `(pod, at, bytes)` of a target; one of the same pod and moment is kept once. How many were new."""
    rows = {(storable(pod), micros(at)): size for pod, at, size in taken}
    if not rows:
        return 0
    first = min(at for _, at in rows)
    known = tx.conn.execute(
        select(samples.c.pod, samples.c.at).where(samples.c.target_key == target_key, samples.c.at >= first)
    )
    for pod, at in known:
        rows.pop((pod, at), None)
    if rows:
        values = [
            {"target_key": target_key, "pod": pod, "at": at, "memory_bytes": size}
            for (pod, at), size in rows.items()
        ]
        tx.conn.execute(insert(samples), values)
    return len(rows)


def samples_of(conn: Connection, target_key: str, since: datetime) -> dict[str, list[Sample]]:
    """Samples of the target at or after `since`, by pod, oldest first; values in bytes."""
    found: dict[str, list[Sample]] = {}
    query = (
        select(samples.c.pod, samples.c.at, samples.c.memory_bytes)
        .where(samples.c.target_key == target_key, samples.c.at >= micros(since))
        .order_by(samples.c.at)
    )
    for pod, at, size in conn.execute(query):
        found.setdefault(pod, []).append(Sample(moment(at), float(size)))
    return found


# What every decision and every second look asks for is built once: building a statement takes ten times as long as
# executing it, and these stand between an alert and its write.
_INCIDENT, _TARGET, _REMEDIATION, _EXCLUDED = (
    bindparam(name, type_=Text()) for name in ("incident", "target", "remediation", "excluded")
)
_SINCE = bindparam("since", type_=BigInteger())
_LIVE_OF = select(runs.c.id).where(runs.c.incident_id == _INCIDENT, LIVE)
_COUNT_OF = select(func.count()).select_from(runs).where(runs.c.incident_id == _INCIDENT)
_ONLY_ASKED = _COUNT_OF.where(
    runs.c.state == RunState.ABANDONED.value, runs.c.mode == Mode.APPROVE.value, runs.c.answer == ""
).where(runs.c.step_index == 0)
_GROUPED = timedelta(minutes=1)
_BUSY_WITH = select(runs.c.id).where(AT_WORK, runs.c.target_key == _TARGET, runs.c.id != _EXCLUDED)
_WAITING = (
    select(runs.c.id)
    .where(LIVE, ~AT_WORK, runs.c.target_key == _TARGET, runs.c.id != _EXCLUDED)
    .order_by(runs.c.id)
)
# An undo that waits for what holds it changes nothing: it keeps its target to itself and takes no place. What it waits for is taken out of its
# row before it writes.
_CHANGES = AT_WORK & ~((runs.c.state == RunState.UNDOING.value) & runs.c.waits_for.startswith(WAITS_HELD))
_IN_FLIGHT = select(func.count()).select_from(runs).where(_CHANGES, runs.c.target_key != _EXCLUDED)
# When a run began to carry something out: its first journal entry.
_BEGUN = select(func.min(run_journal.c.begun_at)).where(run_journal.c.run_id == runs.c.id).scalar_subquery()
_PLACES = select(runs.c.id, runs.c.requested_at, _BEGUN.label("begun")).where(_CHANGES)
_SPENT = select(func.count(), func.min(ledger.c.at)).where(
    ledger.c.scope == bindparam("scope"),
    ledger.c.at
    > _SINCE,  # what is as old as the window has left it, as the moment says at which it is tried again
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


def written_at(conn: Connection, target_key: str, since: datetime) -> tuple[datetime, ...]:
    """When this service wrote to the target, by its own clock, from `since` on: its actions and undos that have ended."""
    query = (
        select(run_journal.c.intent, run_journal.c.ended_at)
        .select_from(runs.join(run_journal, run_journal.c.run_id == runs.c.id))
        .where(runs.c.target_key == target_key, run_journal.c.ended_at >= micros(since))
    )
    writes = ("action", "undo")
    return tuple(moment(at) for intent, at in conn.execute(query) if to_json(intent).get("entry") in writes)


def live_of(conn: Connection, incident_id: str) -> Run | None:
    """The incident's run that has not ended."""
    found = conn.execute(_LIVE_OF, {"incident": incident_id}).scalar()
    return None if found is None else run_store.get(conn, found)


def of_incident(conn: Connection, incident_id: str) -> list[Run]:
    """All runs of an incident, oldest first."""
    ids = conn.execute(
        select(runs.c.id)
        .where(runs.c.incident_id == incident_id)
        .order_by(func.length(runs.c.id), runs.c.id)  # the id ends with its number
    ).scalars()
    return [run_store.get(conn, run_id) for run_id in ids]


def count_of(conn: Connection, incident_id: str) -> int:
    """How many runs were ever requested for the incident."""
    return int(conn.execute(_COUNT_OF, {"incident": incident_id}).scalar() or 0)


def only_asked(conn: Connection, incident_id: str) -> int:
    """How many of them were no more than a question that was withdrawn before anybody answered it: nothing was written."""
    return int(conn.execute(_ONLY_ASKED, {"incident": incident_id}).scalar() or 0)


def busy_with(conn: Connection, target_key: str, *, excluding: str) -> str:
    """Id of another run that is at work on the target; empty when there is none. A plan that waits for its first answer is not at
    work."""
    found = conn.execute(_BUSY_WITH, {"target": target_key, "excluded": excluding}).scalar()
    return str(found or "")


def mended(
    conn: Connection, target_key: str, incident_id: str, opened: datetime
) -> tuple[str, datetime] | None:
    """Which run of another incident last ended well on the target, and when, after this one was `opened`, or within the minute before
    that a sender may take to group its alerts."""
    found = select(runs.c.id, runs.c.ended_at).where(
        runs.c.target_key == target_key,
        runs.c.incident_id != incident_id,
        runs.c.dry_run.is_(False),
        runs.c.state.in_([RunState.FIXED.value, RunState.CONTAINED.value]),
        runs.c.ended_at >= micros(opened - _GROUPED),
    )
    row = conn.execute(found.order_by(runs.c.ended_at.desc(), runs.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else (row.id, moment(row.ended_at))


def mended_at(conn: Connection, target_key: str, incident_id: str, opened: datetime) -> datetime | None:
    """When that was."""
    found = mended(conn, target_key, incident_id, opened)
    return None if found is None else found[1]


def plans_waiting(conn: Connection, target_key: str, *, excluding: str) -> tuple[str, ...]:
    """Ids of other plans for the target that wait for an answer and have written nothing."""
    found = conn.execute(_WAITING, {"target": target_key, "excluded": excluding}).scalars()
    return tuple(str(run_id) for run_id in found)


def in_flight(conn: Connection, *, excluding: str) -> int:
    """Other targets that a run is at work on."""
    return int(conn.execute(_IN_FLIGHT, {"excluded": excluding}).scalar() or 0)


def in_flight_before(conn: Connection, run_id: str) -> int:
    """Targets of the runs at work that come before this one, which is at work too: those that began to act earlier, and before it has begun
    those requested earlier. So of several that are judged at the same time the first go on."""
    found = {
        row.id: (row.begun is None, row.begun or row.requested_at, row.id) for row in conn.execute(_PLACES)
    }
    own = found.get(run_id)
    return len(found) if own is None else sum(place < own for place in found.values())


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
    """Runs that had changed the target and ended since then because somebody else changed it, oldest first; who deleted it has changed
    nothing of what has its name by now."""
    query = (
        select(runs.c.id)
        .where(runs.c.target_key == target_key, runs.c.state == RunState.TAKEN_OVER.value)
        .where(runs.c.ended_at >= micros(since))
        .order_by(runs.c.ended_at, runs.c.id)
    )
    found = [run_store.get(conn, run_id) for run_id in conn.execute(query).scalars()]
    return [run for run in found if not run.life.get("gone") and changed_something(conn, run.id)]


def written_for(conn: Connection, incident_id: str) -> bool:
    """Whether anything was, or may have been, written for the incident."""
    wrote = (run for run in of_incident(conn, incident_id) if not run.dry_run)
    return any(changed_something(conn, run.id, "unclear") for run in wrote)


def changed_something(conn: Connection, run_id: str, *also: str) -> bool:
    """Whether an action of the run has changed something, or ended in one of the results `also`."""
    results = ("applied", "partly", *also)
    return any(
        entry.intent.get("entry") == "action" and (entry.outcome or {}).get("result") in results
        for entry in run_store.entries(conn, run_id)
    )


_MAX_SPANS = 200


def watched(conn: Connection) -> list[tuple[datetime, datetime]]:
    """The spans of time in which this service ran and its senders were heard of, oldest first; none before the first is noted."""
    text = conn.execute(select(installation.c.value).where(installation.c.name == WATCHED)).scalar()
    return [(moment(begun), moment(ended)) for begun, ended in to_json(text)] if text else []


def note_watched(tx: Tx, until: datetime, gap: timedelta) -> None:
    """Alerts could be heard until then: the newest span goes on, or after a `gap` without a word another one begins."""
    spans = watched(tx.conn)
    known = bool(spans)
    if known and until <= spans[-1][1]:
        return
    if known and until - spans[-1][1] <= gap:
        spans[-1] = (spans[-1][0], until)
    else:
        spans.append((until, until))
    value = to_text([[micros(begun), micros(ended)] for begun, ended in spans[-_MAX_SPANS:]])
    if known:
        tx.conn.execute(update(installation).where(installation.c.name == WATCHED).values(value=value))
    else:
        tx.conn.execute(insert(installation).values(name=WATCHED, value=value))


_MAX_ALERTS = 200
_ALERTS_ON = (
    select(incidents.c.alertname, incidents.c.opened_at, incidents.c.closed_at)
    .where(incidents.c.target_key == _TARGET, incidents.c.target_key.is_not(None))
    .where(incidents.c.opened_at >= _SINCE, incidents.c.manual.is_(None), incidents.c.merged_into.is_(None))
    .order_by(incidents.c.opened_at.desc())
    .limit(_MAX_ALERTS)
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


def renew(
    tx: Tx, run_id: str, expires_at: datetime | None, settings: Mapping[str, Any] | None = None
) -> None:
    """Give a run's question another end, with the rule under which it has that one; None: the rule is as before."""
    changed = {"settings": to_text(dict(settings))} if settings is not None else {}
    values = {"expires_at": micros_or_none(expires_at), **changed}
    tx.conn.execute(update(runs).where(runs.c.id == run_id).values(**values))


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
    .where(incidents.c.manual.is_(None), incidents.c.id != _EXCLUDED)
    .order_by(incidents.c.alertname)
)


def firing_on(conn: Connection, target_key: str, *, but: str = "") -> list[str]:
    """Names of alerts with an open incident on the target, but for this incident."""
    return list(conn.execute(_FIRING_ON, {"target": target_key, "excluded": but}).scalars())


def later_temporary(conn: Connection, target_key: str, run_id: str, entry: str) -> str:
    """Another run on the target whose temporary change was granted later, by the audit trail, and is still open; empty when there is none."""
    granted = select(func.min(audit.c.seq)).where(
        ABOUT_RUN, audit.c.kind == EventKind.TEMPORARY_GRANTED.value
    )
    own = granted.where(audit.c.run_id == run_id).scalar_subquery()
    later = granted.where(audit.c.run_id == runs.c.id).correlate(runs).scalar_subquery()
    query = (
        select(runs.c.id)
        .join(run_journal, run_journal.c.run_id == runs.c.id)
        .where(runs.c.target_key == target_key, runs.c.id != run_id)
        .where(run_journal.c.name == entry, run_journal.c.outcome.is_(None), later > own)
        .order_by(later.desc())
        .limit(1)
    )
    return str(conn.execute(query).scalar() or "")
