"""Recorded alerts: lines of JSON -> what was heard, in three forms, one line at a time.

A line is one alert (`labels`, `startsAt`, perhaps `status`, `endsAt`, `receivedAt`), a whole Alertmanager v4 body (perhaps
with `receivedAt`), or a record of this service's audit export (`alert.fired`, `alert.resolved`; other kinds are passed
over). Called by the replay's command. Pure: it is given the lines. Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SHOWN = 5
_TEXTS = {str}


@dataclass(slots=True)
class Heard:
    """One word about one alert. `ends` is set when its end was recorded beforehand; `episode` is the recorder's own id of
    the firing, empty when it gave none. A resolution from the audit trail has no labels, only the episode."""

    at: int
    labels: dict[str, str]
    firing: bool
    starts: int
    ends: int | None = None
    episode: str = ""


@dataclass(slots=True)
class Reading:
    """How reading went: nothing that could not be read is dropped in silence."""

    lines: int = 0
    alerts: int = 0
    passed_over: int = 0
    unreadable: int = 0
    faults: list[str] = field(default_factory=list)


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def instant(at: int) -> datetime:
    """The instant of so many microseconds."""
    return _EPOCH + timedelta(microseconds=at)


def read_lines(file: str, lines: Iterable[bytes], reading: Reading) -> Iterator[Heard]:
    """What the lines say, in their order. What cannot be read is counted in `reading`, the first ones with their place."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        reading.lines += 1
        try:
            found = _line(orjson.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            reading.unreadable += 1
            if len(reading.faults) < _SHOWN:
                reading.faults.append(f"{file}:{number}: {_reason(error)}")
            continue
        if not found:
            reading.passed_over += 1
        reading.alerts += len(found)
        yield from found


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"
    return "not JSON" if isinstance(error, orjson.JSONDecodeError) else str(error)


def _line(data: dict[str, Any]) -> list[Heard]:
    if "alerts" in data:
        received = _moment(data.get("receivedAt"))
        return [_alert(alert, received) for alert in data["alerts"]]
    if "seq" in data and "kind" in data:
        return _audited(data)
    return [_alert(data, None)]


def _alert(data: dict[str, Any], received: int | None) -> Heard:
    labels = data["labels"]
    if type(labels) is not dict or set(map(type, labels.values())) != _TEXTS:
        raise ValueError("labels are texts by name, at least one")
    starts = _moment(data["startsAt"])
    if starts is None:
        raise ValueError("startsAt is no time")
    ends = _moment(data.get("endsAt"))
    received = _moment(data.get("receivedAt")) or received
    status = data.get("status", "firing")
    if status not in ("firing", "resolved"):
        raise ValueError(f"status is firing or resolved, not {status!r}")
    episode = data.get("fingerprint", "")
    episode = f"{starts}/{episode}" if episode else ""
    if status == "resolved":
        return Heard(received or ends or starts, labels, False, starts, None, episode)
    return Heard(received or starts, labels, True, starts, ends, episode)


def _audited(data: dict[str, Any]) -> list[Heard]:
    return recorded(data["kind"], int(data["at"]), data["data"])


def recorded(kind: str, at: int, body: Mapping[str, Any]) -> list[Heard]:
    """What a record of the audit trail says of an alert; nothing for a kind that says nothing of one. Raises what `read_lines` counts."""
    if kind == "alert.fired":
        starts = _moment(body["starts_at"])
        return [Heard(at, body["labels"], True, at if starts is None else starts, None, body["episode"])]
    if kind == "alert.resolved":
        return [Heard(at, {}, False, at, None, body["episode"])]
    return []


def _moment(text: Any) -> int | None:
    """The instant; None for none, which Go writes as a time in year 1. Raises ValueError for a time without an offset."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return micros(at) if at.year >= 1970 else None
