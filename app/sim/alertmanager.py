"""The simulated Alertmanager: groups alerts, says when a notification is due, and builds its version 4 body.

`SimAlertmanager` also implements the port `AlertSources`. It sends nothing itself: the demo and the tests POST the bodies
that `poll` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.alert import Alert
from app.domain.alert_report import AlertReport, Reported
from app.domain.json import Obj
from app.sim.alerts import ActiveAlert, Alerts
from app.sim.kinds import stamp
from app.sim.world import World

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: endsAt of a firing alert."""
GROUP_BY = ("alertname", "namespace", "deployment")


@dataclass(frozen=True, slots=True)
class Timing:
    """Alertmanager's route settings, in seconds."""

    group_wait: float = 10.0
    group_interval: float = 30.0
    repeat_interval: float = 14_400.0


@dataclass(slots=True)
class _Group:
    since: float
    last_flush: float | None = None
    last_sent: float = 0.0
    sent: dict[str, float] = field(default_factory=dict)
    """Fingerprint to startsAt of what was reported as firing."""


def alertmanager_body(
    alerts: Sequence[ActiveAlert], *, receiver: str = "alert-remediator", reason: str = "first notification"
) -> Obj:
    """A webhook body as Alertmanager 0.34 sends it, for one group of alerts."""
    ordered = sorted(alerts, key=lambda a: sorted(a.labels.items()))
    group = _common([{k: v for k, v in a.labels.items() if k in GROUP_BY} for a in ordered])
    matchers = ", ".join(f'{k}="{v}"' for k, v in sorted(group.items()))
    return {
        "receiver": receiver,
        "status": "firing" if any(a.ends_at is None for a in ordered) else "resolved",
        "alerts": [_alert(a) for a in ordered],
        "notification_reason": reason,
        "groupLabels": group,
        "commonLabels": _common([a.labels for a in ordered]),
        "commonAnnotations": _common([a.annotations for a in ordered]),
        "routeLabels": {},
        "externalURL": "http://alertmanager.simulated:9093",
        "version": "4",
        "groupKey": f"{{}}:{{{matchers}}}",
        "truncatedAlerts": 0,
    }


def _alert(alert: ActiveAlert) -> Obj:
    return {
        "status": "firing" if alert.ends_at is None else "resolved",
        "labels": dict(sorted(alert.labels.items())),
        "annotations": dict(alert.annotations),
        "startsAt": stamp(alert.starts_at),
        "endsAt": NEVER if alert.ends_at is None else stamp(alert.ends_at),
        "generatorURL": f"http://prometheus.simulated:9090/alerts?alertname={alert.labels['alertname']}",
        "fingerprint": alert.fingerprint,
    }


def _common(maps: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *rest = maps
    return {k: v for k, v in sorted(first.items()) if all(m.get(k) == v for m in rest)}


class SimAlertmanager:
    """Notifications that are due, and the state of an alert. `catch_up` lets the world reach the present first."""

    def __init__(
        self, world: World, alerts: Alerts, catch_up: Callable[[], None], timing: Timing | None = None
    ) -> None:
        self.timing = timing or Timing()
        self._world = world
        self._alerts = alerts
        self._catch_up = catch_up
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._silences: list[Mapping[str, str]] = []
        self._elsewhere: dict[frozenset[tuple[str, str]], ActiveAlert] = {}

    def alerts(self) -> list[ActiveAlert]:
        """Alerts that fire now, silenced ones too."""
        self._catch_up()
        return self._alerts.firing()

    def fires_elsewhere(self, labels: Mapping[str, str]) -> None:
        """From now on it also lists an alert that no rule of the scenarios gives, and whose messages somebody else sends."""
        self._elsewhere[frozenset(labels.items())] = ActiveAlert(dict(labels), {}, self._world.time)

    def silence(self, matchers: Mapping[str, str]) -> None:
        """Silence all alerts that have these labels."""
        self._silences.append(dict(matchers))

    def end_silences(self) -> None:
        """All of them are over."""
        self._silences.clear()

    async def states(self, alerts: Sequence[Alert]) -> Sequence[AlertReport]:
        """What it says of each of these; an alert is known by its labels."""
        firing = self._elsewhere | {frozenset(a.labels.items()): a for a in self.alerts()}
        return [self._report(firing.get(frozenset(a.labels.items()))) for a in alerts]

    def _report(self, alert: ActiveAlert | None) -> AlertReport:
        if alert is None:
            return AlertReport(Reported.GONE, "Alertmanager no longer lists the alert")
        if self._silenced(alert):
            return AlertReport(Reported.SILENCED, "silenced by a person")
        return AlertReport(Reported.FIRING, f"firing since {stamp(alert.starts_at)}")

    def poll(self) -> list[Obj]:
        """The bodies that are due now, each once. Silenced alerts are in none of them, not even resolved ones."""
        self._catch_up()
        return [body for key in sorted(self._by_group()) if (body := self._flush(key)) is not None]

    def _silenced(self, alert: ActiveAlert) -> bool:
        return any(s.items() <= alert.labels.items() for s in self._silences)

    def _by_group(self) -> dict[tuple[str, ...], list[ActiveAlert]]:
        groups: dict[tuple[str, ...], list[ActiveAlert]] = {}
        for alert in (*self._alerts.firing(), *self._alerts.resolved()):
            if not self._silenced(alert):
                groups.setdefault(tuple(alert.labels.get(k, "") for k in GROUP_BY), []).append(alert)
        return groups

    def _flush(self, key: tuple[str, ...]) -> Obj | None:
        now = self._world.time
        alerts = self._by_group()[key]
        firing = {a.fingerprint: a.starts_at for a in alerts if a.ends_at is None}
        group = self._groups.get(key)
        if group is None:
            if not firing:
                return None
            group = self._groups.setdefault(key, _Group(min(firing.values())))
        due = group.since + self.timing.group_wait
        if group.last_flush is not None:
            due = group.last_flush + self.timing.group_interval
        if now < due:
            return None
        group.last_flush = now
        ended = [a for a in alerts if a.ends_at is not None and a.fingerprint in group.sent]
        reason = self._reason(group, firing, bool(ended))
        if reason is None:
            return None
        group.last_sent, group.sent = now, dict(firing)
        return alertmanager_body([*(a for a in alerts if a.ends_at is None), *ended], reason=reason)

    def _reason(self, group: _Group, firing: Mapping[str, float], ended: bool) -> str | None:
        if not group.sent:
            return "first notification" if firing else None
        if any(group.sent.get(k) != v for k, v in firing.items()):
            return "new alerts added"
        if ended:
            return "some alerts resolved" if firing else "all alerts resolved"
        if firing and self._world.time - group.last_sent >= self.timing.repeat_interval:
            return "repeat interval elapsed"
        return None
