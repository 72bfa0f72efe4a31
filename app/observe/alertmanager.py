"""Alertmanager's API v2 about its own alerts: does one still fire, is it silenced, is a blocking alert firing?

Behind the AlertSources port (`app.observe.alert_sources`). Asked by the flow before an action and during verification, because a webhook does not tell everything: an alert that
resolves while it is silenced, inhibited or muted sends no message. Never writes, so it never makes or ends a silence.

An alert that Alertmanager no longer lists counts as gone. A Prometheus that died looks the same after some minutes;
that is why the flow also wants a healthy rollout. Of one that it never had, because Grafana, another Alertmanager or a script sent
it, it says nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.domain.alert import Alert
from app.domain.alert_report import AlertReport, Reported
from app.domain.errors import RemediatorError
from app.domain.ports import Clock
from app.domain.redact import in_one_line
from app.domain.subject import UNREAD
from app.observe.http_json import JsonSource

_CLASSIC = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SILENCE_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_LIMIT = 64 * 1024 * 1024  # bytes: some ten thousand alerts with long annotations
_NAMED = 3  # silences whose maker is looked up
_LONG = 2_000
"""Characters of a label from which on it may have been cut, and is not asked for."""
_REMEMBERED = 10_000
_ASK_AGAIN = 300.0
"""Seconds after which it is looked again whether alerts of another Prometheus have come."""
_GRAFANA = re.compile(r"/alerting/(?:grafana/)?[^/]+/(?:view|edit)")
_GONE = AlertReport(Reported.GONE, "Alertmanager no longer lists the alert")
_ELSEWHERE = AlertReport(
    Reported.TOLD, "this Alertmanager has no alerts of the one that sent it, so only its messages tell"
)
_EVERY_STATE = [("active", "true"), ("silenced", "true"), ("inhibited", "true"), ("unprocessed", "true")]


@dataclass(frozen=True, slots=True)
class ListedAlert:
    """One alert as Alertmanager lists it. `hidden` says why nobody is told of it: a silence, an inhibition or a mute time interval
    (`mutedBy`, of the releases that have it); empty when somebody is. `silences` has the ids of its silences."""

    labels: Mapping[str, str]
    starts_at: datetime
    hidden: str
    silences: tuple[str, ...] = ()
    fingerprint: str = ""
    origin: str = ""


class Alertmanager:
    """Reads of `/api/v2/alerts`. Any one replica will do: they all hold every alert. Remembers which alerts it was seen to have, and
    which Prometheus it gets alerts of, by the address in their generatorURL."""

    def __init__(self, client: httpx.AsyncClient, url: str, clock: Clock) -> None:
        self._source = JsonSource(client, url, clock, name="Alertmanager", limit=_LIMIT)
        self._clock = clock
        self._had: dict[str, None] = {}
        self._origins: set[str] = set()
        self._foreign: dict[str, float] = {}

    async def states(self, alerts: Sequence[Alert]) -> Sequence[AlertReport]:
        """What Alertmanager says of each of its alerts, with one query for all of them: those of an incident share labels."""
        try:
            listed = await self.firing_matching(_shared([a.labels for a in alerts]))
        except RemediatorError as error:
            unknown = AlertReport(Reported.UNKNOWN, f"Alertmanager could not be asked: {error.message}")
            return [unknown] * len(alerts)
        by_print = {a.fingerprint: a for a in listed if a.fingerprint}
        by_labels = {frozenset(a.labels.items()): a for a in listed}
        found = [
            by_print.get(a.fingerprint) or by_labels.get(frozenset(a.labels.items())) or _cut_down(a, listed)
            for a in alerts
        ]
        self._remember(alerts, found)
        ids = sorted({i for a in found if a is not None for i in a.silences})[:_NAMED]
        named = dict(zip(ids, await asyncio.gather(*(self._silence(i) for i in ids)), strict=True))
        missing = {a.generator_url: a for a, m in zip(alerts, found, strict=True) if m is None}
        words = {url: await self._without(a) for url, a in missing.items()}
        return [
            _report(m, named)
            if m is not None
            else _GONE
            if a.fingerprint in self._had
            else words[a.generator_url]
            for a, m in zip(alerts, found, strict=True)
        ]

    def _remember(self, alerts: Sequence[Alert], found: Sequence[ListedAlert | None]) -> None:
        for alert, listed in zip(alerts, found, strict=True):
            if listed is None:
                continue
            if len(self._had) >= _REMEMBERED:
                del self._had[next(iter(self._had))]
            self._had[alert.fingerprint] = None
            self._learn([listed.origin])

    def _learn(self, origins: Iterable[str]) -> None:
        self._origins |= set(origins) - {""}
        if len(self._origins) > _REMEMBERED:
            self._origins.clear()

    async def _without(self, alert: Alert) -> AlertReport:
        """What it means that an alert that was never seen here is not listed. Gone, if alerts of the same Prometheus are listed here or
        were, or if there is nothing to tell by."""
        origin, now = _origin(alert.generator_url), self._clock.monotonic()
        if origin in self._origins:
            return _GONE
        if not origin or self._foreign.get(origin, now) > now:
            return _ELSEWHERE
        try:
            others = await self.firing_matching(())
        except RemediatorError as error:
            return AlertReport(Reported.UNKNOWN, f"Alertmanager could not be asked: {error.message}")
        self._learn(a.origin for a in others)
        if origin in self._origins or not others:
            return _GONE
        if len(self._foreign) >= _REMEMBERED:
            self._foreign.clear()
        self._foreign[origin] = now + _ASK_AGAIN
        return _ELSEWHERE

    async def _silence(self, silence_id: str) -> str:
        """Who made a silence and until when; its id alone when that cannot be read."""
        if _SILENCE_ID.fullmatch(silence_id) is None:
            return ""
        try:
            found = await self._source.get(f"/api/v2/silence/{silence_id}", [])
            ends = datetime.fromisoformat(str(found["endsAt"])).astimezone(UTC)
            by = in_one_line(str(found["createdBy"]), 80)  # whoever may silence chooses it
            return f"silenced by {by or 'nobody named'} until {ends:%Y-%m-%d %H:%M} UTC"
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
            origin = _origin(str(item.get("generatorURL") or ""))
            return ListedAlert(
                labels, since, _hidden(status), silences, str(item.get("fingerprint") or ""), origin
            )
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise self._source.fault("gave an alert that could not be read") from e


def _shared(labels: Sequence[Mapping[str, str]]) -> list[str]:
    """Matchers for what all of these have in common; none lists everything. What the intake may have cut is not asked for."""
    first, *rest = labels
    common = {k: v for k, v in sorted(first.items()) if all(m.get(k) == v for m in rest)}
    return [matcher(k, v) for k, v in common.items() if k != UNREAD and len(v) < _LONG]


def _cut_down(alert: Alert, listed: Sequence[ListedAlert]) -> ListedAlert | None:
    """The listed one with the labels that the intake took of this alert, when it did not take all of them as they were."""
    if UNREAD not in alert.labels and all(len(text) < _LONG for text in alert.labels.values()):
        return None
    return next((other for other in listed if _alike(alert.labels, other.labels)), None)


def _alike(taken: Mapping[str, str], listed: Mapping[str, str]) -> bool:
    if len(taken) != len(listed) and UNREAD not in taken:
        return False
    return all(
        listed.get(name) == text
        or (len(text) >= _LONG and listed.get(name, "").startswith(text.removesuffix("…")))
        for name, text in taken.items()
        if name != UNREAD
    )


def _origin(generator_url: str) -> str:
    """Where an alert's rule is evaluated: the scheme and host of its generatorURL. Empty when that does not tell, or is Grafana, which
    sends its alerts itself unless they are listed."""
    try:
        parts = urlsplit(generator_url)
    except ValueError:
        return ""
    if not parts.netloc or _GRAFANA.search(parts.path):
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _report(alert: ListedAlert, silences: Mapping[str, str]) -> AlertReport:
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
