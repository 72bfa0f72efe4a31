"""The authorisation matrix, made from the OpenAPI document: every operation and every scope, alone and all but the right one."""

from __future__ import annotations

import re

import pytest

from tests.unit.web.rig import ALL, Rig, bearer, problem_of, token
from tests.unit.web.test_documented import ROUTES

BY_SIGNATURE = {
    "POST /webhooks/pagerduty",
    "POST /webhooks/pagerduty/orchestration",
    "POST /webhooks/slack/interactions",
}
"""Signed by their sender, or sent with a secret of their own: no token opens them."""
OPEN = {"GET /healthz", "GET /readyz", "GET /metrics"}
SCOPES = {
    "ingest": {"POST /webhooks/alertmanager"},
    "trigger": {"POST /api/v1/remediations"},
    "operate": {
        "POST /api/v1/runs/{run_id}/approve",
        "POST /api/v1/runs/{run_id}/reject",
        "POST /api/v1/runs/{run_id}/undo",
        "POST /api/v1/runs/{run_id}/keep",
        "POST /api/v1/trust/promote",
        "POST /api/v1/trust/demote",
        "POST /api/v1/pause",
        "POST /api/v1/resume",
        "POST /api/v1/incidents/{incident_id}/acknowledge",
    },
    "read": {name for name in ROUTES if name.startswith("GET /api/")},
}
NEEDS = {name: scope for scope, names in SCOPES.items() for name in names}


def test_every_operation_has_its_row() -> None:
    assert set(NEEDS) | BY_SIGNATURE | OPEN == set(ROUTES)
    assert set(SCOPES) == set(ALL)


@pytest.mark.parametrize("name", sorted(NEEDS))
async def test_an_operation_is_open_to_its_own_scope_alone(rig: Rig, name: str) -> None:
    """Whatever it answers to who may: it is neither 401 nor 403, and nobody else learns whether what is named exists."""
    wanted = NEEDS[name]
    callers = {scope: bearer(scope) for scope in ALL} | {"nobody": {}, "a stranger": bearer("unknown")}
    for who, headers in callers.items():
        status = await _asked(rig, name, headers)
        if who == wanted:
            assert status not in (401, 403), who
        else:
            assert status == (403 if who in ALL else 401), (who, status)


@pytest.mark.parametrize("name", sorted(BY_SIGNATURE))
async def test_no_token_stands_for_a_signature(rig: Rig, name: str) -> None:
    assert await _asked(rig, name, bearer(*ALL)) == 401


async def _asked(rig: Rig, name: str, headers: dict[str, str]) -> int:
    method, path = name.split()
    path = re.sub(r"\{(\w+)\}", "unknown_1", path)
    body: dict[str, str] | None = {} if method == "POST" else None
    async with rig.client() as client:
        return (await client.request(method, path, headers=headers, json=body)).status_code


@pytest.mark.parametrize("name", sorted(NEEDS))
async def test_credentials_that_come_twice_open_nothing(rig: Rig, name: str) -> None:
    """A proxy may have checked the other one, whichever of the two that is."""
    method, path = name.split()
    path = re.sub(r"\{(\w+)\}", "unknown_1", path)
    good, bad = f"Bearer {token(NEEDS[name])}", "Bearer wrong"
    async with rig.client() as client:
        for given in ((bad, good), (good, bad), (good, good)):
            twice = [("authorization", one) for one in given]
            problem_of(
                await client.request(method, path, headers=twice, json={} if method == "POST" else None),
                401,
                "repeated_header",
            )
