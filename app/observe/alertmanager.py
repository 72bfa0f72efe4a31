"""Alertmanager's API v2 as the AlertState port: is this alert still firing, is a blocking alert firing?

Asked by the flow before an action and during verification, because a webhook does not tell everything: an alert that
resolves while it is silenced, inhibited or muted sends no message. Never writes, so it never makes or ends a silence.

An alert that Alertmanager no longer lists counts as gone. A Prometheus that died looks the same after some minutes;
that is why the flow also wants a healthy rollout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from app.domain.ports import Clock, FiringState
from app.observe.http_json import JsonSource

_CLASSIC = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_EVERY_STATE = [("active", "true"), ("silenced", "true"), ("inhibited", "true"), ("unprocessed", "true")]


@dataclass(frozen=True, slots=True)
class ListedAlert:
    """One alert as Alertmanager lists it. `hidden` says why nobody is told of it, empty when somebody is."""

    labels: Mapping[str, str]
    starts_at: datetime
    hidden: str
    silenced: bool = False


class Alertmanager:
    """Reads of `/api/v2/alerts`. Any one replica will do: they all hold every alert."""

    def __init__(self, client: httpx.AsyncClient, url: str, clock: Clock) -> None:
        self._source = JsonSource(client, url, clock, name="Alertmanager")

    async def firing(self, labels: Mapping[str, str]) -> FiringState:
        """State of the alert with exactly these labels. Raises ProbeUnavailable."""
        wanted = dict(labels)
        listed = await self.firing_matching([matcher(k, v) for k, v in sorted(wanted.items())])
        alert = next((a for a in listed if dict(a.labels) == wanted), None)
        if alert is None:
            return FiringState(known=True, firing=False, text="Alertmanager no longer lists the alert")
        since = f"firing since {alert.starts_at:%Y-%m-%d %H:%M:%S} UTC"
        text = f"{since}, {alert.hidden}" if alert.hidden else since
        return FiringState(known=True, firing=True, silenced=alert.silenced, text=text)

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
            silenced = bool(status.get("silencedBy"))
            return ListedAlert(labels, datetime.fromisoformat(item["startsAt"]), _hidden(status), silenced)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise self._source.fault("gave an alert that could not be read") from e


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
