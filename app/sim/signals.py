"""Numbers about an app, computed from the model: what Prometheus would measure.

Used by alert rules and by the simulated Prometheus. Only pods that exist count, so that a signal heals when the pods that
caused it are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from app.sim.kubelet import Kubelet, Run
from app.sim.traffic import Traffic
from app.sim.world import World

Vector = list[tuple[Mapping[str, str], float]]


class Signal(StrEnum):
    """What can be measured. Those of a pod give one value a pod, the others one an app."""

    ERROR_RATIO = "error_ratio"
    LATENCY = "latency"
    REQUEST_RATE = "request_rate"
    RESTARTS = "restarts"
    OOM_KILLS = "oom_kills"
    MEMORY = "memory"
    CPU = "cpu"
    CPU_THROTTLING = "cpu_throttling"
    NOT_READY = "not_ready"
    CONNECTIONS = "connections"


class Signals:
    """Measures."""

    def __init__(
        self,
        world: World,
        kubelet: Kubelet,
        traffic: Traffic,
        namespace: str,
        connections: Callable[[str], float | None] = lambda _app: None,
    ) -> None:
        self._world = world
        self._connections = connections
        self._kubelet = kubelet
        self._traffic = traffic
        self._namespace = namespace

    def apps(self) -> list[str]:
        """The apps that have pods."""
        return self._kubelet.apps(self._namespace)

    def measure(self, signal: Signal, app: str, window: float) -> Vector:
        """Values over the last `window` seconds: ratios, seconds, requests a second, counts, bytes, millicores.

        Nothing is measured (an empty vector) when there is nothing to measure it from.
        """
        if signal in (Signal.ERROR_RATIO, Signal.LATENCY, Signal.REQUEST_RATE):
            value = self._of_traffic(signal, app, window)
            return [] if value is None else [({"app": app}, value)]
        if signal is Signal.CONNECTIONS:
            share = self._connections(app)
            return [] if share is None else [({"app": app}, share)]
        runs = list(self._kubelet.runs(self._namespace, app))
        if signal is Signal.CPU_THROTTLING:
            shares = [c.throttled() for run in runs for c in run.containers if c.cpu_limit]
            return [({"app": app}, sum(shares) / len(shares))] if shares else []
        if signal is Signal.NOT_READY:
            return [({"app": app}, float(sum(not r.ready(self._world.time) for r in runs)))]
        return [(self._labels(run), self._of_pod(signal, run, window)) for run in runs]

    def _labels(self, run: Run) -> Mapping[str, str]:
        return {"namespace": self._namespace, "pod": run.key.name, "container": run.main.name}

    def _of_traffic(self, signal: Signal, app: str, window: float) -> float | None:
        samples = self._traffic.samples(app, window)
        requests = sum(s.requests for s in samples)
        if signal is Signal.REQUEST_RATE:
            return requests / window if samples else None
        if signal is Signal.ERROR_RATIO:
            return sum(s.errors for s in samples) / requests if requests else None
        latencies = [s.latency for s in samples if s.latency is not None]
        return sum(latencies) / len(latencies) if latencies else None

    def _of_pod(self, signal: Signal, run: Run, window: float) -> float:
        if signal is Signal.MEMORY:
            return float(sum(c.memory(self._world.time) for c in run.containers))
        if signal is Signal.CPU:
            return float(sum(c.cpu() for c in run.containers))
        since = self._world.time - window
        recent = [why for at, why in run.restarts if at > since]
        if signal is Signal.OOM_KILLS:
            return float(sum(why == "OOMKilled" for why in recent))
        return float(len(recent))
