"""High error rate with a release in the past: rolled back only when the errors can come from it and nothing fits better."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.domain.cluster import LogQuery
from app.domain.json import Obj
from remediations.high_error_rate import HighErrorRate
from tests.unit.causes.cluster import NOW, Requests
from tests.unit.causes.world import World

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
    world.metrics = Requests(since)
    return world


def with_config(world: World, changed: float) -> World:
    world.both(lambda s: s["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}]))
    return world.config(changed=changed)


def service(world: World, name: str, selector: Obj, **written: Any) -> World:
    return world.put("Service", name, spec={"selector": selector, "ports": [{"port": 80}]}, **written)


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


@pytest.mark.parametrize(
    ("happens", "told_by_requests"),
    [
        (failing, True),
        (lambda: earlier(failing(), KEY), False),
        (lambda: earlier(failing(), "", first=2), True),
        (lambda: earlier(failing(f"{KEY} password=hunter2"), f"{KEY} password=hunter2"), False),
        (lambda: with_config(failing(deployed=6), 60), False),
    ],
    ids=["as far as logs reach", "the same ten minutes after", "logs do not reach back", "the same with a secret in it",
         "configuration that the release was the first to start with"],
)  # fmt: skip
async def test_what_is_not_known_of_the_beginning_is_a_question(
    happens: Callable[[], World], told_by_requests: bool
) -> None:
    """Where no log has the errors from before, the share of failing requests tells since when they are there."""
    for measured in (True, False):
        world = happens()
        world.metrics = world.metrics if measured else None
        _, steps = await world.look(HighErrorRate())
        cleared = measured and told_by_requests
        assert steps["roll-back"].applies is not cleared
        assert bool(steps["roll-back"].asks) is not cleared
        assert ("began to fail 26 min after its pods served" in steps["roll-back"].why) is cleared


def annotated() -> World:
    world = failing(deployed=6)
    world.before["spec"]["containers"][0]["image"] = world.containers[0]["image"]
    world.template["metadata"]["annotations"] = {"team": "shop"}
    return world


@pytest.mark.parametrize(
    ("happens", "rolled_back", "words"),
    [
        (lambda: failing(deployed=6), True, "KeyError"),
        (lambda: failing(since=20, clean_from=290), False, "began 30 min after the rollout"),
        (lambda: with_config(failing(since=10, clean_from=290, deployed=8), 14 / 60), False, "14 s ago: ConfigMap web-config changed"),
        (lambda: with_config(failing(deployed=6), 9000), True, "KeyError"),
        (lambda: mixed(KEY, old_too=True), False, "pod old-0 of an older one has them too"),
        (lambda: mixed(REFUSED, old_too=False), True, "connection refused"),
        (lambda: failing(REFUSED, deployed=6), False, "none is checked"),
        (lambda: service(failing(REFUSED, deployed=6), "redis", {"app": "redis"}).emptied("redis", 7), False, "redis has no ready pod (0 of 0 pods)"),
        (lambda: earlier(failing(), ""), False, "later than 10 min after the rollout"),
        (lambda: failing('Get "https://pay.test": dial tcp: lookup pay.test on 10.96.0.10:53: server misbehaving'), False, "began to fail 26 min after its pods served"),
        (annotated, False, "changed metadata.annotations only"),
        (lambda: with_config(annotated(), 6.02), False, "2 s before the rollout by kubectl-edit, and only pods of revision 2 started with it Look at what changed 6 min ago: ConfigMap web-config changed by kubectl-edit"),
        (lambda: with_config(annotated(), 300), False, "ConfigMap web-config was changed 4 h 54 min before the rollout by kubectl-edit"),
        (lambda: service(failing(deployed=6), "web", {"app": "webb"}, changed=4), False, "Service web has no endpoint"),
        (lambda: service(failing(deployed=6), "web", {"app": "webb"}), True, "KeyError"),
    ],
    ids=["new errors", "began long after", "config changed since", "config changed before",
         "old pods have them", "old pods do not", "dependency unchecked", "neighbour down", "clean ten minutes after", "no name resolution", "annotations only",
         "annotations and configuration", "annotations and configuration of long before",
         "service broken just now", "service that has not fitted for days"],
)  # fmt: skip
async def test_an_innocent_release_is_not_rolled_back_for_errors(
    happens: Callable[[], World], rolled_back: bool, words: str
) -> None:
    _, steps = await happens().look(HighErrorRate())

    assert steps["roll-back"].applies is rolled_back, steps["roll-back"].why
    assert rolled_back or words in f"{steps['roll-back'].why} {steps['roll-back'].advice}"
    assert not steps["scale-up"].applies
    assert not steps["roll-back"].asks


def told(error: str, since: float, reach: float, *, deployed: float, every: int = 5, rate: int = 1) -> World:
    """The pods' logs as the kubelet gives them: a good line `every` so many seconds as far back as `reach`, and `error` every `rate`
    seconds since `since` (seconds ago), since when requests fail as well."""
    world = World()
    world.deployed, world.metrics = deployed, Requests(since)
    rows = dict.fromkeys(range(int(reach), 0, -every), "INFO served")
    rows |= dict.fromkeys(range(int(since), 0, -rate), f"ERROR {error}")
    for name in world.pods:
        world.pod(name, made=deployed)
        world.cluster.timed[name] = [
            (NOW - timedelta(seconds=ago), rows[ago]) for ago in sorted(rows, reverse=True)
        ]
    return world


NPE = "java.lang.NullPointerException: Cannot invoke Order.getId()"
BAD = "https://api.stripe.test/v1/charges returned 503 Service Unavailable"


@pytest.mark.parametrize(
    "error", [NPE, BAD, "401 Unauthorized: invalid api key", "OSError: [Errno 28] No space left on device"]
)
@pytest.mark.parametrize(
    ("logs", "asks", "why"),
    [
        ({"since": 330, "reach": 1500, "deployed": 25}, None, "the errors began 20 min after the rollout"),
        ({"since": 200, "reach": 1500, "deployed": 25}, None, "after the rollout, and the logs before have none of them"),
        ({"since": 330, "reach": 1500, "deployed": 25, "every": 1}, None, "the errors began 20 min after the rollout"),
        ({"since": 330, "reach": 1500, "deployed": 25, "rate": 30}, None, "the errors began 20 min after the rollout"),
        ({"since": 330, "reach": 480, "deployed": 25}, None, "requests began to fail 20 min after its pods served, and they served well until then"),
        ({"since": 330, "reach": 720, "deployed": 12}, "the errors began 6 min or more after the rollout", ""),
        ({"since": 1200, "reach": 1700, "deployed": 28}, "the errors began 8 min or more after the rollout", ""),
        ({"since": 1490, "reach": 1500, "deployed": 25}, "", ""),
        ({"since": 350, "reach": 360, "deployed": 6}, "", ""),
    ],
    ids=["logs are short", "inside of the window", "a line a second", "rare", "rotated", "soon after a release", "fires late",
         "since the release", "since a release of now"],
)  # fmt: skip
async def test_errors_are_compared_with_the_release_by_their_first_time(
    error: str, logs: dict[str, Any], asks: str | None, why: str
) -> None:
    """The whole stretch from the release to now fits into one look: today's errors in it are no proof of then. None: refused. Empty: as old
    as the release, so that the words decide."""
    _, steps = await told(error, **logs).look(HighErrorRate())
    if asks == "" and error != NPE:
        asks = "they speak of something else"

    step = steps["roll-back"]
    assert step.applies is (asks is not None), step.why
    assert why in step.why
    assert (asks or "") in step.asks
    assert bool(step.asks) is bool(asks), step.asks


@pytest.mark.parametrize(
    ("logs", "applies", "asks"),
    [
        ({"since": 330, "reach": 1500, "deployed": 25}, False, False),
        ({"since": 330, "reach": 480, "deployed": 25, "measured": False}, True, True),
        ({"since": 1490, "reach": 1500, "deployed": 25}, True, False),
        ({"since": 50, "reach": 60, "deployed": 1}, True, False),
    ],
    ids=["began later", "rotated", "since the release", "a release of a minute ago"],
)
async def test_logs_without_times_of_their_own_are_dated_by_the_kubelet(
    logs: dict[str, Any], applies: bool, asks: bool
) -> None:
    world = told(NPE, **{k: v for k, v in logs.items() if k != "measured"})
    world.metrics = world.metrics if logs.get("measured", True) else None
    world.cluster.own_times = False
    world.fired = 0.5
    _, steps = await world.look(HighErrorRate())
    assert (steps["roll-back"].applies, bool(steps["roll-back"].asks)) == (applies, asks), steps["roll-back"]


async def test_errors_that_no_log_shows_are_a_question() -> None:
    world = World()
    world.deployed = 6
    _, steps = await told(NPE, 350, 360, deployed=6).look(HighErrorRate())
    assert not steps["roll-back"].asks

    world.cluster.unreadable_logs = True
    _, steps = await world.look(HighErrorRate())
    assert "since when requests fail is not known" in steps["roll-back"].asks


def quiet(since: float, deployed: float) -> World:
    """Requests fail since so many seconds ago, and no pod writes a line about it."""
    world = World()
    world.deployed, world.metrics = deployed, Requests(since)
    for name in world.pods:
        world.pod(name, made=deployed)
        world.cluster.timed[name] = [
            (NOW - timedelta(seconds=ago), "INFO served") for ago in range(int(deployed * 60) - 20, 0, -5)
        ]
    return world


async def test_failing_requests_that_no_log_speaks_of_are_told_with_since_when_they_are_measured() -> None:
    _, steps = await quiet(340, 6).look(HighErrorRate())
    step = steps["roll-back"]
    assert step.applies
    assert "of the requests failed before the rollout" in step.asks
    assert "nothing tells whether that is its fault: No error lines" in step.asks
    assert "is not known" not in step.asks


async def test_requests_that_failed_before_the_release_clear_it_also_where_no_log_speaks_of_them() -> None:
    _, steps = await quiet(960, 6).look(HighErrorRate())
    step = steps["roll-back"]
    assert not step.applies
    assert "errors were there" in step.why
    assert "before the rollout" in step.why
    assert step.advice.startswith("Find what began before the rollout (errors were there")
    assert "an older version meets it as well" in step.advice


async def test_requests_that_began_to_fail_with_a_later_change_clear_the_release_where_no_log_speaks() -> (
    None
):
    """Who asks nothing of the logs has the time of the change, and since when requests fail."""
    _, steps = await with_config(quiet(300, 25), 5.5).look(HighErrorRate())
    assert "ConfigMap web-config changed" in steps["roll-back"].why
    assert not steps["roll-back"].applies
    _, steps = await quiet(300, 25).look(HighErrorRate())
    assert "requests began to fail 20 min after its pods served, and they served" in steps["roll-back"].why
    assert not steps["roll-back"].applies
    _, steps = await quiet(300, 9).look(HighErrorRate())
    assert "requests began to fail" in steps["roll-back"].asks


@pytest.mark.parametrize(("after", "offered"), [(6, True), (30, True), (120, False), (170, False)])
async def test_an_edit_between_the_release_and_the_beginning_is_named_where_no_log_speaks(
    after: float, offered: bool
) -> None:
    """Both came at once, or the release's pods served well until the edit: a rollback would not undo that one."""
    since = 360 - after
    _, steps = await with_config(quiet(since, 6), since / 60).look(HighErrorRate())
    step = steps["roll-back"]
    assert step.applies is offered, step.why
    named = "ConfigMap web-config changed by kubectl-edit"
    assert named in (step.asks if offered else step.why)
    assert not offered or "after the rollout, and going back does not undo that" in step.asks
    _, steps = await with_config(quiet(300, 6), 2).look(HighErrorRate())
    assert named not in steps["roll-back"].asks, "it came long after requests began to fail"


