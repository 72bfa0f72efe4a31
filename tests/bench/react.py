"""Owns the bench of reaction: from the first byte of an alert's POST to the write at the Kubernetes API, when idle.

The whole way with all gates, the dry run, the second look and durable steps, on a real API server whose audit log says
when the patch came in. Each sample is a rollback of another deployment. Where the API server's binaries are missing it
says so and measures on the simulated cluster, in one process with the generator.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench import bodies, servers
from tests.bench.react_simulated import measure_simulated
from tests.bench.react_world import ERROR, NAMESPACE, deployment, image, policy
from tests.bench.report import Measure, Scale, below, percentile
from tests.bench.servers import Server
from tests.live import build, controlplane
from tests.live.e2e.prometheus import PrometheusServer
from tests.live.stack import ControlPlane, wait_until

BENCH = "react"
P50, P99 = 80.0, 250.0  # milliseconds
_USER = "remediator"
_STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
_ERRORS = [f"ERROR {ERROR}"] * 40
_REST = 2.5  # seconds between samples: the run before has been verified and nothing is under way
_PROVEN = (
    2.5  # seconds that the first revisions run: known_good is 1 s, and the API server tells whole seconds
)


def measure(scale: Scale) -> list[Measure]:
    """p50 and p99 over many deployments."""
    samples = scale.of(60, 20, 1)
    if scale.tiny or build.missing(controlplane.PARTS):
        if not scale.tiny:
            print(
                "REAL API SERVER MISSING (python -m tests.live.build): simulated cluster instead",
                file=sys.stderr,
            )
        return _measures(measure_simulated(samples, _rest_of(scale)), "simulated cluster", scale)
    with ControlPlane() as plane:
        return _measures(measure_live(plane, samples), "real API server", scale)


def measure_live(plane: ControlPlane, samples: int) -> list[float]:
    """Seconds from the POST's first byte to the API server's patch, for each of `samples` deployments."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-react-")))
        shop = Shop(plane, samples)
        shop.furnish()
        policies = folder / "policies"
        policies.mkdir()
        (policies / "policy.yaml").write_text(policy(), "utf-8")
        # Logs alone tell that a release may be to blame; since when requests fail is what Prometheus knows.
        prometheus = stack.enter_context(PrometheusServer())
        env = {
            "REMEDIATOR_PROMETHEUS_URL": prometheus.url,
            "REMEDIATOR_CLUSTER": "kubeconfig",
            "REMEDIATOR_POLICY_DIR": str(policies),
            "KUBECONFIG": str(plane.kubeconfig(_USER)),
        }
        server = stack.enter_context(servers.service(env, folder))
        return list(shop.samples(server))


def _rest_of(scale: Scale) -> float:
    return 0.0 if scale.tiny else _REST


def _measures(seconds: list[float], where: str, scale: Scale) -> list[Measure]:
    found = []
    for share, limit, name in ((0.5, P50, "p50"), (0.99, P99, "p99")):
        value = percentile(seconds, share) * 1000
        one = Measure(BENCH, f"alert to write, {name}", value, "ms", note=f"{len(seconds)} samples, {where}")
        found.append(below(one, limit, scale))
    return [*found, Measure(BENCH, "alert to write, best", min(seconds) * 1000, "ms")]


@dataclass
class Shop:
    """Deployments with a release that is to be rolled back."""

    plane: ControlPlane
    count: int

    def furnish(self) -> None:
        """Two revisions each, the second one ready."""
        self.plane.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        )
        self.plane.grant(_USER, [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
        for number in range(self.count):
            self.plane.create(_path(""), deployment(number))
        wait_until(self._settled, 180.0, what="the first revisions")
        time.sleep(_PROVEN)
        for number in range(self.count):
            containers = [{"name": "main", "image": image(2)}]
            body = {"spec": {"template": {"spec": {"containers": containers}}}}
            name = f"app-{number}"
            answer = self.plane.client().patch(_path(name), json=body, headers=_STRATEGIC)
            answer.raise_for_status()
        wait_until(self._settled, 180.0, what="the second revisions")
        # Readable logs without errors justify no rollback: the pods of the new revision have some.
        for number in range(self.count):
            self.plane.set_logs(NAMESPACE, f"app=app-{number}", "main", _ERRORS)

    def _settled(self) -> bool:
        items = self.plane.client().get(_path("")).raise_for_status().json()["items"]
        return all(
            item["status"].get("observedGeneration") == item["metadata"]["generation"]
            and item["status"].get("updatedReplicas") == item["status"].get("replicas")
            and item["status"].get("availableReplicas") == item["spec"]["replicas"]
            for item in items
        )

    def samples(self, server: Server) -> Iterator[float]:
        """Seconds from alert to write, one deployment after another. Raises TimeoutError when a write does not come."""
        with _posting(server) as post:
            time.sleep(_REST)
            for number in range(self.count):
                alert = _alert(number)
                sent_at = post(alert)
                written = wait_until(
                    partial(self._written, number), 30.0, interval=0.2, what=f"write {number}"
                )
                yield (written - sent_at).total_seconds()
                post({**alert, "status": "resolved", "endsAt": datetime.now(UTC).isoformat()})
                time.sleep(_REST)

    def _written(self, number: int) -> datetime | None:
        for mutation in self.plane.mutations(user=_USER, namespace=NAMESPACE):
            if (mutation.verb, mutation.name) == ("patch", f"app-{number}"):
                return datetime.fromisoformat(mutation.received)
        return None


def _path(name: str) -> str:
    return f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}".rstrip("/")


def _alert(number: int) -> dict[str, Any]:
    starts_at = datetime.now(UTC).isoformat()
    alert = bodies.alert(number, starts_at)
    labels = {
        "alertname": "HighErrorRate",
        "namespace": NAMESPACE,
        "deployment": f"app-{number}",
        "severity": "critical",
    }
    return {**alert, "labels": labels}


@contextmanager
def _posting(server: Server) -> Iterator[Any]:
    """A function that posts one alert on a kept connection and returns when its first byte was sent."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:

        def post(alert: dict[str, Any]) -> datetime:
            request = bodies.request(bodies.message([alert]), f"{host}:{port}", server.token)
            began = datetime.now(UTC)
            connection.sendall(request)
            answer = b""
            while not answer.partition(b"\r\n\r\n")[2]:
                received = connection.recv(65536)
                if not received:
                    raise ConnectionError("the service closed the connection")
                answer += received
            if not answer.startswith(b"HTTP/1.1 202"):
                raise RuntimeError(f"the alert was not accepted: {answer.decode(errors='replace')}")
            json.loads(answer.partition(b"\r\n\r\n")[2])
            return began

        yield post
