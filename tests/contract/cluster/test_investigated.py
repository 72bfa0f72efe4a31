"""The contract, what the investigation of causes reads: the same situation gives the same cause on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.ports import DependencyResult, SlowQuery
from app.domain.remediation import Scene
from app.domain.target import Kind, Target
from app.kube.read import View, read_workload
from remediations.causes import CauseCode as C
from remediations.causes import Investigation, investigate
from tests.contract.cluster.looks import listed, patch_web, replace
from tests.contract.cluster.sides import BAD_IMAGE, Side, SimSide, settled, template, workload


class _Nothing:
    async def check(self, names: Any) -> list[DependencyResult]:
        return []

    async def slow_queries(self, name: str, limit: int) -> list[SlowQuery]:
        return []


def manifest(kind: str, name: str, version: str = "v1", **rest: Any) -> Obj:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest}


def pods_with(**spec: Any) -> Obj:
    made = template()
    return workload(template={**made, "spec": {**made["spec"], **spec}})


CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "storageClassName": "nowhere",
    "resources": {"requests": {"storage": "1Gi"}},
}
MOUNT = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
PORTS = [{"port": 80, "targetPort": 8080}]


@dataclass(frozen=True, slots=True)
class Situation:
    code: C
    object: str
    words: str
    around: tuple[Obj, ...] = ()
    web: Callable[[], Obj] = field(default=workload)


SITUATIONS = {
    "quota": Situation(C.QUOTA, "ResourceQuota team", "used pods=0 of pods=0", (manifest("ResourceQuota", "team", spec={"hard": {"pods": "0"}}),)),
    "limit range": Situation(C.LIMIT_RANGE, "LimitRange sizes", "maximum memory usage per Container is 100Mi",
                             (manifest("LimitRange", "sizes", spec={"limits": [{"type": "Container", "max": {"memory": "100Mi"}}]}),)),
    "image": Situation(C.IMAGE_MISSING, f"image {BAD_IMAGE}", "cannot get image", web=lambda: workload(image=BAD_IMAGE)),
    "no such node": Situation(C.UNSCHEDULABLE, "Pod web-", "do not match the pod's nodeSelector", web=lambda: pods_with(nodeSelector={"disk": "none"})),
    "claim missing": Situation(C.VOLUME, "PersistentVolumeClaim data", "does not exist", web=lambda: pods_with(volumes=MOUNT)),
    "claim pending": Situation(C.VOLUME, "PersistentVolumeClaim data", "is Pending", (manifest("PersistentVolumeClaim", "data", spec=CLAIM),), lambda: pods_with(volumes=MOUNT)),
    "service": Situation(C.SERVICE_SELECTOR, "Service web", "it selects app=other", (manifest("Service", "web", spec={"selector": {"app": "other"}, "ports": PORTS}),)),
    "policy": Situation(C.NETWORK_POLICY, "NetworkPolicy deny", "Ingress",
                        (manifest("NetworkPolicy", "deny", "networking.k8s.io/v1", spec={"podSelector": {}, "policyTypes": ["Ingress"]}),)),
}  # fmt: skip


async def look(side: Side) -> Investigation:
    view = View(side.cluster)
    web = await read_workload(view, Target(side.namespace, Kind.DEPLOYMENT, "web"))
    now = side.clock.now() if isinstance(side, SimSide) else datetime.now(UTC)
    return await investigate(Scene(view, web, "KubePodNotReady", {}, now, now, _Nothing()))


@pytest.mark.parametrize("name", SITUATIONS)
async def test_both_sides_show_the_same_cause(side: Side, name: str) -> None:
    wanted = SITUATIONS[name]
    for one in wanted.around:
        side.create(one)
    side.create(wanted.web())

    async def found() -> bool:
        causes = (await look(side)).causes
        first = causes[0] if causes else None
        right = first is not None and first.code is wanted.code and first.object.startswith(wanted.object)
        return right and first is not None and wanted.words in first.text

    await side.until(found, f"the cause {wanted.code}")


async def test_a_workload_that_was_scaled_to_0_says_when(side: Side) -> None:
    side.create(workload())
    await settled(side)
    await patch_web(side, replace("/spec/replicas", 0))

    async def found() -> bool:
        causes = (await look(side)).causes
        return bool(causes) and causes[0].code is C.SCALED_TO_ZERO and " ago" in causes[0].text

    await side.until(found, "the time of it")


async def test_events_are_chosen_by_type_and_by_what_they_are_about(side: Side) -> None:
    side.create(workload(image=BAD_IMAGE))

    async def warned() -> bool:
        return bool(await side.cluster.list_objects(Kind.EVENT, side.namespace, fields="type=Warning"))

    await side.until(warned, "a warning")
    events = await listed(side, Kind.EVENT)
    warnings = await side.cluster.list_objects(Kind.EVENT, side.namespace, fields="type=Warning")
    about = await side.cluster.list_objects(Kind.EVENT, side.namespace, fields="regarding.name=web")
    assert {e["type"] for e in warnings} == {"Warning"}
    assert {e["regarding"]["name"] for e in about} == {"web"}
    assert len(about) < len(events)


async def test_a_node_is_chosen_by_its_name(side: Side) -> None:
    name = (await listed(side, Kind.NODE))[0]["metadata"]["name"]
    found = await side.cluster.list_objects(Kind.NODE, "", fields=f"metadata.name={name}")
    assert [n["metadata"]["name"] for n in found] == [name]
