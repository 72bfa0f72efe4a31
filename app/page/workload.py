"""One target as a page: what happened to it in the last 30 days, what holds it, and how far its rules are trusted.

Called by `app.page.site`. Reads the store alone: what the cluster says of it now is in the evidence of its incidents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.target import Target
from app.flow.services import Services
from app.flow.upkeep import views
from app.store import people, runs, work, workloads
from app.store.incidents import Incident
from app.store.people import Pause
from app.store.runs import Run

SPAN = timedelta(days=30)
_ROWS = 100


@dataclass(frozen=True, slots=True)
class TargetPage:
    """Everything that the page shows. `live` is the run that holds it now; `spent` are its own budgets: limit, span, spent."""

    target: Target
    incidents: Sequence[Incident]
    runs: Sequence[Run]
    live: Run | None
    pauses: Sequence[Pause]
    spent: Sequence[tuple[int, timedelta, int]]
    trust: Sequence[Any]


async def look(services: Services, key: str) -> TargetPage:
    """The page of one target. Raises BadInput for what is none."""
    target = Target.parse(key)
    trusted = await views.trust(services)
    return await services.store.read(lambda conn: _look(conn, services, target, trusted))


def _look(conn: Connection, services: Services, target: Target, trusted: Sequence[Any]) -> TargetPage:
    now = services.clock.now()
    since = now - SPAN
    found = workloads.runs_on(conn, target.key, since, _ROWS)
    names = {run.remediation for run in found}
    covering = {"all", f"namespace:{target.namespace}", f"target:{target.key}"}
    classes = {target.namespace, f"{target.namespace}/{target.kind}", target.key}
    return TargetPage(
        target,
        workloads.incidents_on(conn, target.key, since, _ROWS),
        found,
        runs.live_for_target(conn, target.key),
        [p for p in people.pauses_in_force(conn, now) if p.scope in covering],
        _spent(conn, services, target),
        [t for t in trusted if t["remediation"] in names and t["class"] in classes],
    )


def _spent(conn: Connection, services: Services, target: Target) -> list[tuple[int, timedelta, int]]:
    now = services.clock.now()
    limits = [one for b in services.policy().budgets if b.per.value == "target" for one in b.limit.each]
    scope = f"target:{target.key}"
    return [(one.count, one.window, work.spent_since(conn, scope, now - one.window)) for one in limits]
