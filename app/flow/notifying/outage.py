"""Outage: what this process knows of Slack being away, and when it tries again.

Held by `app.flow.notifying.deliver`. While Slack takes nothing, one message a time asks whether it does again and all the others
wait for that answer: they are neither sent nor count an attempt. Logs the beginning and the end. Losing it, by a restart,
costs one call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_FIRST_WAIT: Final = 2.0  # seconds
_LONGEST_WAIT: Final = 15.0
"""Seconds: this is how late delivery resumes at most once Slack is good."""


@dataclass(slots=True)
class Outage:
    """`since` is None while Slack takes messages; `until` is when the next one may ask; `took_at` when it took the last. All in seconds
    of the monotonic clock."""

    since: float | None = None
    until: float | None = None
    took_at: float | None = None
    _failures: int = 0

    def holds(self, now: float) -> float | None:
        """How many seconds messages wait; None when one may be sent."""
        return self.until - now if self.until is not None and now < self.until else None

    def begin(self, now: float, code: str) -> None:
        """A sign that Slack is away."""
        if self.since is None:
            self.since = now
            log.warning("slack_away", code=code)

    def failed(self, now: float, code: str, wait: float | None) -> float:
        """Slack takes nothing; returns in how many seconds to ask again. `wait` is what Slack asked for, in seconds."""
        self.begin(now, code)
        backoff = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(self._failures, 10))
        self._failures += wait is None
        seconds = backoff if wait is None else wait
        self.until = now + seconds
        return seconds

    def took(self, now: float) -> bool:
        """Slack took a message; True when that ended an outage."""
        ended, self.took_at = self.since, now
        self.since, self.until, self._failures = None, None, 0
        if ended is not None:
            log.info("slack_back", seconds=round(now - ended, 1))
        return ended is not None
