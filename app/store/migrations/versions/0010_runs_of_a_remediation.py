"""An index that finds the runs of a remediation: those that rotated keys are asked for by every decision.

Only adds an index: safe to run before the new version is deployed, and the old version keeps working with it.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("ix_runs_remediation", "runs", ["remediation", "target_key"])


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_runs_remediation", "runs")
