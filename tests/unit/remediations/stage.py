"""A stage for handlers: a simulated cluster that a test changes before the handler looks, and doubles of two ports."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.domain.errors import ProbeUnavailable
from app.domain.evidence import Diagnosis
from app.domain.plan import Step
from app.domain.ports import DependencyResult, MetricSource, Sample, SlowQuery
from app.domain.remediation import History, Scene
from app.domain.target import Kind, Target
from app.kube.read import read_workload
from app.sim import Scenario, VirtualClock
from remediations import CATALOGUE
from tests.births import cluster_of, scenario_of
from tests.orders import ORDERS

WORKLOADS = {
    "high-error-rate": "Deployment/langgraph",
    "high-latency": "Deployment/langgraph-api",
    "pod-restarting": "Deployment/langgraph-worker",
    "out-of-memory": "Deployment/langgraph-embedder",
    "database-connections": "StatefulSet/postgres",
    "api-rate-limits": "Deployment/langgraph-agent",
    "clean-checkpoints": "StatefulSet/postgres",
    "database-vacuum": "StatefulSet/postgres",
    "logs-and-volumes": "Deployment/langgraph-store",
}

NAMED: Mapping[str, Mapping[str, Any]] = {
    "api-rate-limits": {
        "provider": "openai",
        "secret": "langgraph-api-keys",
        "active_key": "OPENAI_API_KEY",
        "keys_key": "OPENAI_API_KEYS",
        "own_quota": True,
    },
    "configuration-backup": {
        "to": "s3://rag7-backups",
        "store_secret": "backup-store",
        "uploader": "remediator:1",
        "account": "configuration-reader",
        "recipients": ["age1aed7f487u2axawlzkfvn0k3e7ev0q937gw4scw7rm3s3wl9f85gqltln5w"],
    },
    "database-backup": {
        "to": "s3://rag7-backups",
        "store_secret": "backup-store",
        "uploader": "remediator:1",
    },
    "database-restore": {
        "service": "postgres",
        "to": "s3://rag7-backups",
        "store_secret": "backup-store",
        "uploader": "remediator:1",
    },
}
"""What a rule has to name, because no default can be right."""


def stage_of(name: str, **changes: Any) -> Stage:
    """The stage on which a remediation of the catalogue has something to do."""
    if CATALOGUE[name].procedure is None:
        return Stage(name, **changes)
    return Stage(name, ORDERS[name].world(), ORDERS[name].target)


class Metrics:
    """A Prometheus that answers a query by the first key that occurs in it; a key with None is unreachable. `rate` is requests a second of each pod,
    by the part of the time that its series cover."""

    def __init__(
        self,
        values: Mapping[str, float | None] | None = None,
        series: Mapping[str, Sequence[Sample]] | None = None,
        rate: Callable[[float], float] | None = lambda _: 20.0,
    ) -> None:
        self.values = values or {}
        self.rate = rate
        self.series = series
        self.asked: list[str] = []

    async def instant(self, query: str) -> Sequence[tuple[Mapping[str, str], float]]:
        self.asked.append(query)
        for part, value in self.values.items():
            if part in query:
                if value is None:
                    raise ProbeUnavailable("Prometheus did not answer within 5 s")
                return [({}, value / 2), ({}, value)]
        return []

    async def window(
        self, query: str, start: datetime, end: datetime, step: float
    ) -> Sequence[tuple[Mapping[str, str], Sequence[Sample]]]:
        self.asked.append(query)
        if self.series is None:
            raise ProbeUnavailable("Prometheus could not be reached")
        found = dict(self.series)
        if "http_requests" in query:
            rate = self.rate
            if rate is None:
                return []
            found = {
                pod: [Sample(s.at, rate(n / len(samples))) for n, s in enumerate(samples)]
                for pod, samples in found.items()
            }
        return [({"pod": pod}, samples) for pod, samples in found.items()]


class Services:
    """Dependencies with fixed answers: name -> healthy; slow statements of each Postgres, None: not readable."""

    def __init__(self, healthy: Mapping[str, bool | None], slow: Sequence[SlowQuery] | None = ()) -> None:
        self.healthy = healthy
        self.slow = slow

    async def check(self, names: Sequence[str]) -> Sequence[DependencyResult]:
        texts = {True: "answers", False: "connection refused", None: "refuses the login of this check"}
        return [
            DependencyResult(
                n,
                "redis" if n == "redis" else "postgres",
                self.healthy.get(n),
                texts[self.healthy.get(n)],
                2.0,
            )
            for n in names
        ]

    async def slow_queries(self, name: str, limit: int) -> Sequence[SlowQuery]:
        if self.slow is None:
            raise ProbeUnavailable(f"{name} does not have the extension pg_stat_statements")
        return self.slow[:limit]


class Stage:
    """One scenario's world at the moment a handler is asked; `story` is the name of a shipped one and of its handler."""

    def __init__(self, timeline: str, scenario: Scenario | None = None, target: str = "") -> None:
        self.timeline = timeline
        self.clock = VirtualClock()
        self.cluster = cluster_of(self.clock, scenario or scenario_of(timeline))
        self.target = Target.parse(target or f"rag7/{WORKLOADS[timeline]}")
        self.metrics: MetricSource | None = None
        self.services: Services | None = None
        self.history = History()
        self.fired: datetime | None = None
        self.draw: Callable[[], str] = lambda: "drawn"
        self.clock.advance(60)

    def edit(self, kind: Kind, name: str, *operations: dict[str, Any]) -> None:
        """Change an object as somebody else."""
        self.cluster.edit(kind, "rag7", name, list(operations))

    async def scene(self) -> Scene:
        """What the flow would hand over now."""
        now = self.clock.now()
        return Scene(
            cluster=self.cluster,
            workload=await read_workload(self.cluster, self.target),
            alertname=self.timeline,
            labels={},
            fired_at=self.fired or now - timedelta(seconds=30),
            now=now,
            dependencies=self.services or self.cluster.dependencies,
            metrics=self.metrics,
            history=self.history,
            databases=self.cluster.databases,
            http=self.cluster.http,
            caches=self.cluster.caches,
            backups=self.cluster.backups,
            draw=self.draw,
        )

    async def look(self, **params: Any) -> tuple[Diagnosis, Mapping[str, Step]]:
        """Diagnose and climb with these params and those that have to be named; steps by name."""
        handler = CATALOGUE[self.timeline]
        given = {} if handler.procedure is None else ORDERS[handler.name].params
        given = {**given, **NAMED.get(self.timeline, {})}
        scene, checked = await self.scene(), handler.params(**{**given, **params})
        diagnosis = await handler.diagnose(scene, checked)
        steps = await handler.ladder(scene, checked, diagnosis)
        return diagnosis, {r.name: r for r in steps}


def told(diagnosis: Diagnosis, steps: Mapping[str, Step]) -> str:
    """All that a person would read, with the generated parts of pod names taken out."""
    lines = [diagnosis.summary, ""]
    for f in diagnosis.findings:
        lines.append(f"{f.code}{'' if f.certainty == 'known' else ' (unknown)'}: {f.text}")
        lines += [f"    {d}" for d in f.details]
    for step in steps.values():
        lines += ["", f"[{step.name}] {step.why}"]
        lines += [f"    do: {a.summary}" for a in step.actions]
        lines += [f"    advice: {step.advice}"] if step.advice else []
    return re.sub(r"-[a-z0-9]{8,10}-[a-z0-9]{5}\b", "-POD", "\n".join(lines)) + "\n"
