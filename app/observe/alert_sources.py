"""Alert sources: asks each source about its own alerts, as the AlertSources port.

Alertmanager is asked about what came from Alertmanager, PagerDuty's REST API about PagerDuty's incidents; what came another
way is told by its own messages only. Put together by the composition root. Never raises: a source that does not answer makes
its alerts unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.domain.alert import Alert, Source
from app.domain.alert_report import TOLD, AlertReport, Reported
from app.domain.errors import RemediatorError
from app.domain.ports import AlertSources
from app.observe.pagerduty_rest import PagerDutyRest


class Sources:
    """The sources that are configured; None for one that is not."""

    def __init__(self, alertmanager: AlertSources | None, pagerduty: PagerDutyRest | None) -> None:
        self._alertmanager = alertmanager
        self._pagerduty = pagerduty

    async def states(self, alerts: Sequence[Alert]) -> Sequence[AlertReport]:
        """One report an alert, in their order."""
        reports = [TOLD] * len(alerts)
        listed = [n for n, a in enumerate(alerts) if a.source is Source.ALERTMANAGER]
        incidents = [n for n, a in enumerate(alerts) if a.source is Source.PAGERDUTY]
        if self._alertmanager is not None and listed:
            for n, report in zip(
                listed, await self._alertmanager.states([alerts[n] for n in listed]), strict=True
            ):
                reports[n] = report
        if self._pagerduty is not None and incidents:
            ids = sorted({alerts[n].fingerprint for n in incidents})
            found = await asyncio.gather(*(self._incident(i) for i in ids))
            by_id = dict(zip(ids, found, strict=True))
            for n in incidents:
                reports[n] = by_id[alerts[n].fingerprint]
        return reports

    async def _incident(self, incident_id: str) -> AlertReport:
        if self._pagerduty is None:
            return TOLD
        try:
            status, held_by = await self._pagerduty.incident_status(incident_id)
        except RemediatorError as error:
            return AlertReport(Reported.UNKNOWN, f"PagerDuty could not be asked: {error.message}")
        if status == "resolved":
            return AlertReport(Reported.GONE, "PagerDuty's incident is resolved")
        return AlertReport(Reported.FIRING, f"PagerDuty's incident is {status}", held_by)
