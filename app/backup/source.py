"""The database that is backed up: one snapshot that the dump and the row counts share (`app.backup.counting`), and a database to try a restore in.

Called by `app.backup.upload`, in part by `app.backup.beside`. Reads, but for databases that it makes and drops. Errors are worded here: libpq's texts
repeat the login.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app.backup.failure import BackupFailed
from app.database.connect import FULL, kind, said
from app.database.texts import ADAPTERS, ENCODING, text
from app.domain.copies import drop_command
from app.domain.database import NO_ROOM
from app.domain.text import CONTROL, bounded, sql_name

_TABLES = """
    SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
            AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
    ORDER BY 2, 3
"""
LOCALE = ("encoding", "collation", "character classes", "provider", "locale of the provider")
"""What a locale consists of in a manifest, in this order. A database may have rules of ICU besides, from PostgreSQL 16 on."""
_PROVIDERS: Final[Mapping[str, tuple[LiteralString, LiteralString]]] = {
    "c": (" LOCALE_PROVIDER libc", ""),
    "i": (" LOCALE_PROVIDER icu", " ICU_LOCALE {}"),
    "b": (" LOCALE_PROVIDER builtin", " BUILTIN_LOCALE {}"),
}
"""Named always where the server knows them: it would take that of its template, by which the same rows are sorted in another way."""
_LOCALE = """
    SELECT pg_encoding_to_char(encoding), datcollate, datctype, to_jsonb(d) ->> 'datlocprovider',
        COALESCE(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), to_jsonb(d) ->> 'daticurules'
    FROM pg_database d WHERE datname = %s
"""
_PLACE = """
    SELECT t.spcname, has_tablespace_privilege(t.oid, 'CREATE')
    FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = %s AND t.spcname <> 'pg_default'
"""  # where everybody may make one who does not name it
_UNSEEN = re.compile(rf"\n|{CONTROL.pattern}")
_SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
_SUBSCRIPTIONS = "SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()"
_UNSUBSCRIBE: Final[tuple[LiteralString, ...]] = (
    "ALTER SUBSCRIPTION {} DISABLE",
    "ALTER SUBSCRIPTION {} SET (slot_name = NONE)",
    "DROP SUBSCRIPTION {}",
)
_BIGGEST = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    ORDER BY pg_total_relation_size(c.oid) DESC LIMIT 20
"""
_PATIENCE: Final[tuple[LiteralString, ...]] = ("SET lock_timeout = '2s'", "SET statement_timeout = '60s'")
_ROOM: Final[LiteralString] = (
    "CREATE TEMPORARY TABLE remediator_room AS SELECT generate_series(1, 10000) AS a"
)
"""Some 350 KiB, gone with the session: what cannot be written now, a checkpoint cannot write either."""
_THERE = "SELECT 1 FROM pg_database WHERE datname = %s AND datallowconn"
_OF_THE_SERVER = ("08", "53", "57P", "58", "XX")
"""Beginnings of the SQLSTATEs that say nothing of the statement: whatever it was, the server could not carry it out."""
_SHORT = 120
SCRATCH = "remediator_scratch_"
_LEFT_OVER = timedelta(days=1)
_ATTEMPTS = 20
_FREE = """
    SELECT set_config(name, CASE name WHEN 'role' THEN 'none' ELSE '0' END, false) FROM (VALUES ('role'), ('lock_timeout'),
        ('idle_in_transaction_session_timeout'), ('idle_session_timeout'), ('transaction_timeout'), ('default_transaction_read_only'), ('row_security')) s (name)
    WHERE current_setting(name, true) IS NOT NULL
"""
Connection = psycopg.Connection[tuple[Any, ...]]


class Source:
    """One connection to the database, in a transaction that sees one moment of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def version(self) -> tuple[int, str]:
        """Major version, and the whole one as the server says it."""
        whole = text(self._one("SHOW server_version"))
        return self._connection.info.server_version // 10_000, whole

    @property
    def size(self) -> int:
        """Bytes of the database on disk."""
        return int(self._one("SELECT pg_database_size(current_database())"))

    @property
    def name(self) -> str:
        """The database's own name, as the server says it."""
        return text(self._one("SELECT current_database()"))

    @property
    def system(self) -> str:
        """The server's number of itself, which no other one has but its physical copies; empty where the login may not see it."""
        try:
            with (
                self._connection.transaction()
            ):  # a refusal must not end the transaction that the snapshot is of
                row = self._connection.execute(_SYSTEM.encode()).fetchone()
        except psycopg.Error as error:
            if error.sqlstate:
                return ""
            raise BackupFailed(f"a statement failed: {kind(error)}", code="query_failed") from None
        return text(row[0]) if row else ""

    def snapshot(self) -> str:
        """Export what this transaction sees; valid as long as the connection is."""
        return text(self._one("SELECT pg_export_snapshot()"))

    @property
    def locale(self) -> list[str | None]:
        """Encoding, collation, character classes, provider and its locale of the database: a copy is made with the same."""
        return list(locale_of(self._connection, self.name) or ())[: len(LOCALE)]

    def _one(self, statement: str) -> Any:
        with worded():
            row = self._connection.execute(statement.encode()).fetchone()
        if row is None:
            raise BackupFailed("the database gave no answer", code="query_failed")
        return row[0]


