"""The two implementations of the port `Cluster` under one handle: what a test needs beside the port itself.

`SimSide` moves virtual time, `RealSide` waits for the real API server and its controllers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from app.domain.cluster import Cluster
from app.domain.errors import ObjectMissing
from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.client import KubeCluster
from app.kube.paths import RESOURCES
from app.sim import VirtualClock, parse_scenario
from tests.births import cluster_of
from tests.live.stack import ControlPlane

BAD_IMAGE = "registry.test/web:broken"
ENDS = "registry.test/job:1"
"""An image whose containers end well by themselves; on the real side every Job's do."""
SCENARIO = parse_scenario(
    f"""
version: 1
name: contract
summary: An image that cannot be pulled, and one that ends
missing_images: ["{BAD_IMAGE}"]
behaviours:
  - name: ends
    when: {{image: "{ENDS}"}}
    crash: {{after: 3s, exit_code: 0}}
"""
)


class Side(Protocol):
    """One cluster and what other people do to it."""

    cluster: Cluster
    namespace: str

    def create(self, manifest: Obj) -> Obj:
        """Create an object in the test's namespace, as somebody else."""
        ...

    def edit(
        self, kind: Kind, name: str, patch: Sequence[dict[str, Any]], manager: str = "kubectl-edit"
    ) -> None:
        """Apply a JSON patch as this field manager."""
        ...

    def scale(self, kind: Kind, name: str, replicas: int, manager: str = "kubectl") -> None:
        """Set the replicas through the subresource scale, as kubectl scale does."""
        ...

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object with all that it owns."""
        ...

    async def pause(self) -> None:
        """Let a moment pass."""
        ...

    async def until(self, done: Callable[[], Awaitable[bool]], what: str, seconds: int = 60) -> None:
        """Let time pass until `done`; fails after `seconds`."""
        ...


async def _until(side: Side, done: Callable[[], Awaitable[bool]], what: str, looks: int) -> None:
    for _ in range(looks):
        if await done():
            return
        await side.pause()
    raise AssertionError(f"waited in vain for {what}")


class SimSide:
    """The simulated cluster on a virtual clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.sim = cluster_of(self.clock, SCENARIO)
        # The real control plane of the contract has no metrics server.
        self.sim.metrics_api = False
        self.cluster: Cluster = self.sim
        self.namespace = "contract"
        self.sim.create(namespace_manifest(self.namespace))

    def create(self, manifest: Obj) -> Obj:
        return self.sim.create(_placed(manifest, self.namespace))

    def edit(
        self, kind: Kind, name: str, patch: Sequence[dict[str, Any]], manager: str = "kubectl-edit"
    ) -> None:
        self.sim.edit(kind, self.namespace, name, patch, manager)

    def scale(self, kind: Kind, name: str, replicas: int, manager: str = "kubectl") -> None:
        self.sim.scale(kind, self.namespace, name, replicas, manager)

    def delete(self, kind: Kind, name: str) -> None:
        self.sim.delete(kind, self.namespace, name)

    async def pause(self) -> None:
        self.clock.advance(1)

    async def until(self, done: Callable[[], Awaitable[bool]], what: str, seconds: int = 60) -> None:
        await _until(self, done, what, seconds)


class RealSide:
    """A real API server with the real controllers; kwok's stages play the kubelet."""

    def __init__(self, plane: ControlPlane, cluster: KubeCluster) -> None:
        self.plane = plane
        self.cluster: Cluster = cluster
        self.namespace = plane.create_namespace("contract")

    def create(self, manifest: Obj) -> Obj:
        kind = Kind(manifest["kind"])
        return self.plane.create(RESOURCES[kind].path(self.namespace), _placed(manifest, self.namespace))

    def edit(
        self, kind: Kind, name: str, patch: Sequence[dict[str, Any]], manager: str = "kubectl-edit"
    ) -> None:
        self._patch(RESOURCES[kind].path(self.namespace, name), patch, manager)

    def scale(self, kind: Kind, name: str, replicas: int, manager: str = "kubectl") -> None:
        path = f"{RESOURCES[kind].path(self.namespace, name)}/scale"
        self._patch(path, [{"op": "replace", "path": "/spec/replicas", "value": replicas}], manager)

    def _patch(self, path: str, patch: Sequence[dict[str, Any]], manager: str) -> None:
        headers = {"Content-Type": "application/json-patch+json"}
        answer = self.plane.client().patch(
            path, json=list(patch), headers=headers, params={"fieldManager": manager}
        )
        assert answer.is_success, answer.text

    def delete(self, kind: Kind, name: str) -> None:
        path = RESOURCES[kind].path(self.namespace, name)
        self.plane.client().delete(path, params={"propagationPolicy": "Background"}).raise_for_status()

    async def pause(self) -> None:
        await asyncio.sleep(0.1)

    async def until(self, done: Callable[[], Awaitable[bool]], what: str, seconds: int = 60) -> None:
        await _until(self, done, what, seconds * 10)


def namespace_manifest(name: str) -> Obj:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _placed(manifest: Obj, namespace: str) -> Obj:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def template(image: str = "registry.test/web:1", **annotations: str) -> Obj:
    """A pod template of the app `web`. The broken image also asks kwok for its fault."""
    notes = {**annotations, **({"kwok.test/fault": "image-pull"} if image == BAD_IMAGE else {})}
    container = {
        "name": "main",
        "image": image,
        "resources": {
            "limits": {"memory": "512Mi"},
            "requests": {"cpu": "100m", "memory": "256Mi"},
        },
        "ports": [{"containerPort": 8080}],
    }
    metadata: Obj = {"labels": {"app": "web"}}
    return {
        "metadata": {**metadata, "annotations": notes} if notes else metadata,
        "spec": {"containers": [container]},
    }


def workload(kind: str = "Deployment", image: str = "registry.test/web:1", **spec: Any) -> Obj:
    """A workload named `web`."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            **({} if kind == "DaemonSet" else {"replicas": 2}),
            **({"serviceName": "web"} if kind == "StatefulSet" else {}),
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            **spec,
        },
    }


async def settled(side: Side, kind: Kind = Kind.DEPLOYMENT) -> Obj:
    """Wait until the workload `web` is rolled out, and give it."""
    found: Obj = {}

    async def done() -> bool:
        nonlocal found
        found = await side.cluster.get(kind, side.namespace, "web")
        status = found.get("status", {})
        if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
            return False
        if kind is Kind.DAEMON_SET:
            wanted = status.get("desiredNumberScheduled", 0)
            return bool(
                wanted and status.get("updatedNumberScheduled") == wanted == status.get("numberAvailable")
            )
        counts = {
            status.get(f, 0) for f in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        }
        return counts == {found["spec"]["replicas"]}

    await side.until(done, f"{kind} web to settle")
    return found


async def gone(side: Side, kind: Kind, name: str, uid: str) -> None:
    """Wait until the object with this uid is no more."""

    async def done() -> bool:
        try:
            found = await side.cluster.get(kind, side.namespace, name)
        except ObjectMissing:
            return True
        return bool(found["metadata"]["uid"] != uid)

    await side.until(done, f"{kind} {name} to go")
