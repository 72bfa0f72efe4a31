"""HTTP checks of the simulated cluster: a Service answers while a pod that it chooses is ready, and with 500 while most requests fail.

Implements the port `HttpChecks` for demo, rehearsal and tests.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import suppress

from app.domain.certificate import Issued, of_pem
from app.domain.errors import BadInput
from app.domain.http_check import HttpAddress, HttpAnswer, ServedCertificate
from app.domain.json import Obj
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
        self.served: dict[str, Issued] = {}
        """The certificate that a Service serves whatever its Secret holds, for tests."""

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

    async def certificate(self, address: HttpAddress, name: str) -> ServedCertificate:
        """The certificate of the Secret that the pods behind the Service mount, read anew at each handshake; of any name."""
        del name
        self._catch_up()
        if address.service in self.served:
            return ServedCertificate(self.served[address.service])
        services = self._world.store.all(Kind.SERVICE, address.namespace)
        service = next((s for s in services if s["metadata"]["name"] == address.service), None)
        selector = service["spec"].get("selector") or {} if service is not None else {}
        if not any(run.ready(self._world.time) for run in self._runs(address.namespace, selector)):
            return ServedCertificate(None, "no connection")
        for secret in self._mounted(address.namespace, selector):
            with suppress(BadInput, KeyError, ValueError):
                return ServedCertificate(of_pem(base64.b64decode(secret["data"]["tls.crt"])))
        return ServedCertificate(None, "no TLS")

    def _mounted(self, namespace: str, selector: dict[str, str]) -> Iterator[Obj]:
        for pod in self._pods(namespace, selector):
            for volume in pod["spec"].get("volumes") or ():
                name = (volume.get("secret") or {}).get("secretName", "")
                found = self._world.store.find(Key(Kind.SECRET, namespace, name))
                if found is not None:
                    yield found

    def _pods(self, namespace: str, selector: dict[str, str]) -> list[Obj]:
        pods = self._world.store.all(Kind.POD, namespace)
        return [
            p for p in pods if selector and selector.items() <= (p["metadata"].get("labels") or {}).items()
        ]

    def _runs(self, namespace: str, selector: dict[str, str]) -> list[Run]:
        chosen = self._pods(namespace, selector)
        runs = [self._kubelet.run_of(Key(Kind.POD, namespace, p["metadata"]["name"])) for p in chosen]
        return [run for run in runs if run is not None]
