"""What became of a Job: its CronJob, why it failed, and its last words. For the sentence that says why nothing is done.

Called by `app.kube.resolve` for a pod that a Job runs: a run to completion is not restarted, rolled back or scaled. Reads
through the port; what cannot be read is left out, and the rest is said. Never writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from app.domain.cluster import Cluster, LogQuery
from app.domain.errors import RemediatorError
from app.domain.json import Obj
from app.domain.redact import redact
from app.domain.target import Kind
from app.kube.parse import controller_of, parse_pod

_LAST_LINES = 20
_LONGEST = 300


async def job_story(cluster: Cluster, namespace: str, name: str) -> str:
    """A sentence or two: `Job backup-29 of CronJob backup failed (BackoffLimitExceeded: ...); its container main ended with exit
    code 1: last words`."""
    job: Obj = {}
    with suppress(RemediatorError):
        job = await cluster.get(Kind.JOB, namespace, name)
    owner = (controller_of(job) or {}) if job else {}
    told = f"Job {name}" + (f" of {owner['kind']} {owner['name']}" if owner else "")
    told += _state(job)
    with suppress(RemediatorError):
        if end := await _end(cluster, namespace, name):
            told += f"; {end}"
    return told


def _state(job: Mapping[str, Any]) -> str:
    status = job.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            message = redact(str(condition.get("message") or ""))[:_LONGEST]
            return f" failed ({condition.get('reason') or 'Failed'}{f': {message}' if message else ''})"
        if condition.get("type") == "Complete" and condition.get("status") == "True":
            return " is complete"
    if status.get("failed"):
        return f" had {status['failed']} failed pods and goes on"
    return ""


async def _end(cluster: Cluster, namespace: str, name: str) -> str:
    """How the newest pod of the Job that ended badly ended, with its termination message or else its last log line."""
    listed = await cluster.list_objects(Kind.POD, namespace, f"job-name={name}")
    pods = sorted(map(parse_pod, listed), key=lambda p: p.created_at, reverse=True)
    ends = [(p, c, t) for p in pods for c in p.containers for t in (c.terminated, c.last_terminated) if t]
    bad = next(((p, c, t) for p, c, t in ends if t.exit_code), None)
    if bad is None:
        return ""
    pod, container, end = bad
    words = end.message.strip()
    if not words:
        query = LogQuery(namespace, pod.name, container.name, container.terminated is None, None, _LAST_LINES)
        lines = [line for line in (await cluster.logs(query)).splitlines() if line.strip()]
        words = lines[-1] if lines else ""
    why = f" ({end.reason})" if end.reason not in ("", "Error") else ""
    said = f": {redact(words)[:_LONGEST]}" if words else ""
    return f"its container {container.name} ended with exit code {end.exit_code}{why}{said}"
