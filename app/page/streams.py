"""Streams: how many browsers may be told news at a time.

A place is taken for the time of one answer. A browser that finds none asks again later and works without meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.domain.errors import TryLater

MAX_STREAMS = 64


@dataclass(slots=True)
class Streams:
    """The places, `most` of them."""

    most: int = field(default_factory=lambda: MAX_STREAMS)
    taken: int = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place inside the block. Raises TryLater when none is left."""
        if self.taken >= self.most:
            raise TryLater("too many pages are open that want news", code="too_many_streams", retry_after=30)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
