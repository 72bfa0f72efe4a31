"""Sending: what delivering needs, and what this process knows of Slack being away, and when it tries again.

Held by `app.flow.notifying.deliver`. While Slack takes nothing, one message a time asks whether it does again and all the others
wait for that answer: they are neither sent nor count an attempt. Logs the beginning and the end. Losing it, by a restart,
costs one call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from app.domain import page_marks
from app.domain.ports import NO_TRACER, Clock, Tracer
from app.flow.calling import calls
from app.notify.client import MessageClient
from app.notify.pagerduty import PagerDutyClient
from app.notify.status_page import StatusPageClient
from app.notify.timeline import Timeline
from app.store.database import Store

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


async def _no_row() -> None:
    """The check of a row before there is one."""


@dataclass(frozen=True, slots=True)
class DeliverServices:
    """What delivering needs. `replica` names this process across restarts, `boot` this start of it; `pager` and `status_page` are None
    when they are not configured.

    More than `storm` incidents with their first messages pending become one digest. `shown` remembers what each parent
    message shows, so that it is not edited to the same text, and the row that showed it: it holds as long as no other replica told the next one.
    Losing it costs an edit. A row is claimed for `lease`, counted anew as its turn comes. No message is given up because Slack
    is away; entries about evidence and decisions that waited longer than `details_for` are told by the parent message alone.
    """

    store: Store
    clock: Clock
    client: MessageClient
    timeline_of: Callable[[Connection, str], Timeline]
    channel: str
    replica: str
    boot: str
    pager: PagerDutyClient | None = None
    status_page: StatusPageClient | None = None
    storm: int = 20
    batch: int = 10
    lease: timedelta = timedelta(minutes=2)
    details_for: timedelta = timedelta(days=1)
    attempted: Callable[[str, str], None] = lambda _channel, _result: None  # `pager` or `chat`; how it went
    tracer: Tracer = NO_TRACER
    shown: dict[str, tuple[str, int]] = field(default_factory=dict)
    outage: Outage = field(default_factory=Outage)
    check: Callable[[], Awaitable[None]] = _no_row

    @property
    def owner(self) -> str:
        """Under which name rows are claimed."""
        return f"{self.replica}/{self.boot}"

    @property
    def lines(self) -> calls.Lines:
        """The ways out beside the chat."""
        mark = page_marks.maker(self.store.vault.key)
        return calls.Lines(self.store, self.timeline_of, mark, self.pager, self.status_page, self.check)
