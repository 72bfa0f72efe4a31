"""Did the pods say already then what they say now? One bounded look at an earlier part of their logs.

Called by the handlers, where most errors are of one type and the logs of the last minutes do not reach back to their beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.cluster import Cluster, LogQuery
from app.domain.errors import ClusterRefused, TryLater
from app.domain.redact import redact
from app.domain.workload import Pod
from remediations.evidence.error_lines import ErrorLine, errors_in, first_time
from remediations.evidence.logs import ErrorLog

_PODS = 3
_BYTES = 64 * 1024
_EXPECTED = 5
"""So many of the errors the early lines would have, if they were as frequent as they are now."""
_LATE = timedelta(minutes=2)
"""A log whose first line is so long after the asked moment does not reach back to it."""


async def with_earlier(
    cluster: Cluster, log: ErrorLog, pods: Sequence[Pod], moment: datetime, now: datetime
) -> ErrorLog:
    """The log with `clean_at` set to `moment` when the pods' lines from then on have none of the most frequent error, and would
    have some at today's rate. Pods whose logs do not reach back to it say nothing; never raises for what the cluster does."""
    if log.top is None or not log.lines or moment >= now:
        return log
    lines = 0
    for pod in [p for p in pods if p.ready and p.created_at <= moment][:_PODS]:
        rows = await _rows(cluster, pod, moment, now)
        if log.top.key in _keys(rows):
            return log
        lines += len(rows)
    return replace(log, clean_at=moment) if lines * log.top.count / log.lines >= _EXPECTED else log


def _keys(rows: Sequence[str]) -> set[str]:
    """The keys of the errors in these lines as groups have them: of their texts without secrets."""
    first: dict[str, ErrorLine] = {}
    for error in errors_in(rows):
        first.setdefault(error.key, error)
    return {replace(error, text=redact(error.text)).key for error in first.values()}


async def _rows(cluster: Cluster, pod: Pod, moment: datetime, now: datetime) -> list[str]:
    """Whole lines of a pod's first container from `moment` on; none when it was started later or they cannot be read."""
    spec = next((s for s in pod.specs if not s.init), None)
    state = next((c for c in pod.containers if spec is not None and c.name == spec.name), None)
    if spec is None or state is None or state.running_since is None or state.running_since > moment:
        return []
    query = LogQuery(
        pod.ref.namespace,
        pod.name,
        spec.name,
        since_seconds=round((now - moment).total_seconds()),
        tail_lines=None,
        limit_bytes=_BYTES,
    )
    try:
        text = await cluster.logs(query)
    except (ClusterRefused, TryLater):
        return []
    first = first_time(text)
    return text.splitlines()[:-1] if first is not None and first <= moment + _LATE else []
