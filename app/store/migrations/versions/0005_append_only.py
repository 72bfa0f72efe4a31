"""The audit trail append-only by triggers and pruned around what stays; indexes for what the loops ask again and again.

Only adds: a table, triggers, indexes. The version before keeps working but for its pruning of the audit trail, which is refused.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store import guards

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_incidents_open", "incidents", ["state", "id"], "closed_at IS NULL"),
    ("ix_incidents_held", "incidents", ["claimed_by"], "claimed_by IS NOT NULL"),
    ("ix_runs_live", "runs", ["ended_at", "target_key"], "ended_at IS NULL"),
    ("ix_runs_driven", "runs", ["claimed_by"], "claimed_by IS NOT NULL"),
    ("ix_outbox_queue", "outbox", ["state", "seq"], "state IN ('pending', 'sending')"),
    ("ix_outbox_loose", "outbox", ["created_at"], "incident_id = ''"),
    ("ix_digests_closed", "digests", ["closed_at"], "closed_at IS NOT NULL"),
    ("ix_pauses_lifted", "pauses", ["lifted_at"], "lifted_at IS NOT NULL"),
)


def upgrade() -> None:
    """Create the table, the indexes and the triggers."""
    op.create_table(
        "audit_gaps",
        sa.Column(
            "first_seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("first_seq", name="pk_audit_gaps"),
    )
    for name, table, columns, condition in _INDEXES:
        where = sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
    op.create_index("ix_trust_levels_updated", "trust_levels", ["updated_at"])
    guards.install(op.get_bind())
