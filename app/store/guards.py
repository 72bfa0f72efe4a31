"""Guards: the triggers that make the audit trail append-only in the database itself, as statements for both databases.

Executed by the migration 0005 and, for a schema made from the metadata, by `app.store.schema`. A record may never be changed, and
it may go only after a gap of `audit_gaps`, or the chain's anchor, says that it went. On Postgres a role without the right to
delete goes through the function `audit_cut`, which runs with its owner's rights. Frozen like a migration: a change of these
texts is a new migration.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

_TOLD: Final = (
    "OLD.seq <= (SELECT anchor_seq FROM audit_chain WHERE id = 1) OR OLD.seq <= COALESCE("
    "(SELECT last_seq FROM audit_gaps WHERE first_seq <= OLD.seq ORDER BY first_seq DESC LIMIT 1), -1)"
)
_REFUSAL: Final = "the audit trail is append-only"

SQLITE: Final = (
    f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
    (
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit WHEN NOT ({_TOLD}) "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    ),
)
POSTGRES: Final = (
    (
        "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'restrict_violation'; END $$"
    ),
    (
        "CREATE FUNCTION audit_check_delete() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {_TOLD} THEN RETURN OLD; END IF; "
        f"RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'restrict_violation'; END $$"
    ),
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_check_delete()",
    # Bound to the schema it was made in, so that nobody's search_path can put another table in its place.
    (
        "DO $do$ BEGIN EXECUTE 'CREATE FUNCTION audit_cut(first bigint, last bigint) RETURNS void LANGUAGE sql "
        "SECURITY DEFINER SET search_path = ' || quote_ident(current_schema()) || ', pg_temp "
        "AS $f$ DELETE FROM audit WHERE seq BETWEEN first AND last $f$'; END $do$"
    ),
    "REVOKE ALL ON FUNCTION audit_cut(bigint, bigint) FROM PUBLIC",
)


def install(conn: Connection) -> None:
    """Create the triggers, and on Postgres the function `audit_cut`, on tables that are there."""
    for statement in SQLITE if conn.dialect.name == "sqlite" else POSTGRES:
        conn.exec_driver_sql(statement)
