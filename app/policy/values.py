"""The types of a policy's values: how each is written, read and described in the JSON schema. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, PlainSerializer, PlainValidator, WithJsonSchema

from app.domain import quantities
from app.policy.matchers import When, parse_when
from app.policy.zones import parse_zone


def _written(
    parse: Any, write: Any, pattern: str | None, example: str, base: Mapping[str, Any] | None = None
) -> tuple[Any, ...]:
    schema = dict(base or {"type": "string"}) | {"examples": [example]}
    if pattern:
        schema["pattern"] = pattern
    return (PlainValidator(parse), PlainSerializer(write), WithJsonSchema(schema))


Duration = Annotated[
    timedelta,
    *_written(quantities.parse_duration, quantities.duration_text, r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$", "15m"),
]
Percentage = Annotated[
    quantities.Percent, *_written(quantities.parse_percent, str, r"^\d{1,3}(\.\d{1,2})? ?%$", "30%")
]
RateLimits = Annotated[
    quantities.Limits,
    *_written(quantities.parse_limits, str, r"^\d+ per \S+( and \d+ per \S+)*$", "3 per 1h and 7 per 24h"),
]
WallTime = Annotated[
    int,
    *_written(
        quantities.parse_wall_time, quantities.wall_time_text, r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$", "16:00"
    ),
]
Zone = Annotated[ZoneInfo, *_written(parse_zone, str, None, "Europe/Berlin")]
Matcher = Annotated[
    When,
    *_written(
        parse_when,
        When.as_written,
        None,
        'alertname="HighErrorRate", severity=~"critical|warning"',
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
    ),
]


_NAMESPACE = re.compile(r"[-a-z0-9*?!\[\]]{1,63}")


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise ValueError(
            "no namespace is called so: small letters, digits and -, at most 63 (* stands for any)"
        )
    return text


NamespacePattern = Annotated[str, AfterValidator(_namespace)]
"""A namespace's name, in which `*` and the like stand for more."""
