"""Work under way: who is at work on what, which budget it has reserved, each step's intent and outcome, each decision with its trace.

Never decides, never judges who is gone, and never knows a limit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Table,
    Text,
    bindparam,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from app.domain.copies import HeldDatabase, databases_of
from app.domain.errors import Missing
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.domain.plan import Action, Step, touched
from app.domain.target import WORKLOAD_KINDS, Target
from app.store.connection import micros, moment, moment_or_none, object_or_none, storable, to_json, to_text
from app.store.schema import (
    AT_WORK,
    DRIVEN,
    HELD,
    OPEN,
    UNSENT,
    decisions,
    incidents,
    ledger,
    outbox,
    run_journal,
    runs,
)
from app.store.tx import Tx

# Claims: who is at work on what. The one mechanism for incidents that are decided, runs that are driven and messages
# that are sent: a row names its holder and until when. A claim that has run out is nobody's.
#
# Called by `incidents`, `runs` and `outbox`, by the service at its start and, on Postgres, when other replicas are
# gone. Never judges who is gone, and never takes a row for anybody.

_AT_WORK = (
    select(runs.c.id, runs.c.target_key, runs.c.step)
    .where(AT_WORK, runs.c.id != bindparam("run"))
    .order_by(runs.c.id)
)

FREE: Final = MappingProxyType({"claimed_by": None, "claimed_until": None})
"""Column values of a row that nobody holds."""

_SENDING = (UNSENT, outbox.c.state == "sending")


def is_free(table: Table, now: int | BindParameter[int]) -> ColumnElement[bool]:
    """Nobody holds the row; `now` in microseconds, or the parameter that stands for it."""
    return or_(table.c.claimed_until.is_(None), table.c.claimed_until <= now)


def held_by_other(row: Row[Any], owner: str, now: int) -> bool:
    """Somebody other than `owner` holds it."""
    return row.claimed_until is not None and row.claimed_until > now and row.claimed_by != owner


def claim_values(tx: Tx, owner: str, lease: timedelta) -> dict[str, Any]:
    """Column values of a row that `owner` holds from now on for `lease`."""
    return {"claimed_by": owner, "claimed_until": tx.stamp + lease // timedelta(microseconds=1)}


def claim_holders(conn: Connection, own: str) -> tuple[str, ...]:
    """Replicas other than `own` that hold a claim, sorted."""
    deciding = conn.execute(select(incidents.c.claimed_by).distinct().where(HELD)).scalars()
    driving = conn.execute(select(runs.c.claimed_by).distinct().where(DRIVEN)).scalars()
    sending = conn.execute(select(outbox.c.claimed_by).distinct().where(*_SENDING)).scalars()
    # Messages are claimed under the replica's name and the number of its start.
    names = {*deciding, *driving, *(owner.rpartition("/")[0] for owner in sending if owner)}
    return tuple(sorted(names - {own, None}))


def free_claims(tx: Tx, replica: str) -> None:
    """End what this replica holds now: its incidents and runs are due, and whether its messages went out is looked up."""
    for table in (incidents, runs):
        tx.conn.execute(update(table).where(table.c.claimed_by == replica).values(**FREE, due_at=tx.stamp))
    mine = outbox.c.claimed_by.startswith(f"{replica}/", autoescape=True)
    tx.conn.execute(update(outbox).where(*_SENDING, mine).values(claimed_until=tx.stamp))


def wake_on(tx: Tx, target_key: str) -> None:
    """Have what waits for the end of a run on this target looked at again now; also what is being decided for the first time."""
    waits = [IncidentState.REFUSED.value, IncidentState.OPEN.value]
    own = (OPEN, incidents.c.target_key == target_key, incidents.c.state.in_(waits))
    tx.conn.execute(update(incidents).where(*own).values(due_at=tx.stamp))


def wake_one(tx: Tx, incident_id: str) -> None:
    """Have this open incident looked at again now."""
    tx.conn.execute(update(incidents).where(OPEN, incidents.c.id == incident_id).values(due_at=tx.stamp))


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


# The ledger: budgets and limits as reservations, shared by all rules and replicas.
#
# A reservation is made in the same transaction as the decision that needs it and counts as spent from then on, unless
# the run never acted and gives it back. Called by the flow; `runs.move` releases. Never knows a limit.

LOCK = 7_136_094_402
"""Key of the Postgres advisory lock under which counting and reserving are one step."""


_RESERVED = select(ledger.c.scope).where(
    ledger.c.run_id == bindparam("run"), ledger.c.step_index == bindparam("step")
)
_RESERVE = insert(ledger)


def lock_ledger(tx: Tx) -> None:
    """Until this transaction ends nobody else counts and reserves. SQLite's one writer needs nothing."""
    if tx.postgres:
        tx.conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def reserve(tx: Tx, run_id: str, step_index: int, scopes: Sequence[str]) -> None:
    """Reserve one action per scope for this step of the run; a repeat reserves nothing more."""
    have = set(tx.conn.execute(_RESERVED, {"run": run_id, "step": step_index}).scalars())
    rows = [
        {
            "run_id": run_id,
            "step_index": step_index,
            "scope": scope,
            "at": tx.stamp,
            "released_at": None,
            "spent": True,
        }
        for scope in dict.fromkeys(scopes)
        if scope not in have
    ]
    if rows:
        tx.conn.execute(_RESERVE, rows)


