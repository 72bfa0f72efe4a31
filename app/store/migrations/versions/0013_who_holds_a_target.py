"""A target is held by the run that is at work on it. A plan that waits for its first answer has written nothing and holds nothing.

Only makes a unique index admit more: safe to run before the new version is deployed, and the old version keeps working with it, as
its own gate still lets one run at a time to a target.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Exchange the index."""
    op.drop_index("uq_runs_live_target", "runs")
    at_work = "ended_at IS NULL AND (state != 'waiting' OR step_index > 0)"
    _unique("uq_runs_at_work_target", at_work)


def downgrade() -> None:
    """Back to one live run a target; refused by the database while two plans wait for one target."""
    op.drop_index("uq_runs_at_work_target", "runs")
    _unique("uq_runs_live_target", "ended_at IS NULL")


def _unique(name: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "runs", ["target_key"], unique=True, sqlite_where=where, postgresql_where=where)
