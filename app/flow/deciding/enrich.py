"""Enrich: labels that a PagerDuty webhook does not carry, fetched from PagerDuty's REST API before deciding.

A V3 event has no alert body (protocol fact); `GET /incidents/{id}/alerts` has. The host comes from settings only, never
from the payload. Called by `decide`; when PagerDuty does not answer, the decision waits, it is not made on half the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from app.intake.pagerduty import enriched, lacks_labels
from app.store import escalations, facts
from app.store.database import Store
from app.store.incidents import StoredAlert
from app.store.tx import Tx


class IncidentBodies(Protocol):
    """PagerDuty's REST API. Raises ProbeUnavailable."""

    async def incident_alerts(self, incident_id: str) -> Mapping[str, Any]:
        """The answer of `GET /incidents/{id}/alerts`."""
        ...


async def enrich(
    store: Store, bodies: IncidentBodies | None, incident_id: str, alerts: tuple[StoredAlert, ...]
) -> bool:
    """Fetch and keep missing labels; True when something was added and the incident has to be read again.

    Raises ProbeUnavailable.
    """
    poor = [a for a in alerts if lacks_labels(a.alert())] if bodies is not None else []
    changed = False
    for stored in poor:
        assert bodies is not None  # noqa: S101 - for the type checker: `poor` is empty without it
        richer = enriched(stored.alert(), await bodies.incident_alerts(stored.fingerprint))
        if richer.labels == stored.labels:
            continue
        episode, labels = stored.episode, dict(richer.labels)
        await store.write(lambda tx: _relabel(tx, incident_id, episode, labels))  # noqa: B023 - awaited here
        changed = True
    return changed


def _relabel(tx: Tx, incident_id: str, episode: str, labels: dict[str, str]) -> None:
    """What was told late may be more severe than what people were asked about."""
    facts.relabel(tx, incident_id, episode, labels)
    escalations.joined(tx, [incident_id])
