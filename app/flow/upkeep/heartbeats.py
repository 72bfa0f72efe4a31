"""Heartbeats: alerts that always fire, such as Prometheus' Watchdog. One that is missing says that other alerts may not arrive.

Called by the task `report`. What is missing comes in as an alert of the service itself, through the same door as all others: one
incident, decided, told, paged and closed like any. Only time in which this process ran and looked counts as silence, so that a start
or a machine that slept calls nobody. Losing the memory by a restart costs one more `missing_after`. Also
notes when alerts could be heard at all: only of that time does no alert mean that nothing fired.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from app.domain.alert import Alert, AlertStatus, Delivery, Source
from app.domain.json import digest
from app.domain.units import duration, utc
from app.flow.services import Services
from app.kube.known_good import NOTED
from app.policy.model import Heartbeat
from app.store import facts as counts
from app.store import incidents
from app.store.incidents import StoredAlert

log = structlog.get_logger(__name__)

MISSING = "HeartbeatMissing"
"""The name of the alert about one."""
_BLIND = timedelta(minutes=2)
"""Between two checks at most: after more nobody watched in between. They come every 15 s."""
_GAP = timedelta(minutes=5)
"""Without a note that alerts could be heard for so long, nobody listened."""
_REPEATED = timedelta(hours=1)
"""How often the alert is renewed while it fires, as Alertmanager repeats its own."""
_ALERTS = 20


@dataclass(slots=True)
class Heartbeats:
    """The watch of one process. `_heard`: when each heartbeat was last heard of, as far as it was seen here."""

    services: Services
    _heard: dict[str, datetime] = field(default_factory=dict)
    _watched_since: float = 0.0
    _checked: float | None = None
    _noted: float | None = None

    async def check(self) -> None:
        """Have a heartbeat that is missing told, and one that is back. Raises StoreUnavailable."""
        s = self.services
        policy, now = s.policy(), s.clock.now()
        heard, told = await s.store.read(lambda conn: _read(conn, policy.heartbeats))
        self._heard |= {n: max(at, self._heard.get(n, at)) for n, at in heard.items()}
        watched, alerts = self._watched(), []
        for heartbeat in policy.heartbeats:
            known = told.get(heartbeat.alertname)
            if self._is_heard_of(heartbeat, now):
                alerts += [self._ends(known)] if known else []
            elif watched > heartbeat.missing_after and (known is None or now - known.last_seen > _REPEATED):
                alerts.append(self._fires(heartbeat, known))
        # What the policy no longer names is not missed.
        alerts += [self._ends(known) for name, known in told.items() if policy.heartbeat(name) is None]
        if alerts:
            await s.store.ingest(Delivery(Source.HEARTBEAT, now, "alert-remediator", tuple(alerts)))
            s.decide_nudge()
        await self._note(policy.heartbeats)
        for alert in alerts:
            log.warning("heartbeat", alertname=alert.labels["heartbeat"], status=alert.status.value)

    async def _note(self, wanted: tuple[Heartbeat, ...]) -> None:
        """Note, once a minute, until when alerts could be heard: now, or when the heartbeat that is silent longest was heard of."""
        s, now = self.services, self.services.clock.now()
        if self._noted is not None and s.clock.monotonic() - self._noted < NOTED:
            return
        heard = [self._heard[h.alertname] for h in wanted if h.alertname in self._heard]
        if len(heard) < len(wanted):
            return
        gap = max((_GAP, *(h.missing_after for h in wanted)))
        self._noted = s.clock.monotonic()
        await s.store.write(lambda tx: counts.note_watched(tx, min((now, *heard)), gap))

    def _watched(self) -> timedelta:
        """For how long this process has looked without a gap."""
        now = self.services.clock.monotonic()
        if self._checked is None or now - self._checked > _BLIND.total_seconds():
            self._watched_since = now
        self._checked = now
        return timedelta(seconds=now - self._watched_since)

    def _is_heard_of(self, heartbeat: Heartbeat, now: datetime) -> bool:
        last = self._heard.get(heartbeat.alertname)
        return last is not None and now - last <= heartbeat.missing_after

    def _fires(self, heartbeat: Heartbeat, told: StoredAlert | None) -> Alert:
        last, name = self._heard.get(heartbeat.alertname), heartbeat.alertname
        since = f"since {utc(last)}" if last else "since this service watches"
        summary = f"nothing was heard of {name} {since} (missing after {duration(heartbeat.missing_after)})"
        began = told.starts_at if told else (last or self.services.clock.now())
        return _alert(name, AlertStatus.FIRING, began, summary)

    def _ends(self, told: StoredAlert) -> Alert:
        name = told.labels["heartbeat"]
        ended = self.services.clock.now()
        return _alert(name, AlertStatus.RESOLVED, told.starts_at, f"{name} is heard of again", ended)


def _alert(
    name: str, status: AlertStatus, began: datetime, summary: str, ended: datetime | None = None
) -> Alert:
    labels = {"alertname": MISSING, "heartbeat": name, "severity": "critical"}
    fingerprint = digest([MISSING, name])[:16]
    return Alert(Source.HEARTBEAT, fingerprint, status, began, labels, {"summary": summary}, ended)


def _read(
    conn: Connection, wanted: tuple[Heartbeat, ...]
) -> tuple[dict[str, datetime], dict[str, StoredAlert]]:
    """When each was last said to fire, and which are told as missing."""
    heard: dict[str, datetime] = {}
    for heartbeat in wanted:
        seen = [counts.last_seen(conn, i) for i in incidents.open_named(conn, heartbeat.alertname)]
        if times := [at for at in seen if at is not None]:
            heard[heartbeat.alertname] = max(times)
    stored = [a for i in incidents.open_named(conn, MISSING) for a in incidents.alerts(conn, i, _ALERTS)]
    own = [a for a in stored if a.source is Source.HEARTBEAT and a.status is AlertStatus.FIRING]
    return heard, {a.labels["heartbeat"]: a for a in own}