def give_back(tx: Tx, run_id: str, step_index: int) -> None:
    """The step never acted: its reservations count no more."""
    _update(tx, run_id, {"spent": False, "released_at": tx.stamp}, ledger.c.step_index == step_index)


def release_reservations(tx: Tx, run_id: str) -> None:
    """The run has ended; what it spent stays spent until it leaves the window."""
    _update(tx, run_id, {"released_at": tx.stamp}, ledger.c.released_at.is_(None))


def spent_since(conn: Connection, scope: str, since: datetime) -> int:
    """Reservations of the scope made at or after `since` and not given back."""
    return int(conn.execute(select(func.count()).where(*_spent(scope, since))).scalar() or 0)


def _spent(scope: str, since: datetime) -> list[Any]:
    return [ledger.c.scope == scope, ledger.c.at >= micros(since), ledger.c.spent.is_(True)]


def _update(tx: Tx, run_id: str, values: dict[str, Any], *where: Any) -> None:
    tx.conn.execute(update(ledger).where(ledger.c.run_id == run_id, *where).values(values))


# Decisions: every word on every incident, with its whole trace, kept as it was spoken.
#
# Called by the flow to put, by explain, web and command line to read. Never decides and never changes one.


# A decision's number among those of its incident only grows, whatever the clock does. None: an older version wrote it down, and
# before those with a number.
NEWEST_FIRST: Final = (decisions.c.number.desc().nulls_last(), decisions.c.at.desc(), decisions.c.id.desc())


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """One decision. `body` is `Decision.to_json()` and whatever the flow keeps beside it."""

    id: str
    incident_id: str
    run_id: str | None
    at: datetime
    body: Mapping[str, Any]


_KNOWN = select(decisions.c.id).where(decisions.c.id == bindparam("decision"))
_EARLIER = decisions.alias()
_NUMBER = select(func.count() + 1).where(_EARLIER.c.incident_id == bindparam("of", type_=Text()))
PUT_DECISION: Final = insert(decisions).values(number=_NUMBER.scalar_subquery())
"""One decision, or several of different incidents; `of` is its incident once more."""
_MARK = update(incidents).where(incidents.c.id == bindparam("incident"))


def put_decision(
    tx: Tx, decision_id: str, incident_id: str, run_id: str | None, body: Mapping[str, Any]
) -> bool:
    """Keep a decision, mark its incident as decided, and append it to the audit trail; False when it is kept already."""
    if tx.conn.execute(_KNOWN, {"decision": decision_id}).scalar() is not None:
        return False
    row = {
        "id": decision_id,
        "incident_id": incident_id,
        "of": incident_id,
        "run_id": run_id,
        "at": tx.stamp,
        "body": to_text(dict(body)),
    }
    tx.conn.execute(PUT_DECISION, row)
    tx.conn.execute(_MARK, {"incident": incident_id, "decided_at": tx.stamp})
    data = {**body, "decision": decision_id}
    tx.audit(EventKind.DECIDED, incident_id=incident_id, run_id=run_id or "", data=data)
    return True


def latest_decision(conn: Connection, incident_id: str) -> StoredDecision | None:
    """The last decision on the incident."""
    found = _query(conn, incident_id, 1)
    return found[0] if found else None


def decisions_of(conn: Connection, incident_id: str, limit: int = 1_000) -> list[StoredDecision]:
    """Decisions on the incident, newest first."""
    return _query(conn, incident_id, limit)


def _query(conn: Connection, incident_id: str, limit: int) -> list[StoredDecision]:
    query = (
        select(decisions).where(decisions.c.incident_id == incident_id).order_by(*NEWEST_FIRST).limit(limit)
    )
    return [decision_from(row) for row in conn.execute(query)]


def decision_from(row: Row[Any]) -> StoredDecision:
    """A row of the decisions."""
    return StoredDecision(row.id, row.incident_id, row.run_id, moment(row.at), to_json(row.body))


# Steps of a run: the intent before, the outcome after, each written once.
#
# Re-exported by `runs`. A step that has an intent and no outcome was interrupted: its caller reads the cluster before
# doing anything. Never writes audit events: what a step means is its caller's to say.


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One step. `resumed`: it had been begun before this call, so whatever it does may have happened."""

    run_id: str
    name: str
    intent: Mapping[str, Any]
    outcome: Mapping[str, Any] | None
    begun_at: datetime
    ended_at: datetime | None
    resumed: bool = True

    @property
    def generation(self) -> int:
        """The generation of the object as this write of ours left it; 0 when it is not known."""
        outcome = self.outcome or {}
        return int((outcome.get("answer") or outcome).get("generation") or 0)

    @property
    def left(self) -> Mapping[str, str]:
        """The fields of the object's spec as this write of ours left it, as keyed digests; none when it is not known."""
        outcome = self.outcome or {}
        return dict((outcome.get("answer") or outcome).get("left") or {})