def only_proxy() -> World:
    """The errors are those of a sidecar that the release did not touch."""
    world = told("upstream connect error: connection failure", 350, 360, deployed=6)
    world.both(lambda s: s["containers"].append({"name": "proxy", "image": "registry.test/envoy:v1"}))
    for name in list(world.pods):
        world.pod(name, made=6)
        world.cluster.timed[f"{name}/proxy"] = world.cluster.timed.pop(name)
    return world


async def test_errors_of_a_sidecar_that_the_release_did_not_touch_are_a_question() -> None:
    _, steps = await only_proxy().look(HighErrorRate())
    assert "did not touch container proxy, which alone has the errors" in steps["roll-back"].asks


async def test_a_release_that_changed_requests_only_brings_no_errors() -> None:
    world = told(NPE, 470, 470, deployed=8)
    world.before["spec"]["containers"][0]["image"] = world.containers[0]["image"]
    world.only_new(lambda s: s["containers"][0].update(resources={"requests": {"cpu": "200m"}}))
    _, steps = await world.look(HighErrorRate())
    assert "changed containers[app].resources.requests.cpu only" in steps["roll-back"].why


@pytest.mark.parametrize(
    ("old", "new", "back"),
    [("256Mi", "512Mi", False), ("512Mi", "256Mi", True)],
    ids=["raised", "lowered"],
)
async def test_a_release_that_raised_limits_only_brings_no_errors(old: str, new: str, *, back: bool) -> None:
    world = told(NPE, 470, 470, deployed=8)
    world.before["spec"]["containers"][0] |= {
        "image": world.containers[0]["image"],
        "resources": {"limits": {"memory": old}},
    }
    world.only_new(lambda s: s["containers"][0].update(resources={"limits": {"memory": new}}))
    _, steps = await world.look(HighErrorRate())
    assert steps["roll-back"].applies is back, steps["roll-back"].why


