"""Whose fault errors are that are as old as a release, by what they say, what the release changed and what older pods beside it show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.evidence import Diagnosis
from app.domain.plan import Step
from app.domain.ports import DependencyResult, SlowQuery
from remediations.high_error_rate import HighErrorRate
from tests.unit.causes.cluster import NOW, Requests
from tests.unit.causes.test_errors import KEY, NPE, REFUSED, mixed, told
from tests.unit.causes.world import World


class _Healthy:
    """Dependencies that all answer."""

    async def check(self, names: Any) -> list[DependencyResult]:
        return [DependencyResult(name, name, True, "answered") for name in names]

    async def slow_queries(self, name: str, limit: int) -> list[SlowQuery]:
        return []


async def healthy(world: World, *names: str) -> tuple[Diagnosis, Mapping[str, Step]]:
    """What the handler says while these dependencies answer."""
    handler, scene = HighErrorRate(), replace(await world.scene(), dependencies=_Healthy())
    params = handler.params(dependencies=names)
    diagnosis = await handler.diagnose(scene, params)
    return diagnosis, {s.name: s for s in await handler.ladder(scene, params, diagnosis)}


FULL = "psycopg2.OperationalError: FATAL:  sorry, too many clients already"
WHOSE = [
    ("FATAL gatekeeper declined our session ticket (code 7711)", "name neither a fault of the program nor what changed"),
    ("openai.RateLimitError: Error code: 429 - You exceeded your current quota", "speak of something else"),
    ("OSError: [Errno 28] No space left on device", "speak of something else"),
    ("AxiosError: Request failed with status code 401", "speak of something else"),
    ("https://pay.test/v1/charges returned 503 Service Unavailable", "speak of something else"),
    ("Redis::CommandError: WRONGTYPE Operation against a key", "name neither a fault of the program nor what changed"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words"), WHOSE)
async def test_errors_as_old_as_a_release_accuse_it_only_by_what_they_say(error: str, words: str) -> None:
    """An outage that began before the release is as old as its pods in what logs still hold; a healthy dependency is another one."""
    for names in ((), ("postgres", "redis")):
        world = told(error, 350, 360, deployed=6)
        diagnosis, steps = await healthy(world, *names)
        step, origin = steps["roll-back"], diagnosis.finding("errors.origin")
        assert step.applies
        assert step.actions
        assert step.asks.startswith("the logs have the errors since the rollout 6 min ago, and they "), (
            step.asks
        )
        assert words in step.asks
        assert origin is not None
        assert origin.text == f"The last rollout can have brought the errors, which is not sure: {step.asks}"


async def test_errors_with_a_sign_of_the_program_are_rolled_back_and_it_is_said_why() -> None:
    diagnosis, steps = await healthy(told("TypeError: boom", 350, 360, deployed=6))
    origin = diagnosis.finding("errors.origin")
    assert (steps["roll-back"].applies, steps["roll-back"].asks) == (True, "")
    assert origin is not None
    assert origin.text == (
        "The last rollout can have brought the errors: 0 % of the requests failed before the rollout, 30 % since, and they name a fault of the"
        " program"
    )


FLAGS = "ERROR flags: connect ECONNREFUSED 10.0.0.3:8080"


def _beside(error: str, every: int) -> World:
    """A release whose pods write this error, and beside each so many of it a line about somebody else."""
    world = told(error, 350, 360, deployed=6)
    for rows in world.cluster.timed.values():
        for number in range(len(rows) - 1, 1, -every):
            rows.insert(number, (rows[number][0], FLAGS))
    return world


@pytest.mark.parametrize(
    "error", [KEY, NPE, "IndexError: list index out of range", "TypeError: x is undefined"]
)
@pytest.mark.parametrize(("every", "asks"), [(25, False), (12, False), (4, True), (2, True)])
async def test_what_is_not_there_accuses_the_program_while_few_lines_speak_of_others(
    error: str, every: int, asks: bool
) -> None:
    """The error that it may follow from is named, and not the error itself."""
    _, steps = await healthy(_beside(error, every))
    step = steps["roll-back"]
    assert (step.applies, bool(step.asks)) == (True, asks), step.asks
    assert not asks or 'lines speak of something else: "flags: connect ECONNREFUSED' in step.asks


async def test_one_line_about_somebody_else_that_came_first_is_a_question() -> None:
    """What was not fetched as the pod started is told once, and is missing in each request."""
    world = told(KEY, 200, 360, deployed=6)
    for rows in world.cluster.timed.values():
        first = next(n for n, (_, text) in enumerate(rows) if KEY in text)
        rows.insert(first, (rows[first][0] - timedelta(seconds=20), FLAGS))
    _, steps = await healthy(world)
    assert "something else" in steps["roll-back"].asks


@pytest.mark.parametrize(
    ("error", "asks"),
    [
        (REFUSED, ""),
        ("FATAL gatekeeper declined", ""),
        (FULL, "too many clients"),
        ("401 Unauthorized: token expired", "may only hold what new ones do not get"),
        ("OSError: [Errno 28] No space left on device", "may only hold what new ones do not get"),
    ],
)
async def test_older_pods_without_the_errors_tell_as_far_as_they_do_not_only_hold_what_is_short(
    error: str, asks: str
) -> None:
    _, steps = await mixed(error, old_too=False).look(HighErrorRate())
    assert steps["roll-back"].applies
    assert asks in steps["roll-back"].asks
    assert bool(steps["roll-back"].asks) is bool(asks)


async def test_a_healthy_dependency_that_the_error_does_not_name_acquits_nothing() -> None:
    _, steps = await healthy(
        told("kafka.errors.NoBrokersAvailable: NoBrokersAvailable", 350, 360, deployed=6), "postgres"
    )
    assert not steps["roll-back"].applies
    assert "only postgres answers, which it does not name" in steps["roll-back"].why

    _, steps = await healthy(told("OperationalError: connection refused", 350, 360, deployed=6), "postgres")
    assert "they speak of something else" in steps["roll-back"].asks


async def test_errors_that_name_what_the_release_set_are_rolled_back() -> None:
    world = told("dial tcp: lookup db-v2.shop.svc: no such host", 350, 360, deployed=6)
    world.only_new(lambda s: s["containers"][0].update(env=[{"name": "DB", "value": "db-v2.shop.svc"}]))
    diagnosis, steps = await healthy(world)
    origin = diagnosis.finding("errors.origin")
    assert (steps["roll-back"].applies, steps["roll-back"].asks) == (True, ""), steps["roll-back"]
    assert origin is not None
    assert origin.data["named"] == "containers[app].env[DB]"


async def test_errors_of_a_file_on_a_volume_that_was_there_before_are_a_question() -> None:
    world = told(
        "FileNotFoundError: [Errno 2] No such file or directory: '/models/w.bin'", 350, 360, deployed=6
    )
    world.both(lambda s: s["containers"][0].update(volumeMounts=[{"name": "m", "mountPath": "/models"}]))
    _, steps = await healthy(world)
    assert "they are about /models, which is a volume of their own" in steps["roll-back"].asks


async def test_errors_since_a_release_that_changed_the_log_level_alone_are_a_question() -> None:
    world = told(NPE, 350, 360, deployed=6)
    world.before["spec"]["containers"][0]["image"] = world.containers[0]["image"]
    world.only_new(lambda s: s["containers"][0].update(env=[{"name": "LOG_LEVEL", "value": "debug"}]))
    _, steps = await healthy(world)
    assert "env[LOG_LEVEL] only, which hardly makes a program fail" in steps["roll-back"].asks


NOISE = 'could not parse user agent "x"'
STATSD = "failed to send metrics to statsd:8125: connection refused"


def _also(world: World, error: str, *names: str, every: int = 1) -> World:
    """These pods write that as well, as ever."""
    for name in names:
        lines = [(NOW - timedelta(seconds=s + 0.5), f"ERROR {error}") for s in range(349, 0, -every)]
        world.cluster.timed[name] = sorted([*world.cluster.timed[name], *lines], key=lambda row: row[0])
    return world


def _clean(world: World, *names: str) -> World:
    for name in names:
        world.cluster.timed[name] = [(NOW - timedelta(seconds=s), "INFO served") for s in range(360, 0, -2)]
    return world


def _one(*, image: str = "") -> World:
    """The release has three pods; one of them has errors."""
    world = _clean(told(NPE, 350, 360, deployed=6), "new-1", "new-2")
    for name, pod in world.pods.items() if image else ():
        digest = image if name == "new-0" else "a"
        pod["status"]["containerStatuses"][0]["imageID"] = f"registry.test/web@sha256:{digest * 64}"
    return world


def _rolling() -> World:
    """Two pods of before are well, and the release's one has errors every two seconds."""
    world = World().rolling(deployed=6, old=2, new=0)
    world.pod("new-0", revision=2, made=5.8)
    world.metrics = Requests(340)
    return _also(_clean(world, "old-0", "old-1", "new-0"), NPE, "new-0", every=2)


