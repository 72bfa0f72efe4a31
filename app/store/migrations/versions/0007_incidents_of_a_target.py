"""An index for the incidents of one target, closed ones too: what is known of a revision is told from them.

Only adds an index: safe to run before the new version is deployed, and the old version keeps working with it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    known = sa.text("target_key IS NOT NULL")
    columns = ["target_key", "opened_at"]
    op.create_index("ix_incidents_target", "incidents", columns, sqlite_where=known, postgresql_where=known)


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_incidents_target", "incidents")
