"""What the role of the service may do in its database, too little and too much, and whether the guards of the audit trail stand.

Reads catalogues only, and changes nothing: whoever may is told the line to run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

from app.doctor.findings import Area, Finding, Voice
from app.store import guards
from app.store.database import Store
from app.store.probe import missing_grants

_STORE = Voice(Area.STORE)
_ENGINE = "dbos"
"""The schema of the workflow engine, which it makes itself."""
_ROLE = text(
    "SELECT current_user AS name, current_database() AS database, current_schema() AS ours, "
    "has_database_privilege(current_database(), 'CREATE') AS creates, "
    f"to_regnamespace('{_ENGINE}') IS NOT NULL AS engine, "
    f"CASE WHEN to_regnamespace('{_ENGINE}') IS NULL THEN false "
    f"ELSE has_schema_privilege('{_ENGINE}', 'USAGE') AND has_schema_privilege('{_ENGINE}', 'CREATE') END AS engine_open, "
    "(SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('audit')) AS owns, "
    "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser"
)
_AUDIT = text(
    "SELECT may FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS may WHERE has_table_privilege('audit', may)"
)
_OFF = text(
    "SELECT tgname, tgrelid::regclass::text AS of FROM pg_trigger WHERE tgenabled NOT IN ('O', 'A') AND tgrelid IN "
    "(to_regclass('audit'), to_regclass('audit_chain'), to_regclass('audit_gaps'))"
)


@dataclass(frozen=True, slots=True)
class _Role:
    """Names as SQL quotes them."""

    name: str
    database: str
    ours: str


async def rights(store: Store) -> list[Finding]:
    """Too little and too much of the role, and guards that are gone or switched off. Raises StoreUnavailable."""
    return await store.read(lambda conn: list(_look(conn)))


def _look(conn: Connection) -> Iterator[Finding]:
    if conn.dialect.name == "postgresql":
        row = conn.execute(_ROLE).one()
        quote = conn.dialect.identifier_preparer.quote_identifier
        role = _Role(quote(row.name), quote(row.database), quote(row.ours))
        yield from _too_little(conn, role)
        yield from _engine(row.engine, row.engine_open, row.creates, role)
        if row.owns or row.superuser:
            what = "is an administrator of the database" if row.superuser else "owns the tables"
            text_ = f"the service's role {role.name} {what}: it can switch off the triggers that guard the audit trail"
            fix = f"run it as a role of its own, by the three roles of the documentation; the owner is changed by ALTER TABLE {role.ours}.audit OWNER TO remediator_migrate, and so for each table"
            yield _STORE.warn("store_role_owns", text_, fix)
        elif too_much := list(conn.execute(_AUDIT).scalars()):
            text_ = f"the service's role {role.name} has {', '.join(too_much)} on audit, which it never needs"
            fix = f"REVOKE {', '.join(too_much)} ON {role.ours}.audit FROM {role.name}"
            yield _STORE.warn("audit_changeable", text_, fix)
    yield from _guards(conn)


def _too_little(conn: Connection, role: _Role) -> Iterator[Finding]:
    told, grants = missing_grants(conn)
    if told:
        text_ = f"the service's role {role.name} lacks {'; '.join(told)}"
        yield _STORE.fail("store_right_missing", text_, "; ".join(grants))


def _engine(there: bool, is_open: bool, creates: bool, role: _Role) -> Iterator[Finding]:
    if there and not is_open:
        text_ = f"the service's role {role.name} may not use the schema {_ENGINE} of the workflow engine: serve cannot start"
        fix = f"ALTER SCHEMA {_ENGINE} OWNER TO {role.name}, and so its tables"
        yield _STORE.fail("engine_schema_closed", text_, fix)
    elif not there and not creates:
        text_ = f"the service's role {role.name} may not make the schema {_ENGINE} of the workflow engine: serve cannot start"
        fix = f"GRANT CREATE ON DATABASE {role.database} TO {role.name}"
        yield _STORE.fail("engine_schema_denied", text_, fix)


def _guards(conn: Connection) -> Iterator[Finding]:
    gone = guards.missing(conn)
    off = list(conn.execute(_OFF)) if gone and conn.dialect.name == "postgresql" else []
    if gone:
        names = {row.tgname for row in off}
        fix = [f"ALTER TABLE {row.of} ENABLE TRIGGER {row.tgname}" for row in off if row.tgname in gone]
        if not names.issuperset(gone):
            fix.append("find out who did that, and restore a backup from before")
        text_ = f"guards of the audit trail are gone, altered or switched off: {', '.join(gone)}"
        yield _STORE.fail("audit_guard_missing", text_, "; ".join(fix))
