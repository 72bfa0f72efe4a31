"""A rollout of somebody else that is under way: it is waited for as long as its controller says that it progresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.causes.world import World, at

RUNS: Callable[[float], dict[str, Any]] = lambda minutes: {"running": {"startedAt": at(minutes=minutes)}}  # noqa: E731
WORD = "a rollout is under way, nothing to do: "


def progress(world: World, minutes: float = 3.0, status: str = "True", **spec: Any) -> World:
    """Its controller has seen progress so many minutes ago."""
    reason = "ReplicaSetUpdated" if status == "True" else "ProgressDeadlineExceeded"
    world.conditions = [
        {"type": "Progressing", "status": status, "reason": reason, "lastUpdateTime": at(minutes=minutes)}
    ]
    world.spec |= spec
    return world


def slow(deployed: float = 3.0, *, fired: float = 5.0) -> World:
    """Three old pods serve; the first new one has run for a while and is not ready."""
    world = World().rolling(deployed)
    world.state("new-0", RUNS(deployed - 0.1))
    world.fired = fired
    return progress(world, deployed)


def repair() -> World:
    """Old pods crash, and somebody rolls out what mends it: its first pod is ready."""
    world = World().rolling(3, old=2, new=1)
    world.pod("new-0", made=3)
    world.crash("old-0", "old-1", restarts=9, first=60)
    world.said("app", "KeyError: 'x'")
    return progress(world)


def probe(world: World) -> World:
    world.both(lambda s: s["containers"][0].update(readinessProbe={"httpGet": {"path": "/", "port": 8080}}))
    return world.event("Unhealthy", "Readiness probe failed: connection refused", "Pod/new-0")


def crashes() -> World:
    world = slow()
    return world.crash("new-0", restarts=3, first=2)


WAITS: dict[str, Callable[[], World]] = {
    "one that began after the alert": slow,
    "one that began before it, while all that is wanted is ready": lambda: slow(4, fired=3),
    "one whose new pod is not ready yet, by its probe": lambda: probe(slow()),
    "the repair of what crashes": repair,
    "one of which a pod became ready lately": lambda: progress(slow(12, fired=15), 3),
}
DOES_NOT: dict[str, Callable[[], World]] = {
    "no progress within the deadline": lambda: progress(slow(12, fired=15), 12),
    "no progress within a deadline of its own": lambda: progress(slow(), 3, progressDeadlineSeconds=120),
    "its controller says that it stands": lambda: progress(slow(), 3, "False"),
    "nothing says that the rollout runs": lambda: progress(World().state("new-0", RUNS(29))),
    "new pods that crash": crashes,
    "one from before the alert whose new pod fails its probe": lambda: probe(slow(4, fired=3)),
}


@pytest.mark.parametrize("name", WAITS)
async def test_a_rollout_of_somebody_else_is_waited_for(name: str) -> None:
    diagnosis, steps = await WAITS[name]().look()
    assert diagnosis.rest.startswith(WORD), (diagnosis.rest, diagnosis.summary)
    assert "deployed by kubectl-set" in diagnosis.rest
    assert not any(step.applies for step in steps.values())


@pytest.mark.parametrize("name", DOES_NOT)
async def test_one_that_does_not_go_on_or_fails_is_judged(name: str) -> None:
    diagnosis, _ = await DOES_NOT[name]().look()
    assert not diagnosis.rest
