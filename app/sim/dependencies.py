"""Checks of what a workload depends on, answered from the model: a dependency is healthy while its pods are ready.

Implements the port `Dependencies` for demo and rehearsal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from app.domain.errors import ProbeUnavailable
from app.domain.ports import DependencyResult, SlowQuery
from app.sim.kubelet import Kubelet
from app.sim.units import Strict
from app.sim.world import World


class SlowStatement(Strict):
    """One row that pg_stat_statements of the scenario has."""

    query: str
    calls: int
    mean_ms: float


class Dependency(Strict):
    """A named dependency whose pods carry this `app` label."""

    name: str
    kind: Literal["postgres", "redis"]
    app: str
    slow_queries: tuple[SlowStatement, ...] = ()


class SimDependencies:
    """Answers SELECT 1 and PING as the pods' readiness says."""

    def __init__(
        self, place: tuple[World, Kubelet, str], known: Sequence[Dependency], catch_up: Callable[[], None]
    ) -> None:
        self._world, self._kubelet, self._namespace = place
        self._known = {d.name: d for d in known}
        self._catch_up = catch_up

    async def check(self, names: Sequence[str]) -> Sequence[DependencyResult]:
        """Check the named dependencies; an unknown one has `healthy` None."""
        self._catch_up()
        return [self._check(name) for name in names]

    async def slow_queries(self, name: str, limit: int) -> Sequence[SlowQuery]:
        """The scenario's slow statements. Raises ProbeUnavailable when it is no Postgres or does not answer."""
        self._catch_up()
        dependency = self._known.get(name)
        if dependency is None or dependency.kind != "postgres" or not self._check(name).healthy:
            raise ProbeUnavailable("no Postgres answers under this name", where=name)
        rows = sorted(dependency.slow_queries, key=lambda row: -row.mean_ms)
        return [SlowQuery(row.query, row.calls, row.mean_ms) for row in rows[:limit]]

    def _check(self, name: str) -> DependencyResult:
        dependency = self._known.get(name)
        if dependency is None:
            return DependencyResult(name, "unknown", None, "not configured")
        word = "SELECT 1" if dependency.kind == "postgres" else "PING"
        runs = self._kubelet.runs(self._namespace, dependency.app)
        if any(run.ready(self._world.time) for run in runs):
            return DependencyResult(name, dependency.kind, True, f"{word} answered in 2 ms", 2.0)
        return DependencyResult(
            name, dependency.kind, None, f"{word} failed: connection refused", unreachable=True
        )
