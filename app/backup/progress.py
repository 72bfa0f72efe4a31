"""How far a dump has come on its way, said now and then, and sizes in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from app.domain.ports import Clock

Say = Callable[[str], None]
_EVERY: Final = 10.0
_GIB, _MIB = 1 << 30, 1 << 20


def told(what: str, blocks: Iterable[bytes], clock: Clock, say: Say) -> Iterator[bytes]:
    """The same blocks; every ten seconds their number of bytes is said."""
    done, last = 0, clock.monotonic()
    for block in blocks:
        done += len(block)
        if clock.monotonic() - last >= _EVERY:
            last = clock.monotonic()
            say(f"{what}: {size_words(done)}")
        yield block


def size_words(number: int) -> str:
    """Bytes in words."""
    return f"{number / _GIB:.1f} GiB" if number >= _GIB else f"{number / _MIB:.1f} MiB"
