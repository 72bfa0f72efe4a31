"""A Job that is waited for and is gone, deleted or removed after its end, is never made a second time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from app.domain.actuator import Actuator, Applied, Clients, Means, Progress
from app.domain.json import JsonValue
from app.domain.outcome import ActionResult
from app.domain.plan import Action
from app.domain.target import Kind, Target
from app.kube.job_actuator import JobActuator, create_job
from app.kube.parse import parse_ref
from app.kube.run_job_actuator import RunJobActuator, run_job
from app.sim import SimCluster, VirtualClock, load_scenario
from remediations.backups import StoreParams

ID, NAME = "run_1/0.0", "restore-1"
TARGET = Target("rag7", Kind.DEPLOYMENT, "langgraph-threads")
JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": NAME},
    "spec": {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "main:1"}]}}
    },
}


def _world(make: Any) -> tuple[SimCluster, Action]:
    cluster = SimCluster(VirtualClock(), load_scenario("database-restore"))
    manifest: Any = cluster.peek(Kind.DEPLOYMENT, "rag7", TARGET.name)
    return cluster, make(parse_ref(Kind.DEPLOYMENT, manifest), TARGET, JOB, "Restore", "nothing to undo")


def _means(cluster: SimCluster, so_far: Mapping[str, JsonValue]) -> Means:
    async def ask() -> None:
        return

    return Means(Clients(cluster, cluster.databases), ask, asyncio.sleep, so_far)


async def _applied(actuator: Actuator, means: Means, action: Action) -> Applied | Progress:
    return await actuator.apply(means, action, ID, await actuator.check(means.clients, action, ID))


def _made(cluster: SimCluster) -> int:
    return sum(m.kind is Kind.JOB and m.verb == "create" and not m.dry_run for m in cluster.mutations)


@pytest.mark.parametrize("looks", [1, 2])
async def test_a_job_that_vanished_is_refused_and_not_made_again(looks: int) -> None:
    cluster, action = _world(run_job)
    actuator = RunJobActuator()
    so_far: dict[str, JsonValue] = {}
    for _ in range(looks):
        progress = await _applied(actuator, _means(cluster, so_far), action)
        assert isinstance(progress, Progress)
        so_far = dict(progress.state)
    cluster.delete(Kind.JOB, "rag7", NAME)
    ended = await _applied(actuator, _means(cluster, so_far), action)
    assert isinstance(ended, Applied)
    assert (ended.result, ended.code, _made(cluster)) == (ActionResult.REFUSED, "job_gone", 1)


async def test_the_state_of_an_earlier_job_says_nothing_of_this_one() -> None:
    cluster, action = _world(run_job)
    progress = await _applied(RunJobActuator(), _means(cluster, {"made": "rehearse-1"}), action)
    assert (isinstance(progress, Progress), _made(cluster)) == (True, 1)


async def test_a_job_that_is_followed_and_vanished_is_over() -> None:
    cluster, action = _world(create_job)
    means = _means(cluster, {})
    await _applied(JobActuator(), means, action)
    cluster.delete(Kind.JOB, "rag7", NAME)
    effect = await JobActuator().effect(means.clients, action)
    assert effect is not None
    assert (effect.good, effect.over) == (False, True)
    assert "is gone" in effect.text


@pytest.mark.parametrize(("seconds", "fits"), [(1, False), (3_599, False), (3_600, True), ("1h", True)])
def test_an_ended_job_stays_long_enough_for_its_result_to_be_read(seconds: Any, fits: bool) -> None:
    try:
        StoreParams.model_validate({"keep_job": seconds})
    except ValueError:
        assert not fits
    else:
        assert fits
