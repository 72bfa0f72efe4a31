"""The tables, as one SQLAlchemy metadata for SQLite and Postgres.

Owns names, types and indexes; the migrations create exactly this (a test compares them). Called by every module of the
store. Never executes anything.

Three rules keep inserts as cheap at five million alerts as at none:
- keys of big tables begin with a time (episode key, ids of the Ids port) or a page of the audit trail (`app.store.segments`),
  so new rows land at one end of every index;
- what is looked up on the way in (open incidents, live runs, unsent messages) has a partial index over the few
  open rows only;
- no foreign keys: each would be a look-up per row, and pruning deletes in bounded batches that cross the references.

Times are microseconds since the epoch, JSON is canonical text (never queried inside, hashed in the audit trail).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    and_,
    literal_column,
)

metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"},
)
_EMPTY: ColumnElement[str] = literal_column("''")
# On SQLite only a column of the type INTEGER is the row's own number.
_ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


def _text(name: str, *, primary_key: bool = False, default: str | None = None) -> Column[str]:
    return Column(name, Text, primary_key=primary_key, nullable=False, server_default=default)


def _maybe_text(name: str) -> Column[str]:
    return Column(name, Text, nullable=True)


def _time(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _maybe_time(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=True)


def _page(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _partial(
    name: str, *columns: Column[str] | Column[int], where: ColumnElement[bool], unique: bool = False
) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


deliveries = Table(
    "deliveries",
    metadata,
    _text("id", primary_key=True),
    _text("source"),
    _time("received_at"),
    _text("sender"),
    _text("group_key"),
    _text("dedupe_key"),
    _text("body_digest"),
    _text("note"),
    _count("alerts"),
    _count("rejected"),
    _count("truncated"),
    _text("incident_ids"),
    _text("run_ids"),
    sqlite_with_rowid=False,  # one tree instead of two: the key is the row's place
)
# Conditions of partial indexes stand here as constants, and queries repeat them word for word: SQLite uses such an index
# only when it sees its condition, and a bound parameter hides it.
HAS_DEDUPE_KEY = deliveries.c.dedupe_key != _EMPTY
_partial(
    "uq_deliveries_dedupe", deliveries.c.source, deliveries.c.dedupe_key, where=HAS_DEDUPE_KEY, unique=True
)

rejected_alerts = Table(
    "rejected_alerts",
    metadata,
    _text("delivery_id", primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    _text("code"),
    _text("place"),
    _text("reason"),
    _text("raw"),
)

episodes = Table(
    "episodes",
    metadata,
    _text("key", primary_key=True),
    _text("source"),
    _text("fingerprint"),
    _text("labels"),
    _text("annotations"),
    _text("generator_url"),
    _text("status"),
    _time("starts_at"),
    _maybe_time("ends_at"),
    _time("first_seen"),
    _time("last_seen"),
    _count("seen"),
    _count("late"),
    _maybe_text("incident_id"),
    _page("page"),
    sqlite_with_rowid=False,
)
Index("ix_episodes_incident", episodes.c.page, episodes.c.incident_id, episodes.c.status)
STRAY = episodes.c.incident_id.is_(None)
_partial("ix_episodes_stray", episodes.c.last_seen, where=STRAY)

incidents = Table(
    "incidents",
    metadata,
    _text("id", primary_key=True),
    _text("key"),
    _text("state"),
    _text("alertname"),
    _text("namespace"),
    _text("severity"),
    _maybe_text("target_key"),
    _text("title"),
    _time("opened_at"),
    _time("updated_at"),
    _maybe_time("closed_at"),
    _maybe_time("due_at"),
    _maybe_text("claimed_by"),
    _maybe_time("claimed_until"),
    _maybe_text("merged_into"),
    _text("thread_channel"),
    _text("thread_ts"),
    _maybe_text("manual"),
    _maybe_time("decided_at"),
    _page("page"),
    Column("last_page", BigInteger, nullable=True),
)
OPEN = incidents.c.closed_at.is_(None)
CLOSED = incidents.c.closed_at.is_not(None)
_partial("uq_incidents_open_key", incidents.c.key, where=OPEN, unique=True)
_partial("ix_incidents_due", incidents.c.due_at, where=incidents.c.due_at.is_not(None))
_partial(
    "ix_incidents_open_target",
    incidents.c.target_key,
    where=and_(OPEN, incidents.c.target_key.is_not(None)),
)
_partial("ix_incidents_closed", incidents.c.closed_at, where=CLOSED)
Index("ix_incidents_state", incidents.c.state, incidents.c.id)
Index("ix_incidents_opened", incidents.c.opened_at)

decisions = Table(
    "decisions",
    metadata,
    _text("id", primary_key=True),
    _text("incident_id"),
    _maybe_text("run_id"),
    _time("at"),
    _text("body"),
)
Index("ix_decisions_incident", decisions.c.incident_id, decisions.c.at)

runs = Table(
    "runs",
    metadata,
    _text("id", primary_key=True),
    _text("incident_id"),
    _text("rule"),
    _text("remediation"),
    _text("mode"),
    _text("target_key"),
    _text("state"),
    _text("step"),
    _count("step_index"),
    _text("plan_hash"),
    _text("settings"),
    _text("params"),
    _flag("dry_run"),
    _time("requested_at"),
    _time("updated_at"),
    _maybe_time("ended_at"),
    _maybe_time("expires_at"),
    _text("answered_by"),
    _text("answer"),
    _text("result"),
    _count("attempt"),
    _text("waits_for"),
    _maybe_time("due_at"),
    _maybe_text("claimed_by"),
    _maybe_time("claimed_until"),
    _text("workflow"),
    _text("life"),
)
LIVE = runs.c.ended_at.is_(None)
RUN_DUE = runs.c.due_at.is_not(None)
_partial("uq_runs_live_target", runs.c.target_key, where=LIVE, unique=True)
_partial("ix_runs_due", runs.c.due_at, where=RUN_DUE)
Index("ix_runs_incident", runs.c.incident_id)
Index("ix_runs_target", runs.c.target_key, runs.c.remediation, runs.c.ended_at)

run_journal = Table(
    "run_journal",
    metadata,
    _text("run_id", primary_key=True),
    _text("name", primary_key=True),
    _text("intent"),
    _maybe_text("outcome"),
    _time("begun_at"),
    _maybe_time("ended_at"),
)

pre_images = Table(
    "pre_images",
    metadata,
    _text("run_id", primary_key=True),
    Column("step_index", Integer, primary_key=True, autoincrement=False),
    Column("action_index", Integer, primary_key=True, autoincrement=False),
    _text("coding"),
    _text("body"),
)

installation = Table("installation", metadata, _text("name", primary_key=True), _text("value"))

run_approvals = Table(
    "run_approvals",
    metadata,
    _text("run_id", primary_key=True),
    Column("step_index", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _text("answer"),
    _text("given_by"),
    _text("plan_hash"),
    _time("at"),
)

clicks = Table("clicks", metadata, _text("id", primary_key=True), _time("at"))
Index("ix_clicks_at", clicks.c.at)

ledger = Table(
    "ledger",
    metadata,
    _text("run_id", primary_key=True),
    Column("step_index", Integer, primary_key=True, autoincrement=False),
    _text("scope", primary_key=True),
    _time("at"),
    _maybe_time("released_at"),
    _flag("spent"),
)
Index("ix_ledger_scope", ledger.c.scope, ledger.c.at)

pauses = Table(
    "pauses",
    metadata,
    _text("id", primary_key=True),
    _text("scope"),
    _text("reason"),
    _text("author"),
    _time("set_at"),
    _maybe_time("until"),
    _maybe_time("lifted_at"),
    _text("lifted_by"),
)
IN_FORCE = pauses.c.lifted_at.is_(None)
_partial("uq_pauses_in_force", pauses.c.scope, where=IN_FORCE, unique=True)

trust_levels = Table(
    "trust_levels",
    metadata,
    _text("key", primary_key=True),
    _text("alertname"),
    _text("remediation"),
    _text("target_class"),
    _text("rule"),
    _text("level"),
    _count("successes"),
    _count("trials"),
    _time("since"),
    _text("why"),
    _maybe_time("asked_at"),
    _text("agreed"),
    _text("incident_id"),
    _text("run_id"),
    _time("updated_at"),
)
Index("ix_trust_levels_class", trust_levels.c.remediation, trust_levels.c.target_class)

audit = Table(
    "audit",
    metadata,
    Column("seq", _ROW_NUMBER, primary_key=True, autoincrement=False),
    _time("at"),
    _text("kind"),
    _text("incident_id"),
    _text("run_id"),
    _text("actor"),
    _text("data"),
    _text("hash"),
    _page("page"),
)
ABOUT_INCIDENT = audit.c.incident_id != _EMPTY
ABOUT_RUN = audit.c.run_id != _EMPTY
_partial("ix_audit_incident", audit.c.page, audit.c.incident_id, where=ABOUT_INCIDENT)
_partial("ix_audit_run", audit.c.run_id, audit.c.seq, where=ABOUT_RUN)

audit_chain = Table(
    "audit_chain",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    _text("hash"),
    Column("anchor_seq", BigInteger, nullable=False),
    _text("anchor_hash"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _ROW_NUMBER, primary_key=True, autoincrement=True),
    _text("id"),
    _text("incident_id"),
    _text("kind"),
    _text("payload"),
    _text("state"),
    _count("attempts"),
    _time("created_at"),
    _maybe_time("retry_at"),
    _maybe_text("claimed_by"),
    _maybe_time("claimed_until"),
    _text("channel"),
    _text("ts"),
    _text("error"),
    _text("digested_into"),
)
Index("uq_outbox_id", outbox.c.id, unique=True)
Index("ix_outbox_incident", outbox.c.incident_id)
UNSENT_STATES: tuple[ColumnElement[str], ...] = (literal_column("'pending'"), literal_column("'sending'"))
UNSENT = outbox.c.state.in_(UNSENT_STATES)
_partial("ix_outbox_unsent", outbox.c.incident_id, outbox.c.seq, where=UNSENT)

samples = Table(
    "samples",
    metadata,
    _text("target_key", primary_key=True),
    _text("pod", primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("memory_bytes", BigInteger, nullable=False),
)
Index("ix_samples_at", samples.c.at)

digests = Table(
    "digests",
    metadata,
    _text("id", primary_key=True),
    _time("opened_at"),
    _time("joined_at"),
    _text("channel"),
    _text("ts"),
    _text("told"),
    _time("told_at"),
    _count("edits"),
    _maybe_time("closed_at"),
)
GROWING = digests.c.closed_at.is_(None)
_partial("ix_digests_open", digests.c.opened_at, where=GROWING)

digest_incidents = Table(
    "digest_incidents",
    metadata,
    _text("incident_id", primary_key=True),
    _text("digest_id"),
)
Index("ix_digest_incidents_digest", digest_incidents.c.digest_id)
