"""A Service without a ready pod that a log names is the cause only where it fits in time, and hides no cause inside the workload."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.accusing import Sign
from app.domain.json import Obj
from app.domain.target import Kind
from remediations.causes import CauseCode as C
from remediations.evidence.last_words import heard
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from tests.unit.causes.cluster import NOW
from tests.unit.causes.table import Row, holds
from tests.unit.causes.test_beyond import chain
from tests.unit.causes.test_errors import KEY, failing, log
from tests.unit.causes.test_everyday import decided, writes
from tests.unit.causes.test_more_pods import BUSY, OLD, saying
from tests.unit.causes.test_others import READINESS
from tests.unit.causes.world import SPACE, World, at

DAYS = 3 * 24 * 60.0
FLAGS = "ConnectionError: dial tcp 10.0.0.9:8013: connect: connection refused (flags:8013)"
OTEL = "Failed to export traces to otel-collector:4317, error code: StatusCode.UNAVAILABLE"
NO_KEY = "KeyError: 'DATABASE_URL'"
NIL = "panic: runtime error: invalid memory address or nil pointer dereference"
BACK = "roll-back"


def away(world: World, name: str, since: float | None, *, by: str = "slice") -> World:
    """A Service without a pod. Its EndpointSlice has been empty for so many minutes, or somebody scaled it to 0 then, or nobody knows."""
    world.put("Service", name, spec={"selector": {"app": name}, "ports": [{"port": 4317}]})
    if since is not None and by == "slice":
        world.emptied(name, since)
    elif since is not None:
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": []}}
        world.put("Deployment", name, spec={"replicas": 0, "template": template})
        scaled: Obj = {"f:spec": {"f:replicas": {}}}
        made = world.cluster.of(Kind.DEPLOYMENT, name, SPACE)["metadata"]
        made["managedFields"] = [{"manager": "kubectl", "time": at(minutes=since), "fieldsV1": scaled}]
    return world


def crashing(*said: str, since: float | None, by: str = "slice", **how: float) -> World:
    """A release of five minutes ago whose first pod crashes, and says this last."""
    world = World().rolling().crash("new-0", **how).said("app", *(f"ERROR {line}" for line in said))  # type: ignore[arg-type]
    return away(away(world, "otel-collector", since, by=by), "flags", since, by=by)


def unready(since: float | None) -> World:
    """A release whose pod runs, names a Service and fails its probe."""
    world = World().rolling()
    world.state("new-0", {"running": {"startedAt": at(minutes=5)}})
    world.event("Unhealthy", READINESS, "Pod/new-0", first=at(minutes=4.5), container="app")
    return away(world.said("app", f"ERROR {FLAGS}", previous=False), "flags", since)


CRASHES = [
    Row("a crash, and a sink that has been off for days", lambda: crashing(NO_KEY, OTEL, since=DAYS), C.CRASH, "Pod new-0", BACK, (NO_KEY,), asks='said as well "Failed to export traces'),
    Row("the same, scaled to 0 days ago", lambda: crashing(NO_KEY, OTEL, since=DAYS, by="scale"), C.CRASH, "Pod new-0", BACK, (NO_KEY,), asks='said as well "Failed to export traces'),
    Row("the same, nobody knows since when", lambda: crashing(NO_KEY, OTEL, since=None), C.CRASH, "Pod new-0", BACK, (NO_KEY,), asks='said as well "Failed to export traces'),
    Row("the same, off for ten minutes", lambda: crashing(NO_KEY, OTEL, since=10), C.CRASH, "Pod new-0", BACK, (NO_KEY,), asks='said as well "Failed to export traces'),
    Row("a crash, and what it said after it of a Service that is off for days", lambda: crashing(NO_KEY, FLAGS, since=DAYS), C.CRASH, "Pod new-0", BACK, (NO_KEY,), asks="Service flags has no ready pod (0 of 0 pods), and it has been away for 3 d"),
    Row("the first that starts since a Service is away, and falls over what it did not get", lambda: crashing(FLAGS, NIL, since=70), C.CRASH, "Pod new-0", BACK,
        ("nil pointer",), asks="it has been away for 1 h 10 min"),
    Row("the same, off for days", lambda: crashing(FLAGS, NIL, since=DAYS), C.CRASH, "Pod new-0", BACK, ("nil pointer",), asks="nobody can tell"),
    Row("telemetry first, and then its own fault", lambda: crashing(OTEL, "TypeError: unexpected keyword argument 'pool'", since=DAYS), C.CRASH, "Pod new-0", BACK),
    Row("a crash for a Service that lost its pods right before", lambda: crashing(FLAGS, since=10), C.DEPENDENCY, "Service flags"),
    Row("the same, scaled to 0", lambda: crashing(FLAGS, since=10, by="scale"), C.DEPENDENCY, "Service flags"),
    Row("a crash that accuses a Service that has been off for days", lambda: crashing(FLAGS, since=DAYS), C.CRASH, "Pod new-0", BACK,
        ("possibly: Service flags has no ready pod", "it has been away for 3 d"), asks="speaks of something else"),
    Row("the same, nobody knows since when", lambda: crashing(FLAGS, since=None), C.CRASH, "Pod new-0", BACK,
        ("since when is not known",), asks="speaks of something else"),
    Row("a probe that fails, beside it", lambda: unready(DAYS), C.READINESS_PROBE, "Pod new-0", BACK, asks="speaks of something else"),
    Row("a probe that fails since it lost its pods", lambda: unready(8), C.DEPENDENCY, "Service flags"),
    Row("a crash loop as old as the Service's trouble", lambda: crash_loop(DAYS), C.DEPENDENCY, "Service flags"),
]  # fmt: skip


def crash_loop(since: float) -> World:
    """Pods that have crashed for three days, since the Service lost its pods."""
    world = World()
    world.deployed = 6 * 24 * 60
    for name in list(world.pods):
        world.pod(name, made=world.deployed)
    world.crash(restarts=900, first=since).said("app", f"ERROR {FLAGS}")
    for pod in world.pods.values():
        pod["status"]["conditions"][0]["lastTransitionTime"] = at(minutes=since)
    return away(world, "flags", since)


@pytest.mark.parametrize("row", CRASHES, ids=lambda row: row.name)
async def test_what_is_away_for_longer_than_the_trouble_hides_no_cause(row: Row) -> None:
    await holds(row)


@pytest.mark.parametrize(
    "words",
    [
        f"{NO_KEY}\n{OTEL}",
        f"{NO_KEY}\nsentry_sdk: connection refused while sending to sentry:9000",
        f"{NO_KEY}\nfailed to send metrics to statsd:8125: connection refused",
        f"{NO_KEY}\nio.opentelemetry.sdk: Failed to connect to collector/10.0.0.7:4318",
    ],
)
def test_no_program_ends_because_its_telemetry_is_not_taken(words: str) -> None:
    said = heard("\n".join(f"ERROR {line}" for line in words.splitlines()))
    assert (said.sign, said.shown) == (Sign.OWN, NO_KEY)
    assert words.splitlines()[1][:20] in said.aside, "which only a person may say"


BUSINESS = [
    "Failed to upload profile pictures to minio:9000: connection refused",
    "could not write log entries to postgres:5432: connection refused",
    "post /v1/profile to users-api:8080 failed: connection refused",
    "emit traces of parcels to postgres:5432: connection refused",
    "failed to send metrics report to billing:8080: connection refused",
    "Error delivering logs to customer SFTP sftp:22: connection refused",
    "flush of time series to clickhouse:9000: connection refused",
]


@pytest.mark.parametrize("words", BUSINESS)
@pytest.mark.parametrize("falls", [NIL, KEY])
async def test_words_of_business_are_no_telemetry(words: str, falls: str) -> None:
    said = heard(f"ERROR {words}\nERROR {falls}")
    assert said.sign is Sign.OTHERS
    assert words[:30] in said.text
    _, steps = await World().rolling().crash("new-0").said("app", f"ERROR {words}", f"ERROR {falls}").look()
    assert "speaks of something else" in steps[BACK].asks


@pytest.mark.parametrize(
    ("words", "sign"),
    [(OTEL, Sign.OTHERS), ("ModuleNotFoundError: No module named 'opentelemetry'\nconnection refused", Sign.OTHERS),
     ("connection to db:5432 refused: connection refused\nModuleNotFoundError: No module named 'opentelemetry'", Sign.OWN)],
)  # fmt: skip
def test_telemetry_is_heard_where_nothing_else_accuses_and_where_it_is_the_programs_fault(
    words: str, sign: Sign
) -> None:
    assert heard("\n".join(f"ERROR {line}" for line in words.splitlines())).sign is sign


def guilty(since: float | None, noise: int = 3, name: str = "flags") -> World:
    """A release of six minutes ago with errors of its program, and so many lines about a Service without pods."""
    world = failing(KEY, deployed=6)
    said = FLAGS if name == "flags" else OTEL
    stamp = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    world.cluster.log["app", False] = "\n".join([log(KEY, 290), *[f"{stamp} ERROR {said}"] * noise])
    return away(world, name, since)


@pytest.mark.parametrize("noise", [3, 100])
@pytest.mark.parametrize("since", [DAYS, None, 8.0])
async def test_a_guilty_release_is_not_hidden_by_a_service_that_is_off(
    since: float | None, noise: int
) -> None:
    """Off for days it is a question where many lines name it; where it fits in time a person is asked, and most errors that name it come first."""
    diagnosis, steps = await guilty(since, noise).look(HighErrorRate())
    step, told = steps[BACK], str(diagnosis.findings)
    assert "flags" in told
    if since == DAYS:
        assert "it has been away for 3 d" in told
        assert step.applies, step.why
        assert bool(step.asks) is (noise == 100), "so few lines would have decided nothing"
        assert ("about Service flags" in step.asks) is (noise == 100)
    elif noise == 3:
        assert step.applies, step.why
    else:
        assert not step.applies
        assert "flags" in f"{step.why} {step.advice}"


async def test_who_fails_with_something_that_is_off_for_days_is_no_victim_of_it() -> None:
    """One hop behind: what api names has been away for longer than web has failed."""
    for since, first in ((DAYS, False), (8.0, True)):
        world = away(chain(FLAGS, postgres=True), "flags", since)
        diagnosis, _ = await world.look(HighErrorRate())
        assert (diagnosis.finding("dependency.flags") is not None) is first


@pytest.mark.parametrize("handler", [HighErrorRate(), HighLatency()], ids=lambda h: h.name)
async def test_what_is_off_for_days_is_a_question_before_pods_at_their_limit_are_scaled_out(
    handler: HighErrorRate | HighLatency,
) -> None:
    name = handler.steps[1] if isinstance(handler, HighErrorRate) else handler.steps[0]
    for make, applies in ((BUSY, True), (OLD, False)):
        _, steps = await away(saying(make(), FLAGS), "flags", DAYS).look(handler)
        assert not steps[name].applies or "about Service flags" in steps[name].asks, steps[name]
        assert not applies or steps[name].applies, steps[name]
    _, steps = await away(saying(BUSY(), FLAGS), "flags", 8).look(handler)
    assert not steps[name].applies
    assert "flags" in f"{steps[name].why} {steps[name].advice}"
    _, steps = await away(saying(BUSY(), FLAGS), "flags", None).look(handler)
    assert steps[name].asks or not steps[name].applies


@pytest.mark.parametrize("handler", [HighErrorRate(), HighLatency()], ids=lambda h: h.name)
async def test_where_logs_tell_of_the_time_before_they_decide_whoever_is_away(
    handler: HighErrorRate | HighLatency,
) -> None:
    """A Service that was away for 90 min, or for days, may be asked for only now."""
    for since in (90.0, DAYS):
        news = away(writes(BUSY(), f"ERROR {FLAGS}", every=10, since=8), "flags", since)
        assert await decided(news, handler) != (True, False)
        always = away(writes(BUSY(), f"ERROR {FLAGS}", every=10), "flags", since)
        assert await decided(always, handler) == (True, True)
    unknown = away(saying(BUSY(), FLAGS), "flags", 90)
    assert await decided(unknown, handler) != (True, False)


async def test_a_warning_about_what_was_lost_right_before_is_a_question() -> None:
    world = away(writes(BUSY(), f"WARN {FLAGS}, trying again", every=10, since=8), "flags", 8)
    assert await decided(world, HighLatency()) == (True, True)


CAUSED = "panic serving 10.0.0.7: runtime error: invalid memory address or nil pointer dereference"


def broken_beside(world: World, since: float = 8) -> World:
    """One replica of the Service has been broken for days. The one that served is lost since so many minutes, and its replacement waits for a
    node: it has no condition yet."""
    away(world, "flags", since)
    for name, made, ready in (("flags-0", DAYS, True), ("flags-1", since - 1, False)):
        conditions = [{"type": "PodScheduled", "status": "True" if ready else "False"}]
        conditions += [{"type": "Ready", "status": "False", "lastTransitionTime": at(minutes=made)}] * ready
        meta = {
            "name": name,
            "namespace": SPACE,
            "uid": name,
            "labels": {"app": "flags"},
            "creationTimestamp": at(minutes=made),
        }
        world.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": meta,
                "spec": {"containers": [{"name": "r", "image": "redis:7"}]},
                "status": {"phase": "Pending", "conditions": conditions},
            }
        )
    return world  # fmt: skip


def released(*lines: tuple[str, int]) -> World:
    """A release of six minutes ago, and what its pods have said since, so often each."""
    world = failing(KEY, deployed=6)
    rows = [
        f"{NOW - timedelta(seconds=5 * 60 - n % 290):%Y-%m-%dT%H:%M:%SZ} ERROR {said}"
        for said, often in lines
        for n in range(often)
    ]
    world.cluster.log["app", False] = "\n".join(sorted(rows))
    return world  # fmt: skip


async def test_a_service_is_away_since_its_last_pod_was_lost_and_not_since_its_oldest_broken_one() -> None:
    diagnosis, steps = await broken_beside(released((FLAGS, 290), (KEY, 20))).look(HighErrorRate())
    assert diagnosis.finding("dependency.flags") is not None
    assert not steps[BACK].applies, "the release is innocent"
    assert "flags" in f"{steps[BACK].why} {steps[BACK].advice}"
    world = broken_beside(World().rolling().crash("new-0").said("app", f"ERROR {KEY}", f"ERROR {FLAGS}"))
    _, steps = await world.look()
    assert not steps[BACK].applies or steps[BACK].asks


@pytest.mark.parametrize("since", [70.0, 600.0, DAYS])
@pytest.mark.parametrize(
    "lines",
    [((FLAGS, 290), (CAUSED, 3)), ((FLAGS, 290), (KEY, 20)), ((FLAGS, 290),), ((FLAGS, 100), (KEY, 190))],
)
async def test_a_release_is_never_taken_back_unasked_where_many_errors_name_what_is_off(
    since: float, lines: tuple[tuple[str, int], ...]
) -> None:
    """What is off by a schedule is needed only now."""
    diagnosis, steps = await away(released(*lines), "flags", since, by="scale").look(HighErrorRate())
    assert "flags" in str(diagnosis.findings)
    assert not steps[BACK].applies or "flags" in steps[BACK].asks, steps[BACK]
