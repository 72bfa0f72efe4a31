"""Owns what the abuse bench acts on: workloads whose logs are hostile, a policy that matches long labels, and large policies."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from app.main import Parts
from app.serving import run_service
from app.settings import load_settings
from app.sim import SimCluster
from app.sim.behaviour import Behaviour, When
from app.sim.scenario import Scenario
from tests.bench.react_world import image

NAMESPACE = "bench-abuse"
WORKLOADS = 40
_PODS = 3
_STEP = 0.02  # seconds
_WORD = "A9bA9b" * 640
# What the limits of a log line are for: words, addresses, numbers, half a URL, half an assignment, JSON, each of 4,000 characters.
_HOSTILE = tuple(
    "{time} ERROR server " + text[:3_870].replace("{", "{{").replace("}", "}}")
    for text in (
        *(
            _WORD,
            "1234567890" * 400,
            "a.b-c@" * 700,
            "a://b:" * 700,
            "password=" * 430,
            "1.1.1.1:" * 500,
            "\\" * 4_000,
        ),
        *(
            '{"level":"error","msg":"' + "x" * 3_800,
            "{" * 4_000,
            "Error: " * 560,
            "[redacted]" * 400,
            "'a'" * 1_300,
        ),
    )
)
_WORLD = Scenario(
    name=NAMESPACE,
    summary="workloads that log what makes readers slow",
    namespace=NAMESPACE,
    behaviours=(Behaviour(name="hostile", when=When(image=image(1)), start_lines=_HOSTILE * 10),),
)


def workload(number: int) -> dict[str, Any]:
    """One of the deployments, named app-NUMBER."""
    labels = {"app": f"app-{number}"}
    container = {"name": "main", "image": image(1), "resources": {"limits": {"memory": "512Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"app-{number}", "namespace": NAMESPACE},
        "spec": {
            "replicas": _PODS,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def policy(padding: int = 0) -> str:
    """The policy, as YAML; with `padding`, so many freezes more (some 120 bytes each)."""
    rule = {
        "name": "errors",
        "when": 'alertname=~".*Error.*Rate.*"',
        "target": {
            "kind": "Deployment",
            "name": {"label": "deployment"},
            "namespace": {"label": "namespace"},
        },
        "remediation": "high-error-rate",
        "params": {"dependencies": []},
        "mode": "observe",
    }
    lines = [
        "version: 1",
        f"scope: {{namespaces: [{NAMESPACE}]}}",
        "storm: {targets: 1000, within: 5m}",
        *(["freeze:"] if padding else []),
        *(
            f'  - {{name: padding {n}, days: [fri], from: "16:00", to: "23:59", timezone: Europe/Berlin}}'
            for n in range(padding)
        ),
        f"rules: [{json.dumps(rule)}]",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Serve on this world; configured by the environment, as `remediator serve` is."""
    import uvicorn

    parts = Parts()
    parts.cluster = cluster = SimCluster(parts.clock, _WORLD)
    for number in range(WORKLOADS):
        cluster.create(workload(number))
    factory = uvicorn.Config("", loop="auto").get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_served(cluster, parts))


async def _served(cluster: SimCluster, parts: Parts) -> None:
    """Serve. A real cluster lives on other machines; this one shares the loop, so its time passes in small pieces and not, all that
    has gathered, when somebody asks it."""
    living = asyncio.ensure_future(_live(cluster))
    try:
        await run_service(load_settings(), parts)
    finally:
        living.cancel()


async def _live(cluster: SimCluster) -> None:
    while True:
        cluster.catch_up()
        await asyncio.sleep(_STEP)


if __name__ == "__main__":
    main()
