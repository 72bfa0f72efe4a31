"""What is told of neighbours that errors name: why they have no pod, and nothing of one that is kept away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.target import Kind, Target
from remediations.causes import findings_of, investigate
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
