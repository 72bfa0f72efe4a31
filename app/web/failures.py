"""Failures: how often one address may prove nothing before it is told to wait.

Kept in the process, bounded, forgotten with time. The address is the peer's, since what a request says of itself can be made
up; behind a proxy that is the proxy, and everybody behind it is counted together. An IPv6 address counts with its /64, which one
machine has as a whole. At the login of the web page a right token waits too while its address does. In the API and at the
webhooks only failures are told to wait: what proves itself always passes, so that nobody behind the same proxy can lock out a
sender of alerts.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

import structlog
from starlette.requests import Request

from app.domain.errors import NotAuthenticated, RemediatorError

LOGIN_TRIES = 10
API_TRIES = 60
WINDOW = 60.0  # seconds
ADDRESSES = 1_000

_log = structlog.get_logger("app.web")


class TooManyFailuresError(RemediatorError):
    """Wait `seconds`."""

    code = "too_many_failures"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many failed attempts; try again in {max(1, round(seconds))} s")
        self.seconds = max(1, round(seconds))


@dataclass(slots=True)
class Failures:
    """Counts by address: `tries` in a minute, of the ADDRESSES that failed last. `at` is seconds on the monotonic clock."""

    tries: int = LOGIN_TRIES
    _since: dict[str, tuple[float, int]] = field(default_factory=dict)

    def require_room(self, address: str, at: float) -> None:
        """Raise TooManyFailuresError when this address has to wait."""
        began, count = self._since.get(_counted_as(address), (at, 0))
        if count >= self.tries and at < began + WINDOW:
            raise TooManyFailuresError(began + WINDOW - at)

    def count(self, address: str, at: float) -> int:
        """One more that proved nothing; how many there are in this minute."""
        address = _counted_as(address)
        began, count = self._since.pop(address, (at, 0))
        if at >= began + WINDOW:
            began, count = at, 0
        while len(self._since) >= ADDRESSES:
            self._since.pop(next(iter(self._since)))
        self._since[address] = (began, count + 1)
        return count + 1


def _counted_as(address: str) -> str:
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if known.version == 4:
        return address
    return str(
        ipaddress.ip_network((known.ipv4_mapped or known, 32 if known.ipv4_mapped else 64), strict=False)
    )


def counted(request: Request, error: NotAuthenticated) -> RemediatorError:
    """The answer to a request that proved nothing: the error itself, or, after too many from its address, to wait."""
    services = request.app.state.services
    address, at = request.client.host if request.client else "", services.clock.monotonic()
    try:
        services.failures.require_room(address, at)
    except TooManyFailuresError as wait:
        services.metrics.failed_authentications.labels("limited").inc()
        return wait
    if services.failures.count(address, at) == services.failures.tries:
        _log.warning("too many failed authentications", address=address, seconds=WINDOW)
    services.metrics.failed_authentications.labels("refused").inc()
    return error
