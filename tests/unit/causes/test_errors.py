"""High error rate with a release in the past: rolled back only when the errors can come from it and nothing fits better."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.domain.cluster import LogQuery
from app.domain.json import Obj
from remediations.high_error_rate import HighErrorRate
from tests.unit.causes.world import NOW, World

KEY = "KeyError: 'tenant'"
REFUSED = "OperationalError: connection to redis:6379 refused: connection refused"


def log(error: str, since: float, *, clean_from: float = 0.0) -> str:
    """Lines of the last minutes; `error` every 5 s since so many seconds ago, and nothing but good lines before."""
    rows = []
    for ago in range(int(max(since, clean_from)), 0, -5):
        at = (NOW - timedelta(seconds=ago)).isoformat()
        rows.append(f"{at} ERROR {error}" if ago <= since else f"{at} INFO served")
    return "\n".join(rows)


def failing(error: str = KEY, since: float = 290, *, clean_from: float = 0.0, deployed: float = 30) -> World:
    world = World()
    world.deployed = deployed
    world.cluster.log["app", False] = log(error, since, clean_from=clean_from)
    return world


def with_config(world: World, changed: float) -> World:
    world.both(lambda s: s["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}]))
    return world.config(changed=changed)


def service(world: World, name: str, selector: Obj) -> World:
    return world.put("Service", name, spec={"selector": selector, "ports": [{"port": 80}]})


def mixed(error: str, *, old_too: bool) -> World:
    """One pod of each revision runs."""
    world = World().rolling(old=2, new=0)
    world.pod("new-0", revision=2, made=4)
    world.cluster.log["app", False] = log(error, 200)
    for name in () if old_too else ("old-0", "old-1"):
        world.cluster.log[name, False] = log("", 0, clean_from=290)
    return world


def earlier(world: World, error: str, *, first: float = 20.0) -> World:
    """What the pods said ten minutes after the release: good lines from `first` minutes ago, or this error."""
    whole = world.cluster.logs

    async def logs(query: LogQuery) -> str:
        if query.tail_lines is not None:
            return await whole(query)
        assert query.limit_bytes <= 64 * 1024
        rows = [(NOW - timedelta(minutes=first) + timedelta(seconds=n)).isoformat() for n in range(30)]
        return "".join(f"{at} {f'ERROR {error}' if error else 'INFO served'}\n" for at in rows)

    vars(world.cluster)["logs"] = logs
    return world


def annotated() -> World:
    world = failing(deployed=6)
    world.before["spec"]["containers"][0]["image"] = world.containers[0]["image"]
    world.template["metadata"]["annotations"] = {"team": "shop"}
    return world


@pytest.mark.parametrize(
    ("happens", "rolled_back", "words"),
    [
        (lambda: failing(deployed=6), True, "KeyError"),
        (failing, True, "KeyError"),
        (lambda: failing(since=20, clean_from=290), False, "began 30 min after the rollout"),
        (lambda: with_config(failing(since=10, clean_from=290, deployed=8), 14 / 60), False, "14 s ago: ConfigMap web-config changed"),
        (lambda: with_config(failing(deployed=6), 60), True, "KeyError"),
        (lambda: mixed(KEY, old_too=True), False, "pod old-0 of an older one has them too"),
        (lambda: mixed(REFUSED, old_too=False), True, "connection refused"),
        (lambda: failing(REFUSED, deployed=6), False, "none is checked"),
        (lambda: service(failing(REFUSED, deployed=6), "redis", {"app": "redis"}), False, "redis has no ready pod (0 of 0 pods)"),
        (lambda: earlier(failing(), ""), False, "later than 10 min after the rollout"),
        (lambda: earlier(failing(), KEY), True, ""),
        (lambda: earlier(failing(), "", first=2), True, ""),
        (lambda: earlier(failing(f"{KEY} password=hunter2"), f"{KEY} password=hunter2"), True, ""),
        (lambda: failing('Get "https://pay.test": dial tcp: lookup pay.test on 10.96.0.10:53: server misbehaving'), False, "none is checked"),
        (annotated, False, "changed metadata.annotations only"),
        (lambda: service(failing(deployed=6), "web", {"app": "webb"}), False, "Service web has no endpoint"),
    ],
    ids=["new errors", "errors as far as logs reach", "began long after", "config changed since", "config changed before",
         "old pods have them", "old pods do not", "dependency unchecked", "neighbour down", "clean ten minutes after", "the same ten minutes after", "logs do not reach back", "the same with a secret in it", "no name resolution", "annotations only",
         "service broken"],
)  # fmt: skip
async def test_an_innocent_release_is_not_rolled_back_for_errors(
    happens: Callable[[], World], rolled_back: bool, words: str
) -> None:
    _, steps = await happens().look(HighErrorRate())

    assert steps["roll-back"].applies is rolled_back, steps["roll-back"].why
    assert rolled_back or words in f"{steps['roll-back'].why} {steps['roll-back'].advice}"
    assert not steps["scale-up"].applies


async def test_a_neighbour_that_is_down_keeps_the_service_from_scaling_too() -> None:
    world = service(failing("Error: 503 from http://search/query", deployed=200), "search", {"app": "search"})
    diagnosis, steps = await world.look(HighErrorRate())

    neighbour = diagnosis.finding("dependency.search")
    assert neighbour is not None
    assert neighbour.data["healthy"] is False
    assert "search is down" in steps["scale-up"].why.lower()


async def test_a_service_with_a_ready_pod_is_not_accused() -> None:
    world = service(failing(REFUSED), "redis", {"app": "redis"})
    pod = world.pod("redis-0")
    pod["metadata"]["labels"] = {"app": "redis", "pod-template-hash": "r2"}
    diagnosis, _ = await world.look(HighErrorRate())

    assert diagnosis.finding("dependency.redis") is None
