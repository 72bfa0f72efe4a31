"""Owns what a fuzz target is: a named function over bytes with seeds, and how an input is taken apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

PUMPED = 32 * 1024
"""Length to which an input is repeated to see what it costs when there is much of it."""
SECONDS = 1.5
"""Processor time that an input of that length may cost; quadratic work on it takes far longer."""
_TRIES = 3  # a busy machine makes one of them slow, a defect all


@dataclass(frozen=True)
class FuzzTarget:
    """`run` takes any bytes; it raises only for a defect. `words` are worth inserting. `pumped` is the length to which
    inputs are repeated, less for a parser whose input is short by its own limits."""

    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    pumped: int = PUMPED
    seconds: float = SECONDS

    def pump(self, data: bytes) -> float:
        """Run with `data` over and over; seconds of processor time. Raises AssertionError above its limit."""
        many = data * max(1, self.pumped // max(1, len(data)))
        taken = 0.0
        for _ in range(_TRIES):
            begun = time.thread_time()
            self.run(many[: self.pumped])
            taken = time.thread_time() - begun
            if taken < self.seconds:
                return taken
        raise AssertionError(f"{self.name}: {len(many)} bytes took {taken:.1f} s of processor time")


def text_of(data: bytes) -> str:
    """The bytes as text; what is not UTF-8 becomes lone surrogates, which JSON escapes can put into any text."""
    return data.decode("utf-8", "surrogateescape")


def parts_of(data: bytes, count: int) -> list[bytes]:
    """`count` pieces of the input, separated by NUL; missing ones are empty."""
    parts = data.split(b"\0", count - 1)
    return parts + [b""] * (count - len(parts))
