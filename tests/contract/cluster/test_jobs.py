"""Jobs on a simulated and on a real API server: made once, refused by name, followed to their end."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.actuator import Clients, Means
from app.domain.errors import ObjectChanged, ObjectInvalid, ObjectMissing
from app.domain.json import Obj
from app.domain.outcome import ActionResult
from app.domain.plan import Action
from app.domain.target import Kind, Target
from app.kube.job_actuator import JobActuator, create_job
from app.kube.parse import parse_ref
from app.sim import SimCluster, VirtualClock
from tests.contract.cluster.sides import BAD_IMAGE, ENDS, Side, settled, workload

ACTUATOR = JobActuator()
ID = "run_1/0.0"


def job(name: str = "backup-1", **template: Any) -> Obj:
    spec = {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "registry.test/web:1"}],
        **template,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"made-by": "contract"}},
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 600, "template": {"spec": spec}},
    }


async def action(side: Side, manifest: Obj) -> Action:
    side.create(workload())
    ref = parse_ref(Kind.DEPLOYMENT, await settled(side))
    return create_job(
        ref, Target(side.namespace, Kind.DEPLOYMENT, "web"), manifest, "Make a Job", "nothing to undo"
    )


def means(side: Side, asked: list[None]) -> Means:
    async def ask() -> None:
        asked.append(None)

    async def wait(_seconds: float) -> None:
        await side.pause()

    return Means(Clients(side.cluster, SimCluster(VirtualClock()).databases), ask, wait)


async def test_a_job_is_made_once_marked_and_told_apart_from_a_namesake(side: Side) -> None:
    planned, asked = await action(side, job()), list[None]()
    by = means(side, asked)
    found = await ACTUATOR.check(by.clients, planned)
    assert found.ref == planned.object
    assert await ACTUATOR.dry_run(by.clients, planned, ID, found) == ""
    with pytest.raises(ObjectMissing):
        await side.cluster.get(Kind.JOB, side.namespace, "backup-1")
    assert await ACTUATOR.in_place(by.clients, planned, ID) == ""
    done = await ACTUATOR.apply(by, planned, ID, found)
    assert (done.result, len(asked)) == (ActionResult.APPLIED, 1)
    first = await side.cluster.get(Kind.JOB, side.namespace, "backup-1")
    assert await ACTUATOR.in_place(by.clients, planned, ID) == "Make a Job: Job backup-1 was created"
    again = await ACTUATOR.apply(by, planned, ID, found)
    assert again.result is ActionResult.APPLIED
    assert (await side.cluster.get(Kind.JOB, side.namespace, "backup-1"))["metadata"]["uid"] == first[
        "metadata"
    ]["uid"]
    other = await ACTUATOR.apply(by, planned, "run_2/0.0", found)
    assert (other.result, other.code) == (ActionResult.REFUSED, "already_exists")
    assert (await ACTUATOR.check(by.clients, planned)).code == ObjectChanged.code


async def test_what_the_server_would_refuse_the_dry_run_says(side: Side) -> None:
    planned = await action(side, job(restartPolicy="Always"))
    by = means(side, [])
    found = await ACTUATOR.check(by.clients, planned)
    assert "restartPolicy" in await ACTUATOR.dry_run(by.clients, planned, ID, found)
    with pytest.raises(ObjectInvalid):
        await side.cluster.create_job(side.namespace, job(restartPolicy="Always"))


async def test_a_job_that_cannot_start_is_under_way_and_one_past_its_deadline_is_over(side: Side) -> None:
    manifest = job(containers=[{"name": "main", "image": BAD_IMAGE}])
    manifest["spec"]["activeDeadlineSeconds"] = 5
    manifest["spec"]["template"]["metadata"] = {"annotations": {"kwok.test/fault": "image-pull"}}
    planned = await action(side, manifest)
    by = means(side, [])
    await ACTUATOR.apply(by, planned, ID, await ACTUATOR.check(by.clients, planned))
    effect = await ACTUATOR.effect(by.clients, planned)
    assert effect is not None
    assert (effect.good, effect.over) == (False, False)

    async def over() -> bool:
        seen = await ACTUATOR.effect(by.clients, planned)
        return seen is not None and seen.over and "DeadlineExceeded" in seen.text

    await side.until(over, "the deadline")


async def test_a_job_that_ends_well_is_good(side: Side) -> None:
    planned = await action(side, job(containers=[{"name": "main", "image": ENDS}]))
    by = means(side, [])
    await ACTUATOR.apply(by, planned, ID, await ACTUATOR.check(by.clients, planned))

    async def good() -> bool:
        seen = await ACTUATOR.effect(by.clients, planned)
        return seen is not None and seen.good is True

    await side.until(good, "the Job's end")
