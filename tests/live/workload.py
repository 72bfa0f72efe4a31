"""Owns one workload of the contract tests with the real API server, and the steps that every action takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from app.domain.actuator import Undone
from app.domain.errors import TryLater
from app.domain.json import Obj
from app.domain.plan import Action
from app.domain.target import Kind, Target
from app.domain.workload import Workload
from app.kube import actions, apply, read
from app.kube.client import KubeCluster
from tests.live.stack import ControlPlane, wait_until

Done = TypeVar("Done")
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
KINDS = {"deployments": Kind.DEPLOYMENT, "statefulsets": Kind.STATEFUL_SET, "daemonsets": Kind.DAEMON_SET}


def wait_out_last_second(plane: ControlPlane, path: str) -> None:
    """Wait until the second of the last change of the object at this path is over; of one that is not there nothing is waited for.

    The API server stamps whole seconds: what follows within one is not known to be later.
    """
    answer = plane.client().get(path)
    if answer.status_code == 404:
        return
    entries = answer.raise_for_status().json()["metadata"]["managedFields"]
    over = max(datetime.fromisoformat(e["time"]) for e in entries if "time" in e) + timedelta(seconds=1)
    wait_until(lambda: datetime.now(UTC) >= over, what="the second of the last change to end")


class Shop:
    """One workload named web in a namespace, and what a person does to it. `plural` names its kind."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace

    def path(self, plural: str = "deployments", name: str = "web") -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{plural}/{name}"

    def create(self, plural: str = "deployments", **spec: Any) -> None:
        counted = {} if plural == "daemonsets" else {"replicas": 2}
        resources = {"limits": {"memory": "512Mi"}, "requests": {"memory": "512Mi", "cpu": "100m"}}
        container = {"name": "main", "image": "registry.test/web:1", "resources": resources}
        manifest = {
            "apiVersion": "apps/v1",
            "kind": KINDS[plural].value,
            "metadata": {"name": "web"},
            "spec": {
                **counted,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
                **spec,
            },
        }
        self.plane.create(self.path(plural, "").rstrip("/"), manifest)
        self.settle(plural)

    def edit(self, body: Obj, plural: str = "deployments", headers: dict[str, str] | None = None) -> None:
        path, sent = self.path(plural), headers or STRATEGIC
        answer = self.plane.client().patch(
            path, json=body, headers=sent, params={"fieldManager": "kubectl-edit"}
        )
        assert answer.is_success, answer.text

    def image(self, image: str, plural: str = "deployments", **annotations: str) -> None:
        spec = {"containers": [{"name": "main", "image": image}]}
        template = {"metadata": {"annotations": annotations}, "spec": spec}
        self.edit({"spec": {"template": template}}, plural)

    def get(self, plural: str = "deployments") -> Obj:
        found: Obj = self.plane.client().get(self.path(plural)).raise_for_status().json()
        return found

    def settle(self, plural: str = "deployments") -> None:
        def done() -> bool:
            found = self.get(plural)
            status = found["status"]
            seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            return bool(seen and _counts(plural, status, found["spec"]))

        wait_until(done, 60.0, what=f"{plural} web to settle")

    def pods(self) -> dict[str, str]:
        """Names and uids of the pods that are not on their way out."""
        listed = (
            self.plane.client().get(f"/api/v1/namespaces/{self.namespace}/pods").raise_for_status().json()
        )
        metadata = [pod["metadata"] for pod in listed["items"]]
        return {m["name"]: m["uid"] for m in metadata if "deletionTimestamp" not in m}


def _counts(plural: str, status: Obj, spec: Obj) -> bool:
    """Whether all pods are there, of the present template, and available."""
    if plural == "daemonsets":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(wanted) and wanted == status.get("updatedNumberScheduled") == status.get(
            "numberAvailable"
        )
    counts = (status.get("updatedReplicas"), status.get("availableReplicas"), status.get("replicas"))
    return counts == (spec["replicas"],) * 3


async def workload_of(cluster: KubeCluster, shop: Shop, kind: Kind = Kind.DEPLOYMENT) -> Workload:
    """The workload as the service reads it."""
    return await read.read_workload(cluster, Target(shop.namespace, kind, "web"))


def action_of(built: Action | actions.Impossible) -> Action:
    """What was built, which has to be possible."""
    assert isinstance(built, Action), built
    return built


async def carry_out(cluster: KubeCluster, action: Action, action_id: str = "run_1/0.0") -> apply.Applied:
    """Looked at, rehearsed, written: as the flow does it, all of it anew when the object moved on in passing."""

    async def once() -> apply.Applied:
        found = await apply.check(cluster, action)
        assert found.ref is not None, found.text
        await apply.dry_run(cluster, action, action_id, found.ref)
        done = await apply.apply(cluster, action, action_id, found.ref)
        if done.passing:
            raise TryLater(done.text)
        return done

    return await _until_still(once)


async def put_back(cluster: KubeCluster, action: Action, action_id: str = "run_1/0.0") -> Undone:
    """Undone as the flow does it: tried again for as long as nothing was written because the object kept changing."""
    return await _until_still(lambda: apply.undo(cluster, action, action_id))


async def _until_still(call: Callable[[], Awaitable[Done]]) -> Done:
    """A rollout's controllers write its status for some seconds, longer on a busy machine."""
    for _ in range(20):
        try:
            return await call()
        except TryLater:
            await asyncio.sleep(1)
    return await call()
