"""Guards: the triggers that make the audit trail append-only in the database itself, as statements for both databases.

Executed by the migrations 0005, 0015 and 0016 and, for a schema made from the metadata, by `app.store.schema`. A record may never
be changed, and it may go only after a gap of `audit_gaps`, or the chain's anchor, says that it went. A new one comes after the
chain's head, and never in the place of another: SQLite's INSERT OR REPLACE deletes without asking the trigger of deletions.

On Postgres a role that does not own the tables may move the head only forward, to a record that is there, and may not touch anchor
and gaps. It removes records through the function `audit_cut`, which runs with its owner's rights, writes the gap itself and
refuses whatever retention never removes: the newest record, one younger than any retention, one of an incident that is still
here. Every function looks for its tables in the schema it was made in and nowhere else. SQLite knows no roles: whoever may write
the file owns it. Frozen like a migration: a change of these texts is a new migration.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

_TOLD: Final = (
    "OLD.seq <= (SELECT anchor_seq FROM audit_chain WHERE id = 1) OR OLD.seq <= COALESCE("
    "(SELECT last_seq FROM audit_gaps WHERE first_seq <= OLD.seq ORDER BY first_seq DESC LIMIT 1), -1)"
)
_TAKEN: Final = "NEW.seq <= COALESCE((SELECT seq FROM audit_chain WHERE id = 1), NEW.seq)"
_REFUSAL: Final = "the audit trail is append-only"
_RAISE: Final = f"RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'restrict_violation';"
_REFUSE: Final = f" BEGIN {_RAISE} END "
_CHECK_DELETE: Final = f" BEGIN IF {_TOLD} THEN RETURN OLD; END IF; {_RAISE} END "
_CHECK_INSERT: Final = f" BEGIN IF {_TAKEN} THEN {_RAISE} END IF; RETURN NEW; END "

SQLITE: Final = (
    f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
    (
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit WHEN NOT ({_TOLD}) "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    ),
)
SQLITE_INSERTS: Final = (
    (
        f"CREATE TRIGGER audit_no_insert BEFORE INSERT ON audit WHEN {_TAKEN} "
        "OR EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq) "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    ),
)
POSTGRES: Final = (
    f"CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $${_REFUSE}$$",
    f"CREATE FUNCTION audit_check_delete() RETURNS trigger LANGUAGE plpgsql AS $${_CHECK_DELETE}$$",
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

POSTGRES_INSERTS: Final = (
    f"CREATE FUNCTION audit_check_insert() RETURNS trigger LANGUAGE plpgsql AS $${_CHECK_INSERT}$$",
    "CREATE TRIGGER audit_no_insert BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION audit_check_insert()",
)
_YOUNGEST: Final = 23 * 3600 * 1_000_000
"""Microseconds that a record has to be old before it may go: the shortest retention is a day, and clocks differ."""
_BY_OWNER: Final = "current_user = (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID)"
_CHECK_CHAIN: Final = f""" BEGIN
IF {_BY_OWNER} THEN RETURN COALESCE(NEW, OLD); END IF;
IF TG_OP = 'UPDATE' AND (NEW.id, NEW.anchor_seq, NEW.anchor_hash) = (OLD.id, OLD.anchor_seq, OLD.anchor_hash)
AND ((NEW.seq, NEW.hash) = (OLD.seq, OLD.hash)
OR (NEW.seq > OLD.seq AND EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq AND hash = NEW.hash)))
THEN RETURN NEW; END IF;
{_RAISE} END """
_CHECK_GAPS: Final = f" BEGIN IF {_BY_OWNER} THEN RETURN COALESCE(NEW, OLD); END IF; {_RAISE} END "
_CUT: Final = f""" DECLARE
chain audit_chain; digest text; high bigint := last; before bigint;
BEGIN
SELECT * INTO STRICT chain FROM audit_chain WHERE id = 1 FOR UPDATE;
IF last > chain.anchor_seq AND NOT EXISTS (SELECT 1 FROM audit_gaps WHERE first_seq <= first AND last_seq >= last) THEN
IF first > last OR last >= chain.seq OR (SELECT count(*) FROM audit WHERE seq BETWEEN first AND last) <> last - first + 1
OR EXISTS (SELECT 1 FROM audit LEFT JOIN incidents ON incidents.id = audit.incident_id WHERE seq BETWEEN first AND last
AND (incidents.id IS NOT NULL OR at > extract(epoch FROM clock_timestamp()) * 1000000 - {_YOUNGEST}))
THEN {_RAISE} END IF;
SELECT hash INTO STRICT digest FROM audit WHERE seq = last;
SELECT last_seq, hash INTO high, digest FROM (SELECT last_seq, hash, 0 AS place FROM audit_gaps WHERE first_seq = last + 1
UNION ALL SELECT last, digest, 1) AS following ORDER BY place LIMIT 1;
DELETE FROM audit_gaps WHERE first_seq = last + 1;
SELECT first_seq INTO before FROM audit_gaps WHERE last_seq = first - 1;
IF first = chain.anchor_seq + 1 THEN UPDATE audit_chain SET anchor_seq = high, anchor_hash = digest WHERE id = 1;
ELSIF before IS NOT NULL THEN UPDATE audit_gaps SET last_seq = high, hash = digest WHERE first_seq = before;
ELSE INSERT INTO audit_gaps (first_seq, last_seq, hash) VALUES (first, high, digest); END IF;
END IF;
DELETE FROM audit WHERE seq BETWEEN first AND last;
END """
_FUNCTIONS: Final = (
    "audit_refuse",
    "audit_check_delete",
    "audit_check_insert",
    "audit_check_chain",
    "audit_check_gaps",
)
_BIND: Final = " ".join(
    f"EXECUTE 'ALTER FUNCTION {name} SET search_path = ' || quote_ident(current_schema()) || ', pg_temp';"
    for name in (*(f"{name}()" for name in _FUNCTIONS), "audit_cut(bigint, bigint)")
)
POSTGRES_ENDS: Final = (
    f"CREATE FUNCTION audit_check_chain() RETURNS trigger LANGUAGE plpgsql AS $${_CHECK_CHAIN}$$",
    f"CREATE FUNCTION audit_check_gaps() RETURNS trigger LANGUAGE plpgsql AS $${_CHECK_GAPS}$$",
    (
        "CREATE TRIGGER audit_chain_ends BEFORE INSERT OR UPDATE OR DELETE ON audit_chain "
        "FOR EACH ROW EXECUTE FUNCTION audit_check_chain()"
    ),
    (
        "CREATE TRIGGER audit_gaps_by_cut BEFORE INSERT OR UPDATE OR DELETE ON audit_gaps "
        "FOR EACH ROW EXECUTE FUNCTION audit_check_gaps()"
    ),
    (
        "CREATE OR REPLACE FUNCTION audit_cut(first bigint, last bigint) RETURNS void LANGUAGE plpgsql "
        f"SECURITY DEFINER AS $${_CUT}$$"
    ),
    f"DO $do$ BEGIN {_BIND} END $do$",
)
_ROW, _BEFORE, _INSERT, _DELETE, _UPDATE, _TRUNCATE = 1, 2, 4, 8, 16, 32
_POSTGRES_TRIGGERS: Final = {
    "audit_no_update": (_ROW | _BEFORE | _UPDATE, _REFUSE),
    "audit_no_truncate": (_BEFORE | _TRUNCATE, _REFUSE),
    "audit_no_delete": (_ROW | _BEFORE | _DELETE, _CHECK_DELETE),
    "audit_no_insert": (_ROW | _BEFORE | _INSERT, _CHECK_INSERT),
    "audit_chain_ends": (_ROW | _BEFORE | _INSERT | _DELETE | _UPDATE, _CHECK_CHAIN),
    "audit_gaps_by_cut": (_ROW | _BEFORE | _INSERT | _DELETE | _UPDATE, _CHECK_GAPS),
}
"""Each trigger's type, as the catalogue `pg_trigger` has it, and the text of its function."""
_BOUND: Final = "proconfig = ARRAY['search_path=' || quote_ident(current_schema()) || ', pg_temp']"
_CATALOGUE: Final = text(
    "SELECT t.tgname, t.tgtype, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
    "WHERE t.tgrelid IN (to_regclass('audit'), to_regclass('audit_chain'), to_regclass('audit_gaps')) "
    f"AND t.tgenabled IN ('O', 'A') AND t.tgqual IS NULL AND t.tgattr = '' AND p.{_BOUND}"
)
_CUT_CATALOGUE: Final = text(
    f"SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure('audit_cut(bigint,bigint)') AND prosecdef AND {_BOUND}"
)