# Built once: building one costs more than executing it.
_STEP = (run_journal.c.run_id == bindparam("run")) & (run_journal.c.name == bindparam("step"))
_FIND = select(run_journal).where(_STEP)
_BEGIN = insert(run_journal)
_END = update(run_journal).where(_STEP, run_journal.c.outcome.is_(None))


def begin_entry(
    tx: Tx, run_id: str, name: str, intent: Mapping[str, Any], *, anew: bool = False
) -> JournalEntry:
    """Record the intent, or return the step as it was begun before. The first intent stands, unless it is meant `anew`, as nothing of the
    former was done: then the newest before its outcome does."""
    if (found := _find(tx.conn, run_id, name)) is not None:
        if anew:
            tx.conn.execute(_END, {"run": run_id, "step": name, "intent": to_text(dict(intent))})
        return _entry(found)
    row = {"run_id": run_id, "name": name, "intent": to_text(dict(intent)), "begun_at": tx.stamp}
    tx.conn.execute(_BEGIN, row)
    return JournalEntry(run_id, name, dict(intent), None, tx.now, None, resumed=False)


def end_entry(tx: Tx, run_id: str, name: str, outcome: Mapping[str, Any]) -> JournalEntry:
    """Record the outcome and return the step; the first outcome stands. Raises Missing when it was never begun."""
    ended = {"outcome": object_or_none(dict(outcome)), "ended_at": tx.stamp}
    tx.conn.execute(_END, {"run": run_id, "step": name, **ended})
    if (row := _find(tx.conn, run_id, name)) is None:
        raise Missing("no such step", where=f"{run_id}/{name}")
    return _entry(row)


def entry(conn: Connection, run_id: str, name: str) -> JournalEntry | None:
    """One step of a run."""
    row = _find(conn, run_id, name)
    return None if row is None else _entry(row)


def entries(conn: Connection, run_id: str) -> list[JournalEntry]:
    """All steps of a run in the order they were begun."""
    query = (
        select(run_journal)
        .where(run_journal.c.run_id == run_id)
        .order_by(run_journal.c.begun_at, run_journal.c.name)
    )
    return [_entry(row) for row in conn.execute(query)]


def entries_on(conn: Connection, target_key: str, kind: str) -> list[JournalEntry]:
    """Steps of all remembered runs on a target that meant an action of this kind, oldest first."""
    return _meant(conn, runs.c.target_key == target_key, kind)


def entries_in(
    conn: Connection, namespace: str, remediations: Collection[str], kind: str
) -> list[JournalEntry]:
    """Steps of all remembered runs of these remediations on targets of a namespace that meant an action of this kind, oldest
    first."""
    inside = runs.c.target_key.startswith(f"{namespace}/", autoescape=True)
    return _meant(conn, runs.c.remediation.in_(remediations) & inside, kind)


def _meant(conn: Connection, which: ColumnElement[bool], kind: str) -> list[JournalEntry]:
    query = (
        select(run_journal)
        .join(runs, runs.c.id == run_journal.c.run_id)
        .where(which, run_journal.c.intent.contains(kind, autoescape=True))
        .order_by(run_journal.c.begun_at, run_journal.c.name)
    )
    found = [_entry(row) for row in conn.execute(query)]
    return [one for one in found if one.intent.get("kind") == kind]


def _find(conn: Connection, run_id: str, name: str) -> Row[Any] | None:
    return conn.execute(_FIND, {"run": run_id, "step": name}).one_or_none()


def _entry(row: Row[Any]) -> JournalEntry:
    outcome = None if row.outcome is None else to_json(row.outcome)
    return JournalEntry(
        row.run_id, row.name, to_json(row.intent), outcome, moment(row.begun_at), moment_or_none(row.ended_at)
    )


def busy_with_plan(conn: Connection, target_key: str, actions: Sequence[Action], *, excluding: str) -> str:
    """`busy_with_any` for all that these actions on the target would write."""
    written = (Target.parse(target_key), *touched(actions))
    return busy_with_any(conn, written, databases_of(actions), excluding=excluding)


def busy_with_any(
    conn: Connection, written: Sequence[Target], databases: Collection[HeldDatabase], *, excluding: str
) -> str:
    """Id of another run at work on what is `written`, the first of which is the target, or on what may be one of these databases, whatever
    its own target is; empty when there is none. Two may work in two databases of one server: what is behind both is neither's alone."""
    own, objects = (
        {one.key for one in written},
        {one.key for one in written if one.kind not in WORKLOAD_KINDS},
    )
    for row in conn.execute(_AT_WORK, {"run": excluding}):
        actions = Step.from_json(to_json(row.step)).actions
        theirs = {one.key for one in touched(actions)}
        if row.target_key in own or written[0].key in theirs or objects & theirs:
            return str(row.id)
        if any(one.may_be(ours) for one in databases_of(actions) for ours in databases):
            return str(row.id)
    return ""
