"""More pods only for pods that are measured to be at their own limit: what else is slow, down, used up or just changed is a person's
to judge, in each ladder that scales out; and memory that a release needs is relief and no repair."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.domain.cluster import LogQuery, PodUsage
from app.domain.errors import AccessDenied
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from remediations.out_of_memory import OutOfMemory
from tests.unit.causes.cluster import NOW
from tests.unit.causes.test_bystanders import released
from tests.unit.causes.world import SPACE, World, at

DAYS = 9_000.0
LIMITED = {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "250m"}}


def busy(world: World, cpu: int = 480, resources: Any = None) -> World:
    """Pods that use so much CPU, in millicores, of 500 unless they have other resources."""
    world.both(lambda spec: spec["containers"][0].update(resources=resources or LIMITED))
    for name in list(world.pods):
        world.pod(name, made=world.deployed)

    async def usage(namespace: str, selector: str) -> list[PodUsage]:
        return [PodUsage(name, NOW, {"app": 100 * 1024**2}, {"app": cpu}) for name in world.pods]

    world.cluster.pod_usage = usage  # type: ignore[method-assign]
    return world


def saying(world: World, *errors: str, good: int = 0) -> World:
    """Each pod's log of the last minutes: so many good lines, and then each error 40 times."""
    lines = ["INFO served"] * good + [f"ERROR {e}" for _ in range(40) for e in errors]
    stamps = [NOW - timedelta(seconds=len(lines) - i) for i in range(len(lines))]
    text = "\n".join(f"{t:%Y-%m-%dT%H:%M:%SZ} {line}" for t, line in zip(stamps, lines, strict=True))
    for name in world.pods:
        world.cluster.log[name, False] = text
    return world


def down(world: World, name: str, port: int) -> World:
    """A Service whose only pod crashes."""
    world.put("Service", name, spec={"selector": {"app": name}, "ports": [{"port": port}]})
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": at(minutes=10)}],
        "containerStatuses": [{"name": "r", "ready": False, "restartCount": 4, "state": waiting}],
    }
    meta = {"name": f"{name}-0", "namespace": SPACE, "uid": f"{name}-0", "labels": {"app": name}}
    world.cluster.put(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "creationTimestamp": at(days=9)},
         "spec": {"containers": [{"name": "r", "image": "redis:7"}], "nodeName": "node-1"}, "status": status}
    )  # fmt: skip
    return world