def count_rows(connection: Connection) -> dict[str, int]:
    """Rows of each table, `schema.table` (a name with a dot in quotes, one with what nobody sees in escapes), as the connection sees them.
    Raises BackupFailed."""
    found = {}
    with worded():
        for _, schema, table in tables_of(connection):
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
            row = connection.execute(count).fetchone()
            found[f"{table_name(schema)}.{table_name(table)}"] = int(row[0]) if row else 0
    return found


def tables_of(connection: Connection) -> list[tuple[int, str, str]]:
    """Number, schema and name of each table whose rows are dumped."""
    return [
        (int(oid), schema, table) for oid, schema, table in connection.execute(_TABLES.encode()).fetchall()
    ]


def table_name(name: str) -> str:
    """In quotes where a dot in it could make two tables one; where it has characters that nobody sees, as SQL writes them in escapes:
    a manifest holds none, and the name stays one of its own."""
    plain = not _UNSEEN.search(name) and "." not in name and '"' not in name
    return name if plain else sql_name(name, _UNSEEN)


@contextmanager
def connected(options: Mapping[str, str]) -> Iterator[Source]:
    """Connect, and begin the one transaction. Raises BackupFailed."""
    with connection_of(options, autocommit=False) as connection:
        with worded():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield Source(connection)


@contextmanager
def scratch(options: Mapping[str, str], name: str, now: datetime) -> Iterator[dict[str, str]]:
    """An empty database beside the one that was backed up, dropped whatever happens; the options that lead to it. What an earlier
    one that was killed has left behind is dropped too, a day later. Raises BackupFailed."""
    fresh = f"{SCRATCH}{int(now.timestamp())}_{name[-6:]}"
    with connection_of(options, autocommit=True) as connection:
        _drop_left_over(connection, now, options)
        place, allowed = place_of(connection, connection.info.dbname)
        create(
            connection,
            fresh,
            locale_of(connection, connection.info.dbname),
            place if allowed else "",
        )
        try:
            yield {**options, "dbname": fresh}
        except BackupFailed as error:  # told first, whatever becomes of the copy
            try:
                drop(connection, fresh, options)
            except BackupFailed:
                left = f"{fresh} could not be dropped and takes room: {drop_command(fresh)} WITH (FORCE)"
                raise BackupFailed(f"{bounded(error.message, _SHORT)}; {left}", code=error.code) from None
            raise
        except BaseException:
            drop(connection, fresh, options)
            raise
        drop(connection, fresh, options)


def locale_of(connection: Connection, name: str) -> tuple[Any, ...] | None:
    """What `LOCALE` names, and the rules of ICU, of a database; None when there is none of that name."""
    with worded():
        return connection.execute(_LOCALE.encode(), [name]).fetchone()


def place_of(connection: Connection, name: str) -> tuple[str, bool]:
    """The tablespace of a database, on whose disk it is, and whether the login may make one there; empty for the server's own, and when there is none of that name."""
    with worded():
        row = connection.execute(_PLACE.encode(), [name]).fetchone()
    return (text(row[0]), bool(row[1])) if row else ("", True)


def create(connection: Connection, name: str, locale: Sequence[Any] | None, place: str = "") -> None:
    """Make an empty database with this locale in this tablespace, the server's own without. Raises BackupFailed."""
    made = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
    if place:
        made += sql.SQL(" TABLESPACE {}").format(sql.Identifier(place))
    if locale:
        encoding, collate, ctype, provider, of_provider, *rules = locale
        words = sql.SQL(" ENCODING {} LC_COLLATE {} LC_CTYPE {}")
        made += words.format(*map(sql.Literal, (encoding, collate, ctype)))
        named, its_locale = _PROVIDERS.get(provider or "", ("", ""))
        made += sql.SQL(named)
        if its_locale and of_provider:
            made += sql.SQL(its_locale).format(sql.Literal(of_provider))
        if rules and rules[0]:
            made += sql.SQL(" ICU_RULES {}").format(sql.Literal(rules[0]))
    with worded(
        f"the login may not make the database {name} (CREATEDB), or the server does not know its locale"
    ):
        connection.execute(made)