def _few(every: int) -> World:
    return _also(_rolling(), NPE, "old-0", every=every)


def _rare(error: str, noise: str = "", every: int = 20, *, alone: bool = False) -> World:
    """The release's pods have an error now and then; all pods write this each second."""
    world = told(error, 0, 360, deployed=6) if alone else World().rolling(deployed=6, old=2, new=0)
    if not alone:
        world.pod("new-0", revision=2, made=5.8)
    world.metrics = Requests(340)
    _clean(world, *world.pods)
    names = [name for name in world.pods if name.startswith("new")]
    return _also(_also(world, noise, *world.pods), error, *names, every=every)


def _large(name: str, *, old: int = 20, new: int = 3, olders: str = "", noise: str = "") -> World:
    """A service of many pods: those of the release have errors, the older ones `olders`, and all of them this noise now and then."""
    world = World().rolling(deployed=6, old=0, new=0)
    world.pods.clear()
    older = [f"mm-{number:02}" for number in range(old)]
    newest = [f"{name}-{number:02}" for number in range(new)]
    for one in (*older, *newest):
        world.pod(one, revision=1 if one in older else 2, made=8000 if one in older else 5.8)
    world.pods, world.replicas = dict(sorted(world.pods.items())), old + new
    world.metrics = Requests(340)
    _also(_clean(world, *world.pods), NPE, *newest, every=2)
    world = _also(world, olders, *older, every=2) if olders else world
    return _also(world, noise, *world.pods, every=20) if noise else world


