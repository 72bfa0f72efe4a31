"""A Service whose EndpointSlices send nobody to the pods is the cause of failing requests, and no restart and no further pod ends that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from remediations.causes import CauseCode as C
from remediations.causes.model import Sureness
from remediations.causes.report import FirstCause
from remediations.high_error_rate import HighErrorRate
from tests.unit.causes.test_errors import KEY, failing
from tests.unit.causes.test_everyday import young
from tests.unit.causes.test_more_pods import BUSY
from tests.unit.causes.world import SPACE, World, at

HTTP = {"name": "http", "port": 80, "targetPort": "http"}
METRICS = {"name": "metrics", "port": 9090, "targetPort": "metrics"}
PODS = ("new-0", "new-1", "new-2")


def service(world: World, name: str = "web", **spec: Any) -> World:
    return world.put("Service", name, spec={"selector": {"app": "web"}, "ports": [HTTP], **spec})


def endpoint(pod: str, *, ready: bool = True) -> Obj:
    return {
        "addresses": ["10.0.0.3"],
        "conditions": {"ready": ready},
        "targetRef": {"kind": "Pod", "name": pod},
    }


def sliced(
    world: World,
    *endpoints: Obj,
    of: str = "web",
    changed: float = 6,
    ports: Sequence[Obj] = ({"name": "http", "port": 8080},),
    by: str = "endpointslice-controller.k8s.io",
) -> World:
    world.put(
        "EndpointSlice", f"{of}-x7k2p", changed=changed, by=by, endpoints=list(endpoints), ports=list(ports)
    )
    made = world.cluster.of(Kind.ENDPOINT_SLICE, f"{of}-x7k2p", SPACE)["metadata"]
    made["labels"] = {"kubernetes.io/service-name": of, "endpointslice.kubernetes.io/managed-by": by}
    return world


def good(
    world: World, of: str = "web", *, asked: Sequence[Obj] = (HTTP,), edited: float | None = None, **how: Any
) -> World:
    service(world, of, ports=list(asked))
    if edited is not None:
        made = world.cluster.of(Kind.SERVICE, of, SPACE)["metadata"]
        made["managedFields"] = [{"manager": "kubectl-edit", "time": at(minutes=edited), "fieldsV1": {}}]
    return sliced(world, *map(endpoint, PODS), of=of, **how)


def early(world: World, **spec: Any) -> World:
    """One pod is not ready for four minutes, and gets requests all the same."""
    service(world, publishNotReadyAddresses=True, **spec)
    world.state("new-0", {"running": {"startedAt": at(minutes=30)}}, since=4)
    return sliced(world, *map(endpoint, PODS))


EMPTY: Callable[[World], World] = lambda w: sliced(service(w), *(endpoint(p, ready=False) for p in PODS))  # noqa: E731

# What is in the slices: the code, how sure, and words.
FOUND: dict[str, tuple[Callable[[], World], C | None, Sureness | None, str]] = {
    "all addresses ready": (lambda: good(BUSY()), None, None, ""),
    "no slice at all": (lambda: service(BUSY()), None, None, ""),
    "no ready address": (lambda: EMPTY(BUSY()), C.SERVICE_ENDPOINTS, Sureness.CERTAIN, "have no ready address of them"),
    "no address": (lambda: sliced(service(BUSY())), C.SERVICE_ENDPOINTS, Sureness.CERTAIN, "does not follow the pods"),
    "addresses of pods that are gone": (lambda: sliced(service(BUSY()), endpoint("old-9")), C.SERVICE_ENDPOINTS, Sureness.CERTAIN, "1 address of other pods"),
    "somebody else's slice": (lambda: sliced(service(BUSY()), by="mesh-controller"), C.SERVICE_ENDPOINTS, Sureness.CERTAIN, "mesh-controller keeps such slices"),
    "empty for a week": (lambda: sliced(service(BUSY()), changed=10_000), C.SERVICE_ENDPOINTS, Sureness.POSSIBLE, "no ready address"),
    "empty, and another Service serves": (lambda: good(sliced(service(BUSY(), "web-canary"), of="web-canary")), C.SERVICE_ENDPOINTS, Sureness.POSSIBLE, "web-canary"),
    "nobody follows the pods that were made since": (lambda: sliced(service(World()), endpoint("old-9"), changed=10_000), C.SERVICE_ENDPOINTS, Sureness.CERTAIN, "1 address of other pods"),
    "a port that no slice has": (lambda: good(BUSY(), ports=[]), C.SERVICE_PORT, Sureness.CERTAIN, "sends port 80 to nobody"),
    "a port that no slice has, as they were written when pods came": (lambda: good(young(BUSY()), ports=[], changed=50), C.SERVICE_PORT, Sureness.POSSIBLE, "sends port 80 to nobody"),
    "a port that no slice has, for a week": (lambda: good(BUSY(), ports=[], changed=10_000), C.SERVICE_PORT, Sureness.POSSIBLE, "sends port 80 to nobody"),
    "the same since the Service was edited": (lambda: good(BUSY(), ports=[], changed=10_000, edited=6), C.SERVICE_PORT, Sureness.CERTAIN, "sends port 80 to nobody"),
    "a port beside one that serves": (lambda: good(BUSY(), asked=[HTTP, {"name": "admin", "port": 81, "targetPort": "http"}]), C.SERVICE_PORT, Sureness.POSSIBLE, "sends port 81 to nobody"),
    "a port that no container ever named, beside one that serves": (lambda: good(BUSY(), asked=[HTTP, METRICS]), C.SERVICE_PORT, Sureness.POSSIBLE, "which no container names"),
    "a port of another name": (lambda: good(BUSY(), ports=[{"name": "grpc", "port": 9000}]), C.SERVICE_PORT, Sureness.CERTAIN, "targetPort 'http'"),
}  # fmt: skip


@pytest.mark.parametrize("row", FOUND.values(), ids=list(FOUND))
async def test_what_slices_say_is_the_cause_where_it_fits_in_time(
    row: tuple[Callable[[], World], C | None, Sureness | None, str],
) -> None:
    happens, code, sure, words = row
    diagnosis, steps = await happens().look(HighErrorRate())
    cause, finding = FirstCause(diagnosis), diagnosis.finding("cause.first")
    assert finding is not None
    assert cause.code is code, finding.text
    assert words in f"{finding.text} {finding.data.get('advice')}"
    assert finding.data.get("sureness") == sure
    step = steps["scale-up"]
    if sure is Sureness.CERTAIN:
        assert not step.applies
        assert "more replicas would not change that" in step.why
        assert "Service web" in step.advice
        assert not steps["roll-back"].applies
    else:
        assert step.applies
        assert bool(step.asks) is (code is not None)


async def test_pods_that_are_not_ready_and_get_requests_all_the_same_are_told() -> None:
    found = await early(World()).investigate()
    told = next(c for c in found.causes if c.code is C.SERVICE_ENDPOINTS)
    assert told.sureness is Sureness.LIKELY
    assert "sends requests to 1 pod that is not ready (publishNotReadyAddresses)" in told.text
    peers = await early(World(), clusterIP="None").investigate()
    assert all(c.code is not C.SERVICE_ENDPOINTS for c in peers.causes), "peers find each other so"


async def test_without_the_right_nothing_is_concluded_and_it_is_said() -> None:
    world = EMPTY(BUSY())
    world.cluster.unreadable.add(Kind.ENDPOINT_SLICE)
    diagnosis, _ = await world.look(HighErrorRate())
    found = diagnosis.finding("cause.first")
    assert found is not None
    assert found.data["code"] is None
    assert any("not known: endpoint slices" in d for d in found.details)


@pytest.mark.parametrize("written", [5.8, 9000.0])
async def test_a_port_that_was_never_served_hides_no_guilty_release(written: float) -> None:
    """The controller leaves out of the slices what no container names, and writes them at each rollout."""
    world = good(failing(KEY, deployed=6), asked=[HTTP, METRICS], changed=written)
    await acts_on_the_release(world)


@pytest.mark.parametrize("written", [5.8, 9000.0])
async def test_a_port_that_a_mesh_leaves_out_of_its_slices_hides_no_guilty_release(written: float) -> None:
    await acts_on_the_release(good(failing(KEY, deployed=6), ports=[], changed=written, by="mesh-controller"))


async def acts_on_the_release(world: World) -> None:
    diagnosis, steps = await world.look(HighErrorRate())
    assert not FirstCause(diagnosis).sure
    assert steps["roll-back"].applies, steps["roll-back"].why
    assert not steps["roll-back"].asks


async def test_a_port_that_was_never_served_makes_no_patient_of_a_well_workload() -> None:
    diagnosis, steps = await good(World(), asked=[HTTP, METRICS], changed=5.8).look()
    assert diagnosis.rest
    assert not any(s.applies for s in steps.values())
