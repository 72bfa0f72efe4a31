"""What a database has beside its contents, given to its copy: grants, settings and the limit of its connections.

Called by `app.backup.beside`, over a connection of its own to another database. Names and values are quoted by psycopg.
"""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg import sql

from app.backup.source import Connection, worded
from app.database.texts import text

_GRANTS: Final = """
    SELECT CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable
    FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = %s AND a.grantee <> d.datdba
"""
_SETTINGS: Final = """
    SELECT split_part(one, '=', 1), substr(one, strpos(one, '=') + 1), r.rolname
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole,
        unnest(s.setconfig) one
    WHERE d.datname = %s ORDER BY r.rolname NULLS FIRST
"""
_ALIKE: Final = """
    SELECT DISTINCT d.datdba, (SELECT array_agg(g::text ORDER BY g::text) FROM (
        SELECT a.grantee, a.privilege_type, bool_or(a.is_grantable)
        FROM aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee <> d.datdba GROUP BY 1, 2) g)
    FROM pg_database d WHERE d.datname IN (%s, %s)
"""  # whoever gave a right: those that somebody handed on are the owner's to give in the copy
_LISTS: Final = frozenset(
    {"search_path", "session_preload_libraries", "local_preload_libraries", "temp_tablespaces"}
)
"""Settings whose value is kept as a list of names with quotes of its own, as pg_dumpall knows them."""
_NAME: Final = re.compile(r'"((?:[^"]|"")*)"|([^\s,"]+)')


def grant(connection: Connection, live: str, copy: str) -> None:
    """The grants of one database to another one of the same owner. Raises psycopg.Error."""
    row = connection.execute(
        "SELECT datacl IS NOT NULL FROM pg_database WHERE datname = %s", [live]
    ).fetchone()
    if not row or not row[0]:
        return  # what every database has
    name = sql.Identifier(copy)
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    for grantee, privilege, further in connection.execute(_GRANTS.encode(), [live]).fetchall():
        given = sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
            sql.SQL(privilege),
            name,
            sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee),
            sql.SQL(" WITH GRANT OPTION" if further else ""),
        )
        connection.execute(given)


def alike(connection: Connection, live: str, copy: str) -> bool:
    """Whether two databases have the same owner and the same grants to others; true where only one is there."""
    return len(connection.execute(_ALIKE.encode(), [live, copy]).fetchall()) <= 1


def settings_of(connection: Connection, live: str) -> list[tuple[str, str, str]]:
    """The settings of a database, name and value as the server keeps them, with the role that has it there; empty for everybody."""
    rows = connection.execute(_SETTINGS.encode(), [live]).fetchall()
    return [(text(name), text(value), text(role) if role else "") for name, value, role in rows]


def set_of(connection: Connection, live: str, copy: str) -> list[str]:
    """Give one database the settings of another, its own and those of roles in it; the names of those that the server refuses. Raises
    BackupFailed."""
    refused, name = [], sql.Identifier(copy)
    with worded(f"the settings of {live} could not be given to its copy"):
        for setting, value, role in settings_of(connection, live):
            of = sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), name)
            given = sql.SQL("ALTER {} SET {} TO {}").format(
                of if role else sql.SQL("DATABASE {}").format(name),
                sql.Identifier(*setting.split(".")),
                _value(setting, value),
            )
            try:
                with connection.transaction():
                    connection.execute(given)
            except psycopg.Error as error:
                if not error.sqlstate:
                    raise
                refused.append(f"{setting} of the role {role}" if role else setting)
    return refused


def limit(connection: Connection, live: str, copy: str) -> None:
    """Give one database the limit of connections of another. With a limit of 0 somebody has closed that one, and that stays with it. Raises
    psycopg.Error."""
    row = connection.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", [live]).fetchone()
    if row and row[0] > 0:
        given = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}")
        connection.execute(given.format(sql.Identifier(copy), sql.Literal(int(row[0]))))


def _value(setting: str, value: str) -> sql.Composable:
    if setting.lower() not in _LISTS:
        return sql.Literal(value)
    names = [quoted.replace('""', '"') or plain for quoted, plain in _NAME.findall(value)]
    return sql.SQL(", ").join(map(sql.Literal, names)) if names else sql.Literal("")
