"""Targets: log lines of providers that limit, and schedules as a policy writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from app.policy.schedule import Schedule
from remediations.evidence.limit_lines import Limited, limit_in
from tests.fuzz.target import FuzzTarget, parts_of, text_of

_AT = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # half an hour before Berlin's clocks go forward
_LINES = (
    b"2026-03-04T10:15:00Z ERROR openai.RateLimitError: Error code: 429 - Rate limit reached: Limit 30000. Please try again in 6.2s.",
    b'{"level":"error","status":429,"url":"https://api.anthropic.com/v1/messages","retry_after":"30"}',
    b'mistralai.models.sdkerror: Status 429 {"message":"Requests rate limit exceeded"}',
    b"google.api_core.exceptions.ResourceExhausted: 429 Quota exceeded; retry_delay { seconds: 12 }",
    b'ours: "POST /runs HTTP/1.1" 429 Too Many Requests',
)


def _limit(data: bytes) -> None:
    for line in text_of(data).splitlines():
        found = limit_in(line)
        if isinstance(found, Limited):
            assert found.wait is None or found.wait >= 0
            assert found.title


def _schedule(data: bytes) -> None:
    cron, zone = (text_of(part) for part in parts_of(data, 2))
    try:
        schedule = Schedule.model_validate({"cron": cron, "timezone": zone or "Europe/Berlin"})
    except ValidationError:
        return
    at = _AT
    for _ in range(3):
        following = schedule.first_after(at)
        if following is None:
            return
        assert following > at
        assert following.utcoffset() == timedelta(0)
        at = following


TARGETS = (
    FuzzTarget(
        "limit-lines",
        _limit,
        _LINES,
        (b"429", b"retry-after: ", b"retry_after", b"x-ratelimit-reset-requests: ", b"in 1m2.5s", b"1e400", b"seconds: ", b"https://", b"\n",
         b'{"error": {', b"quota", b"2026-03-04T10:15:00Z", b"9" * 40),
    ),
    FuzzTarget(
        "schedule",
        _schedule,
        (b"30 2 * * *\0Europe/Berlin", b"*/5 * * * MON-FRI", b"0 0 29 2 *", b"0 3 L * *\0Australia/Lord_Howe", b"0 0 * * MON#1", b"0 0 30 2 *"),
        (b"*", b"/", b"-", b",", b"#", b"L", b"MON", b"JAN", b"59", b"0", b"\0", b" ", b"Europe/", b"\xd9\xa3"),
        pumped=200,
    ),
)  # fmt: skip
