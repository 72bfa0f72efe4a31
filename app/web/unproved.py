"""Bodies of which nobody knows yet who sends them: how much memory they take together.

Some senders sign the whole body, so that all of it has to be there before it is known whose it is. Without a bound the connections of
a stranger would fill the memory with bodies that never end. A short body always has its place, as events and clicks are short:
so whoever fills the rest keeps none of them out. Never looks into a body.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.domain.errors import TryLater
from app.domain.pieces import PIECE

MAX_UNPROVED: Final = 64 * 1024 * 1024
"""Bytes of all such bodies together, without the short ones."""
_RETRY: Final = 10.0  # seconds; by then no body that is under way now is


class Unproved:
    """The place for them: `most` bytes in all."""

    def __init__(self, most: int = MAX_UNPROVED) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def body(self) -> Iterator[UnprovedBody]:
        """A body that is received inside, and proved."""
        one = UnprovedBody(self)
        try:
            yield one
        finally:
            self._held -= one.held

    def add(self, size: int) -> None:
        """So many bytes more are held. Raises TryLater (`overloaded`) where there is no place for them."""
        if self._held + size > self._most:
            raise TryLater(
                "too much is being received of senders that are not known yet",
                code="overloaded",
                where="body",
                retry_after=_RETRY,
            )
        self._held += size


class UnprovedBody:
    """One of them; `held` is what it takes of the common place."""

    def __init__(self, of: Unproved) -> None:
        self._of = of
        self._size = 0
        self.held = 0

    def take(self, size: int) -> None:
        """So many bytes more have come. Raises TryLater (`overloaded`)."""
        self._size += size
        if self._size > PIECE:
            more = self._size - PIECE - self.held
            self._of.add(more)
            self.held += more
