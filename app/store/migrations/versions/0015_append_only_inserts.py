"""A record of the audit trail comes after the chain's head, and never in the place of another.

Only adds a trigger: safe to run before the new version is deployed, and the old version keeps working with it. Records that
somebody inserted before stay where they are; `audit verify` finds them.
"""

from __future__ import annotations

from alembic import op

from app.store import guards

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the trigger."""
    guards.install_inserts(op.get_bind())


def downgrade() -> None:
    """Drop the trigger, and on Postgres its function."""
    postgres = op.get_bind().dialect.name == "postgresql"
    op.execute("DROP TRIGGER audit_no_insert" + (" ON audit" if postgres else ""))
    if postgres:
        op.execute("DROP FUNCTION audit_check_insert()")
