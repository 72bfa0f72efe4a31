"""Owns the reaction bench without an API server: service, simulated cluster and generator in one process."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from app.domain.target import Kind
from app.main import Parts
from app.observe import logs
from app.observe.system import SystemClock
from app.serving import serving
from app.settings import load_settings
from app.sim import SimCluster
from app.sim.behaviour import Behaviour, When
from app.sim.faults import Request
from app.sim.scenario import Scenario
from tests.bench import bodies
from tests.bench.react_world import ERROR, NAMESPACE, deployment, image, policy
from tests.live.e2e.prometheus import PrometheusServer

_WAIT = 30.0
_ERRORS = (f"{{time}} ERROR server [{{request}}] {ERROR}",) * 20
_WORLD = Scenario(
    name=NAMESPACE,
    summary="the second release of every deployment logs errors; that is why it is rolled back",
    namespace=NAMESPACE,
    behaviours=(Behaviour(name="second release", when=When(image=image(2)), start_lines=_ERRORS),),
)


def measure_simulated(samples: int, rest: float) -> list[float]:
    """Seconds from the POST's first byte to the cluster's patch, for each of `samples` deployments."""
    logs.configure(level="ERROR")
    with TemporaryDirectory(prefix="bench-react-") as folder, PrometheusServer() as prometheus:
        policies = Path(folder) / "policies"
        policies.mkdir()
        (policies / "policy.yaml").write_text(policy(), "utf-8")
        return asyncio.run(_measure(Path(folder), prometheus.url, samples, rest))


async def _measure(folder: Path, prometheus: str, samples: int, rest: float) -> list[float]:
    cluster = SimCluster(SystemClock(), _WORLD)
    for number in range(samples):
        cluster.create(deployment(number))
    await asyncio.sleep(3)  # simulated pods become ready in real time here
    for number in range(samples):
        change = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image(2)}
        cluster.edit(Kind.DEPLOYMENT, NAMESPACE, f"app-{number}", [change])
    await asyncio.sleep(5)
    writes: asyncio.Queue[float] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def witness(request: Request, when: Literal["before", "after"]) -> None:
        if request.verb == "patch" and not request.dry_run and when == "before":
            loop.call_soon_threadsafe(writes.put_nowait, time.perf_counter())

    cluster.on_request(witness)
    settings = load_settings(
        state_dir=folder,
        policy_dir=folder / "policies",
        cluster="simulated",
        port=0,
        replica="bench",
        prometheus_url=prometheus,
    )
    found = []
    async with serving(settings, Parts(cluster=cluster)) as (_, url):
        for number in range(samples):
            await asyncio.sleep(rest)
            began = await _post(url, _alert(number))
            async with asyncio.timeout(_WAIT):
                found.append(await writes.get() - began)
    return found


def _alert(number: int) -> dict[str, Any]:
    starts_at = datetime.now(UTC).isoformat()
    labels = {"alertname": "HighErrorRate", "namespace": NAMESPACE, "deployment": f"app-{number}"}
    return {**bodies.alert(number, starts_at), "labels": labels}


async def _post(url: str, alert: dict[str, Any]) -> float:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    began = time.perf_counter()
    writer.write(bodies.request(bodies.message([alert]), f"{host}:{port}", "none"))
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 202"):
        raise RuntimeError(f"the alert was not accepted: {head.decode()}")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    json.loads(await reader.readexactly(length))
    writer.close()
    await writer.wait_closed()
    return began
