"""Who has an incident keeps how severe it was when they took it, so that their word does not stand for what is more severe.

Only adds a column that may be empty: safe to run before the new version is deployed, and the old version keeps working with it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("incident_acknowledgements", sa.Column("severity", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("incident_acknowledgements", "severity")
