"""The tables, as one SQLAlchemy metadata for SQLite and Postgres.

Owns names, types and indexes; the migrations create exactly this (a test compares them). Called by every module of the
store. Executes nothing but, where a schema is made from the metadata, its guards.

Three rules keep inserts as cheap at five million alerts as at none:
- keys of big tables begin with a time (episode key, ids of the Ids port) or a page of the audit trail (`app.store.audit`),
  so new rows land at one end of every index;
- what is looked up on the way in (open incidents, live runs, unsent messages) has a partial index over the few
  open rows only;
- no foreign keys: each would be a look-up per row, and pruning deletes in bounded batches that cross the references.

Times are microseconds since the epoch, JSON is canonical text (never queried inside, hashed in the audit trail).
"""

from __future__ import annotations

from sqlalchemy import Column, ColumnElement, Index, Integer, MetaData, Table, and_, event, literal_column

from app.store import guards
from app.store.columns import (
    EMPTY,
    ROW_NUMBER,
    big_column,
    count_column,
    flag_column,
    maybe_page,
    maybe_text,
    maybe_time,
    page_column,
    partial_index,
    text_column,
    time_column,
)

metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"},
)
deliveries = Table(
    "deliveries",
    metadata,
    text_column("id", primary_key=True),
    text_column("source"),
    time_column("received_at"),
    text_column("sender"),
    text_column("group_key"),
    text_column("dedupe_key"),
    text_column("body_digest"),
    text_column("note"),
    count_column("alerts"),
    count_column("rejected"),
    count_column("truncated"),
    text_column("incident_ids"),
    text_column("run_ids"),
    sqlite_with_rowid=False,  # one tree instead of two: the key is the row's place
)
# Conditions of partial indexes stand here as constants, and queries repeat them word for word: SQLite uses such an index
# only when it sees its condition, and a bound parameter hides it.
HAS_DEDUPE_KEY = deliveries.c.dedupe_key != EMPTY
partial_index(
    "uq_deliveries_dedupe", deliveries.c.source, deliveries.c.dedupe_key, where=HAS_DEDUPE_KEY, unique=True
)