_SQLITE_FOREIGN: Final = text(
    "SELECT name FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) IN ('audit', 'audit_chain', 'audit_gaps')"
)
_TRAIL: Final = "(to_regclass('audit'), to_regclass('audit_chain'), to_regclass('audit_gaps'))"
_POSTGRES_FOREIGN: Final = text(
    f"SELECT 'trigger', tgname FROM pg_trigger WHERE tgrelid IN {_TRAIL} AND NOT tgisinternal "
    f"UNION ALL SELECT 'rule', rulename FROM pg_rewrite WHERE ev_class IN {_TRAIL} AND rulename <> '_RETURN' "
    f"UNION ALL SELECT 'policy', polname FROM pg_policy WHERE polrelid IN {_TRAIL} "
    f"UNION ALL SELECT 'row security of', relname FROM pg_class WHERE oid IN {_TRAIL} AND relrowsecurity "
    "UNION ALL SELECT 'child table', inhrelid::regclass::text FROM pg_inherits "
    f"WHERE inhparent IN {_TRAIL} OR inhrelid IN {_TRAIL}"
)
_SWITCH: Final = "session_replication_role"
_SWITCHED_OFF: Final = text(
    f"SELECT current_setting('{_SWITCH}') <> 'origin' OR EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) AS one "
    "WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) "
    f"AND lower(one) LIKE '{_SWITCH}=%' AND lower(one) <> '{_SWITCH}=origin')"
)
"""Whether sessions, or those of some role, begin with triggers that do not fire."""


