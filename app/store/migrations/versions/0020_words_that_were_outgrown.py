"""Who had an incident until it became more severe is kept, with when that was: nobody writes over what they are at.

Only adds a column that may be empty: safe to run before the new version is deployed. The old version would take such a word for one that stands,
and keep its hands off, until it is replaced.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("incident_acknowledgements", sa.Column("outgrown_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Drop the column, and the words that do not stand any more."""
    op.execute("DELETE FROM incident_acknowledgements WHERE outgrown_at IS NOT NULL")
    op.drop_column("incident_acknowledgements", "outgrown_at")