async def test_a_release_that_cut_its_pods_off_from_their_service_is_rolled_back_although_no_pod_writes_an_error() -> (
    None
):
    """A release that took a label away; the same Service with another selector is not the release's doing."""
    world = World()
    world.deployed = 6
    world.before["metadata"]["labels"] = {"app": "web", "track": "stable"}
    service(world, "web", {"app": "web", "track": "stable"})
    _, steps = await world.look(HighErrorRate())
    assert steps["roll-back"].applies, steps["roll-back"].why
    assert "Service web has no endpoint" in steps["roll-back"].why
    assert "changed metadata.labels" in steps["roll-back"].why
    # No pod shows it, so that no ready pod is one that runs without it.
    assert not steps["roll-back"].asks

    innocent = World()
    innocent.deployed = 6
    _, steps = await service(innocent, "web", {"app": "web", "track": "stable"}).look(HighErrorRate())
    assert not steps["roll-back"].applies


async def test_a_possible_cause_is_named_beside_the_question_why() -> None:
    world = World().put(
        "Service", "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8081}]}
    )
    _, steps = await world.look(HighErrorRate())
    assert steps["scale-up"].advice == (
        "Correct targetPort of Service web, or the ports of the pod template; or find out why shop/Deployment/web fails"
    )


async def test_a_neighbour_that_is_down_keeps_the_service_from_scaling_too() -> None:
    world = service(failing("Error: 503 from http://search/query", deployed=200), "search", {"app": "search"})
    world.emptied("search", 7)
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


async def test_a_release_that_stands_beside_the_errors_is_told_with_why_it_did_not_bring_them() -> None:
    """Who only reads that it was deployed takes it back by hand."""
    diagnosis, _ = await failing(since=20, clean_from=290).look(HighErrorRate())
    assert (
        "was deployed 30 min ago; the last rollout did not bring the errors: the errors began 30 min after"
        in diagnosis.summary
    )
