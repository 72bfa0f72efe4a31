"""Owns the alerts that the benches send: Alertmanager's webhook bodies of version 4, of ordinary size.

A storm is spread over TARGETS deployments, each with as many pods as it takes, so that every alert is one of its own
while the incidents stay few: that is what a storm looks like. No rule of the shipped policy matches its alert name.
A wave is the opposite: a rule matches each alert, and each has a target of its own that was never decided.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

TARGETS = 100
PATH = "/webhooks/alertmanager"


def alert(number: int, starts_at: str) -> dict[str, Any]:
    """One firing alert; two numbers are two alerts."""
    target = number % TARGETS
    pod = f"worker-{target}-7d9f8b6c5-{number:x}"
    return {
        "status": "firing",
        "labels": {
            "alertname": "BenchStorm",
            "severity": "warning",
            "namespace": "bench",
            "deployment": f"worker-{target}",
            "pod": pod,
            "container": "main",
            "job": "kube-state-metrics",
            "prometheus": "monitoring/k8s",
        },
        "annotations": {
            "summary": f"Pod {pod} answers slowly",
            "description": f"99th percentile of bench/{pod} has been above 2 s for more than 5 minutes.",
            "runbook_url": "https://runbooks.test/slow-answers",
        },
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.test/graph?g0.expr=latency_seconds_p99+%3E+2&g0.tab=1",
        "fingerprint": f"{number:016x}",
    }


def wave_alert(number: int, starts_at: str) -> dict[str, Any]:
    """One firing alert that a rule of the shipped policy matches, on a deployment that nobody heard of before."""
    plain = alert(number, starts_at)
    labels = {
        **plain["labels"],
        "alertname": "HighErrorRate",
        "namespace": "rag7",
        "deployment": f"service-{number:x}",
        "pod": f"service-{number:x}-7d9f8b6c5-x2x4z",
    }
    return {**plain, "labels": labels}


def message(alerts: list[dict[str, Any]]) -> bytes:
    """The body of one webhook request."""
    body = {
        "version": "4",
        "groupKey": '{}:{alertname="BenchStorm"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "remediator",
        "groupLabels": {"alertname": "BenchStorm"},
        "commonLabels": {"alertname": "BenchStorm", "severity": "warning"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.test",
        "alerts": alerts,
    }
    return json.dumps(body).encode()


def storm(
    posts: int, per_post: int, first: int = 0, distinct: int = 0, *, wave: bool = False
) -> Iterator[bytes]:
    """`posts` bodies with `per_post` alerts each, numbered from `first`; with `distinct`, only so many different
    alerts, which come again and again; with `wave`, each on a new target."""
    one = wave_alert if wave else alert
    starts_at = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).isoformat()
    numbers = itertools.count(first) if not distinct else itertools.cycle(range(first, first + distinct))
    for _ in range(posts):
        yield message([one(next(numbers), starts_at) for _ in range(per_post)])


def request(body: bytes, host: str, token: str, path: str = PATH) -> bytes:
    """The bytes of an HTTP/1.1 request on a kept connection."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
