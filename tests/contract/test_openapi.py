"""The OpenAPI document is kept by the whole service: made-up requests, some for incidents and runs that exist, get a
documented status, content type and body, and never a server error.

The service is complete and serves on loopback; its cluster is simulated and four incidents are under way. About 30 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from app.store import incidents, runs
from tests.unit.served import TOKEN, TOKENS, Served, served

ORCHESTRATION = "orchestration-secret"
HEADERS = {"authorization": f"Bearer {TOKEN}", "x-remediator-token": ORCHESTRATION}
EXAMPLES = 12  # requests an operation
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with four incidents and at least one run that has ended."""
    folder = tmp_path_factory.mktemp("state")
    with served(folder, tokens=TOKENS, orchestration_secret=ORCHESTRATION) as running:
        running.incident("HighErrorRate", "fixed")
        yield running


@pytest.fixture(scope="module")
def document(service: Served) -> Any:
    """The document as a client gets it."""
    return schemathesis.openapi.from_url(f"{service.url}/openapi.json")


@pytest.fixture(scope="module")
def known(service: Served) -> dict[str, list[str]]:
    """Ids that exist, by the name of the path parameter."""
    return {
        "incident_id": [i.id for i in service.read(lambda conn: incidents.page(conn, None, 10))],
        "run_id": [r.id for r in service.read(lambda conn: runs.page(conn, None, 10))],
    }


def _operations() -> list[str]:
    """Named by what the API promises; a route beyond these fails `test_no_operation_is_left_out`."""
    get = (
        "incidents",
        "incidents/{incident_id}",
        "incidents/{incident_id}/alerts",
        "runs",
        "runs/{run_id}",
        "runs/{run_id}/explain",
    )
    lists = ("remediations", "policies", "budgets", "diagnosis", "schedules", "scorecard", "trust", "audit")
    orders = (
        "remediations",
        "pause",
        "resume",
        "trust/promote",
        "trust/demote",
        "incidents/{incident_id}/acknowledge",
        *(f"runs/{{run_id}}/{o}" for o in ORDERS),
    )
    hooks = ("alertmanager", "pagerduty", "pagerduty/orchestration", "slack/interactions")
    return [
        *(f"GET /api/v1/{path}" for path in (*get, *lists)),
        *(f"POST /api/v1/{path}" for path in orders),
        *(f"POST /webhooks/{path}" for path in hooks),
        *(f"GET /{path}" for path in ("healthz", "readyz", "metrics")),
    ]


ORDERS = ("approve", "reject", "undo", "keep")
OPERATIONS = _operations()


def test_no_operation_is_left_out(service: Served) -> None:
    paths = httpx.get(f"{service.url}/openapi.json", timeout=30).json()["paths"]
    found = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    assert found == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_made_up_requests_get_documented_answers(
    document: Any, known: dict[str, list[str]], name: str
) -> None:
    method, path = name.split()
    operation = document[path][method]
    sensible = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
    odd = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
    seen: list[int] = []

    @given(case=st.one_of(sensible, odd), data=st.data())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
        derandomize=True,
    )
    def ask(case: Any, data: st.DataObject) -> None:
        for parameter in set(case.path_parameters or {}) & set(known):
            if data.draw(st.booleans(), label="an id that exists"):
                case.path_parameters[parameter] = data.draw(st.sampled_from(known[parameter]))
        answer = case.call_and_validate(headers=HEADERS, checks=CHECKS)
        seen.append(answer.status_code)

    ask()
    assert seen


@pytest.mark.parametrize("name", [o for o in OPERATIONS if "/api/" in o])
def test_without_a_token_every_operation_is_refused_as_documented(service: Served, name: str) -> None:
    method, path = name.split()
    answer = httpx.request(method, service.url + path.replace("{", "").replace("}", ""), timeout=30)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("parameter", ["incident_id", "run_id"])
def test_what_exists_is_shown_as_its_schema_says(
    document: Any, known: dict[str, list[str]], parameter: str
) -> None:
    """All that are there, not a sample: views with every combination of fields that the stories made."""
    kind = parameter.removesuffix("_id") + "s"
    assert known[parameter]
    for path in (f"/api/v1/{kind}/{{{parameter}}}", "/api/v1/runs/{run_id}/explain"):
        operation = document[path]["GET"]
        for any_id in known[parameter]:
            name = parameter if parameter in path else "run_id"
            case = operation.Case(path_parameters={name: any_id})
            answer = case.call_and_validate(headers=HEADERS, checks=CHECKS)
            assert answer.status_code == 200
