"""Head, anchor and gaps of the audit trail move only as the service moves them, also for the role that it runs as.

Changes triggers and functions on Postgres only, and nothing in SQLite, which knows no roles. The old version keeps working with it but
for its pruning of the audit trail where it does not own the tables, which is refused.
"""

from __future__ import annotations

from alembic import op

from app.store import guards

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the triggers, and bind every function to the schema."""
    guards.install_ends(op.get_bind())


def downgrade() -> None:
    """Drop the triggers; the function `audit_cut` stays, since it removes what a gap tells of as before."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for trigger, table, function in (
        ("audit_chain_ends", "audit_chain", "audit_check_chain"),
        ("audit_gaps_by_cut", "audit_gaps", "audit_check_gaps"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
        op.execute(f"DROP FUNCTION {function}()")
