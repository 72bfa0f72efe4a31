"""Warnings that the cluster recorded about a workload and its pods: the tail of `kubectl describe pod`.

Called by the handlers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from app.domain.cluster import Cluster
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.workload import KubeEvent, Pod, Workload
from app.kube.quoted import told_by
from app.kube.read import WARNINGS, events_about
from remediations.evidence.usage import count, span

_SHOWN = 6


async def events_finding(
    cluster: Cluster, workload: Workload, pods: Sequence[Pod], now: datetime, only: str = ""
) -> Finding:
    """The finding `events.recent`: warnings about the workload, its pods and their controllers; `only` keeps those
    whose reason or message has this word."""
    names = {workload.target.name, *(p.name for p in pods), *(p.owner.name for p in pods if p.owner)}
    try:
        found = await events_about(cluster, workload.target.namespace, names, fields=WARNINGS)
    except (ClusterRefused, TryLater) as e:
        return Finding("events.recent", f"Events could not be read: {e.message}", Certainty.UNKNOWN)
    warnings = [e for e in found if e.type == "Warning" and only.lower() in f"{e.reason} {e.message}".lower()]
    what = f"warning about {only}" if only else "warning"
    many = f"warnings about {only}" if only else "warnings"
    if not warnings:
        return Finding("events.recent", f"The cluster recorded no {what}", data={"warnings": 0})
    text = f"{count(len(warnings), what, many)} recorded, the newest {_row(warnings[0], now)}"
    rows = tuple(_row(e, now) for e in warnings[:_SHOWN])
    return Finding("events.recent", text, data={"warnings": len(warnings)}, details=rows)


def _row(event: KubeEvent, now: datetime) -> str:
    ago = f" {span((now - event.last_seen).total_seconds())} ago" if event.last_seen else ""
    times = f" ({event.count} times)" if event.count > 1 else ""
    return f"{event.reason}{ago}{times}: {told_by(event.message, 160)}"