rejected_alerts = Table(
    "rejected_alerts",
    metadata,
    text_column("delivery_id", primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    text_column("code"),
    text_column("place"),
    text_column("reason"),
    text_column("raw"),
)

episodes = Table(
    "episodes",
    metadata,
    text_column("key", primary_key=True),
    text_column("source"),
    text_column("fingerprint"),
    text_column("labels"),
    text_column("annotations"),
    text_column("generator_url"),
    text_column("status"),
    time_column("starts_at"),
    maybe_time("ends_at"),
    time_column("first_seen"),
    time_column("last_seen"),
    count_column("seen"),
    count_column("late"),
    maybe_text("incident_id"),
    page_column("page"),
    sqlite_with_rowid=False,
)
Index("ix_episodes_incident", episodes.c.page, episodes.c.incident_id, episodes.c.status)
STRAY = episodes.c.incident_id.is_(None)
partial_index("ix_episodes_stray", episodes.c.last_seen, where=STRAY)

incidents = Table(
    "incidents",
    metadata,
    text_column("id", primary_key=True),
    text_column("key"),
    text_column("state"),
    text_column("alertname"),
    text_column("namespace"),
    text_column("severity"),
    maybe_text("target_key"),
    text_column("title"),
    time_column("opened_at"),
    time_column("updated_at"),
    maybe_time("closed_at"),
    maybe_time("due_at"),
    maybe_text("claimed_by"),
    maybe_time("claimed_until"),
    maybe_text("merged_into"),
    text_column("thread_channel"),
    text_column("thread_ts"),
    maybe_text("manual"),
    maybe_time("decided_at"),
    page_column("page"),
    maybe_page("last_page"),
)
OPEN = incidents.c.closed_at.is_(None)
CLOSED = incidents.c.closed_at.is_not(None)
partial_index("uq_incidents_open_key", incidents.c.key, where=OPEN, unique=True)
partial_index("ix_incidents_due", incidents.c.due_at, where=incidents.c.due_at.is_not(None))
partial_index(
    "ix_incidents_open_target",
    incidents.c.target_key,
    where=and_(OPEN, incidents.c.target_key.is_not(None)),
)
partial_index(
    "ix_incidents_target",
    incidents.c.target_key,
    incidents.c.opened_at,
    where=incidents.c.target_key.is_not(None),
)
partial_index("ix_incidents_closed", incidents.c.closed_at, where=CLOSED)
partial_index("ix_incidents_open", incidents.c.state, incidents.c.id, where=OPEN)
HELD = incidents.c.claimed_by.is_not(None)
partial_index("ix_incidents_held", incidents.c.claimed_by, where=HELD)
Index("ix_incidents_state", incidents.c.state, incidents.c.id)
Index("ix_incidents_opened", incidents.c.opened_at)

decisions = Table(
    "decisions",
    metadata,
    text_column("id", primary_key=True),
    text_column("incident_id"),
    maybe_text("run_id"),
    time_column("at"),
    text_column("body"),
    Column("number", Integer, nullable=True),
)
Index("ix_decisions_incident", decisions.c.incident_id, decisions.c.at)

runs = Table(
    "runs",
    metadata,
    text_column("id", primary_key=True),
    text_column("incident_id"),
    text_column("rule"),
    text_column("remediation"),
    text_column("mode"),
    text_column("target_key"),
    text_column("state"),
    text_column("step"),
    count_column("step_index"),
    text_column("plan_hash"),
    text_column("settings"),
    text_column("params"),
    flag_column("dry_run"),
    time_column("requested_at"),
    time_column("updated_at"),
    maybe_time("ended_at"),
    maybe_time("expires_at"),
    text_column("answered_by"),
    text_column("answer"),
    text_column("result"),
    count_column("attempt"),
    text_column("waits_for"),
    maybe_time("due_at"),
    maybe_text("claimed_by"),
    maybe_time("claimed_until"),
    text_column("workflow"),
    text_column("life"),
)
LIVE = runs.c.ended_at.is_(None)
RUN_DUE = runs.c.due_at.is_not(None)
_LATER = runs.c.step_index > literal_column("0")  # a plan that waits for its first answer holds no target
AT_WORK = LIVE & ((runs.c.state != literal_column("'waiting'")) | _LATER)
partial_index("uq_runs_at_work_target", runs.c.target_key, where=AT_WORK, unique=True)
partial_index("ix_runs_due", runs.c.due_at, where=RUN_DUE)
# With the column of its condition: SQLite would rather read all of a wider index that has it.
partial_index("ix_runs_live", runs.c.ended_at, runs.c.target_key, where=LIVE)
DRIVEN = runs.c.claimed_by.is_not(None)
partial_index("ix_runs_driven", runs.c.claimed_by, where=DRIVEN)
Index("ix_runs_incident", runs.c.incident_id)
Index("ix_runs_remediation", runs.c.remediation, runs.c.target_key)
Index("ix_runs_target", runs.c.target_key, runs.c.remediation, runs.c.ended_at)

run_journal = Table(
    "run_journal",
    metadata,
    text_column("run_id", primary_key=True),
    text_column("name", primary_key=True),
    text_column("intent"),
    maybe_text("outcome"),
    time_column("begun_at"),
    maybe_time("ended_at"),
)

pre_images = Table(
    "pre_images",
    metadata,
    text_column("run_id", primary_key=True),
    Column("step_index", Integer, primary_key=True, autoincrement=False),
    Column("action_index", Integer, primary_key=True, autoincrement=False),
    text_column("coding"),
    text_column("body"),
)

installation = Table("installation", metadata, text_column("name", primary_key=True), text_column("value"))

run_approvals = Table(
    "run_approvals",
    metadata,
    text_column("run_id", primary_key=True),
    Column("step_index", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    text_column("answer"),
    text_column("given_by"),
    text_column("plan_hash"),
    time_column("at"),
)

clicks = Table("clicks", metadata, text_column("id", primary_key=True), time_column("at"))
Index("ix_clicks_at", clicks.c.at)

ledger = Table(
    "ledger",
    metadata,
    text_column("run_id", primary_key=True),
    Column("step_index", Integer, primary_key=True, autoincrement=False),
    text_column("scope", primary_key=True),
    time_column("at"),
    maybe_time("released_at"),
    flag_column("spent"),
)
Index("ix_ledger_scope", ledger.c.scope, ledger.c.at)

pauses = Table(
    "pauses",
    metadata,
    text_column("id", primary_key=True),
    text_column("scope"),
    text_column("reason"),
    text_column("author"),
    time_column("set_at"),
    maybe_time("until"),
    maybe_time("lifted_at"),
    text_column("lifted_by"),
    maybe_text("remediation"),
)
IN_FORCE = pauses.c.lifted_at.is_(None)
LIFTED = pauses.c.lifted_at.is_not(None)
partial_index("ix_pauses_lifted", pauses.c.lifted_at, where=LIFTED)
partial_index("uq_pauses_in_force", pauses.c.scope, where=IN_FORCE, unique=True)

trust_levels = Table(
    "trust_levels",
    metadata,
    text_column("key", primary_key=True),
    text_column("alertname"),
    text_column("remediation"),
    text_column("target_class"),
    text_column("rule"),
    text_column("level"),
    count_column("successes"),
    count_column("trials"),
    time_column("since"),
    text_column("why"),
    maybe_time("asked_at"),
    text_column("agreed"),
    text_column("incident_id"),
    text_column("run_id"),
    time_column("updated_at"),
)
Index("ix_trust_levels_class", trust_levels.c.remediation, trust_levels.c.target_class)
Index("ix_trust_levels_updated", trust_levels.c.updated_at)

audit = Table(
    "audit",
    metadata,
    Column("seq", ROW_NUMBER, primary_key=True, autoincrement=False),
    time_column("at"),
    text_column("kind"),
    text_column("incident_id"),
    text_column("run_id"),
    text_column("actor"),
    text_column("data"),
    text_column("hash"),
    page_column("page"),
)
ABOUT_INCIDENT = audit.c.incident_id != EMPTY
ABOUT_RUN = audit.c.run_id != EMPTY
partial_index("ix_audit_incident", audit.c.page, audit.c.incident_id, where=ABOUT_INCIDENT)
partial_index("ix_audit_run", audit.c.run_id, audit.c.seq, where=ABOUT_RUN)

audit_gaps = Table(
    "audit_gaps",
    metadata,
    Column("first_seq", ROW_NUMBER, primary_key=True, autoincrement=False),
    big_column("last_seq"),
    text_column("hash"),
)

audit_chain = Table(
    "audit_chain",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    big_column("seq"),
    text_column("hash"),
    big_column("anchor_seq"),
    text_column("anchor_hash"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", ROW_NUMBER, primary_key=True, autoincrement=True),
    text_column("id"),
    text_column("incident_id"),
    text_column("kind"),
    text_column("payload"),
    text_column("state"),
    count_column("attempts"),
    time_column("created_at"),
    maybe_time("retry_at"),
    maybe_text("claimed_by"),
    maybe_time("claimed_until"),
    text_column("channel"),
    text_column("ts"),
    text_column("error"),
    text_column("digested_into"),
)
Index("uq_outbox_id", outbox.c.id, unique=True)
Index("ix_outbox_incident", outbox.c.incident_id)

UNSENT_STATES: tuple[ColumnElement[str], ...] = (literal_column("'pending'"), literal_column("'sending'"))
UNSENT = outbox.c.state.in_(UNSENT_STATES)
partial_index("ix_outbox_unsent", outbox.c.incident_id, outbox.c.seq, where=UNSENT)
partial_index("ix_outbox_queue", outbox.c.state, outbox.c.seq, where=UNSENT)
OF_NO_INCIDENT = outbox.c.incident_id == EMPTY
partial_index("ix_outbox_loose", outbox.c.created_at, where=OF_NO_INCIDENT)

samples = Table(
    "samples",
    metadata,
    text_column("target_key", primary_key=True),
    text_column("pod", primary_key=True),
    big_column("at", primary_key=True),
    big_column("memory_bytes"),
)
Index("ix_samples_at", samples.c.at)

digests = Table(
    "digests",
    metadata,
    text_column("id", primary_key=True),
    time_column("opened_at"),
    time_column("joined_at"),
    text_column("channel"),
    text_column("ts"),
    text_column("told"),
    time_column("told_at"),
    count_column("edits"),
    maybe_time("closed_at"),
)
GROWING = digests.c.closed_at.is_(None)
partial_index("ix_digests_open", digests.c.opened_at, where=GROWING)
GROWN = digests.c.closed_at.is_not(None)
partial_index("ix_digests_closed", digests.c.closed_at, where=GROWN)

digest_incidents = Table(
    "digest_incidents",
    metadata,
    text_column("incident_id", primary_key=True),
    text_column("digest_id"),
)
Index("ix_digest_incidents_digest", digest_incidents.c.digest_id)

event.listen(metadata, "after_create", lambda _metadata, connection, **_kw: guards.install_all(connection))
