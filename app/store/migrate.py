"""Brings a database to the schema of this version, by Alembic, safely when several processes start at once.

Called by `Store.open` and the command `db upgrade`. Never downgrades. Alembic is imported only when there is something
to migrate: it takes a tenth of a start.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from app.domain.errors import BadInput, StoreUnavailable
from app.domain.free_text import one_line
from app.store.connection import ENCODING as _UTF8
from app.store.connection import parse, translate, writer_engine
from app.store.probe import engine_grants, missing_grants

_SCRIPTS = Path(__file__).parent / "migrations"
_LONGEST = 200  # characters of what stands in the database, or is said of it
LOCK = 7_136_094_401
"""Key of the Postgres advisory lock under which one process migrates at a time."""


def upgrade(url: str) -> str:
    """Migrate the database at `url` to the newest schema and return its revision.

    Raises BadInput for a bad URL or a database that does not keep UTF-8, StoreUnavailable when the database cannot be reached, is locked, or is newer than
    this version of the service.
    """
    engine = writer_engine(parse(url))
    try:
        return upgrade_engine(engine)
    finally:
        engine.dispose()


def upgrade_engine(engine: Engine) -> str:
    """`upgrade` on an engine of ours."""
    try:
        with engine.connect() as conn:
            require_utf8(conn)
            if (found := revision(conn)) == newest():
                return found
    except SQLAlchemyError as error:
        raise translate(error) from error
    return _migrate(engine)


def _migrate(engine: Engine) -> str:
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("path_separator", "os")
    try:
        # One transaction: SQLite takes its write lock at the start, Postgres waits for the advisory lock.
        with engine.begin() as conn:
            if conn.dialect.name == "postgresql":
                conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
            return revision(conn)
    except CommandError as error:
        told = f"the schema cannot be upgraded: {one_line(str(error), _LONGEST)}"
        raise StoreUnavailable(told, code="schema_unknown") from error
    except SQLAlchemyError as error:
        raise translate(error) from error


def require_current(engine: Engine) -> None:
    """Raise StoreUnavailable (code `schema_old`, `schema_unknown` for a newer version's, or `schema_denied`) unless the database has the newest schema."""
    try:
        with engine.connect() as conn:
            require_utf8(conn)
            found, wanted = revision(conn), newest()
    except SQLAlchemyError as error:
        raise translate(error) from error
    if found.isdecimal() and found > wanted:  # numbers of four digits
        told = f"the database has schema {found}, and this version knows {wanted} as the newest"
        raise StoreUnavailable(told, code="schema_unknown")
    if found != wanted:
        raise StoreUnavailable(
            f"the database has schema {found or 'none'}, this version needs {wanted}: run `remediator db upgrade`",
            code="schema_old",
        )


def require_utf8(conn: Connection) -> None:
    """Raise BadInput (`bad_setting`) for a database of another encoding: what a sender may say has no place in it, and one such name would
    cost all that is written with it."""
    if conn.dialect.name != "postgresql":
        return
    encoding = str(conn.execute(text("SELECT current_setting('server_encoding')")).scalar())
    if encoding != _UTF8:
        raise BadInput(
            f"the database has the encoding {one_line(encoding, _LONGEST)}, and not every name can be kept in it: "
            "make one with TEMPLATE template0 ENCODING 'UTF8'",
            code="bad_setting",
            where="DATABASE_URL",
        )


class SchemaDeniedError(StoreUnavailable):
    """The role may not see which schema the database has; `grant` has the statements for all that it lacks."""

    code = "schema_denied"

    def __init__(self, told: str, grant: str) -> None:
        super().__init__(f"the role of the database {told}: {grant}")
        self.told, self.grant = told, grant


_SEES = text(
    "SELECT quote_ident(current_schema()) AS ours, quote_ident(found.nspname) AS hidden, "
    "CASE WHEN to_regclass('alembic_version') IS NULL THEN true ELSE has_table_privilege('alembic_version', 'SELECT') END AS reads "
    "FROM (SELECT 1) AS one LEFT JOIN (SELECT nspname FROM pg_namespace WHERE NOT has_schema_privilege(oid, 'USAGE') "
    "AND nspname IN ('public', current_user::text) LIMIT 1) AS found ON true"
)


def require_sight(conn: Connection) -> None:
    """Raise SchemaDeniedError where the role lacks the right to what says the schema's revision: it would be told as none, or as a fault.
    The statements are those for all that it lacks: whoever may run one should not come back for the next."""
    if conn.dialect.name != "postgresql":
        return
    row = conn.execute(_SEES).one()
    if row.ours is None and row.hidden:
        raise SchemaDeniedError(f"may not use the schema {row.hidden}", _all_grants(conn))
    if not row.reads:
        told = "may not read the table alembic_version, which says the schema's revision"
        raise SchemaDeniedError(told, _all_grants(conn))


def _all_grants(conn: Connection) -> str:
    return "; ".join([*missing_grants(conn)[1], *engine_grants(conn)])


def revision(conn: Connection) -> str:
    """The schema revision of the database, empty when it has none. Raises SchemaDeniedError."""
    require_sight(conn)
    if not inspect(conn).has_table("alembic_version"):
        return ""
    return one_line(
        str(conn.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""), _LONGEST
    )


def newest() -> str:
    """The revision that this version of the service brings: migrations are files named by their number."""
    return max(path.name.partition("_")[0] for path in (_SCRIPTS / "versions").glob("[0-9]*_*.py"))