BOTH = ("old-0", "old-1", "new-0")
FAVICON, DEADLOCK = (
    "NotFoundError: /favicon.ico not found",
    "psycopg2.errors.DeadlockDetected: deadlock detected",
)


@pytest.mark.parametrize(
    ("world", "asks", "summary"),
    [
        (_one, "only new-0 (on Node node-1) has them: 2 other pods of the newest revision serve without them", "on 1 of 3 pods"),
        (lambda: _one(image="b"), "the image of app is another one there (sha256:bbbbbbbbbbbb; sha256:aaaaaaaaaaaa)", "on 1 of 3 pods"),
        (lambda: _few(300), "pod old-0 of an older revision has 1 of them too, where those of the newest have about", "NullPointer"),
        (lambda: _few(100), "pod old-0 of an older revision has 3 of them too", "NullPointer"),
        (lambda: _few(2), None, "pod old-0 of an older one has them too"),
        (lambda: _also(_rolling(), NOISE, *BOTH), "", 'lines like "could not parse user agent "x"": pods of an older revision have them as often, and not counted'),
        (lambda: _also(_rolling(), REFUSED, *BOTH, every=3), 'connection refused": pods of an older revision have them as often', "NullPointer"),
        (lambda: _also(_rolling(), NOISE, "new-0", every=9), "", "NullPointer"),
        (lambda: _rare(NPE, STATSD), "", "15 error lines in 5 min on 1 of 3 pods, all of them"),
        (lambda: _rare(NPE, STATSD, alone=True), "", "45 error lines in 5 min on 3 pods, all of them"),
        (lambda: _rare(NPE, FAVICON), 'lines like "NotFoundError: /favicon.ico not found": pods of an older revision have them as often', "15 error lines"),
        (lambda: _rare(NPE, REFUSED), None, "pod old-0 of an older one has them too"),
        (lambda: _rare(NPE, STATSD, 90), None, "pod old-0 of an older one has them too"),
        (lambda: _large("zz", noise=DEADLOCK), "", "(11 more not read)"),
        (lambda: _large("aa", noise=DEADLOCK), "", "(11 more not read)"),
        (lambda: _large("aa", old=5, new=13, olders=NPE), None, "pod mm-00 of an older one has them too"),
        (lambda: _large("zz", old=5, new=13, olders=NPE), None, "pod mm-00 of an older one has them too"),
        (lambda: _also(told(NPE, 350, 360, deployed=6, rate=5), STATSD, "new-0", "new-1", "new-2"), "", 'connection refused": telemetry that could not be sent, and not counted'),
    ],
    ids=["one pod of three", "one pod with another image", "one line of an older pod", "a few of it", "as many of it", "a noise that all have",
         "a dependency that all miss", "a rare noise of its own",
         "telemetry far more often", "telemetry far more often, no older pod", "a noise far more often", "a dependency far more often", "too few lines",
         "of many pods, the newest last by name", "of many pods, the newest first", "of many, older ones alike", "of many, older ones alike and first", "telemetry"],
)  # fmt: skip
async def test_errors_are_held_against_other_pods_by_kind_and_by_how_often(
    world: Any, asks: str | None, summary: str
) -> None:
    """None: refused. Empty: nobody is asked."""
    made = world()
    made.fired = 4
    diagnosis, steps = await made.look(HighErrorRate())
    step = steps["roll-back"]
    assert (step.applies, bool(step.asks)) == (asks is not None, bool(asks)), (step.why, step.asks)
    assert (asks or "") in step.asks
    assert summary in diagnosis.summary