def install(conn: Connection) -> None:
    """Create what the migration 0005 brought: the triggers of changes and deletions, and on Postgres the function `audit_cut`."""
    _execute(conn, SQLITE, POSTGRES)


def install_inserts(conn: Connection) -> None:
    """Create what the migration 0015 brought: the trigger of insertions."""
    _execute(conn, SQLITE_INSERTS, POSTGRES_INSERTS)


def install_ends(conn: Connection) -> None:
    """Create what the migration 0016 brought: on Postgres the triggers of chain and gaps, and a function `audit_cut` that writes the
    gap itself."""
    _execute(conn, (), POSTGRES_ENDS)


def install_all(conn: Connection) -> None:
    """Create all guards of this version."""
    install(conn)
    install_inserts(conn)
    install_ends(conn)


def missing(conn: Connection) -> tuple[str, ...]:
    """The names of the triggers, and on Postgres of the function `audit_cut` and of the setting that lets triggers fire, that are not there,
    are switched off or say something else, sorted."""
    if conn.dialect.name == "sqlite":
        found = set(conn.execute(text("SELECT sql FROM sqlite_master WHERE type = 'trigger'")).scalars())
        wanted = (*SQLITE, *SQLITE_INSERTS)
        return tuple(sorted(sql.split()[2] for sql in wanted if sql not in found))
    there = {row.tgname: (row.tgtype, row.prosrc) for row in conn.execute(_CATALOGUE)}
    gone = [name for name, wanted in _POSTGRES_TRIGGERS.items() if there.get(name) != wanted]
    if conn.execute(_CUT_CATALOGUE).scalar() != _CUT:
        gone.append("audit_cut")
    if conn.execute(_SWITCHED_OFF).scalar():
        gone.append(f"setting {_SWITCH}")
    return tuple(sorted(gone))


def foreign(conn: Connection) -> tuple[str, ...]:
    """The triggers on the tables of the trail that are none of ours, and on Postgres the rules and policies of rows and the tables that
    inherit, sorted: such a one may change, drop or hide what is written, or keep records that no trigger guards."""
    if conn.dialect.name == "sqlite":
        ours = {sql.split()[2] for sql in (*SQLITE, *SQLITE_INSERTS)}
        found = conn.execute(_SQLITE_FOREIGN).scalars()
        return tuple(sorted(f"trigger {name}" for name in found if name not in ours))
    there = [tuple(row) for row in conn.execute(_POSTGRES_FOREIGN)]
    return tuple(
        sorted(
            f"{kind} {name}" for kind, name in there if kind != "trigger" or name not in _POSTGRES_TRIGGERS
        )
    )


def _execute(conn: Connection, sqlite: tuple[str, ...], postgres: tuple[str, ...]) -> None:
    for statement in sqlite if conn.dialect.name == "sqlite" else postgres:
        conn.exec_driver_sql(statement)
