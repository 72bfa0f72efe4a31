"""The query of a request: bounded before a framework takes it apart, whoever sent it."""

from __future__ import annotations

import pytest

from app.web.requests import MAX_QUERY, MAX_QUERY_FIELDS
from tests.unit.web.rig import Rig, problem_of

_PATHS = (
    "/healthz",
    "/login",
    "/docs",
    "/static/page.css",
    "/api/v1/runs",
    "/webhooks/alertmanager",
    "/nowhere",
)


@pytest.mark.parametrize("path", _PATHS)
async def test_a_long_query_or_one_of_many_fields_is_refused_for_every_route(
    rig: Rig, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_parsed(*_args: object, **_named: object) -> object:
        raise AssertionError("a query was taken apart")

    monkeypatch.setattr("starlette.datastructures.parse_qsl", none_parsed)
    async with rig.client() as client:
        found = problem_of(await client.get(f"{path}?a={'x' * MAX_QUERY}"), 414, "query_too_long")
        assert found["where"] == "query"
        problem_of(
            await client.get(f"{path}?{'&'.join('a' * (MAX_QUERY_FIELDS + 1))}"), 400, "too_many_fields"
        )


async def test_a_query_at_its_bounds_is_read(rig: Rig) -> None:
    async with rig.client("read") as client:
        assert (await client.get(f"/healthz?{'&'.join('a' * MAX_QUERY_FIELDS)}")).status_code == 200
        assert (await client.get(f"/healthz?{'x' * MAX_QUERY}")).status_code == 200
