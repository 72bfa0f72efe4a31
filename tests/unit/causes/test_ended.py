"""Errors that are over: what fired on a window of minutes fires on after its cause is gone, and nothing is done about what is not there any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from tests.unit.causes.cluster import NOW, Requests
from tests.unit.causes.test_more_pods import BUSY, judged
from tests.unit.causes.world import World

OWN = "TypeError: connect() got an unexpected keyword argument 'pool_size'"
REDIS = "redis.exceptions.ConnectionError: Error 111 connecting to redis:6379. Connection refused."


def wrote(world: World, pod: str, said: str, since: float, until: float, *, every: float = 2, good: float = 2) -> World:  # fmt: skip
    """A pod writes a good line every so many seconds, and this error `every` so many from `since` seconds ago to `until`."""
    times = {ago * good: "INFO served" for ago in range(1, int(600 / good))} if good else {}
    ago = since
    while ago > until:
        times[ago] = f"ERROR {said}"
        ago -= every
    world.cluster.timed[pod] = [(NOW - timedelta(seconds=s), times[s]) for s in sorted(times, reverse=True)]
    return world


def over(
    until: float,
    *,
    said: str = OWN,
    since: float = 470,
    every: float = 2,
    good: float = 2,
    times: bool = True,
) -> World:
    """A release of 8 min ago brought errors, which ended so many seconds ago."""
    world = World()
    world.deployed, world.fired, world.cluster.own_times = 8, 6, times
    for name in list(world.pods):
        world.pod(name, made=8)
        wrote(world, name, said, since, until, every=every, good=good)
    world.metrics = Requests(0, once=(since, until))
    return world


def still_failing() -> World:
    """No line tells it, and requests fail as often as ever."""
    world = over(200)
    world.metrics = Requests(470)
    return world


def one_has_them() -> World:
    world = over(200)
    return wrote(world, "new-1", OWN, 470, 0)


def anew() -> World:
    """Its pods had errors for their first 45 s, beside an old one."""
    world = World().rolling(deployed=5, old=1, new=0)
    world.fired = 2
    for name in ("new-0", "new-1"):
        world.pod(name, revision=2, made=4.8)
        rows = [(s, "ERROR TypeError: model not loaded" if s > 240 else "INFO served") for s in range(285, 0, -2)]  # fmt: skip
        world.cluster.timed[name] = [(NOW - timedelta(seconds=s), said) for s, said in rows]
    wrote(world, "old-0", "", 0, 0)
    world.metrics = Requests(0, once=(285, 240))
    return world


def unready() -> World:
    world = over(200)
    world.pods["new-1"]["status"]["conditions"][0]["status"] = "False"
    return world


def beside(line: str) -> World:
    """Since then its pods write this instead."""
    world = over(200)
    for name, rows in world.cluster.timed.items():
        world.cluster.timed[name] = [(t, line if t > NOW - timedelta(seconds=200) else said) for t, said in rows]  # fmt: skip
    return world


def without_metrics() -> World:
    world = over(200)
    world.metrics = None
    return world


REST = "rests"
SITUATIONS: dict[str, tuple[Callable[[], World], str]] = {
    "45 s ago": (lambda: over(45), REST),
    "200 s ago": (lambda: over(200), REST),
    "280 s ago": (lambda: over(280), REST),
    "without Prometheus": (without_metrics, REST),
    "logs without times of their own": (lambda: over(200, times=False), REST),
    "a dependency that is back": (lambda: over(200, said=REDIS), REST),
    "the first seconds of new pods": (anew, REST),
    "they go on": (lambda: over(0), "acts"),
    "a moment without them": (lambda: over(20), "acts"),
    "no longer than they are apart": (lambda: over(70, every=40), "acts"),
    "for long, as often as they came": (lambda: over(230, since=280, every=10), REST),
    "the pods write nothing any more": (lambda: over(200, good=0), "acts"),
    "one pod has them": (one_has_them, "asks"),
    "a pod that serves no more": (unready, "asks"),
    "requests fail all the same": (still_failing, "asks"),
    "answers that fail all the same": (lambda: beside('10.0.0.7 - - "GET /v1 HTTP/1.1" 500 12'), "acts"),
}


@pytest.mark.parametrize("name", SITUATIONS)
async def test_errors_that_are_over_are_not_acted_upon(name: str) -> None:
    happens, does = SITUATIONS[name]
    diagnosis, steps = await happens().look(HighErrorRate())
    told = "ended" in diagnosis.rest
    assert (REST if told else judged(steps["roll-back"])) == does, (diagnosis.rest, steps["roll-back"])
    assert not told or diagnosis.rest == diagnosis.summary
    assert not told or not any(step.applies or step.advice for step in steps.values())
    assert told or not diagnosis.rest


async def test_what_ended_is_told_with_since_when_and_what_was_written_since() -> None:
    diagnosis, _ = await over(200).look(HighErrorRate())
    assert diagnosis.rest == (
        f'the errors like "{OWN}" ended 3 min ago: 3 pods that had them have written 300 lines without one since; '
        "27 % of the requests failed by then, 10 % by now"
    )
    _, steps = await still_failing().look(HighErrorRate())
    assert "30 % of the requests failed by then, 30 % by now, which is more than such an end leaves" in (
        steps["roll-back"].asks
    )
    _, steps = await one_has_them().look(HighErrorRate())
    assert (
        "pods new-0, new-2 have had none of the errors for 3 min and go on logging; pod new-1 may have them still"
        in (steps["roll-back"].asks)
    )


@pytest.mark.parametrize(("until", "rests"), [(200, True), (0, False)])
async def test_what_made_it_slow_is_waited_for_when_it_is_over(until: float, *, rests: bool) -> None:
    """95 % of the requests are told over five minutes: that stays until the last of them."""
    diagnosis, steps = await over(until, said=REDIS).look(HighLatency())
    assert ("ended 3 min ago" in diagnosis.rest) is rests
    assert bool(steps["scale-out"].advice) is not rests
    assert not any(step.applies for step in steps.values())


@pytest.mark.parametrize(("said", "rests"), [(OWN, False), (REDIS, True)])
async def test_pods_at_their_own_limit_wait_only_for_what_others_brought(said: str, *, rests: bool) -> None:
    world = BUSY()
    for name in world.pods:
        wrote(world, name, said, 470, 200)
    diagnosis, steps = await world.look(HighLatency())
    assert (judged(steps["scale-out"]), bool(diagnosis.rest)) == ("refuses" if rests else "acts", rests)
