"""Portions: as many rows as an answer may hold, by their number and by what stands in them.

Called by the readers of lists. A stranger's labels stand in most rows, so that two hundred of them may be anything from kilobytes to more than
a pod has memory. Rows are fetched a few at a time, and no more of them than are taken. Never looks into a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Column, Connection, Row, Select

from app.domain.text import size_spelled

T = TypeVar("T")
MAX_PORTION: Final = 1024 * 1024
"""Bytes that the rows of one portion take in an answer, where what nobody sees is spelled; the first row is taken whatever it has."""
_FETCHED: Final = 8


@dataclass(frozen=True, slots=True)
class Portion(Generic[T]):
    """The first rows of what was asked for. `more`: it has others behind them."""

    rows: Sequence[T]
    more: bool


def portion(
    conn: Connection,
    query: Select[Any],
    limit: int,
    make: Callable[[Row[Any]], T],
    most: int = MAX_PORTION,
    *,
    by: Column[Any] | None = None,
) -> Portion[T]:
    """Up to `limit` rows with `most` bytes together, each as `make` makes it; `by` as in `each`."""
    made: list[T] = []
    for row in each(conn, query.limit(limit + 1), by):
        most -= size_of(row)
        if len(made) == limit or (made and most < 0):
            return Portion(made, more=True)
        made.append(make(row))
    return Portion(made, more=False)


def each(conn: Connection, query: Select[Any], by: Column[Any] | None = None) -> Iterator[Row[Any]]:
    """The rows one by one; only some of them are in memory at once, where an index gives their order. Where none does, the database holds all
    that it sorts: it sorts their keys alone, which are in `by`, and the rows come by these."""
    if by is not None:
        yield from _by_keys(conn, query, by)
        return
    result = conn.execute(query.execution_options(yield_per=_FETCHED))
    try:
        yield from result
    finally:
        result.close()


def _by_keys(conn: Connection, query: Select[Any], by: Column[Any]) -> Iterator[Row[Any]]:
    keys = conn.execute(query.with_only_columns(by)).scalars().all()
    every = query.order_by(None).limit(None).offset(None)
    for at in range(0, len(keys), _FETCHED):
        few = keys[at : at + _FETCHED]
        rows = {getattr(row, by.key): row for row in conn.execute(every.where(by.in_(few)))}
        yield from (rows[key] for key in few if key in rows)


def size_of(row: Row[Any]) -> int:
    """Bytes that a row takes in an answer: one character may take twelve."""
    return sum(size_spelled(value) for value in row if isinstance(value, str))


class Newest(Generic[T]):
    """Passes rows on, and keeps the last of them: up to `limit`, with `most` characters by `size`, and one whatever it has."""

    def __init__(self, limit: int, size: Callable[[T], int], most: int = MAX_PORTION) -> None:
        self._limit, self._most, self._size = limit, most, size
        self._kept: deque[T] = deque()
        self._held = 0
        self.left_out = 0

    def passed(self, rows: Iterable[T]) -> Iterator[T]:
        """The rows as they come."""
        for row in rows:
            self._kept.append(row)
            self._held += self._size(row)
            while len(self._kept) > 1 and (self._held > self._most or len(self._kept) > self._limit):
                self._held -= self._size(self._kept.popleft())
                self.left_out += 1
            yield row

    @property
    def kept(self) -> list[T]:
        """Those that were kept, in order."""
        return list(self._kept)
