"""The port to the checkpoints that LangGraph keeps in PostgreSQL: counting what is old, and removing it a page at a time.

Owns the words and what makes a checkpoint old. The tables have no column for a time: a checkpoint's id is a UUID of version 6, which
begins with its time, and its JSON repeats it under `ts`. What is always kept: the newest checkpoint of each thread and namespace,
because that is where the thread goes on; the parent of a kept one of a format below 4, whose pending sends stand among the
parent's writes; all of a thread that uses DeltaChannel, whose values are made from the writes of all its ancestors; and what has an id
or a `ts` of another form. Implemented by `app.database` (real) and `app.sim`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from app.domain.cluster import Cluster
from app.domain.database import DatabaseAddress

UNKNOWN_SCHEMA: Final = "unknown_schema"
"""Code of the error that says in words which schema was expected and which was found, or what is attached to its tables."""
VERSIONS: Final = range(4, 10)
"""Numbers of LangGraph's migrations after which the tables are as this port knows them."""
DELTA: Final = 4
"""Formats of a checkpoint below this one keep its pending sends among the writes of its parent."""
_GREGORIAN: Final = datetime.fromisoformat("1582-10-15T00:00:00+00:00")
"""Where the time of a UUID begins; it counts in steps of 100 ns."""


class Key(NamedTuple):
    """One checkpoint, in the order in which they are gone through."""

    thread: str = ""
    namespace: str = ""
    id: str = ""


def id_at(moment: datetime) -> str:
    """The smallest UUID of version 6 of this time: ids before it, as text, are of an earlier time."""
    elapsed = moment - _GREGORIAN
    ticks = (elapsed // timedelta(microseconds=1)) * 10
    high = f"{ticks >> 12:012x}"
    return f"{high[:8]}-{high[8:]}-6{ticks & 0xFFF:03x}-8000-000000000000"


def cutoff(now: datetime, before: datetime | int) -> datetime:
    """The time before which a checkpoint is old: as it is given, or so many days before now, cut to the hour."""
    if isinstance(before, datetime):
        return before
    return (now - timedelta(days=before)).replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Amount:
    """So many rows of one table, and the bytes that their values take up."""

    rows: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.rows + other.rows, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Tally:
    """What of each table goes, or went."""

    checkpoints: Amount = Amount()
    blobs: Amount = Amount()
    writes: Amount = Amount()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.checkpoints + other.checkpoints, self.blobs + other.blobs, self.writes + other.writes
        )

    @property
    def parts(self) -> tuple[Amount, Amount, Amount]:
        """Checkpoints, blobs and writes."""
        return self.checkpoints, self.blobs, self.writes

    @property
    def bytes(self) -> int:
        """Of all three tables."""
        return sum(part.bytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of checkpoints in the order of their keys. `looked` of them were gone through, `last` is the key of the last one
    and None when nothing follows. Of those that are old, `delta` are kept because their thread uses DeltaChannel; `odd` ones have an
    id or a `ts` of another form and are not judged."""

    tally: Tally
    looked: int
    last: Key | None
    delta: int = 0
    odd: int = 0

    def __add__(self, later: Page) -> Page:
        """This page and those after it as one."""
        return Page(
            self.tally + later.tally,
            self.looked + later.looked,
            later.last,
            self.delta + later.delta,
            self.odd + later.odd,
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """A count of what is of a time before `before`, in the pages that could be gone through in the time that was given: all of
    them when `counted.last` is None. `about` is how many checkpoints the server thinks there are, `version` the number of
    LangGraph's last migration, `sizes` the bytes of the tables on disk with their indexes, by name. `now` is the earlier of the server's
    clock and this service's, and `ahead` by how much the server's is ahead of it."""

    before: datetime
    version: int
    about: int
    counted: Page
    sizes: Mapping[str, int]
    now: datetime
    ahead: timedelta = timedelta(0)


class Checkpoints(Protocol):
    """All methods raise ProbeUnavailable as the port `Databases` does, and with the code `unknown_schema` when the tables are not
    those that this port knows, or something is attached to them through which a removal would reach other rows or miss some; its text says what was expected and what was found."""

    async def denied(self, cluster: Cluster, at: DatabaseAddress) -> Sequence[str]:
        """The tables that the login may not read and delete from, in a quick look."""
        ...

    async def survey(
        self, cluster: Cluster, at: DatabaseAddress, before: datetime | int, planned: datetime | None = None
    ) -> Survey:
        """Count what is old, in pages and for a limited time: of a time before `before`, or older than so many days by the
        earlier of the server's clock and this service's, cut to whole hours: what is removed is gone, so the one that is ahead is not
        believed. With `planned`, as it was by then: a checkpoint that is the newest no more since that time does not count.
        Changes nothing. The login has to be able to read the tables."""
        ...

    async def remove(
        self,
        cluster: Cluster,
        at: DatabaseAddress,
        before: datetime,
        after: Key,
        ask: Callable[[], Awaitable[None]],
    ) -> Page:
        """Go through the page of checkpoints after this key, and remove those of a time before `before` that are not kept,
        with their writes and the blobs that no other checkpoint refers to, in one transaction: all of the page or nothing.

        Each value that a kept checkpoint of these threads finds before is looked for again before the commit; a difference takes
        everything back. `ask` is asked right before the transaction begins. Raises ProbeUnavailable also when a lock or an answer
        took too long, and when the answer was lost: to do a page twice removes no more than once.
        """
        ...
