"""A pause of a rule keeps what that rule does, so that it still holds it once the rule has another name.

Only adds a column that may be empty: safe to run before the new version is deployed, and the old version keeps working with it. For the
pauses in force the newest run of the rule tells.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("pauses", sa.Column("remediation", sa.Text(), nullable=True))
    op.execute(
        "UPDATE pauses SET remediation = (SELECT runs.remediation FROM runs WHERE 'rule:' || runs.rule = pauses.scope"
        " ORDER BY runs.requested_at DESC LIMIT 1) WHERE lifted_at IS NULL"
    )


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("pauses", "remediation")
