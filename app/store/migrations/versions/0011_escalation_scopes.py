"""Escalations follow their alerts: the severity whose steps a round asks, whether alerts joined, and incidents that were merged into it.

Only adds a table: safe to run before the new version is deployed, and the old version keeps working with it. Rounds under way keep the
severity of their incident.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_UNDER_WAY = """
INSERT INTO escalation_scopes (escalation_id, incident_id, severity, joined, merged)
SELECT e.id, e.incident_id, CASE WHEN e.subject = e.incident_id THEN i.severity ELSE '' END, :no, '[]'
FROM escalations e JOIN incidents i ON i.id = e.incident_id WHERE e.over_at IS NULL
"""


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "escalation_scopes",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("escalation_id", "incident_id")),
        sa.Column("severity", sa.Text(), nullable=True),
        sa.Column("joined", sa.Boolean(), nullable=False),
        sa.Column("merged", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("escalation_id", name="pk_escalation_scopes"),
    )
    op.create_index("ix_escalation_scopes_incident", "escalation_scopes", ["incident_id"])
    op.get_bind().execute(sa.text(_UNDER_WAY), {"no": False})


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("escalation_scopes")
