"""How values stand in the database: times as microseconds since the epoch, JSON and text in a storable form.

Called by every module of the store. Never touches a connection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# One encoder for all: building one costs more than using it. Its text is that of `app.domain.json.canonical`.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode

_SMALL = re.compile(rb"[0-9]e-[0-9]")


def micros(at: datetime) -> int:
    """Microseconds since 1970 of a timezone-aware time."""
    return (at - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """The UTC time of `micros`."""
    return _EPOCH + timedelta(microseconds=value)


def micros_or_none(at: datetime | None) -> int | None:
    """`micros`, or None for None."""
    return None if at is None else micros(at)


def moment_or_none(value: int | None) -> datetime | None:
    """`moment`, or None for None."""
    return None if value is None else moment(value)


def storable(text: str) -> str:
    """`text` without what no database keeps: NUL becomes U+FFFD, a lone surrogate "?".

    Senders can put both into a label with a JSON escape; one such label must not lose the batch it came in.
    """
    if text.isascii():
        return text.replace("\0", "\ufffd") if "\0" in text else text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def to_text(value: Any) -> str:
    """`value` as canonical JSON text, storable (a NUL inside is escaped by JSON itself).

    The fast encoder gives the same text but for small exponents (1e-7 for 1e-07); those, and what it refuses (lone
    surrogates, numbers beyond 64 bits), take the long way, so that anyone's canonical JSON gives the same hash.
    """
    try:
        fast = orjson.dumps(value, None, orjson.OPT_SORT_KEYS)
    except TypeError:
        pass
    else:
        if type(value) is str or _SMALL.search(fast) is None:
            return fast.decode()
    text = _encode(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def plain_text(value: Any) -> str:
    """`to_text` of what holds text and whole numbers only: there is no exponent to look for."""
    try:
        return orjson.dumps(value, None, orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return to_text(value)


def to_json(text: str) -> Any:
    """The value of `to_text`."""
    return json.loads(text)


def object_or_none(value: Mapping[str, Any] | None) -> str | None:
    """`to_text` of a JSON object, or None for None."""
    return None if value is None else to_text(value)
