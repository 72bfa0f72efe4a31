"""How texts come from a server: always as UTF-8, whatever the server, the database or the role says about encodings.

Used by every connection of ours to a database that is not our own store. A server of encoding SQL_ASCII gives bytes of any kind, and shared views repeat
bytes of other databases with encodings of their own. What is text is decoded strictly, so that a name is right or refused; what strangers wrote is asked for
as bytes and decoded with replacements, so that one of them hides nothing else. Never makes a text of a value of another type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from types import UnionType
from typing import Any, Final, LiteralString

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader

ENCODING: Final = "UTF8"
"""Said when connecting, which counts before what the database or the role says."""
NOT_UTF8: Final = "a name or a text in it is not UTF-8"


class _Utf8(Loader):
    """Text, whatever the connection's encoding; the library's own gives bytes where that is SQL_ASCII."""

    def load(self, data: Buffer) -> str:
        try:
            return bytes(data).decode()
        except UnicodeDecodeError:
            raise psycopg.DataError(NOT_UTF8) from None  # the cause would show the bytes


def _adapters() -> AdaptersMap:
    made = AdaptersMap(psycopg.adapters)
    for type_ in (0, "bpchar", "name", "text", "varchar", '"char"'):
        made.register_loader(type_, _Utf8)
    return made


ADAPTERS: Final = _adapters()
"""The context of every connection."""


def raw(expression: LiteralString) -> LiteralString:
    """SQL for the bytes of a text as the server holds them: they are neither checked nor converted on their way."""
    return f"replace(({expression})::text, chr(92), chr(92) || chr(92))::bytea"


_MAX_NUMBER: Final = 2**63
"""Beyond what a whole number of a server can be."""


def row_of(values: Sequence[Any], *types: type | UnionType) -> Sequence[Any]:
    """A row, or what it begins with, whose values are of these types. Raises TypeError for another one: a server, or what stands in front of it, may
    answer with anything."""
    if len(values) < len(types):
        raise TypeError
    for value, type_ in zip(values, types, strict=False):
        odd = isinstance(value, int) and abs(value) >= _MAX_NUMBER
        odd = odd or (isinstance(value, float) and math.isnan(value))
        if odd or not isinstance(value, type_) or (isinstance(value, datetime) and value.tzinfo is None):
            raise TypeError
    return values


def text(value: Any) -> str:
    """What should be a text; empty for none. Raises psycopg.DataError for a value of another type."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise psycopg.DataError("not a text")
    return value


def foreign(value: Any) -> str:
    """A stranger's text, from the bytes of `raw`; empty for none. Raises psycopg.DataError for a value of another type."""
    if value is None:
        return ""
    if not isinstance(value, bytes):
        raise psycopg.DataError("not bytes")
    return value.decode(errors="replace")
