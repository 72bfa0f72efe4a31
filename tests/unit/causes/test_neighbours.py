"""What is told of neighbours that errors name: why they have no pod, and nothing of one that is kept away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.json import Obj
from app.domain.target import Kind, Target
from remediations.causes import findings_of, investigate
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from tests.unit.causes.cluster import Requests
from tests.unit.causes.test_errors import told
from tests.unit.causes.test_others import CACHE, cache
from tests.unit.causes.world import World, at


def stopped(name: str, *, by_revision: bool = False) -> World:
    """The Service `cache` has no pod, because somebody scaled the StatefulSet behind it to 0."""
    world = World().put("Service", "cache", spec={"selector": {"app": "cache"}, "ports": [{"port": 6379}]})
    template = {"metadata": {"labels": {"app": "cache", "tier": "data"}}, "spec": {"containers": []}}
    world.put("StatefulSet", name, spec={"replicas": 0, "template": template})
    scaled = {
        "manager": "kubectl-scale",
        "operation": "Update",
        "subresource": "scale",
        "time": at(minutes=12),
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }
    world.cluster.of(Kind.STATEFUL_SET, name, "shop")["metadata"]["managedFields"] = [scaled]
    if by_revision:
        world.put("ControllerRevision", f"{name}-1")
        owner = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": name,
            "uid": "u1",
            "controller": True,
        }
        made = {"labels": {"app": "cache"}, "ownerReferences": [owner]}
        world.cluster.of(Kind.CONTROLLER_REVISION, f"{name}-1", "shop")["metadata"].update(made)
    return world.crash(restarts=4).said("app", f"ERROR {CACHE}")


@pytest.mark.parametrize("away", [False, True])
async def test_of_a_neighbour_that_is_kept_away_nothing_is_told(*, away: bool) -> None:
    """The target's own logs may name its Service; how its pods are is its owners' business."""
    asked: list[Target] = []

    async def off_limits(target: Target) -> bool:
        asked.append(target)
        return away

    world = cache(World()).crash(restarts=4).said("app", f"ERROR {CACHE}")
    found = await investigate(replace(await world.scene(), off_limits=off_limits))
    assert asked == [Target("shop", Kind.POD, "cache-0")]
    assert ("no ready pod" in str(findings_of(found))) is not away


@pytest.mark.parametrize("by_revision", [False, True])
async def test_a_neighbour_that_somebody_scaled_to_0_is_told_with_who_did_it(*, by_revision: bool) -> None:
    name = "redis-store" if by_revision else "cache"
    first = findings_of(await investigate(await stopped(name, by_revision=by_revision).scene()))[0]
    assert (
        f"Service cache has no ready pod (0 of 0 pods: StatefulSet {name} is scaled to 0 by kubectl-scale 12 min ago"
        in first.text
    )
    other = findings_of(await investigate(await stopped("another").scene()))[0]
    (note,) = (d for d in other.details if "Service cache has no ready pod (0 of 0 pods" in d)
    assert note.startswith("possibly: ")
    assert "since when is not known" in note
    assert "scaled" not in f"{other.text} {note}"


async def test_of_a_stopped_neighbour_that_is_kept_away_nothing_is_told() -> None:
    async def off_limits(target: Target) -> bool:
        return target.kind is Kind.STATEFUL_SET

    found = await investigate(replace(await stopped("cache").scene(), off_limits=off_limits))
    assert "no ready pod" not in str(findings_of(found))


FAILS = "HTTPStatusError: Server error 500 Internal Server Error for url http://payments/charge"
REFUSED = "ConnectionError: HTTPConnectionPool(host='payments', port=80): [Errno 111] Connection refused"


def _owned_by(kind: str, name: str) -> Obj:
    owner = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"{kind}-{name}", "controller": True}
    return {"ownerReferences": [owner]}


def _wrote(by: str, minutes: float, path: str) -> Obj:
    return {
        "manager": by,
        "operation": "Update",
        "time": at(minutes=minutes),
        "fieldsV1": {"f:spec": {path: {}}},
    }


def payments(world: World, *wrote: Obj, selector: str = "payments") -> World:
    """A Service of another team, with one pod that is ready, of a Deployment that these wrote."""
    world.put("Service", "payments", spec={"selector": {"app": selector}, "ports": [{"port": 80}]})
    template = {"metadata": {"labels": {"app": "payments"}}, "spec": {"containers": []}}
    world.put("Deployment", "payments", spec={"replicas": 1, "template": template})
    world.cluster.of(Kind.DEPLOYMENT, "payments", "shop")["metadata"]["managedFields"] = list(wrote)
    world.put("ReplicaSet", "payments-1")
    world.cluster.of(Kind.REPLICA_SET, "payments-1", "shop")["metadata"].update(
        _owned_by("Deployment", "payments")
    )
    pod = world.pod("payments-1-a")
    pod["metadata"].update(_owned_by("ReplicaSet", "payments-1"), labels={"app": "payments"})
    world.cluster.put(world.pods.pop("payments-1-a"))
    return world


def _failing(error: str = FAILS, *, deployed: float = 40) -> World:
    world = told(error, 300, 3000, deployed=deployed)
    world.fired, world.metrics = 3, Requests(300)
    return world


@pytest.mark.parametrize(
    ("wrote", "says"),
    [
        (_wrote("kubectl-set", 6, "f:template"), "Deployment payments was deployed by kubectl-set 6 min ago"),
        (_wrote("kubectl-scale", 6, "f:replicas"), "Deployment payments was scaled to 1 by kubectl-scale 6 min ago"),
    ],
    ids=["released", "scaled"],
)  # fmt: skip
async def test_what_was_changed_of_a_service_that_errors_name_is_told_and_where_to_look(
    wrote: Obj, says: str
) -> None:
    """It runs and answers with errors since its own release: whoever looks at ours finds nothing."""
    diagnosis, steps = await payments(_failing(), wrote).look(HighErrorRate())
    assert says in diagnosis.summary
    assert f"Look at what the error names (payments, which errors name: {says})" in steps["scale-up"].advice
    assert not any(step.applies for step in steps.values())


async def test_our_release_is_a_question_where_what_the_errors_name_was_released_as_well() -> None:
    """Both are new, and the errors name the other one."""
    alone = payments(_failing(deployed=6), _wrote("kubectl-set", 600, "f:template"))
    both = payments(_failing(deployed=6), _wrote("kubectl-set", 6, "f:template"))
    _, before = await alone.look(HighErrorRate())
    _, steps = await both.look(HighErrorRate())
    assert "whether payments has to do with it" not in before["roll-back"].asks
    assert steps["roll-back"].asks or not steps["roll-back"].applies
    told = steps["roll-back"].asks + steps["roll-back"].why
    assert "whether payments has to do with it is not known: Deployment payments was deployed" in told


async def test_a_change_of_long_ago_is_not_told() -> None:
    diagnosis, _ = await payments(_failing(), _wrote("kubectl-set", 600, "f:template")).look(HighErrorRate())
    assert "payments was" not in diagnosis.summary


@pytest.mark.parametrize("away", [False, True])
async def test_of_what_is_kept_away_no_change_is_told(*, away: bool) -> None:
    async def off_limits(target: Target) -> bool:
        return away and target == Target("shop", Kind.DEPLOYMENT, "payments")

    world = payments(_failing(), _wrote("kubectl-set", 6, "f:template"))
    scene = replace(await world.scene(), off_limits=off_limits)
    handler = HighErrorRate()
    diagnosis = await handler.diagnose(scene, handler.params())
    assert ("was deployed by kubectl-set" in str(diagnosis)) is not away


async def test_a_selector_that_somebody_edited_is_told_beside_the_pods_that_it_left() -> None:
    world = payments(_failing(REFUSED), selector="paymentz")
    service = world.cluster.of(Kind.SERVICE, "payments", "shop")["metadata"]
    service["managedFields"] = [_wrote("kubectl-edit", 6, "f:selector")]
    diagnosis, steps = await world.emptied("payments", 5.9).look(HighErrorRate())
    says = "(0 of 0 pods: its selector app=paymentz chooses no pod of Deployment payments; Service payments was changed by kubectl-edit 6 min ago)"
    assert says in diagnosis.summary
    assert says in steps["scale-up"].advice


async def test_slow_answers_are_told_with_what_was_changed_of_whom_they_name() -> None:
    world = payments(
        _failing("ReadTimeout: http://payments/charge timed out"), _wrote("helm", 6, "f:template")
    )
    diagnosis, _ = await world.look(HighLatency())
    assert "payments, which errors name: Deployment payments was deployed by helm 6 min ago" in str(
        diagnosis.findings
    )
