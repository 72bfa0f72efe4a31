"""The contract, EndpointSlices: what they say of a Service and its pods, and who keeps them, is the same on both sides."""

from __future__ import annotations

from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.lineage import last_write
from app.kube.parse import OF_SERVICE
from remediations.causes import CauseCode as C
from tests.contract.cluster.looks import listed, patch_web, pods_of, replace
from tests.contract.cluster.sides import BAD_IMAGE, Side, settled, template, workload
from tests.contract.cluster.test_investigated import look, manifest

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
NUMBER = {"name": "http", "port": 80, "targetPort": 8080}
NAMED = {"name": "metrics", "port": 9090, "targetPort": "metrics"}


def service(*ports: Obj, **spec: Any) -> Obj:
    chosen = {"selector": {"app": "web"}, "ports": list(ports or (NUMBER,))}
    return manifest("Service", "web", spec=chosen | spec)


def named_port() -> Obj:
    made = template()
    (container,) = made["spec"]["containers"]
    ports = [{"name": "metrics", "containerPort": 9090}]
    return workload(template={**made, "spec": {"containers": [{**container, "ports": ports}]}})


async def slices(side: Side) -> list[Obj]:
    return await listed(side, Kind.ENDPOINT_SLICE, f"{OF_SERVICE}=web")


def endpoints(found: list[Obj]) -> list[Obj]:
    return [e for one in found for e in one.get("endpoints") or ()]


def ports(found: list[Obj]) -> set[tuple[str, int]]:
    return {(p.get("name", ""), p["port"]) for one in found for p in one.get("ports") or ()}


async def until_addresses(side: Side, number: int, *, ready: bool = True) -> list[Obj]:
    """The slices, once the Service has so many addresses that are ready, or are not, and no other."""
    found: list[Obj] = []

    async def there() -> bool:
        nonlocal found
        found = await slices(side)
        states = [bool(e["conditions"]["ready"]) for e in endpoints(found)]
        return bool(found) and states == [ready] * number

    await side.until(there, f"{number} addresses, ready: {ready}")
    return found


async def test_a_service_has_the_addresses_of_its_ready_pods(side: Side) -> None:
    side.create(service(NUMBER, NAMED))
    side.create(named_port())
    await settled(side)
    found = await until_addresses(side, 2)
    pods = {p["metadata"]["name"]: p for p in await pods_of(side)}
    assert {e["targetRef"]["name"] for e in endpoints(found)} == set(pods)
    for one in endpoints(found):
        pod = pods[one["targetRef"]["name"]]
        assert one["targetRef"]["kind"] == "Pod"
        assert one["targetRef"]["uid"] == pod["metadata"]["uid"]
        assert one["addresses"] == [pod["status"]["podIP"]]
        assert one["nodeName"] == pod["spec"]["nodeName"]
        assert one["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert ports(found) == {("http", 8080), ("metrics", 9090)}
    (made,) = found
    assert made["metadata"]["labels"][MANAGED_BY] == CONTROLLER
    assert [(o["kind"], o["name"]) for o in made["metadata"]["ownerReferences"]] == [("Service", "web")]
    by_all, by_people = last_write(made, everybody=True), last_write(made)
    assert by_all is not None
    assert by_people is not None
    assert (by_all.by, by_people.by) == ("kube-controller-manager", ""), "its controller is nobody who edits"


async def test_pods_that_no_service_chooses_leave_it_one_slice_without_an_address(side: Side) -> None:
    side.create(service(selector={"app": "other"}))
    side.create(workload())
    await settled(side)
    found = await until_addresses(side, 0)
    assert len(found) == 1
    assert endpoints(found) == []
    assert ports(found) == set()


async def test_a_service_without_a_selector_has_none(side: Side) -> None:
    side.create(manifest("Service", "web", spec={"ports": [NUMBER]}))
    side.create(manifest("Service", "beside", spec={"selector": {"app": "web"}, "ports": [NUMBER]}))

    async def beside() -> bool:
        return bool(await listed(side, Kind.ENDPOINT_SLICE, f"{OF_SERVICE}=beside"))

    await side.until(beside, "the slice of the other Service")
    assert await slices(side) == []


async def test_a_port_that_no_container_names_is_left_out_beside_the_addresses(side: Side) -> None:
    side.create(service(NUMBER, NAMED))
    side.create(workload())
    await settled(side)
    assert ports(await until_addresses(side, 2)) == {("http", 8080)}


async def test_scaling_follows_and_the_last_pod_leaves_an_empty_slice(side: Side) -> None:
    side.create(service())
    side.create(workload())
    await settled(side)
    (before,) = await until_addresses(side, 2)
    await patch_web(side, replace("/spec/replicas", 0))
    (after,) = await until_addresses(side, 0)
    # What of the two is kept, and when it was written, is what "away since" is read from.
    first, last = last_write(before, everybody=True), last_write(after, everybody=True)
    assert first is not None
    assert last is not None
    assert last.at >= first.at


async def test_pods_that_are_not_ready_have_no_address_that_is_ready(side: Side) -> None:
    side.create(service())
    side.create(workload(image=BAD_IMAGE))

    async def made() -> bool:
        return len(await pods_of(side)) == 2 and bool(await slices(side))

    await side.until(made, "the pods and the slice")
    assert not any(e["conditions"]["ready"] for e in endpoints(await slices(side)))


async def test_what_is_written_into_a_controllers_slice_is_put_back(side: Side) -> None:
    side.create(service())
    side.create(workload())
    await settled(side)
    (made,) = await until_addresses(side, 2)
    side.edit(Kind.ENDPOINT_SLICE, made["metadata"]["name"], [replace("/endpoints", [])])
    await until_addresses(side, 2)


async def test_somebody_elses_slice_is_left_alone_and_ends_no_answer_of_the_controller(side: Side) -> None:
    side.create(service())
    side.create(workload())
    await settled(side)
    await until_addresses(side, 2)
    labels = {OF_SERVICE: "web", MANAGED_BY: "mesh.test"}
    foreign = manifest(
        "EndpointSlice", "web-mesh", "discovery.k8s.io/v1", addressType="IPv4", endpoints=[], ports=[]
    )
    side.create({**foreign, "metadata": {"name": "web-mesh", "labels": labels}})
    # The controller has looked again once it has followed a change of the pods.
    await patch_web(side, replace("/spec/replicas", 3))
    found = await until_addresses(side, 3)
    assert {one["metadata"]["labels"][MANAGED_BY] for one in found} == {CONTROLLER, "mesh.test"}
    codes = [c.code for c in (await look(side)).causes]
    assert C.SERVICE_ENDPOINTS not in codes
    assert C.SERVICE_PORT not in codes


async def test_a_service_goes_with_its_slices(side: Side) -> None:
    side.create(service())
    side.create(workload())
    await until_addresses(side, 2)
    side.delete(Kind.SERVICE, "web")

    async def gone() -> bool:
        return not await slices(side)

    await side.until(gone, "the slices to go")