def _drop_left_over(connection: Connection, now: datetime, options: Mapping[str, str]) -> None:
    with worded():
        names = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND pg_get_userbyid(datdba) = current_user",
            [SCRATCH],
        ).fetchall()
    for (name,) in names:
        began = text(name).removeprefix(SCRATCH).partition("_")[0]
        if began.isdecimal() and int(began) < (now - _LEFT_OVER).timestamp():
            drop(connection, text(name), options)


def drop(connection: Connection, name: str, options: Mapping[str, str]) -> None:
    """Drop a database if it is there, with the sessions and the subscriptions in it. `options` lead to its server. Raises BackupFailed."""
    dropped = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with worded():
        there = connection.execute(_THERE.encode(), [name]).fetchone()
    if there:
        _empty({**options, "dbname": name})
    with worded():
        try:
            connection.execute(dropped)
            return
        except (
            psycopg.errors.ObjectInUse
        ):  # also for a subscription that is disabled, as one that was restored is
            pass
    _drop_subscriptions({**options, "dbname": name})
    with worded():
        connection.execute(dropped)


def _empty(options: Mapping[str, str]) -> None:
    """Drop the largest tables of a database that is to go. Their files are cut when each is gone, while DROP DATABASE first forces a
    checkpoint, which writes files of its own: on a full disk that ends the whole server, and it does not come back by itself. Raises
    BackupFailed when there is no room afterwards either: then nothing may force a checkpoint."""
    for _ in range(
        _ATTEMPTS
    ):  # a session that needs a page may have to write another's first: the next needs another one
        try:
            _drop_largest(options)
            return
        except BackupFailed as error:
            if error.code != "disk_full":
                return  # what can be dropped can be dropped with its contents
    raise BackupFailed(NO_ROOM, code="disk_full")


def _drop_largest(options: Mapping[str, str]) -> None:
    with connection_of(options, autocommit=True) as connection, worded():
        for statement in _PATIENCE:
            connection.execute(statement)
        full: psycopg.Error | None = None
        for schema, table in connection.execute(_BIGGEST.encode()).fetchall():
            name = sql.Identifier(text(schema), text(table))
            try:
                connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(name))
            except psycopg.errors.DiskFull as error:
                full = error
            except (psycopg.OperationalError, psycopg.errors.QueryCanceled):
                break  # somebody is at work in it, whom the drop ends, or the server is gone
            except psycopg.Error:
                continue
        if full:
            raise full
        try:
            connection.execute(_ROOM)
        except psycopg.errors.DiskFull:
            raise
        except psycopg.Error:  # the login may make none: nothing is known of the room
            return


def _drop_subscriptions(options: Mapping[str, str]) -> None:
    """Those of a database that is to go. The slot at whom they are subscribed to is not theirs: the original may use it."""
    with connection_of(options, autocommit=True) as connection, worded():
        for (name,) in connection.execute(_SUBSCRIPTIONS.encode()).fetchall():
            for statement in _UNSUBSCRIBE:
                connection.execute(sql.SQL(statement).format(sql.Identifier(text(name))))


@contextmanager
def connection_of(options: Mapping[str, str], *, autocommit: bool) -> Iterator[Connection]:
    """A connection that is closed at the end, free of what a database's settings say about sessions. Raises BackupFailed."""
    try:
        connection = psycopg.connect(
            make_conninfo(**options, client_encoding=ENCODING, connect_timeout=10),
            autocommit=True,
            context=ADAPTERS,
        )
        _free(connection)
        connection.autocommit = autocommit
    except psycopg.Error as error:
        code, words = said(error)
        raise BackupFailed(f"the database could not be asked: {words}", code=code) from None
    try:
        yield connection
    finally:
        connection.close()


def _free(connection: Connection) -> None:
    """A time limit of the database may be so short that it hits the statement that lifts it."""
    for attempt in range(_ATTEMPTS):
        try:
            connection.execute("SET statement_timeout = 0")
            break
        except psycopg.errors.QueryCanceled:
            if attempt == _ATTEMPTS - 1:
                raise
    connection.execute(_FREE.encode())


@contextmanager
def worded(instead: str = "") -> Iterator[None]:
    """The errors of statements in words of ours, or in these where the statement is what was wrong."""
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate or ""
        meant = instead and state and not state.startswith(_OF_THE_SERVER)
        what = instead if meant else f"a statement failed: {kind(error)}"
        code = "disk_full" if state == FULL else "query_failed"
        raise BackupFailed(what, code=code) from None
