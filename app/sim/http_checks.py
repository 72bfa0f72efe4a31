"""HTTP checks of the simulated cluster: a Service answers while a pod that it chooses is ready, and with 500 while most requests fail.

Implements the port `HttpChecks` for demo, rehearsal and tests.
"""

from __future__ import annotations

from collections.abc import Callable

from app.domain.http_check import HttpAddress, HttpAnswer
from app.domain.target import Kind
from app.sim.kubelet import Kubelet, Run
from app.sim.objects import Key
from app.sim.world import World

_MOSTLY = 0.5
"""Share of failed requests from which a health check fails too."""


class SimHttpChecks:
    """Answers as the pods behind the Service are."""

    def __init__(self, world: World, kubelet: Kubelet, catch_up: Callable[[], None]) -> None:
        self._world, self._kubelet, self._catch_up = world, kubelet, catch_up
        self.statuses: dict[str, int] = {}
        """What a path answers instead, for tests."""

    async def get(self, address: HttpAddress) -> HttpAnswer:
        """See the port."""
        self._catch_up()
        services = self._world.store.all(Kind.SERVICE, address.namespace)
        service = next((s for s in services if s["metadata"]["name"] == address.service), None)
        if service is None or service["spec"].get("clusterIP") != address.ip:
            return HttpAnswer(None, "no connection")
        chosen = self._runs(address.namespace, service["spec"].get("selector") or {})
        ready = [run for run in chosen if run.ready(self._world.time)]
        if not ready:
            return HttpAnswer(None, "no connection")
        if address.path in self.statuses:
            return HttpAnswer(self.statuses[address.path], milliseconds=2.0)
        worst = max(c.behaviour.error_ratio for run in ready for c in run.containers if c.behaviour)
        return HttpAnswer(500 if worst >= _MOSTLY else 200, milliseconds=2.0)

    def _runs(self, namespace: str, selector: dict[str, str]) -> list[Run]:
        pods = self._world.store.all(Kind.POD, namespace)
        chosen = [
            p for p in pods if selector and selector.items() <= (p["metadata"].get("labels") or {}).items()
        ]
        runs = [self._kubelet.run_of(Key(Kind.POD, namespace, p["metadata"]["name"])) for p in chosen]
        return [run for run in runs if run is not None]
