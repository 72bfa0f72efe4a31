"""Failures: how often one address may try a wrong token before it has to wait.

Kept in the process, bounded, forgotten with time. The address is the peer's, since what a request says of itself can be made
up; behind a proxy that is the proxy, and everybody behind it waits together. A right token waits too while its address does:
otherwise nothing would be slowed down.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from app.domain.errors import RemediatorError

TRIES = 10
WINDOW = 60.0  # seconds
_ADDRESSES = 1_000


class TooManyFailuresError(RemediatorError):
    """Wait `seconds`."""

    code = "too_many_failures"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many wrong tokens; try again in {max(1, round(seconds))} s")
        self.seconds = max(1, round(seconds))


@dataclass(slots=True)
class Failures:
    """Counts by address. `at` is seconds on the monotonic clock."""

    _since: dict[str, tuple[float, int]] = field(default_factory=dict)

    def require_room(self, address: str, at: float) -> None:
        """Raise TooManyFailuresError when this address has to wait."""
        began, count = self._since.get(address, (at, 0))
        if count >= TRIES and at < began + WINDOW:
            raise TooManyFailuresError(began + WINDOW - at)

    def count(self, address: str, at: float) -> None:
        """One more wrong token."""
        began, count = self._since.pop(address, (at, 0))
        fresh = at >= began + WINDOW
        while len(self._since) >= _ADDRESSES:
            self._since.pop(next(iter(self._since)))
        self._since[address] = (at, 1) if fresh else (began, count + 1)
