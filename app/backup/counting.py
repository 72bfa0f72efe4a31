"""The rows of every table, counted while pg_dump holds its locks: what a TRUNCATE or a rewriting ALTER TABLE leaves is seen by every
snapshot, also by an older one, so that rows that are counted after the dump may not be those that are in it.

Called by `app.backup.upload`, beside the dump. It must not lock before pg_dump does: whoever waits for such a lock would keep pg_dump waiting
behind him, and both for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from app.backup.failure import BackupFailed
from app.backup.source import Connection, connection_of, count_rows, table_name, tables_of, worded

_FIRST, _LONGEST = 0.02, 1.0
"""Seconds between two looks whether pg_dump has its locks."""
_DUMPING: Final[LiteralString] = """
    SELECT a.pid FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.application_name = %(name)s AND a.pid <> pg_backend_pid()
        AND (SELECT count(DISTINCT l.relation) FROM pg_locks l
            WHERE l.pid = a.pid AND l.granted AND l.locktype = 'relation' AND l.mode = 'AccessShareLock'
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND l.relation = ANY (%(tables)s::oid[])) = %(number)s
"""
_FILES: Final[LiteralString] = (
    "SELECT c.oid::bigint, pg_relation_filenode(c.oid)::bigint FROM pg_class c WHERE c.relkind = 'r'"
)
_CHANGED: Final = (
    "somebody changed {} while it was dumped (TRUNCATE, ALTER TABLE or DROP), so the rows that are in the dump could not be counted: "
    "run it again, at another time than that"
)


@contextmanager
def counting(options: Mapping[str, str], snapshot: str, dump: str) -> Iterator[Future[dict[str, int]]]:
    """Count in the snapshot, while what is inside lets the session with the name `dump` do its work. The result raises BackupFailed where rows
    may be counted that are not those of the dump."""
    over = Event()
    with connection_of(options, autocommit=False) as connection, ThreadPoolExecutor(1) as pool:
        with worded():
            _share(connection, snapshot)
            seen = _Seen(tables_of(connection), _files(connection))
            connection.rollback()
        rows = pool.submit(_counted, connection, (snapshot, dump), seen, over)
        try:
            yield rows
        except BaseException:
            over.set()
            while not rows.done():  # between two statements there is nothing to cancel
                with suppress(psycopg.Error):
                    connection.cancel()
                wait([rows], _LONGEST)
            raise
        finally:
            over.set()


@dataclass(frozen=True, slots=True)
class _Seen:
    """The tables, and the files that hold them, before anything was dumped: another file is another content."""

    tables: Sequence[tuple[int, str, str]]
    files: Mapping[int, int]


def _counted(connection: Connection, of: tuple[str, str], seen: _Seen, over: Event) -> dict[str, int]:
    snapshot, dump = of
    oids = [oid for oid, _, _ in seen.tables]
    with worded():
        connection.autocommit, pause = True, _FIRST
        while not (dumping := _dumping(connection, dump, oids)) and not over.wait(pause):
            pause = min(_LONGEST, pause * 1.1)
        connection.autocommit = False
        _share(connection, snapshot)
        _locked(connection, seen.tables)
        # From here on all stays as it is. So it was since the dump's locks, if it has them still, or else if no table has another file.
        if not dumping or _dumping(connection, dump, oids) != dumping:
            files = _files(connection)
            if changed := next((t for t in seen.tables if files.get(t[0]) != seen.files.get(t[0])), None):
                raise BackupFailed(_CHANGED.format(_name(changed)), code="changed")
        rows = count_rows(connection)
        connection.rollback()
    return rows


def _share(connection: Connection, snapshot: str) -> None:
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))


def _dumping(connection: Connection, dump: str, oids: Sequence[int]) -> int:
    """The process of the dump that holds all of these now; 0 as long as there is none."""
    values: dict[str, Any] = {"name": dump, "tables": list(oids), "number": len(oids)}
    row = connection.execute(_DUMPING, values).fetchone()
    return int(row[0]) if row else 0


def _files(connection: Connection) -> dict[int, int]:
    """The file of each table as it is now, whatever the snapshot. TRUNCATE and what rewrites a table gives it another one."""
    return {int(oid): int(file or 0) for oid, file in connection.execute(_FILES).fetchall()}


def _locked(connection: Connection, tables: Sequence[tuple[int, str, str]]) -> None:
    """Lock them as pg_dump does. Raises BackupFailed for one that is gone."""
    statement = sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE")
    for table in tables:
        try:
            connection.execute(statement.format(sql.Identifier(*table[1:])))
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            raise BackupFailed(_CHANGED.format(_name(table)), code="changed") from None


def _name(table: tuple[int, str, str]) -> str:
    return f"{table_name(table[1])}.{table_name(table[2])}"
