"""Programs that are written to run once, or whose pods cannot run on several nodes: more of them are a question, of any other they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.domain.plan import Step
from app.domain.target import Kind
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from remediations.out_of_memory import OutOfMemory
from tests.unit.causes.sets import SetWorld
from tests.unit.causes.test_bystanders import released
from tests.unit.causes.test_more_pods import DAYS, QUEUE, busy, judged, killed, saying, scaled_by, sized
from tests.unit.causes.world import World


def one() -> World:
    """One pod of an old release at its CPU limit, as most small services have."""
    world = released(DAYS)
    world.replicas = 1
    for name in list(world.pods)[1:]:
        del world.pods[name]
    return busy(world)


def told(**fields: Any) -> World:
    return one().both(lambda spec: spec["containers"][0].update(fields))


def env(name: str, value: str) -> World:
    return told(env=[{"name": name, "value": value}])


def recreate(world: World) -> World:
    world.spec = {"strategy": {"type": "Recreate"}}
    return world


def claim(world: World, *modes: str) -> World:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "web-data"}}
    world.both(lambda spec: spec.update(volumes=[volume]))
    return world.put("PersistentVolumeClaim", "web-data", spec={"accessModes": list(modes)})


def unread(world: World) -> World:
    world.cluster.unreadable.add(Kind.PVC)
    return world


def budget(world: World) -> World:
    return world.put("PodDisruptionBudget", "web", spec={"minAvailable": 1})


LEADER = "elects a leader"
SIGNS: dict[str, tuple[Callable[[], World], str]] = {
    "a flag": (lambda: told(args=["--leader-elect"]), f"{LEADER} (--leader-elect): more pods of it wait"),
    "a flag with its value": (lambda: told(args=["--leader-elect=true"]), LEADER),
    "another flag": (lambda: told(command=["/manager", "--enable-leader-election"]), LEADER),
    "a flag in a shell's words": (lambda: told(command=["sh", "-c", "exec app --leader-elect --v=2"]), LEADER),
    "a variable": (lambda: env("LEADER_ELECTION", "true"), f"{LEADER} (LEADER_ELECTION=true)"),
    "another variable": (lambda: env("APP_LEADER_ELECTION_ENABLED", "1"), LEADER),
    "several pods that elect": (lambda: busy(released(DAYS)).both(lambda s: s["containers"][0].update(args=["--leader-elect"])), LEADER),
    "celery beat": (lambda: told(command=["celery", "-A", "shop", "beat", "-l", "info"]), "starts work by the clock (celery)"),
    "a worker with the beat in it": (lambda: told(command=["sh", "-c", "celery -A shop worker -B"]), "starts work by the clock"),
    "a scheduler of RQ": (lambda: told(args=["rqscheduler", "--interval", "10"]), "(rqscheduler)"),
    "cron": (lambda: told(command=["cron", "-f"]), "starts work by the clock (cron)"),
    "supercronic": (lambda: told(command=["/usr/bin/supercronic", "/etc/crontab"]), "(supercronic)"),
    "one pod, Recreate": (lambda: recreate(one()), "one pod with strategy Recreate"),
    "a volume of one node": (lambda: claim(one(), "ReadWriteOnce"), "PersistentVolumeClaim web-data, which is ReadWriteOnce"),
    "a volume of one pod": (lambda: claim(one(), "ReadWriteOncePod"), "which is ReadWriteOncePod"),
    "a volume of one node under three pods": (lambda: claim(busy(released(DAYS)), "ReadWriteOnce"), "web-data"),
    "a claim that cannot be read": (lambda: unread(claim(one(), "ReadWriteMany")), "web-data is not known"),
}  # fmt: skip
ORDINARY: dict[str, Callable[[], World]] = {
    "a worker of Celery": lambda: told(command=["celery", "-A", "shop", "worker", "--concurrency", "4"]),
    "a server that is called like it": lambda: told(command=["/app/heartbeat-server", "--port", "80"]),
    "one pod": one,
    "one pod with a PodDisruptionBudget": lambda: budget(one()),
    "a flag that says no": lambda: told(args=["--leader-elect=false"]),
    "a flag whose next word says no": lambda: told(args=["--leader-elect", "false"]),
    "where leases are kept": lambda: told(args=["--leader-election-namespace=shop"]),
    "a variable that says no": lambda: env("LEADER_ELECTION", "false"),
    "the name of a lease": lambda: env("LEADER_ELECTION_ID", "1"),
    "three pods, Recreate": lambda: recreate(busy(released(DAYS))),
    "an autoscaler, Recreate": lambda: scaled_by(recreate(one()), "web"),
    "a volume of many": lambda: claim(one(), "ReadWriteMany"),
    "a volume that is read": lambda: claim(one(), "ReadOnlyMany"),
}


async def scale_outs(make: Callable[[], World]) -> list[Step]:
    _, slow = await make().look(HighLatency())
    _, failing = await saying(make(), QUEUE).look(HighErrorRate())
    return [slow["scale-out"], failing["scale-up"]]


@pytest.mark.parametrize("name", SIGNS)
async def test_a_program_that_is_to_run_once_is_scaled_out_after_a_question_alone(name: str) -> None:
    make, word = SIGNS[name]
    for step in await scale_outs(make):
        assert judged(step) == "asks", step
        assert word in step.asks


@pytest.mark.parametrize("name", ORDINARY)
async def test_any_other_one_is_scaled_out(name: str) -> None:
    for step in await scale_outs(ORDINARY[name]):
        assert judged(step) == "acts", step.asks or step.why


async def test_more_pods_for_memory_ask_as_well() -> None:
    world = sized(told(args=["--leader-elect"]))
    _, steps = await killed(world, *world.pods).look(OutOfMemory())
    assert LEADER in steps["scale-out"].asks


@pytest.mark.parametrize(("replicas", "right"), [(1, "asks"), (3, "acts")])
async def test_a_second_pod_of_a_stateful_set_begins_empty(replicas: int, right: str) -> None:
    world = SetWorld(Kind.STATEFUL_SET)
    world.deployed = DAYS
    world.spec |= {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}
    world.replicas = replicas
    for name in list(world.pods):
        if int(name[-1]) < replicas:
            world.pod(name, made=DAYS)
        else:
            del world.pods[name]
    _, steps = await busy(world).look(HighLatency())
    assert judged(steps["scale-out"]) == right, steps["scale-out"]
    assert ("begins with an empty volume" in steps["scale-out"].asks) is (right == "asks")
