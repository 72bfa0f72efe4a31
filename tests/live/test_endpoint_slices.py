"""EndpointSlices that nobody keeps, on a real API server without their controller: made by hand, read by the service's own client, and
named as the cause where they send nobody to pods that are ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.json import Obj
from app.domain.remediation import Scene
from app.domain.target import Kind, Target
from app.kube.client import KubeCluster
from app.kube.parse import OF_SERVICE
from app.kube.paths import RESOURCES
from app.kube.read import View, read_workload
from remediations.causes import CauseCode as C
from remediations.causes import Investigation, investigate
from remediations.causes.model import Sureness
from tests.live import build, controlplane
from tests.live.stack import ControlPlane, wait_until
from tests.live.test_causes import Nothing
from tests.live.workload import Shop

pytestmark = pytest.mark.live

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HTTP = {"name": "http", "port": 8080, "protocol": "TCP"}
METRICS = {"name": "metrics", "port": 9090, "protocol": "TCP"}


@pytest.fixture(scope="module")
def unkept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """A control plane without the controllers of EndpointSlices."""
    if build.missing(controlplane.PARTS):
        request.getfixturevalue("control_plane")  # which says what is missing
    folder: Path = tmp_path_factory.mktemp("unkept")
    without = "*,-endpointslice-controller,-endpointslice-mirroring-controller,-endpoints-controller"
    with ControlPlane(folder, nodes=1, controllers=without) as plane:
        yield plane


Made = Callable[[Sequence[str]], list[Obj]]
"""Slices, given the names of the pods."""


def endpoint(pod: str, *, ready: bool = True) -> Obj:
    target = {"kind": "Pod", "name": pod}
    return {"addresses": ["10.1.2.3"], "conditions": {"ready": ready}, "targetRef": target}


def slice_of(
    *endpoints: Obj, ports: Sequence[Obj] = (HTTP,), by: str = "endpointslice-controller.k8s.io"
) -> Obj:
    labels = {OF_SERVICE: "web", MANAGED_BY: by}
    meta = {"generateName": "web-", "labels": labels}
    kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
    return {
        **kind,
        "metadata": meta,
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": list(ports),
    }


@dataclass(frozen=True, slots=True)
class Case:
    """What somebody makes, and the cause with words of it; None for none of these."""

    name: str
    slices: Made
    code: C | None = None
    words: str = ""
    sure: Sureness = Sureness.CERTAIN


CASES = (
    Case("no slice at all", lambda _: []),
    Case("all pods", lambda pods: [slice_of(*map(endpoint, pods))]),
    Case("in two slices", lambda pods: [slice_of(endpoint(p)) for p in pods]),
    Case("an empty one beside", lambda pods: [slice_of(by="mesh.test"), slice_of(*map(endpoint, pods))]),
    Case("empty", lambda _: [slice_of()], C.SERVICE_ENDPOINTS, "the controller of EndpointSlices does not follow the pods"),
    Case("not ready", lambda pods: [slice_of(*(endpoint(p, ready=False) for p in pods))], C.SERVICE_ENDPOINTS, "have no ready address of them"),
    Case("of pods that are gone", lambda _: [slice_of(endpoint("web-old"))], C.SERVICE_ENDPOINTS, "1 address of other pods"),
    Case("of somebody else", lambda _: [slice_of(by="mesh.test")], C.SERVICE_ENDPOINTS, "mesh.test keeps such slices"),
    Case("without the port", lambda pods: [slice_of(*map(endpoint, pods), ports=[METRICS])], C.SERVICE_PORT, "sends port 80 to nobody"),
)  # fmt: skip


def set_up(plane: ControlPlane, case: Case) -> str:
    namespace = plane.create_namespace("slices")
    shop = Shop(plane, namespace)
    shop.create()
    shop.settle()
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    spec = {"selector": {"app": "web"}, "ports": ports}
    plane.create(RESOURCES[Kind.SERVICE].path(namespace), {**service, "spec": spec})
    pods = plane.client().get(RESOURCES[Kind.POD].path(namespace)).raise_for_status().json()["items"]
    for one in case.slices([p["metadata"]["name"] for p in pods]):
        plane.create(RESOURCES[Kind.ENDPOINT_SLICE].path(namespace), one)
    return namespace


async def look(cluster: KubeCluster, namespace: str) -> Investigation:
    """As it is seen in three minutes: pods are judged from two minutes of readiness on."""
    view = View(cluster)
    workload = await read_workload(view, Target(namespace, Kind.DEPLOYMENT, "web"))
    now = datetime.now(UTC) + timedelta(minutes=3)
    return await investigate(Scene(view, workload, "HighErrorRate", {}, now, now, Nothing()))


async def wrong(cluster: KubeCluster, case: Case, namespace: str) -> str:
    """Empty where the cause is what it has to be, else what was seen."""
    result = await look(cluster, namespace)
    found = [c for c in result.causes if c.code in (C.SERVICE_ENDPOINTS, C.SERVICE_PORT)]
    told = [
        c
        for c in found
        if c.code is case.code and case.words in f"{c.text} {c.advice}" and c.sureness is case.sure
    ]
    right = len(told) == len(found) == (case.code is not None)
    return "" if right else f"{case.name}: {[(c.code, c.sureness, c.text, c.advice) for c in found]}"


async def test_slices_that_send_nobody_to_ready_pods_are_the_cause(unkept: ControlPlane) -> None:
    cluster = await KubeCluster.from_kubeconfig(str(unkept.kubeconfig()))
    try:
        places = [(case, set_up(unkept, case)) for case in CASES]
        found = await asyncio.gather(*(wrong(cluster, case, namespace) for case, namespace in places))
    finally:
        await cluster.close()
    assert not any(found), "\n".join(filter(None, found))


async def test_what_the_controller_keeps_names_no_cause_while_the_pods_are_ready(
    cluster: KubeCluster, control_plane: ControlPlane
) -> None:
    case = Case("its own", lambda _: [])
    namespace = set_up(control_plane, case)
    listed = RESOURCES[Kind.ENDPOINT_SLICE].path(namespace)

    def addresses() -> int:
        items = control_plane.client().get(listed).raise_for_status().json()["items"]
        return sum(e["conditions"].get("ready", False) for one in items for e in one.get("endpoints") or ())

    wait_until(lambda: addresses() == 2, 30.0, what="the addresses of the pods")
    assert await wrong(cluster, case, namespace) == ""
