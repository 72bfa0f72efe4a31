"""Scorecard: what a span of time was worth, for the command, the API, and the weekly message.

The message is queued by the task `report` under an id made of the week, in one transaction with its numbers: restarts and other
replicas find it there. A week whose hour passed while nobody ran is told late, once; an older one is not told any more.
Reads counts and queues a message; never sends and never judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from app.domain.outcome import RunState
from app.flow.services import Services
from app.policy.calendar import last_post, post_on
from app.policy.model import Scorecard as Post
from app.store import outbox
from app.store.scorecard import Scorecard, first_record, scorecard
from app.store.tx import Tx

WEEKLY: Final = "scorecard"
_WEEK = timedelta(days=7)


async def last_days(services: Services, days: int) -> Mapping[str, Any]:
    """The last `days` days, beside as many days before them."""
    until, span = services.clock.now(), timedelta(days=days)
    return await services.store.read(lambda conn: compared(conn, (until - 2 * span, until - span, until)))


def compared(conn: Connection, span: tuple[datetime, datetime, datetime]) -> dict[str, Any]:
    """The card from the second to the third moment, with that from the first to the second under `before`; None there when
    nobody counted at its beginning yet, or its numbers are not kept any more."""
    earlier, since, until = span
    began = first_record(conn)
    known = began is not None and began <= earlier
    before = card_json(scorecard(conn, earlier, since)) if known else None
    return {**card_json(scorecard(conn, since, until)), "before": before}


def card_json(card: Scorecard) -> dict[str, Any]:
    """As the API gives it; times to mitigate in seconds."""
    return {
        "since": card.since.isoformat(),
        "until": card.until.isoformat(),
        "alerts": card.alerts,
        "incidents": card.incidents,
        "acted": card.acted,
        "fixed": card.fixed,
        "contained": card.contained,
        "not_fixed": card.runs.get(RunState.NOT_FIXED, 0),
        "taken_over": card.taken_over,
        "undone": card.undone,
        "setbacks": card.setbacks,
        "runs": card.runs,
        "mitigate_seconds": {"median": card.percentile(0.5), "p90": card.percentile(0.9)},
        "offenders": [{"target": target, "incidents": number} for target, number in card.offenders],
    }


async def post_due(services: Services, channel: str) -> bool:
    """Queue the week's message if its hour has come and nobody has yet; True when it was queued now. Nothing without a
    channel, without the policy's `scorecard`, and for a week in which this service was not there yet."""
    post = services.policy().scorecard
    if post is None or not channel:
        return False
    due, day = last_post(post, services.clock.now())
    message_id = week_id(day)
    if not await services.store.read(lambda conn: _wanted(conn, message_id, due)):
        return False
    queued = await services.store.write(lambda tx: _put(tx, message_id, _span(post, day)))
    if queued:
        services.deliver_nudge()
    return queued


def week_id(day: date) -> str:
    """One a week, whatever its day and hour were changed to meanwhile: `scorecard:2026-W10`."""
    year, week, _ = day.isocalendar()
    return f"{WEEKLY}:{year}-W{week:02d}"


def _wanted(conn: Connection, message_id: str, due: datetime) -> bool:
    began = first_record(conn)
    return began is not None and began < due and not outbox.known(conn, message_id)


def _span(post: Post, day: date) -> tuple[datetime, datetime, datetime]:
    """Two weeks of wall-clock time, which is an hour more or less where daylight saving begins or ends."""
    return post_on(post, day - 2 * _WEEK), post_on(post, day - _WEEK), post_on(post, day)


def _put(tx: Tx, message_id: str, span: tuple[datetime, datetime, datetime]) -> bool:
    if outbox.known(tx.conn, message_id):
        return False
    data = {"week": message_id.partition(":")[2], **compared(tx.conn, span)}
    return tx.put(message_id, "", WEEKLY, {"event": WEEKLY, "data": data})