def configured(world: World, changed: float) -> World:
    """Pods with a ConfigMap that a person changed so many minutes ago."""
    world.both(lambda s: s["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}]))
    return world.config(changed=changed)


def isolated(world: World, changed: float) -> World:
    """Pods that a NetworkPolicy selects."""
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"]}
    return world.put("NetworkPolicy", "deny", changed=changed, by="kubectl-create", spec=spec)


OLD: Callable[[], World] = lambda: released(DAYS)  # noqa: E731
BUSY: Callable[[], World] = lambda: busy(released(DAYS))  # noqa: E731
TIMEOUT = "redis.exceptions.TimeoutError: Timeout connecting to redis:6379"

# What is known, and what is right: "acts", "asks" with a word of why, "refuses" with a word of why.
LATENCY: dict[str, tuple[Callable[[], World], str, str]] = {
    "nothing is measured": (OLD, "asks", "nothing could be measured"),
    "CPU at its limit": (BUSY, "acts", ""),
    "CPU below": (lambda: busy(OLD(), 300), "asks", "CPU 60 % of the limit (high from 85 %)"),
    "CPU beyond the request, no limit": (lambda: busy(OLD(), 400, {"requests": {"cpu": "250m"}}), "acts", ""),
    "CPU within the request": (lambda: busy(OLD(), 100, {"requests": {"cpu": "250m"}}), "asks", "CPU 40 % of the request"),
    "redis is down": (lambda: saying(down(OLD(), "redis", 6379), TIMEOUT), "refuses", "redis"),
    "redis is down, CPU high": (lambda: saying(down(BUSY(), "redis", 6379), TIMEOUT), "refuses", "redis"),
    "postgres is down": (lambda: saying(down(OLD(), "postgres", 5432), "could not connect to server: Connection refused (postgres:5432)"), "refuses", "postgres"),
    "clients used up, CPU high": (lambda: saying(BUSY(), "FATAL: sorry, too many clients already"), "refuses", "too many clients"),
    "pool used up": (lambda: saying(OLD(), "sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached"), "refuses", "QueuePool"),
    "a provider's limit": (lambda: saying(OLD(), "openai.RateLimitError: Error code: 429"), "refuses", "429"),
    "a partner is late": (lambda: saying(OLD(), "upstream https://api.partner.example/v1 answered 504 Gateway Timeout"), "refuses", "504"),
    "late answers at the own limit": (lambda: saying(BUSY(), "upstream request timeout"), "acts", ""),
    "used up, among other errors": (lambda: saying(BUSY(), *["KeyError: 'sku'"] * 9, "redis: max number of clients reached"), "asks", "used up"),
    "refused, among other errors": (lambda: saying(BUSY(), *["KeyError: 'sku'"] * 3, "connection refused"), "asks", "speak of something else"),
    "a code's errors": (lambda: saying(BUSY(), "KeyError: 'sku'"), "acts", ""),
    "a ConfigMap edited 6 min ago": (lambda: configured(OLD(), 6), "asks", "ConfigMap web-config changed by kubectl-edit"),
    "the same, CPU high": (lambda: configured(BUSY(), 6), "asks", "ConfigMap web-config changed by kubectl-edit"),
    "a ConfigMap edited yesterday": (lambda: configured(BUSY(), 1_000), "acts", ""),
    "a NetworkPolicy of 6 min ago": (lambda: isolated(BUSY(), 6), "asks", "Possibly: NetworkPolicy deny"),
    "a release 8 min ago": (lambda: busy(released(8)), "asks", "revision 2 of web (v1 -> v2) deployed"),
    "a release hours ago": (lambda: busy(released(300)), "acts", ""),
}  # fmt: skip


def judged(step: Any) -> str:
    return "asks" if step.asks else "acts" if step.applies else "refuses"


@pytest.mark.parametrize("name", LATENCY)
async def test_latency_scales_out_by_itself_only_for_pods_at_their_own_limit(name: str) -> None:
    world, right, word = LATENCY[name]
    _, steps = await world().look(HighLatency())
    step = steps["scale-out"]
    assert (judged(step), word in f"{step.asks} {step.why}") == (right, True), (step.asks, step.why)
    assert judged(steps["restart"]) != "acts"


QUEUE = "ServerBusy: queue is full, answered 503"
ERRORS: dict[str, tuple[Callable[[], World], str, str]] = {
    "words and CPU": (lambda: saying(BUSY(), QUEUE), "acts", ""),
    "words alone": (lambda: saying(OLD(), QUEUE), "asks", "only the errors' words"),
    "a ConfigMap edited 6 min ago": (lambda: saying(configured(BUSY(), 6), QUEUE), "asks", "ConfigMap web-config changed"),
    "used up, among others": (lambda: saying(BUSY(), *[QUEUE] * 9, "FATAL: sorry, too many clients already"), "asks", "used up"),
    "refused, among others": (lambda: saying(BUSY(), *[QUEUE] * 3, "connection refused"), "asks", "speak of something else"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
async def test_errors_scale_up_by_the_same_rule(name: str) -> None:
    world, right, word = ERRORS[name]
    _, steps = await world().look(HighErrorRate())
    step = steps["scale-up"]
    assert (judged(step), word in step.asks) == (right, True), (step.asks, step.why)


def killed(world: World, *names: str) -> World:
    return world.crash(*names, code=137, reason="OOMKilled", first=4, restarts=3)


def rolling(change: Callable[[Any], None]) -> World:
    world = World().rolling().both(lambda s: s["containers"][0].update(resources=LIMITED)).only_new(change)
    return killed(world, "new-0")


def heap(spec: Any) -> None:
    spec["containers"][0].update(env=[{"name": "JAVA_OPTS", "value": "-Xmx2g"}])


def sized(world: World) -> World:
    world.both(lambda s: s["containers"][0].update(resources=LIMITED))
    for name in list(world.pods):
        world.pod(name, made=world.deployed)
    return world


def old_kills() -> World:
    world = sized(released(DAYS))
    return killed(world, *list(world.pods)[:1])


MEMORY: dict[str, tuple[Callable[[], World], str, str]] = {
    "only pods of the release, which set a larger heap": (lambda: rolling(heap), "asks", "env[JAVA_OPTS]"),
    "only pods of the release, which changed the image": (lambda: rolling(lambda _: None), "asks", "the last release brought it"),
    "an old release": (old_kills, "acts", ""),
    "configuration edited before": (lambda: killed(configured(sized(released(DAYS)), 6), "new-0"), "asks", "ConfigMap web-config"),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
async def test_memory_that_a_release_needs_is_a_question_and_relief(name: str) -> None:
    world, right, word = MEMORY[name]
    _, steps = await world().look(OutOfMemory())
    step = steps["raise-memory"]
    assert (judged(step), word in step.asks) == (right, True), (step.asks, step.why)
    assert bool(step.open_task) is (right == "asks"), step.open_task
    assert judged(steps["scale-out"]) != "acts", "whether load fills the memory is not known"


async def test_logs_that_cannot_be_read_are_a_doubt() -> None:
    world = BUSY()

    async def logs(query: LogQuery) -> str:
        raise AccessDenied("cannot read logs")

    world.cluster.logs = logs  # type: ignore[method-assign]
    _, steps = await world.look(HighLatency())
    assert "whether the errors speak of something else is not known" in steps["scale-out"].asks
