"""Prometheus, Alertmanager and the dependencies: do they answer, and does Alertmanager send us what it should?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import yaml

from app.doctor.findings import Area, Finding, Voice, foreign
from app.doctor.patient import Patient, ask
from app.domain.errors import BadInput, ProbeUnavailable
from app.observe.dependencies import ConfiguredDependencies
from app.policy.units import duration_text

_PROM, _ALERTS, _DEPS = Voice(Area.PROMETHEUS), Voice(Area.ALERTMANAGER), Voice(Area.DEPENDENCIES)
_OURS, _PATH, _HIDDEN = "remediator", "/webhooks/alertmanager", "<secret>"
_REPEAT, _GROUP = timedelta(hours=4), timedelta(minutes=5)  # Alertmanager's defaults
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS = (
    timedelta(days=365),
    timedelta(weeks=1),
    timedelta(days=1),
    timedelta(hours=1),
    timedelta(minutes=1),
    timedelta(seconds=1),
    timedelta(milliseconds=1),
)
_SKEW = 30.0  # seconds
_NETWORK = "look at the URL and the network policy's egress"


async def prometheus(patient: Patient) -> list[Finding]:
    """Does it answer a query, and with today's time?"""
    base = patient.settings.prometheus_url.rstrip("/")
    if not base:
        text = "no Prometheus: error ratio, latency and leaks are not measured"
        return [_PROM.warn("prometheus_missing", text, "set REMEDIATOR_PROMETHEUS_URL")]
    try:
        answer = await ask(patient, "GET", f"{base}/api/v1/query", params={"query": "time()"})
    except ProbeUnavailable as error:
        return [_PROM.fail("prometheus_away", f"Prometheus: {error.message}", _NETWORK)]
    try:
        at = float(answer.body["data"]["result"][1])
    except (TypeError, KeyError, IndexError, ValueError):
        text = f"what answers there with HTTP {answer.status} is not Prometheus"
        return [_PROM.fail("prometheus_wrong", text, "set REMEDIATOR_PROMETHEUS_URL without /api/v1")]
    skew = patient.clock.now().timestamp() - at
    if abs(skew) > _SKEW:
        text = f"Prometheus' clock is {abs(skew):.0f} s away from ours: what is measured seems old or to come"
        return [_PROM.warn("prometheus_skew", text, "let a time service keep both clocks")]
    return [_PROM.ok("prometheus_answers", "Prometheus answers queries")]


async def alertmanager(patient: Patient) -> list[Finding]:
    """Does it answer, and does a route lead to us often enough?"""
    base = patient.settings.alertmanager_url.rstrip("/")
    if not base:
        text = "no Alertmanager: an alert that resolves while it is silenced is not noticed"
        return [_ALERTS.warn("alertmanager_missing", text, "set REMEDIATOR_ALERTMANAGER_URL")]
    try:
        answer = await ask(patient, "GET", f"{base}/api/v2/status")
    except ProbeUnavailable as error:
        return [_ALERTS.fail("alertmanager_away", f"Alertmanager: {error.message}", _NETWORK)]
    try:
        config = yaml.safe_load(answer.body["config"]["original"])
        found = [_ALERTS.ok("alertmanager_answers", "Alertmanager answers")]
        return [*found, *_receivers(config, patient)]
    except (TypeError, KeyError, AttributeError, yaml.YAMLError):
        text = f"what answers there with HTTP {answer.status} is not Alertmanager's API v2"
        return [_ALERTS.fail("alertmanager_wrong", text, "set REMEDIATOR_ALERTMANAGER_URL without /api/v2")]


