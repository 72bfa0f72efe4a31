"""Expensive reads: how many are answered at once, so that health and alerts never wait for them.

Owns the places for reads that ask the cluster, look through the trail or fold many rows: a few for each caller and some in all,
whether they come by the API or by a page; and more places for the pages that people keep open. Who finds none free is told to come again. Also what many ask for at once and is the same
for all, made once for them. Never waits for a place: a line of reads would only be late together.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Final

from fastapi import Depends, Request

from app.domain.errors import TryLater
from app.domain.lines import ASKED_BY, EXPENSIVE, Asker
from app.intake.auth import Principal, Scope
from app.web.callers import require

OF_ONE: Final = 4
"""Reads of one caller under way at once."""
IN_ALL: Final = 8
"""Reads of all callers under way at once."""
PAGES_OF_ONE: Final = 16
"""Pages of one visitor under way at once: many look with one token, and all reload when there is news."""
PAGES_IN_ALL: Final = 32
"""Pages of all visitors under way at once."""
ANSWERS_OF_ONE: Final = 8
"""Long answers to one caller under way at once."""
ANSWERS_IN_ALL: Final = 16
"""Long answers to all callers under way at once: of some megabytes each, which the pod has memory for."""
_RETRY: Final = 2.0  # seconds

reader = require(Scope.READ)
"""The dependency of whatever is read: the caller with the scope `read`."""


class ExpensiveReads:
    """The places for expensive reads: `of_one` caller, and `in_all`; where none are given, those of what asks the cluster."""

    def __init__(self, of_one: int | None = None, in_all: int | None = None) -> None:
        self._of_one, self._in_all = of_one, in_all
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """A place for one read of this caller. Raises TryLater (`overloaded`) at once when there is none."""
        of_one = OF_ONE if self._of_one is None else self._of_one
        in_all = IN_ALL if self._in_all is None else self._in_all
        if self._under_way[caller] >= of_one or self._under_way.total() >= in_all:
            raise TryLater("other expensive reads are under way", code="overloaded", retry_after=_RETRY)
        self._under_way[caller] += 1
        try:
            yield
        finally:
            self._under_way[caller] -= 1
            self._under_way += Counter()  # without who has none


async def expensive(
    request: Request, principal: Annotated[Principal, Depends(reader)]
) -> AsyncIterator[None]:
    """A FastAPI dependency: a place for this read. Raises TryLater (`overloaded`)."""
    ASKED_BY.set(Asker(principal.name, EXPENSIVE))
    with request.app.state.services.expensive.place(principal.name):
        yield


class Together:
    """What is the same for all who ask in the same moment: made once, after the last of them asked."""

    def __init__(self) -> None:
        self._making: dict[str, asyncio.Future[bytes]] = {}

    async def get(self, name: str, make: Callable[[], bytes]) -> bytes:
        """What `make` gives, never older than this call."""
        making = self._making.get(name)
        if making is None:
            making = self._making[name] = asyncio.ensure_future(self._make(name, make))
        return await asyncio.shield(making)

    async def _make(self, name: str, make: Callable[[], bytes]) -> bytes:
        await asyncio.sleep(0)  # those who asked in this round of the loop are answered with it
        self._making.pop(name)
        return make()
