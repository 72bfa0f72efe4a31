"""Database connections: what the server refuses by a limit that a restart does not change is never a reason for one."""

from __future__ import annotations

import pytest

from app.domain.database import ABSENT, CLOSED, LIMITED, Activity
from app.domain.errors import ProbeUnavailable
from app.domain.evidence import Certainty
from app.sim.databases import SimDatabases
from remediations.database_connections import BY_HAND
from tests.crash.worlds import exhausted
from tests.unit.remediations.stage import Stage


@pytest.mark.parametrize(
    ("code", "way"),
    [
        (LIMITED, "ALTER ROLE ... CONNECTION LIMIT"),
        (CLOSED, "ALLOW_CONNECTIONS true"),
        (ABSENT, "docs/recovery.md"),
    ],
)
async def test_a_limit_that_outlives_a_restart_is_told_with_its_way_out(
    code: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> Activity:
        raise ProbeUnavailable("the server's word", code=code)

    monkeypatch.setattr(SimDatabases, "activity", refused)
    found, steps = await Stage("database-connections", exhausted()).look(service="postgres")
    assert [name for name, step in steps.items() if step.applies] == []
    connection = found.finding("database.connection")
    assert connection is not None
    assert connection.certainty is Certainty.KNOWN
    assert connection.data["crowded"] is False
    assert way in steps[BY_HAND].advice
