"""Statements of the hot path, compiled once per dialect and executed without SQLAlchemy's per-call work.

Called by `ingest` and `audit`, where a few statements carry thousands of rows. Everything else uses SQLAlchemy the
usual way. Never builds SQL from values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, Executable, bindparam
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import Text

from app.store.encoding import to_text

# Positional placeholders on both, so that rows are plain tuples.
_DIALECTS: dict[str, Dialect] = {
    "sqlite": SQLiteDialect_pysqlite(paramstyle="qmark"),
    "postgresql": PGDialect_psycopg(paramstyle="format"),  # type: ignore[no-untyped-call]
}


class Members(ColumnElement[str]):
    """The strings of a JSON array bound to parameter `name`, for `column.in_`-like tests with any number of values.

    One statement text serves every batch size, so it is prepared once.
    """

    inherit_cache = False  # compiled here only, never through SQLAlchemy's own cache
    type = Text()

    def __init__(self, name: str) -> None:
        self.list = bindparam(name, type_=Text())


@compiles(Members, "sqlite")
def _members_sqlite(element: Members, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.list, **kw)}))"


@compiles(Members, "postgresql")
def _members_postgresql(element: Members, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(SELECT jsonb_array_elements_text(CAST({compiler.process(element.list, **kw)} AS jsonb)))"


def among(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """`column` is one of the strings bound to `name` with `members`."""
    return column.op("IN", is_comparison=True)(Members(name))


def members(values: Sequence[str]) -> str:
    """The parameter for `among`."""
    return to_text(values)


class Prepared:
    """One statement with its parameters in the order `names`."""

    def __init__(self, statement: Executable, names: Sequence[str]) -> None:
        self._text: dict[str, str] = {}
        for dialect_name, dialect in _DIALECTS.items():
            compiled = statement.compile(dialect=dialect, column_keys=list(names))  # type: ignore[attr-defined]
            if list(compiled.positiontup) != list(names):
                raise ValueError(f"parameters are {compiled.positiontup}, expected {list(names)}")
            self._text[dialect_name] = compiled.string

    def one(self, conn: Connection, *values: Any) -> CursorResult[*tuple[Any, ...]]:
        """Execute with one set of parameters."""
        return conn.exec_driver_sql(self._text[conn.dialect.name], values)

    def many(self, conn: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute once per row; nothing happens for no rows."""
        if rows:
            conn.exec_driver_sql(self._text[conn.dialect.name], list(rows))
