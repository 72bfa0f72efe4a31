"""A pool, or connections, that are used up since a release: it may be what takes them, which a person says."""

from __future__ import annotations

import pytest

from remediations.high_error_rate import HighErrorRate
from tests.unit.causes.cluster import Requests
from tests.unit.causes.test_errors import REFUSED, failing

POOLS = (
    "HikariPool-1 - Connection is not available, request timed out after 30000ms.",
    "sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00",
    "psycopg2.OperationalError: FATAL:  sorry, too many clients already",
)


@pytest.mark.parametrize("error", POOLS)
async def test_a_pool_that_is_used_up_since_the_release_is_asked_about_with_the_rollback(error: str) -> None:
    """The release may not give its connections back. That was not even asked, because the error speaks of a dependency."""
    _, steps = await failing(error, 350, deployed=6).look(HighErrorRate())
    assert steps["roll-back"].applies
    assert (
        "what is used up came with the rollout (0 % of the requests failed before the rollout, 30 % since)"
        in steps["roll-back"].asks
    )
    unmeasured = failing(error, 350, deployed=6)
    unmeasured.metrics = None
    _, steps = await unmeasured.look(HighErrorRate())
    assert "what is used up may have come with the rollout" in steps["roll-back"].asks


@pytest.mark.parametrize("error", POOLS)
async def test_a_pool_that_was_used_up_before_the_release_is_not_its_doing(error: str) -> None:
    world = failing(error, 350, deployed=6)
    world.metrics = Requests(960)
    _, steps = await world.look(HighErrorRate())
    assert not steps["roll-back"].applies


async def test_what_refuses_connections_is_no_pool_of_the_release() -> None:
    _, steps = await failing(REFUSED, 350, deployed=6).look(HighErrorRate())
    assert not steps["roll-back"].applies
