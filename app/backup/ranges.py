"""One object read by ranges: each is a request of its own with its own time limit, and goes on where the last one ended.

Called by `app.backup.bucket`. Whoever takes the bytes sets the pace: pg_restore may let a read wait for hours, and no request is open
meanwhile. Two ranges are ahead, so that the store and the reader work at the same time. Never mixes two objects: what the store
says of the object has to stay the same from range to range. Knows no store.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from typing import Final

from app.backup.failure import BackupFailed, MayPass

RANGE: Final = 8 << 20
TRIES: Final = 8
"""Requests in a row that brought no byte; one that did begins the count anew, so a slow store is read to its end."""
_AHEAD: Final = 2
_LONGEST_PAUSE: Final = 30.0
_EMPTY: Final = 100  # blocks without a byte, in a row, of a request that may never end

Ask = Callable[[int, int], AbstractContextManager[tuple[object, Iterable[bytes]]]]
"""Bytes from an offset up to another, with what the store says the object is. Raises BackupFailed, or MayPass."""


class Ranges:
    """One read. `size` is that of the object; `pause` waits between two tries."""

    def __init__(self, ask: Ask, size: int, pause: Callable[[float], object] | None = None) -> None:
        self._ask, self._size = ask, size
        self._over = threading.Event()
        self._pause = pause or self._over.wait
        self._object: dict[str, object] = {}

    def blocks(self) -> Iterator[bytes]:
        """All of it, in order. Raises BackupFailed."""
        starts = iter(range(0, self._size, RANGE))
        pool = ThreadPoolExecutor(_AHEAD, thread_name_prefix="ranges")
        ahead: deque[Future[list[bytes]]] = deque()
        try:
            ahead.extend(self._submitted(pool, islice(starts, _AHEAD)))
            while ahead:
                taken = ahead.popleft().result()
                ahead.extend(self._submitted(pool, islice(starts, 1)))
                yield from taken
        finally:  # also when the reader has seen enough
            self._over.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _submitted(self, pool: ThreadPoolExecutor, starts: Iterable[int]) -> list[Future[list[bytes]]]:
        return [pool.submit(self._range, at, min(at + RANGE, self._size)) for at in starts]

    def _range(self, start: int, end: int) -> list[bytes]:
        taken: list[bytes] = []
        at, failed = start, 0
        while at < end:
            before, empty = at, 0
            try:
                with self._ask(at, end) as (what, blocks):
                    self._refuse_another(what)
                    for block in blocks:
                        at += len(block)
                        taken.append(block)
                        empty = 0 if block else empty + 1
                        if at >= end or empty > _EMPTY or self._over.is_set():
                            break
                if at > end:
                    raise BackupFailed("the store gives more than was asked for", code="altered")
                if at == before:
                    raise MayPass("the store sent nothing", code="store_failed")
            except MayPass as error:
                failed = 1 if at > before else failed + 1
                if failed >= TRIES or self._over.is_set():
                    text = f"{error.message} at byte {at} of {self._size}, tried {failed} times"
                    raise BackupFailed(text, code=error.code) from None
                self._pause(min(2.0 ** (failed - 1), _LONGEST_PAUSE))
            if self._over.is_set():
                break
        return taken

    def _refuse_another(self, what: object) -> None:
        if self._object.setdefault("is", what) != what:
            raise BackupFailed("the object became another one while it was read", code="altered")
