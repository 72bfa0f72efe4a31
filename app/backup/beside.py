"""The copy beside a database: made empty with its locale, grants and settings, validated, marked or dropped.

Called by `app.backup.restore`. Connects to another database of the same server. Never touches the database that is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import sql

from app.backup.failure import BackupFailed
from app.backup.restore_order import RestoreOrder
from app.backup.source import Connection, connection_of, count_rows, create, drop, locale_of, worded

_MARK = "SELECT COALESCE(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s"
_GRANTS = """
    SELECT CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable
    FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = %s AND a.grantee <> d.datdba
"""
_SETTINGS = """
    SELECT split_part(one, '=', 1), substr(one, strpos(one, '=') + 1)
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) one
    WHERE d.datname = %s AND s.setrole = 0
"""


class Beside:
    """The copy that an order names, seen from another database."""

    def __init__(self, connection: Connection, order: RestoreOrder) -> None:
        self._connection, self._order = connection, order

    @property
    def version(self) -> tuple[int, str]:
        """Major version of the server, and the whole one as it says it."""
        whole = self._one("SHOW server_version")
        return self._connection.info.server_version // 10_000, str(whole)

    @property
    def may_create(self) -> bool:
        """Whether the login may make a database."""
        return bool(self._one("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"))

    @property
    def mark(self) -> str | None:
        """The mark of the copy, empty for one that is not validated; None when there is none."""
        with worded():
            row = self._connection.execute(_MARK.encode(), [self._order.copy]).fetchone()
        return None if row is None else str(row[0])

    def make(self, locale: Sequence[Any] | None) -> None:
        """The empty copy: with the locale, grants and settings of the database that it is to replace, or with this locale."""
        live, copy = self._order.live, self._order.copy
        of_live = locale_of(self._connection, live)
        create(self._connection, copy, of_live or locale)
        if of_live:
            with worded(f"the grants or settings of {live} could not be given to its copy"):
                self._grant(live, copy)
                self._set(live, copy)

    def _grant(self, live: str, copy: str) -> None:
        row = self._connection.execute(
            "SELECT datacl IS NOT NULL FROM pg_database WHERE datname = %s", [live]
        ).fetchone()
        if not row or not row[0]:
            return  # what every database has
        name = sql.Identifier(copy)
        self._connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        for grantee, privilege, further in self._connection.execute(_GRANTS.encode(), [live]).fetchall():
            given = sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                sql.SQL(privilege),
                name,
                sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee),
                sql.SQL(" WITH GRANT OPTION" if further else ""),
            )
            self._connection.execute(given)

    def _set(self, live: str, copy: str) -> None:
        """As the session has them, for a value that is a list has quotes of its own."""
        for name, value in self._connection.execute(_SETTINGS.encode(), [live]).fetchall():
            self._connection.execute("SELECT set_config(%s, %s, false)", [name, value])
            self._connection.execute(
                sql.SQL("ALTER DATABASE {} SET {} FROM CURRENT").format(
                    sql.Identifier(copy), sql.Identifier(*str(name).split("."))
                )
            )

    def approve(self) -> None:
        """Write the mark: from now on it may take the database's place."""
        words = sql.SQL("COMMENT ON DATABASE {} IS {}")
        with worded():
            self._connection.execute(
                words.format(sql.Identifier(self._order.copy), sql.Literal(self._order.mark))
            )

    def drop(self) -> None:
        """Drop it if it is there."""
        drop(self._connection, self._order.copy)

    def _one(self, statement: str) -> Any:
        with worded():
            row = self._connection.execute(statement.encode()).fetchone()
        if row is None:
            raise BackupFailed("the database gave no answer", code="query_failed")
        return row[0]


@contextmanager
def beside(options: Mapping[str, str], order: RestoreOrder) -> Iterator[Beside]:
    """Connected to the database that these options name. Raises BackupFailed."""
    with connection_of(options, autocommit=True) as connection:
        yield Beside(connection, order)


def validate(options: Mapping[str, str], order: RestoreOrder, rows: Mapping[str, int]) -> None:
    """Compare the rows of every table with those of the manifest, and ask the rule's queries, in a transaction that writes nothing. Raises
    BackupFailed."""
    with connection_of(options, autocommit=False) as connection:
        with worded():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = count_rows(connection)
        if found != rows:
            wrong = sorted(name for name in {*found, *rows} if found.get(name) != rows.get(name))
            first = wrong[0]
            text = f"{len(wrong)} tables differ from the manifest: {first} has {found.get(first)} rows, not {rows.get(first)}"
            raise BackupFailed(text, code="differs")
        for number, query in enumerate(order.checks, 1):
            _check(connection, number, query, order.seconds)


def _check(connection: Connection, number: int, query: str, seconds: int) -> None:
    with worded(f"check {number} of the rule could not be answered"):
        connection.execute(f"SET LOCAL statement_timeout = '{seconds:d}s'".encode())
        # binary: by the protocol that takes one statement alone
        row = connection.execute(query.encode(), binary=True).fetchone()
    if row is None or row[0] is not True:
        answer = "nothing" if row is None or row[0] is None else str(row[0])[:40]
        raise BackupFailed(f"check {number} of the rule answers {answer}, not true", code="check_failed")