def _receivers(config: Mapping[str, Any], patient: Patient) -> Iterator[Finding]:
    """Newer releases hide the URLs of webhooks; then our receiver is known by its name only."""
    hooks = {
        str(receiver["name"]): hook
        for receiver in config.get("receivers") or ()
        for hook in receiver.get("webhook_configs") or ()
    }
    ours = {n: h for n, h in hooks.items() if str(h.get("url", "")).endswith(_PATH) or _OURS in n}
    if not ours and any(h.get("url") == _HIDDEN for h in hooks.values()):
        text = f"Alertmanager hides the URLs of its webhooks ({foreign(', '.join(hooks))}), so that ours is not known"
        yield _ALERTS.skip("receiver_hidden", f"{text}; a receiver with {_OURS} in its name is looked at")
        return
    if not ours:
        fix = "add one (charts/alert-remediator/examples/alertmanager.yml)"
        yield _ALERTS.fail("receiver_missing", f"no receiver of Alertmanager leads to {_PATH}", fix)
        return
    ways = [way for way in _ways(config.get("route") or {}, _Way()) if way.receiver in ours]
    if not ways:
        text = f"no route leads to the receiver {foreign(', '.join(ours))}"
        yield _ALERTS.fail("receiver_unused", text, "add a route for the policy's namespaces")
    for name, hook in ours.items():
        if hook.get("send_resolved") is False:
            text = f"the receiver {foreign(name)} does not tell when an alert resolves"
            yield _ALERTS.fail("receiver_send_resolved", text, "set send_resolved: true")
    yield from _pace(ways, patient)


def _pace(ways: list[_Way], patient: Patient) -> Iterator[Finding]:
    """A repeat comes at the next group interval after the repeat interval; the alert is stale when that is too late."""
    policy = patient.policy
    freshness = min((r.freshness for r in policy.rules), default=None) if policy else None
    if policy is None or freshness is None:
        return
    # Which route a heartbeat takes is not known: the quickest is the best case.
    quickest = min((way.longest for way in ways), default=timedelta())
    for heartbeat in policy.heartbeats:
        if quickest >= heartbeat.missing_after:
            text = (
                f"{heartbeat.alertname} counts as missing after {duration_text(heartbeat.missing_after)}, and no route "
                f"repeats an alert in less than {duration_text(quickest)}"
            )
            yield _ALERTS.fail("heartbeat_pace", text, "set missing_after to more than that")
    for way in ways:
        longest = way.longest
        text = f"the route to {foreign(way.receiver)} repeats an alert after up to {duration_text(longest)}"
        if longest > freshness:
            told = f"{text}, and the policy takes one older than {duration_text(freshness)} for stale"
            fix = f"set repeat_interval and group_interval to less than {duration_text(freshness)} together"
            yield _ALERTS.fail("repeat_interval", told, fix)
        else:
            yield _ALERTS.ok("repeat_interval", f"{text}, well within {duration_text(freshness)}")


@dataclass(frozen=True, slots=True)
class _Way:
    """Where a route sends, and how often, with what it takes from the routes above."""

    receiver: str = ""
    repeat: timedelta = _REPEAT
    group: timedelta = _GROUP

    @property
    def longest(self) -> timedelta:
        """Between two messages about an alert that fires on: the next group interval after the repeat interval."""
        return self.repeat + self.group


def _ways(route: Mapping[str, Any], above: _Way) -> Iterator[_Way]:
    here = _Way(
        str(route.get("receiver") or above.receiver),
        _span(route.get("repeat_interval"), above.repeat),
        _span(route.get("group_interval"), above.group),
    )
    yield here
    for child in route.get("routes") or ():
        yield from _ways(child, here)


def _span(text: object, above: timedelta) -> timedelta:
    """As Prometheus writes durations: 1d12h, 30s, 1w."""
    parts = _DURATION.fullmatch(str(text)) if text else None
    if parts is None:
        return above
    return sum((unit * int(n) for unit, n in zip(_UNITS, parts.groups(), strict=True) if n), timedelta())


async def dependencies(patient: Patient) -> list[Finding]:
    """Does each configured dependency answer?"""
    dsns = patient.settings.dsns
    if not dsns:
        return []
    try:
        answers = await ConfiguredDependencies(dsns, patient.clock).check(sorted(dsns))
    except BadInput as error:
        return [_DEPS.fail("dependency_wrong", str(error), "correct REMEDIATOR_DEPENDENCIES")]
    return [
        _DEPS.ok("dependency_answers", f"{a.name}: {a.text}")
        if a.healthy
        else _DEPS.fail(
            "dependency_away", f"{a.name}: {a.text}", "look at its DSN, its state and the network policy"
        )
        for a in answers
    ]
