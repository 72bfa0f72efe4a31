"""The OpenAPI document is the contract: complete, valid, and what requests made up from it find."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from app.observe.system import TimeIds
from app.store.database import Store
from app.web import reference
from app.web.requests import MAX_QUERY, MAX_QUERY_FIELDS
from tests.empty_store import put_empty_store
from tests.unit.web.rig import ALL, ORCHESTRATION, Rig, StillClock, bearer

DOOR = (400, 414, 431, 500)
"""What may be answered before any route sees the request, or by a fault of any."""
ROUTES = {
    "POST /webhooks/alertmanager": {202, 401, 403, 413, 415, 422, 429, *DOOR, 503},
    "POST /webhooks/pagerduty": {202, 401, 403, 413, 415, 429, *DOOR, 503},
    "POST /webhooks/pagerduty/orchestration": {202, 401, 403, 413, 415, 429, *DOOR, 503},
    "POST /webhooks/slack/interactions": {200, 401, 413, 415, 422, 429, *DOOR, 503},
    "POST /api/v1/remediations": {202, 401, 403, 404, 409, 413, 415, 422, 429, *DOOR, 503},
    "GET /api/v1/incidents": {200, 401, 403, 422, 429, *DOOR, 503},
    "GET /api/v1/incidents/{incident_id}": {200, 401, 403, 404, 422, 429, *DOOR, 503},
    "GET /api/v1/incidents/{incident_id}/alerts": {200, 401, 403, 404, 422, 429, *DOOR, 503},
    "GET /api/v1/runs": {200, 401, 403, 422, 429, *DOOR, 503},
    "GET /api/v1/runs/{run_id}": {200, 401, 403, 404, 422, 429, *DOOR, 503},
    "GET /api/v1/runs/{run_id}/explain": {200, 401, 403, 404, 422, 429, *DOOR, 503},
    "GET /api/v1/remediations": {200, 401, 403, 422, 429, *DOOR, 503},
    "GET /api/v1/policies": {200, 401, 403, 422, 429, *DOOR, 503},
    "GET /api/v1/budgets": {200, 401, 403, 422, 429, *DOOR, 503},
    "GET /api/v1/diagnosis": {200, 401, 403, 404, 422, 429, *DOOR, 503},
    "GET /api/v1/schedules": {200, 401, 403, 422, 429, *DOOR, 503},
    "GET /api/v1/scorecard": {200, 401, 403, 422, 429, *DOOR, 503},
    "GET /api/v1/trust": {200, 401, 403, 422, 429, *DOOR, 503},
    "GET /api/v1/audit": {200, 401, 403, 422, 429, *DOOR, 503},
    "POST /api/v1/runs/{run_id}/approve": {202, 401, 403, 404, 409, 413, 415, 422, 429, *DOOR, 503},
    "POST /api/v1/runs/{run_id}/reject": {202, 401, 403, 404, 409, 413, 415, 422, 429, *DOOR, 503},
    "POST /api/v1/runs/{run_id}/undo": {202, 401, 403, 404, 409, 413, 415, 422, 429, *DOOR, 503},
    "POST /api/v1/runs/{run_id}/keep": {202, 401, 403, 404, 409, 413, 415, 422, 429, *DOOR, 503},
    "POST /api/v1/trust/promote": {200, 401, 403, 404, 409, 413, 415, 422, 429, *DOOR, 503},
    "POST /api/v1/trust/demote": {200, 401, 403, 404, 409, 413, 415, 422, 429, *DOOR, 503},
    "POST /api/v1/pause": {200, 401, 403, 404, 409, 413, 415, 422, 429, *DOOR, 503},
    "POST /api/v1/incidents/{incident_id}/acknowledge": {
        200,
        401,
        403,
        404,
        409,
        413,
        415,
        422,
        429,
        *DOOR,
        503,
    },
    "POST /api/v1/resume": {200, 401, 403, 404, 409, 413, 415, 422, 429, *DOOR, 503},
    "GET /healthz": {200, *DOOR},
    "GET /readyz": {200, *DOOR, 503},
    "GET /metrics": {200, *DOOR},
}


@pytest.fixture
def document(rig: Rig) -> dict[str, Any]:
    """The document of the application."""
    found: dict[str, Any] = rig.app.openapi()
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def test_the_routes_and_their_statuses_are_the_documented_ones(document: dict[str, Any]) -> None:
    found = {name: {int(status) for status in op["responses"]} for name, op in _operations(document)}
    assert found == ROUTES


def test_every_error_has_the_one_shape(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        for status, response in operation["responses"].items():
            if status == "431":  # a connection's own answer
                assert "content" not in response, name
            elif int(status) >= 400 and name != "GET /readyz":
                content = response["content"]
                assert set(content) == {"application/problem+json"}, (name, status)
                assert content["application/problem+json"]["schema"] == {
                    "$ref": "#/components/schemas/Problem"
                }


def test_only_health_is_open(document: dict[str, Any]) -> None:
    open_ones = {name for name, operation in _operations(document) if not operation.get("security")}
    assert open_ones == {"GET /healthz", "GET /readyz", "GET /metrics"}


def test_every_reference_and_security_scheme_exists(document: dict[str, Any]) -> None:
    components = document["components"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', str(document).replace("'", '"')):
        assert name in components["schemas"], name
    for _, operation in _operations(document):
        for alternative in operation.get("security", []):
            assert set(alternative) <= set(components["securitySchemes"])


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        assert operation.get("description") or operation.get("summary"), name


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """An application for many requests over one store."""
    path: Path = tmp_path_factory.mktemp("store") / "store.sqlite"
    store = Store.open(put_empty_store(path), clock=StillClock(), ids=TimeIds())
    yield Rig(store)
    store.close()


CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.parametrize("name", ROUTES)
def test_made_up_requests_get_documented_answers_and_never_a_server_error(many: Rig, name: str) -> None:
    method, path = name.split()
    schema = schemathesis.openapi.from_asgi("/openapi.json", many.app)
    operation = schema[path][method]
    headers = {**bearer(*ALL), "x-remediator-token": ORCHESTRATION}
    cases = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
    odd = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @given(case=st.one_of(cases, odd))
    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
        derandomize=True,
    )
    def ask(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    ask()


@pytest.mark.parametrize("name", ROUTES)
async def test_what_the_door_refuses_is_documented_for_every_operation(
    rig: Rig, document: dict[str, Any], name: str
) -> None:
    """Whichever route a head was for, it may be refused before the route sees it."""
    method, path = name.split()
    documented = set(document["paths"][path][method.lower()]["responses"])
    async with rig.client() as client:
        for query, headers in (
            ("a" * (MAX_QUERY + 1), {}),
            ("&".join("a" * (MAX_QUERY_FIELDS + 1)), {}),
            ("", {"host": "a b"}),
        ):
            answer = await client.request(method, f"{path}?{query}", headers=headers)
            assert answer.status_code in (400, 414)
            assert str(answer.status_code) in documented, name


async def test_both_references_are_rendered_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask: to render them anew for each stalled the service."""
    made = list[str]()
    document, page = rig.app.openapi, reference._page

    def counted(given: Mapping[str, Any]) -> Iterator[str]:
        made.append("page")
        return page(given)

    def asked() -> dict[str, Any]:
        made.append("document")
        return document()

    monkeypatch.setattr(reference, "_page", counted)
    rig.app.state.documents = reference.Documents(asked)
    async with rig.client() as client:
        answers = [await client.get(path) for _ in range(5) for path in ("/docs", "/openapi.json")]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[1].json() == document()
    assert sorted(made) == ["document", "document", "page"]
