"""Small worlds for the tests of the simulation: manifests, scenarios in a few lines, and short questions."""

from __future__ import annotations

from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim import SimCluster, VirtualClock, parse_scenario

SPACE = "shop"
IMAGE = "/spec/template/spec/containers/0/image"


def workload(kind: str = "Deployment", name: str = "web", image: str = "web:1", **spec: Any) -> Obj:
    """A workload with one container `main`; keys of `container` in `spec` go into the container."""
    container = {"name": "main", "image": image, **spec.pop("container", {})}
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": SPACE, "labels": dict(labels)},
        "spec": {
            **({} if kind == "DaemonSet" else {"replicas": 2}),
            "selector": {"matchLabels": dict(labels)},
            "template": {"metadata": {"labels": dict(labels)}, "spec": {"containers": [container]}},
            **spec,
        },
    }


def memory(limit: str, request: str = "64Mi") -> Obj:
    """A container's resources with a memory limit."""
    return {"resources": {"limits": {"memory": limit}, "requests": {"memory": request, "cpu": "100m"}}}


def config_map(name: str, **data: str) -> Obj:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": SPACE},
        "data": data,
    }


class World:
    """A simulated cluster on a virtual clock, made from the lines of a scenario's first document."""

    def __init__(self, scenario: str = "") -> None:
        head = f"version: 1\nname: test\nsummary: A test\nnamespace: {SPACE}\n"
        self.clock = VirtualClock()
        self.cluster = SimCluster(self.clock, parse_scenario(head + scenario))

    def create(self, manifest: Obj) -> Obj:
        return self.cluster.create(manifest)

    def wait(self, seconds: float) -> None:
        """Let virtual time pass and the world live through it."""
        self.clock.advance(seconds)
        self.cluster.catch_up()

    def get(self, kind: Kind, name: str = "web") -> Obj:
        found = self.cluster.peek(kind, SPACE, name)
        assert found is not None, f"no {kind} {name}"
        return found

    async def pods(self, app: str = "web") -> list[Obj]:
        """Pods of an app that are not being deleted."""
        found = await self.cluster.list_objects(Kind.POD, SPACE, f"app={app}")
        return [p for p in found if "deletionTimestamp" not in p["metadata"]]

    async def container(self, app: str = "web") -> Obj:
        """The first container status of the first pod."""
        pod = (await self.pods(app))[0]
        status: Obj = pod["status"]["containerStatuses"][0]
        return status

    async def notes(self, reason: str, space: str = SPACE) -> list[str]:
        """Notes of the Events with this reason."""
        found = await self.cluster.list_objects(Kind.EVENT, space)
        return [e["note"] for e in found if e["reason"] == reason]

    async def patch(self, path: str, value: Any, kind: Kind = Kind.DEPLOYMENT, name: str = "web") -> Obj:
        """Set one field through the port."""
        operations = [{"op": "add", "path": path, "value": value}]
        return await self.cluster.patch(kind, SPACE, name, operations)
