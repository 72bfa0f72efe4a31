"""The tables of the first version.

Frozen: it says what this revision creates, whatever `app.store.schema` says later.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create everything."""
    _deliveries()
    _rejected_alerts()
    _episodes()
    _incidents()
    _incident_indexes()
    _decisions()
    _runs()
    _run_steps()
    _ledger()
    _pauses()
    _samples()
    _audit()
    _audit_chain()
    _outbox()


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        _text("id"),
        _text("source"),
        _big("received_at"),
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
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "uq_deliveries_dedupe",
        "deliveries",
        ["source", "dedupe_key"],
        unique=True,
        **_where("dedupe_key != ''"),
    )


def _rejected_alerts() -> None:
    op.create_table(
        "rejected_alerts",
        _text("delivery_id"),
        sa.Column("position", sa.Integer(), autoincrement=False),
        _text("code"),
        _text("place"),
        _text("reason"),
        _text("raw"),
        sa.PrimaryKeyConstraint("delivery_id", "position", name="pk_rejected_alerts"),
    )


def _episodes() -> None:
    op.create_table(
        "episodes",
        _text("key"),
        _text("source"),
        _text("fingerprint"),
        _text("labels"),
        _text("annotations"),
        _text("generator_url"),
        _text("status"),
        _big("starts_at"),
        _maybe_big("ends_at"),
        _big("first_seen"),
        _big("last_seen"),
        _count("seen"),
        _count("late"),
        _maybe_text("incident_id"),
        _big("page"),
        sa.PrimaryKeyConstraint("key", name="pk_episodes"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_episodes_incident", "episodes", ["page", "incident_id", "status"])
    op.create_index(
        "ix_episodes_stray",
        "episodes",
        ["last_seen"],
        **_where("incident_id IS NULL"),
    )


def _incidents() -> None:
    op.create_table(
        "incidents",
        _text("id"),
        _text("key"),
        _text("state"),
        _text("alertname"),
        _text("namespace"),
        _text("severity"),
        _maybe_text("target_key"),
        _text("title"),
        _big("opened_at"),
        _big("updated_at"),
        _maybe_big("closed_at"),
        _maybe_big("due_at"),
        _maybe_text("claimed_by"),
        _maybe_big("claimed_until"),
        _maybe_text("merged_into"),
        _text("thread_channel"),
        _text("thread_ts"),
        _maybe_text("manual"),
        _maybe_big("decided_at"),
        _big("page"),
        _maybe_big("last_page"),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )


def _incident_indexes() -> None:
    op.create_index(
        "ix_incidents_closed",
        "incidents",
        ["closed_at"],
        **_where("closed_at IS NOT NULL"),
    )
    op.create_index(
        "ix_incidents_due",
        "incidents",
        ["due_at"],
        **_where("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_incidents_open_target",
        "incidents",
        ["target_key"],
        **_where("closed_at IS NULL AND target_key IS NOT NULL"),
    )
    op.create_index("ix_incidents_opened", "incidents", ["opened_at"])
    op.create_index("ix_incidents_state", "incidents", ["state", "id"])
    op.create_index(
        "uq_incidents_open_key",
        "incidents",
        ["key"],
        unique=True,
        **_where("closed_at IS NULL"),
    )


def _decisions() -> None:
    op.create_table(
        "decisions",
        _text("id"),
        _text("incident_id"),
        _maybe_text("run_id"),
        _big("at"),
        _text("body"),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_incident", "decisions", ["incident_id", "at"])


def _runs() -> None:
    op.create_table(
        "runs",
        _text("id"),
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
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        _big("requested_at"),
        _big("updated_at"),
        _maybe_big("ended_at"),
        _maybe_big("expires_at"),
        _text("answered_by"),
        _text("answer"),
        _text("result"),
        _count("attempt"),
        _text("waits_for"),
        _maybe_big("due_at"),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        _maybe_big("claimed_until"),
        _text("workflow"),
        _text("life"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_incident", "runs", ["incident_id"])
    op.create_index("ix_runs_target", "runs", ["target_key", "remediation", "ended_at"])
    op.create_index(
        "ix_runs_due",
        "runs",
        ["due_at"],
        **_where("due_at IS NOT NULL"),
    )
    op.create_index(
        "uq_runs_live_target",
        "runs",
        ["target_key"],
        unique=True,
        **_where("ended_at IS NULL"),
    )


def _run_steps() -> None:
    op.create_table(
        "run_journal",
        _text("run_id"),
        _text("name"),
        _text("intent"),
        _maybe_text("outcome"),
        _big("begun_at"),
        _maybe_big("ended_at"),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_run_journal"),
    )


def _ledger() -> None:
    op.create_table(
        "ledger",
        _text("run_id"),
        sa.Column("step_index", sa.Integer(), autoincrement=False),
        _text("scope"),
        _big("at"),
        _maybe_big("released_at"),
        sa.Column("spent", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step_index", "scope", name="pk_ledger"),
    )
    op.create_index("ix_ledger_scope", "ledger", ["scope", "at"])


def _pauses() -> None:
    op.create_table(
        "pauses",
        _text("id"),
        _text("scope"),
        _text("reason"),
        _text("author"),
        _big("set_at"),
        _maybe_big("until"),
        _maybe_big("lifted_at"),
        _text("lifted_by"),
        sa.PrimaryKeyConstraint("id", name="pk_pauses"),
    )
    op.create_index(
        "uq_pauses_in_force",
        "pauses",
        ["scope"],
        unique=True,
        **_where("lifted_at IS NULL"),
    )


def _samples() -> None:
    op.create_table(
        "samples",
        _text("target_key"),
        _text("pod"),
        sa.Column("at", sa.BigInteger(), autoincrement=False),
        _big("memory_bytes"),
        sa.PrimaryKeyConstraint("target_key", "pod", "at", name="pk_samples"),
    )
    op.create_index("ix_samples_at", "samples", ["at"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", _ROW_NUMBER, autoincrement=False),
        _big("at"),
        _text("kind"),
        _text("incident_id"),
        _text("run_id"),
        _text("actor"),
        _text("data"),
        _text("hash"),
        _big("page"),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_incident", "audit", ["page", "incident_id"], **_where("incident_id != ''"))
    op.create_index("ix_audit_run", "audit", ["run_id", "seq"], **_where("run_id != ''"))


def _audit_chain() -> None:
    op.create_table(
        "audit_chain",
        sa.Column("id", sa.Integer(), autoincrement=False),
        _big("seq"),
        _text("hash"),
        _big("anchor_seq"),
        _text("anchor_hash"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_chain"),
    )
    chain = sa.table(
        "audit_chain", *(sa.column(c) for c in ("id", "seq", "hash", "anchor_seq", "anchor_hash"))
    )
    op.execute(chain.insert().values(id=1, seq=0, hash="0" * 64, anchor_seq=0, anchor_hash="0" * 64))


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", _ROW_NUMBER, autoincrement=True, nullable=False),
        _text("id"),
        _text("incident_id"),
        _text("kind"),
        _text("payload"),
        _text("state"),
        _count("attempts"),
        _big("created_at"),
        _maybe_big("retry_at"),
        _maybe_text("claimed_by"),
        _maybe_big("claimed_until"),
        _text("channel"),
        _text("ts"),
        _text("error"),
        _text("digested_into"),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
    )
    op.create_index("ix_outbox_incident", "outbox", ["incident_id"])
    op.create_index(
        "ix_outbox_unsent", "outbox", ["incident_id", "seq"], **_where("state IN ('pending', 'sending')")
    )
    op.create_index("uq_outbox_id", "outbox", ["id"], unique=True)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _maybe_text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=True)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _maybe_big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=True)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _where(condition: str, postgresql: str = "") -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(postgresql or condition)}
