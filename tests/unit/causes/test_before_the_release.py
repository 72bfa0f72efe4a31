"""Errors that began before a release: its pods' logs begin with it and cannot tell, so that Prometheus has to, or a person is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.plan import Step
from remediations.high_error_rate import HighErrorRate
from tests.unit.causes.cluster import Requests
from tests.unit.causes.test_errors import KEY, NPE, mixed, told
from tests.unit.causes.world import World, at

OWN = [
    'psycopg.errors.UndefinedColumn: column "tenant_id" does not exist',
    "KeyError: 'choices'",
    "ValueError: invalid literal for int() with base 10: 'n/a'",
    "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0",
    "pydantic_core.ValidationError: 1 validation error for RunRequest",
    "MemoryError",
    "TypeError: unsupported operand type(s) for +: 'int' and 'str'",
]
"""Words that a fault of the program has, and bad data or a migration by somebody else just as well."""
REFUSED = "psycopg.OperationalError: connection refused"


def released(error: str = NPE, *, minutes: float = 6.0, **measured: Any) -> World:
    """A release of so many minutes ago. Its pods, and with them all logs, have the error from their start on."""
    seconds = 60 * minutes
    world = told(error, seconds - 12, seconds - 12, deployed=minutes)
    world.fired = 0.5
    world.metrics = Requests(**{"since": seconds - 15, **measured})
    return world


async def roll_back(world: World, **params: Any) -> tuple[Step, str]:
    """The step, and what is said of whose errors they are."""
    diagnosis, steps = await world.look(HighErrorRate(), **params)
    origin = diagnosis.finding("errors.origin")
    assert origin is not None
    return steps["roll-back"], origin.text


@pytest.mark.parametrize("error", OWN)
@pytest.mark.parametrize("before", [60, 120, 600, 10_000])
async def test_a_release_is_cleared_by_requests_that_failed_before_it(error: str, before: int) -> None:
    step, origin = await roll_back(released(error, since=360 + before))
    assert not step.applies
    assert step.why == origin
    assert origin.startswith("The last rollout did not bring the errors: errors were there ")
    assert ("30 min or more before the rollout" in origin) is (before > 1_800)
    assert step.advice == "Find what began before the rollout: an older version meets it as well"


async def test_what_changed_right_before_older_errors_is_named() -> None:
    world = released(KEY, since=360 + 180)
    world.both(lambda s: s["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}]))
    step, _ = await roll_back(world.config(changed=10))
    assert not step.applies
    assert step.advice == "Look at what changed 10 min ago: ConfigMap web-config changed by kubectl-edit"


@pytest.mark.parametrize("error", OWN)
async def test_a_release_is_rolled_back_where_requests_fail_since_its_pods_serve(error: str) -> None:
    step, origin = await roll_back(released(error))
    assert (step.applies, step.asks) == (True, "")
    assert origin == (
        "The last rollout can have brought the errors: 0 % of the requests failed before the rollout, 30 % since, and they name a fault of the"
        " program"
    )


UNKNOWN: list[tuple[dict[str, Any], str]] = [
    ({"away": True}, "Prometheus did not answer within 5 s"),
    ({"known": 300}, "Prometheus has no values of the time right before it"),
    ({"known": 390}, "Prometheus has too few requests of the time before it"),
    ({"rate": 0.02}, "Prometheus has next to no requests that failed since"),
    ({"rate": 0.2, "known": 420}, "Prometheus has too few requests of the time before it"),
    ({"share": 0.005}, "Prometheus has next to no requests that failed since"),
    ({"before": 0.1}, "10 % of the requests failed right before it, 30 % since"),
    ({"since": 400}, "requests began to fail before its own pods served"),
    ({"since": 120}, "requests began to fail 4 min after its pods served"),
]


@pytest.mark.parametrize("error", OWN)
@pytest.mark.parametrize(("measured", "why"), UNKNOWN, ids=[w for _, w in UNKNOWN])
async def test_where_nothing_tells_of_the_time_before_a_release_a_person_is_asked(
    error: str, measured: dict[str, Any], why: str
) -> None:
    step, origin = await roll_back(released(error, **measured))
    assert step.applies
    assert step.actions
    asked = (
        "whether the errors came with the rollout 6 min ago is not known: the logs begin with its pods, and "
    )
    assert step.asks == f"{asked}{why}, and the alert fired only 6 min after it"
    assert origin == f"The last rollout can have brought the errors, which is not sure: {step.asks}"


async def test_without_prometheus_logs_that_begin_with_a_release_are_a_question() -> None:
    for world, params, why in (
        (released(), {}, "no Prometheus is configured"),
        (released(), {"error_query": ""}, "the rule asks for no share of failing requests"),
    ):
        world.metrics = None if not params else world.metrics
        step, _ = await roll_back(world, **params)
        assert step.applies
        assert f"the logs begin with its pods, and {why}" in step.asks


async def test_an_alert_that_fired_long_after_a_release_proves_nothing_of_the_time_before() -> None:
    """How long its rule waits is not known."""
    world = released(minutes=40)
    world.metrics, world.fired = None, 1
    step, _ = await roll_back(world)
    assert step.asks.endswith("the logs begin with its pods, and no Prometheus is configured")


async def test_errors_that_name_what_the_release_set_need_no_time_before() -> None:
    world = released("KeyError: 'RANKER_URL'")
    world.metrics = None
    world.before["spec"]["containers"][0]["env"] = [{"name": "RANKER_URL", "value": "http://ranker"}]
    step, origin = await roll_back(world)
    assert (step.applies, step.asks) == (True, "")
    assert origin.endswith(
        "errors: the logs of its pods have them, and they name containers[app].env[RANKER_URL]"
    )


async def test_pods_of_a_release_that_do_not_start_need_no_time_before() -> None:
    """New pods crash from their start: that accuses the release, whatever failed before."""
    world = World()
    world.deployed = 6
    for name in world.pods:
        world.pod(name, made=6)
    world.crash(ran=0.1).said("app", "Traceback (most recent call last):", "ImportError: no module named 'x'")
    world.cluster.log["app", False] = f"{at(minutes=4.5)} ERROR ImportError: no module named 'x'"
    step, origin = await roll_back(world)
    assert (step.applies, step.asks) == (True, "")
    assert "errors: the logs of its pods have them, and container app of new-0 crashes " in origin


async def test_older_pods_without_the_errors_and_requests_that_failed_before_contradict_each_other() -> None:
    world = mixed(KEY, old_too=False)
    step, _ = await roll_back(world)
    assert (step.applies, step.asks) == (True, "")

    world.metrics = Requests(since=3_000)
    step, _ = await roll_back(world)
    assert step.applies
    assert step.asks.startswith("errors were there 30 min or more before the rollout")


async def test_measured_requests_date_errors_whose_logs_are_rotated_away() -> None:
    """A release of 25 minutes ago, and logs of the last eight."""
    world = told(NPE, 330, 480, deployed=25)
    world.metrics = Requests(since=25 * 60 - 15)
    assert (await roll_back(world))[0].asks == ""

    world.metrics = Requests(since=330)
    step, origin = await roll_back(world)
    assert not step.applies
    assert origin == (
        "The last rollout did not bring the errors: requests began to fail 20 min after its pods served, and they served well until then"
    )

    world.metrics = Requests(since=25 * 60 + 60)
    assert not (await roll_back(world))[0].applies


async def test_a_query_of_the_rule_without_values_before_a_release_tells_nothing_of_then() -> None:
    """Of the shipped query no value means that nothing failed; of another one nobody knows."""
    query = 'sum(rate(mine{status="bad",pod=~"$pods"}[5m]))'
    step, _ = await roll_back(released(), error_query=query)
    assert "Prometheus has no values of the time right before it" in step.asks
    step, _ = await roll_back(released(before=0.001), error_query=query)
    assert step.asks == ""


@pytest.mark.parametrize("once", [(1_500, 420), (480, 420), (1_500, 550), (560, 500)], ids=str)
async def test_failures_that_ended_minutes_before_a_release_do_not_clear_it(
    once: tuple[float, float],
) -> None:
    """A rate over minutes still has them."""
    step, _ = await roll_back(released(once=once))
    assert step.applies
    assert "of the requests failed right before it, 30 % since" in step.asks


@pytest.mark.parametrize("once", [(1_000, 750), (1_000, 940), (1_560, 1_440), (2_000, 1_700)], ids=str)
async def test_a_release_between_two_outages_of_one_kind_is_a_question(once: tuple[float, float]) -> None:
    """A dependency that comes and goes, or a job of each ten minutes: whether it came again or the release brought this nobody can tell."""
    step, origin = await roll_back(released(once=once))
    assert step.applies
    assert step.actions
    assert "and requests began to fail " in step.asks
    assert " min before it as well and then recovered: what comes and goes may have come again" in step.asks
    assert origin.startswith("The last rollout can have brought the errors, which is not sure: ")


async def test_failures_of_half_an_hour_before_a_release_are_no_question() -> None:
    step, _ = await roll_back(released(once=(3_000, 2_600)))
    assert (step.applies, step.asks) == (True, "")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    error=st.sampled_from([*OWN, REFUSED, "internal server error"]),
    minutes=st.floats(1.5, 50),
    older=st.floats(90, 3_000),
    share=st.floats(0.02, 1.0),
    before=st.sampled_from([0.0, 0.0, 0.001, 0.01]),
    rate=st.sampled_from([0.01, 0.1, 1.0, 50.0]),
    known=st.sampled_from([60.0, 400.0, 1_200.0, 10.0**6]),
    away=st.booleans(),
)
async def test_no_release_is_rolled_back_by_itself_for_errors_that_are_older(**of: Any) -> None:
    """Whatever can be measured, and however many requests there are."""
    minutes, older = of.pop("minutes"), of.pop("older")
    step, origin = await roll_back(
        released(of.pop("error"), minutes=minutes, since=60 * minutes + older, **of)
    )
    assert not step.applies or step.asks, origin
    assert "can have brought the errors: " not in origin


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    error=st.sampled_from(OWN),
    minutes=st.floats(2, 50),
    share=st.floats(0.1, 1.0),
    before=st.sampled_from([0.0, 0.001, 0.005]),
    rate=st.sampled_from([2.0, 50.0]),
)
async def test_a_guilty_release_is_rolled_back_by_itself_where_requests_were_measured(
    error: str, minutes: float, **of: Any
) -> None:
    step, _ = await roll_back(released(error, minutes=minutes, **of))
    assert (step.applies, step.asks) == (True, "")


ELSEWHERE = [
    "https://pay.test/v1/charges returned 503 Service Unavailable",
    "deadlock detected DETAIL: Process 12 waits for ShareLock on transaction 99",
    "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
    "jwt.exceptions.ImmatureSignatureError: The token is not yet valid (iat)",
    "java.lang.OutOfMemoryError: Java heap space",
    "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
    "request queue is full",
    *OWN,
]


@pytest.mark.parametrize("error", ELSEWHERE)
@pytest.mark.parametrize(("minutes", "since"), [(30, 240), (55, 240), (16, 330)])
async def test_a_release_whose_pods_served_well_for_long_is_cleared_where_the_logs_do_not_reach_back(
    error: str, minutes: float, since: float
) -> None:
    """Prometheus tells when requests began to fail; that no log reaches back so far makes nobody guilty."""
    world = told(error, since, since, deployed=minutes)
    step, origin = await roll_back(world)
    assert (step.applies, step.asks) == (False, "")
    assert origin.startswith("The last rollout did not bring the errors: requests began to fail ")


async def test_logs_that_have_the_errors_from_earlier_on_do_not_clear_a_release() -> None:
    """Requests began to fail long after it, and its pods said the same long before that."""
    world = told(NPE, 29 * 60, 30 * 60 - 5, deployed=30)
    world.metrics = Requests(240)
    step, _ = await roll_back(world)
    assert step.applies
    assert step.asks


async def test_a_release_whose_setting_the_late_errors_name_is_asked_about() -> None:
    world = told("KeyError: 'RANKER_URL'", 240, 240, deployed=30)
    world.before["spec"]["containers"][0]["env"] = [{"name": "RANKER_URL", "value": "http://ranker"}]
    step, _ = await roll_back(world)
    assert step.applies
    assert "requests began to fail 26 min after its pods served" in step.asks


async def test_requests_that_began_to_fail_minutes_after_a_release_leave_it_a_question() -> None:
    world = told(NPE, 240, 240, deployed=12)
    step, _ = await roll_back(world)
    assert step.applies
    assert (
        "began to fail 8 min after its pods served, which is soon enough for it to have brought them"
        in step.asks
    )
