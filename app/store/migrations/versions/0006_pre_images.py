"""Pre-images: the values that records show as hidden, and the key of this installation for the digests in their place.

Only adds tables: safe to run before the new version is deployed, and the old version keeps working with it.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and make the key."""
    op.create_table(
        "pre_images",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("action_index", sa.Integer(), nullable=False),
        sa.Column("coding", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step_index", "action_index", name="pk_pre_images"),
    )
    installation = op.create_table(
        "installation",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_installation"),
    )
    op.bulk_insert(installation, [{"name": "digest_key", "value": secrets.token_hex(32)}])
