"""Digests: the one message that tells the many incidents of a storm, and which incidents it tells.

Only adds tables: safe to run before the new version is deployed, and the old version keeps working with it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "digests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("edits", sa.Integer(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_digests"),
    )
    closed = sa.text("closed_at IS NULL")
    op.create_index("ix_digests_open", "digests", ["opened_at"], sqlite_where=closed, postgresql_where=closed)
    op.create_table(
        "digest_incidents",
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("digest_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", name="pk_digest_incidents"),
    )
    op.create_index("ix_digest_incidents_digest", "digest_incidents", ["digest_id"])
