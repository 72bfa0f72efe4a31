"""Cause before victim, one hop on: web's errors name api, whose pods are ready and fail because of something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.domain.cluster import LogQuery
from app.domain.ports import DependencyResult, SlowQuery
from app.domain.target import Target
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from tests.unit.causes.test_errors import failing, log, service
from tests.unit.causes.world import World

BAD_GATEWAY = "Error: 502 from http://api:8080/orders"
NO_DATABASE = "OperationalError: connection to postgres:5432 failed: connection refused"


def chain(said_by_api: str, *, postgres: bool = False, web: str = BAD_GATEWAY) -> World:
    """A release of web four minutes ago, errors since then, and api behind it with one ready pod that logs this; a Service postgres, with
    or without a ready pod."""
    world = failing(web, deployed=6)
    for name in ("api", "postgres"):
        service(world, name, {"app": name})
        if name == "api" or postgres:
            pod = world.pod(f"{name}-0")
            pod["metadata"]["labels"] = {"app": name, "pod-template-hash": "other"}
        else:
            world.emptied(name, 8)
    world.cluster.log["api-0", False] = log(said_by_api, 290) if said_by_api else "INFO served"
    return world


@pytest.mark.parametrize("handler", [HighErrorRate(), HighLatency()], ids=lambda h: h.name)
async def test_who_fails_with_a_service_that_is_down_is_a_victim_and_so_is_who_asks_it(
    handler: HighErrorRate | HighLatency,
) -> None:
    diagnosis, steps = await chain(NO_DATABASE).look(handler)
    found = diagnosis.finding("dependency.postgres")
    assert found is not None
    assert found.text.startswith(
        "postgres: Service postgres has no ready pod (0 of 0 pods), and api, which the errors name, fails with it: "
    )
    for step in steps.values():
        assert not step.applies
        assert "postgres" in f"{step.why} {step.advice}", step


async def test_where_it_cannot_connect_to_what_is_no_service_the_release_is_not_offered_either() -> None:
    """The database is elsewhere, or its Service has pods: nobody can tell from here whether it answers, but api says that it does not."""
    for there in (True, False):
        error = NO_DATABASE if there else NO_DATABASE.replace("postgres", "db.example.test")
        diagnosis, steps = await chain(error, postgres=True).look(HighErrorRate())
        found = diagnosis.finding("dependency.what api connects to")
        assert found is not None
        assert "api, which the errors name, cannot connect itself: " in found.text
        assert not steps["roll-back"].applies
        assert "Restore what api connects to first" in steps["roll-back"].advice


@pytest.mark.parametrize(
    "said",
    ["", "KeyError: 'tenant'", "Error: 429 too many requests", "FATAL: sorry, too many clients already"],
)
async def test_a_service_that_is_well_or_fails_by_itself_or_has_too_much_to_do_acquits_no_release(
    said: str,
) -> None:
    """What web's release sends may have brought all of these."""
    _, steps = await chain(said, postgres=True).look(HighErrorRate())
    before, after = chain("", postgres=True), steps["roll-back"]
    _, expected = await before.look(HighErrorRate())
    assert (after.applies, after.why) == (expected["roll-back"].applies, expected["roll-back"].why)


async def test_nothing_is_read_of_what_is_off_limits() -> None:
    asked: list[Target] = []

    async def off_limits(target: Target) -> bool:
        asked.append(target)
        return True

    world = chain(NO_DATABASE)
    read, logs = list[str](), world.cluster.logs

    async def noted(query: LogQuery) -> str:
        read.append(query.pod)
        return await logs(query)

    world.cluster.logs = noted  # type: ignore[method-assign]
    found = await HighErrorRate().diagnose(
        replace(await world.scene(), off_limits=off_limits), HighErrorRate.params()
    )
    assert asked
    assert "postgres" not in str(found)
    assert read
    assert "api-0" not in read


class Checked:
    """Our own checks, by the dependency's name."""

    def __init__(self, *, healthy: bool | None) -> None:
        self.healthy = healthy

    async def check(self, names: Sequence[str]) -> list[DependencyResult]:
        text = {None: "no check is configured", True: "answered", False: "refused"}[self.healthy]
        return [DependencyResult(name, "postgres", self.healthy, text) for name in names]

    async def slow_queries(self, name: str, limit: int) -> Sequence[SlowQuery]:
        return []


@pytest.mark.parametrize("handler", [HighErrorRate(), HighLatency()], ids=lambda h: h.name)
@pytest.mark.parametrize("healthy", [None, True, False])
async def test_one_word_on_a_dependency_by_our_check_or_where_it_tells_nothing_by_its_pods(
    handler: HighErrorRate | HighLatency, *, healthy: bool | None
) -> None:
    """A dependency that a rule names and nobody configured a check for is seen as any other Service."""
    world = failing(NO_DATABASE, deployed=6)
    service(world, "postgres", {"app": "postgres"}).emptied("postgres", 8)
    scene = replace(await world.scene(), dependencies=Checked(healthy=healthy))
    found = await handler.diagnose(scene, handler.params(dependencies=["postgres"]))  # type: ignore[arg-type]
    (said,) = (f for f in found.findings if f.code == "dependency.postgres")
    assert said.data["healthy"] is (healthy or False)
    assert ("has no ready pod" in said.text) is (healthy is None)
