"""Columns and indexes as the tables use them, the same on SQLite and Postgres. Called by `app.store.schema` only."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ColumnElement, Index, Integer, Text, literal_column

EMPTY: ColumnElement[str] = literal_column("''")
# On SQLite only a column of the type INTEGER is the row's own number.
ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


def text_column(name: str, *, primary_key: bool = False, default: str | None = None) -> Column[str]:
    """Text."""
    return Column(name, Text, primary_key=primary_key, nullable=False, server_default=default)


def maybe_text(name: str) -> Column[str]:
    """Text or NULL."""
    return Column(name, Text, nullable=True)


def time_column(name: str) -> Column[int]:
    """Microseconds since the epoch."""
    return Column(name, BigInteger, nullable=False)


def maybe_time(name: str) -> Column[int]:
    """Microseconds since the epoch, or NULL."""
    return Column(name, BigInteger, nullable=True)


def big_column(name: str, *, primary_key: bool = False) -> Column[int]:
    """A number that may be big."""
    return Column(name, BigInteger, primary_key=primary_key, autoincrement=False, nullable=False)


def page_column(name: str) -> Column[int]:
    """A page of the audit trail."""
    return Column(name, BigInteger, nullable=False)


def maybe_page(name: str) -> Column[int]:
    """A page of the audit trail, or NULL."""
    return Column(name, BigInteger, nullable=True)


def count_column(name: str) -> Column[int]:
    """A small number."""
    return Column(name, Integer, nullable=False)


def flag_column(name: str) -> Column[bool]:
    """Yes or no."""
    return Column(name, Boolean, nullable=False)


def partial_index(
    name: str, *columns: Column[str] | Column[int], where: ColumnElement[bool], unique: bool = False
) -> Index:
    """An index over the rows that meet the condition."""
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)
