"""The sections that the store tells: recent alerts, decisions and runs of a target or of a namespace. Called by `look`."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.domain.units import utc
from app.flow.diagnosing.section import Section, shown
from app.store import work, workloads

_SPAN = timedelta(days=1)
_MAX_TOLD = 10


def known(
    conn: Connection, now: datetime, target: str, namespace: str, without: frozenset[str] = frozenset()
) -> list[Section]:
    """Of the last day; of the namespace where `target` is empty, `without` these targets."""
    since = now - _SPAN
    if target:
        alerts = workloads.incidents_on(conn, target, since, _MAX_TOLD)
        runs = workloads.runs_on(conn, target, since, _MAX_TOLD)
    else:
        alerts = workloads.incidents_in(conn, namespace, since, _MAX_TOLD)
        runs = workloads.runs_in(conn, namespace, since, _MAX_TOLD)
        alerts = [i for i in alerts if i.target_key not in without]
        runs = [r for r in runs if r.target_key not in without]
    latest = [(i, work.latest_decision(conn, i.id)) for i in alerts]
    found = {
        "Alerts": [f"{utc(i.opened_at)} {i.alertname or 'order'} {i.state.value} ({i.id})" for i in alerts],
        "Decisions": [f"{utc(d.at)} {i.id}: {d.body.get('text', '')}" for i, d in latest if d is not None],
        "Runs": [
            f"{utc(r.requested_at)} {r.remediation} {r.state.value} ({r.id}){f': {r.result}' if r.result else ''}"
            for r in runs
        ],
    }
    return [
        Section(f"{name}, last 24 h", shown(lines) if lines else ("none",)) for name, lines in found.items()
    ]
