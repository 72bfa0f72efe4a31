"""Who took an incident is found by when they took it: a clock that was set back moves those times, and must not read every row for it.

Only adds an index: safe to run before the new version is deployed, and the old version keeps working with it.
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_NAME, _TABLE = "ix_incident_acknowledgements_at", "incident_acknowledgements"


def upgrade() -> None:
    """Add the index."""
    op.create_index(_NAME, _TABLE, ["at"])


def downgrade() -> None:
    """Drop the index."""
    op.drop_index(_NAME, table_name=_TABLE)
