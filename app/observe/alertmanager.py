"""Alertmanager's API v2 about its own alerts: does one still fire, is it silenced, is a blocking alert firing?

Behind the AlertSources port (`app.observe.alert_sources`). Asked by the flow before an action and during verification, because a webhook does not tell everything: an alert that
resolves while it is silenced, inhibited or muted sends no message. Never writes, so it never makes or ends a silence.

An alert that Alertmanager no longer lists counts as gone. A Prometheus that died looks the same after some minutes;
that is why the flow also wants a healthy rollout.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from app.domain.alert import Alert
from app.domain.alert_report import AlertReport, Reported
from app.domain.errors import RemediatorError
from app.domain.ports import Clock
from app.observe.http_json import JsonSource

_CLASSIC = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SILENCE_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_LIMIT = 64 * 1024 * 1024  # bytes: some ten thousand alerts with long annotations
_NAMED = 3  # silences whose maker is looked up
_EVERY_STATE = [("active", "true"), ("silenced", "true"), ("inhibited", "true"), ("unprocessed", "true")]


@dataclass(frozen=True, slots=True)
class ListedAlert:
    """One alert as Alertmanager lists it. `hidden` says why nobody is told of it: a silence, an inhibition or a mute time interval
    (`mutedBy`, of the releases that have it); empty when somebody is. `silences` has the ids of its silences."""

    labels: Mapping[str, str]
    starts_at: datetime
    hidden: str
    silences: tuple[str, ...] = ()


class Alertmanager:
    """Reads of `/api/v2/alerts`. Any one replica will do: they all hold every alert."""

    def __init__(self, client: httpx.AsyncClient, url: str, clock: Clock) -> None:
        self._source = JsonSource(client, url, clock, name="Alertmanager", limit=_LIMIT)

    async def states(self, alerts: Sequence[Alert]) -> Sequence[AlertReport]:
        """What Alertmanager says of each of its alerts, with one query for all of them: those of an incident share labels."""
        try:
            listed = await self.firing_matching(_shared([a.labels for a in alerts]))
        except RemediatorError as error:
            unknown = AlertReport(Reported.UNKNOWN, f"Alertmanager could not be asked: {error.message}")
            return [unknown] * len(alerts)
        found = {frozenset(a.labels.items()): a for a in listed}
        mine = [found.get(frozenset(a.labels.items())) for a in alerts]
        ids = sorted({i for a in mine if a is not None for i in a.silences})[:_NAMED]
        named = dict(zip(ids, await asyncio.gather(*(self._silence(i) for i in ids)), strict=True))
        return [_report(a, named) for a in mine]

    async def _silence(self, silence_id: str) -> str:
        """Who made a silence and until when; its id alone when that cannot be read."""
        if _SILENCE_ID.fullmatch(silence_id) is None:
            return ""
        try:
            found = await self._source.get(f"/api/v2/silence/{silence_id}", [])
            ends = datetime.fromisoformat(str(found["endsAt"])).astimezone(UTC)
            return f"silenced by {str(found['createdBy'])[:80] or 'nobody named'} until {ends:%Y-%m-%d %H:%M} UTC"
        except (RemediatorError, KeyError, TypeError, ValueError):
            return ""

    async def firing_matching(self, matchers: Sequence[str]) -> Sequence[ListedAlert]:
        """All alerts that match every one of `matchers` (one of Alertmanager's matchers each, e.g. `severity="page"`),
        hidden ones too. Raises ProbeUnavailable, also for a matcher that Alertmanager refuses."""
        body = await self._source.get("/api/v2/alerts", [*_EVERY_STATE, *(("filter", m) for m in matchers)])
        if not isinstance(body, list):
            raise self._source.fault("gave an answer that is not a list of alerts")
        return [self._alert(item) for item in body]

    def _alert(self, item: Any) -> ListedAlert:
        try:
            labels = {str(k): str(v) for k, v in item["labels"].items()}
            status = item["status"]
            silences = tuple(str(i) for i in status.get("silencedBy") or ())
            since = datetime.fromisoformat(item["startsAt"])
            return ListedAlert(labels, since, _hidden(status), silences)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise self._source.fault("gave an alert that could not be read") from e


def _shared(labels: Sequence[Mapping[str, str]]) -> list[str]:
    """Matchers for what all of these have in common; none lists everything."""
    first, *rest = labels
    common = {k: v for k, v in sorted(first.items()) if all(m.get(k) == v for m in rest)}
    return [matcher(k, v) for k, v in common.items()]


def _report(alert: ListedAlert | None, silences: Mapping[str, str]) -> AlertReport:
    if alert is None:
        return AlertReport(Reported.GONE, "Alertmanager no longer lists the alert")
    if alert.hidden:
        named = next((silences[i] for i in alert.silences if silences.get(i)), alert.hidden)
        return AlertReport(Reported.SILENCED, named)
    return AlertReport(Reported.FIRING, f"firing since {alert.starts_at:%Y-%m-%d %H:%M:%S} UTC")


def _hidden(status: Mapping[str, Any]) -> str:
    for field, text in (
        ("silencedBy", "silenced by silence"),
        ("inhibitedBy", "inhibited by alert"),
        ("mutedBy", "muted by time interval"),
    ):
        if names := status.get(field):
            return f"{text} {', '.join(str(n) for n in names)}"
    return ""


def matcher(name: str, value: str) -> str:
    """The equality matcher for one label in Alertmanager's syntax, quoted so that any value is taken literally."""
    quoted = _quote(value)
    # Releases before UTF-8 label names refuse a quoted name, so a plain one stays unquoted.
    return f"{name}={quoted}" if _CLASSIC.fullmatch(name) else f"{_quote(name)}={quoted}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
