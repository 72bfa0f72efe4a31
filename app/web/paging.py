"""Cursor paging: an opaque cursor says where the next page begins, so that new rows do not shift the pages."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from app.domain.errors import BadInput

T = TypeVar("T")
MAX_LIMIT = 200
_VERSION = "1:"
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
EPISODE: Final = re.compile(r"[0-9TZ.]{20,40}/[a-z]{1,20}/[^\x00]{1,255}", re.ASCII)
"""The key of an alert in an incident: when it began, and who told of it under which name (`Alert.episode`)."""

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="entries a page")]
Cursor = Annotated[
    str, Query(max_length=256, description="`next` of the page before; empty for the first page")
]
EpisodeCursor = Annotated[str, Query(max_length=1500, description="as of the other lists")]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Page(BaseModel, Generic[T]):
    """One page. `next` is null on the last one."""

    items: list[T]
    next: str | None = None


def encode(key: str) -> str:
    """An opaque cursor for the key of the last entry shown."""
    return base64.urlsafe_b64encode(f"{_VERSION}{key}".encode()).decode().rstrip("=")


def decode(cursor: str, form: re.Pattern[str] = _KEY) -> str | None:
    """The key of this form in a cursor, None for the first page. Raises BadInput (`bad_cursor`)."""
    if not cursor:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad() from error
    key = text.removeprefix(_VERSION)
    if key == text or form.fullmatch(key) is None:
        raise _bad()
    return key


def decode_number(cursor: str) -> int:
    """The number in a cursor, 0 for the first page. Raises BadInput (`bad_cursor`)."""
    key = decode(cursor)
    if key is None:
        return 0
    if not key.isdigit() or len(key) > 15:
        raise _bad()
    return int(key)


def cut(rows: Sequence[T], limit: int, key: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """The page out of up to `limit + 1` rows, and the cursor of the next one."""
    if len(rows) <= limit:
        return rows, None
    shown = rows[:limit]
    return shown, encode(key(shown[-1]))


def _bad() -> BadInput:
    return BadInput("not a cursor of this service", code="bad_cursor", where="/query/cursor")
