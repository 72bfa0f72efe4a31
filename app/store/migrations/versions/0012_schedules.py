"""Schedules: when each rule with a schedule is due, and what became of each of its times.

Only adds tables: safe to run before the new version is deployed, and the old version keeps working with it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "schedules",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("rule", "terms")),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("rule", name="pk_schedules"),
    )
    op.create_table(
        "schedule_fires",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False, autoincrement=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("fate", "incident_id")),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "due_at", name="pk_schedule_fires"),
    )
    op.create_index("ix_schedule_fires_at", "schedule_fires", ["at"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("schedule_fires")
    op.drop_table("schedules")
