"""Escalations: whom the policy's steps asked about an incident, who answered, and who has an incident by their own word.

Only adds tables: safe to run before the new version is deployed, and the old version keeps working with it. A page that was queued and
not made yet is made by the new version: its escalation begins now. Whoever was called before stays called.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_QUEUED = """
INSERT INTO escalations (id, subject, incident_id, round, why, steps, asked, policy, page_key, begun_at, due_at, news,
                         page_word, page_by, answered_by, through)
SELECT DISTINCT o.incident_id || '~1', o.incident_id, o.incident_id, 1, '{"reason":"a person is needed"}', '', '[]', '', '',
       i.updated_at, i.updated_at, :no, '', '', '', ''
FROM outbox o JOIN incidents i ON i.id = o.incident_id
WHERE o.kind = 'escalated' AND o.state IN ('pending', 'sending')
  AND NOT EXISTS (SELECT 1 FROM outbox p WHERE p.id = o.id || '\\:page')
"""


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "escalations",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "subject", "incident_id")),
        sa.Column("round", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("why", "steps", "asked", "policy", "page_key")
        ),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("news", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("page_word", "page_by")),
        sa.Column("page_at", sa.BigInteger(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("answered_by", "through")),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("over_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_escalations"),
    )
    live = sa.text("over_at IS NULL")
    op.create_index(
        "uq_escalations_live",
        "escalations",
        ["subject"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    op.create_index(
        "ix_escalations_page", "escalations", ["page_key"], sqlite_where=live, postgresql_where=live
    )
    op.create_index("ix_escalations_incident", "escalations", ["incident_id"])
    op.create_table(
        "incident_acknowledgements",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("incident_id", "given_by", "through")),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", name="pk_incident_acknowledgements"),
    )
    op.get_bind().execute(sa.text(_QUEUED), {"no": False})


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("incident_acknowledgements")
    op.drop_table("escalations")
