"""Acknowledgements: which of PagerDuty's incidents a person has taken, as its messages tell.

Only adds a table: safe to run before the new version is deployed, and the old version keeps working with it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "acknowledgements",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("stands", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_acknowledgements"),
    )
    op.create_index("ix_acknowledgements_at", "acknowledgements", ["at"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("acknowledgements")
