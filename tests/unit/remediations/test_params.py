"""Parameters as rules write them, and the queries that are pointed at a workload."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from app.domain.remediation import Params
from app.domain.target import Kind, Target
from remediations.shared import (
    ANYTHING,
    ERROR_RATIO,
    LATENCY,
    MEMORY,
    PRESENCE,
    THROTTLING,
    WORKING_SET,
    Bytes,
    Replicas,
    Seconds,
    Share,
    aim,
    pod_pattern,
)


class Example(Params):
    span: Seconds = 60
    size: Bytes = 1024
    share: Share = 0.5
    pods: Replicas = 1


@pytest.mark.parametrize(
    ("field", "written", "value"),
    [
        ("span", "90s", 90),
        ("span", "15m", 900),
        ("span", "1h", 3600),
        ("span", "1h30m", 5400),
        ("span", "7d", 604_800),
        ("span", 45, 45),
        ("span", 0.5, 0.5),
        ("size", "4Gi", 4 * 1024**3),
        ("size", "512Mi", 512 * 1024**2),
        ("size", "1G", 10**9),
        ("size", "1e3", 1000),
        ("size", 4096, 4096),
        ("size", 4096.0, 4096),
        ("share", "80%", 0.8),
        ("share", "12.5 %", 0.125),
        ("share", 1, 1),
        ("share", 0.25, 0.25),
        ("pods", 8, 8),
    ],
)
def test_a_param_is_read_as_people_write_it(field: str, written: Any, value: float) -> None:
    assert getattr(Example(**{field: written}), field) == pytest.approx(value)


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("span", ""),
        ("span", "h"),
        ("span", "1 h"),
        ("span", "1w"),
        ("span", "0s"),
        ("span", -1),
        ("span", True),
        ("span", None),
        ("span", float("inf")),
        ("size", "4Q"),
        ("size", "0"),
        ("size", "-1Gi"),
        ("size", 1.5),
        ("size", True),
        ("size", ["4Gi"]),
        ("share", "101%"),
        ("share", 0),
        ("share", 1.5),
        ("share", "half"),
        ("share", False),
        ("pods", 0),
        ("pods", 1001),
        ("pods", "8"),
        ("pods", True),
        ("other", 1),
    ],
)
def test_anything_else_is_refused(field: str, written: Any) -> None:
    with pytest.raises(ValidationError):
        Example(**{field: written})


def test_an_error_names_the_form_that_was_expected() -> None:
    with pytest.raises(ValidationError, match="expected a duration such as 90s, 15m, 1h or 7d"):
        Example(span="soon")


def test_stored_params_read_back_equal() -> None:
    params = Example.model_validate({"span": "1h30m", "size": "4Gi", "share": "30%", "pods": 5})
    assert Example.model_validate(json.loads(params.model_dump_json())) == params


def test_the_schema_for_editors_takes_text_and_numbers() -> None:
    span = Example.model_json_schema()["properties"]["span"]
    kinds = {option["type"] for option in span["anyOf"]}
    assert kinds == {"number", "string"}


@pytest.mark.parametrize(
    ("kind", "name", "yes", "no"),
    [
        (
            Kind.DEPLOYMENT,
            "langgraph",
            ["langgraph-6d9d76fcd7-9b6xj", "langgraph-7c9f6d5b8c-2kxvw"],
            [
                "langgraph-api-6d9d76fcd7-9b6xj",
                "langgraph-worker-2kxvw",
                "langgraph-0",
                "a-langgraph-7c9f6d5b8c-2kxvw",
            ],
        ),
        (Kind.STATEFUL_SET, "postgres", ["postgres-0", "postgres-12"], ["postgres-a", "postgres-ha-0"]),
        (Kind.DAEMON_SET, "agent", ["agent-2kxvw"], ["agent-7c9f6d5b8c-2kxvw", "agent-0"]),
        (Kind.STATEFUL_SET, "db.v1", ["db.v1-0"], ["dbxv1-0"]),
    ],
)
def test_the_pod_pattern_matches_the_workloads_pods_and_no_namesakes(
    kind: Kind, name: str, yes: list[str], no: list[str]
) -> None:
    pattern = pod_pattern(Target("rag7", kind, name))
    assert [p for p in (*yes, *no) if re.fullmatch(pattern, p)] == yes


@pytest.mark.parametrize(
    "query", [ERROR_RATIO, LATENCY, THROTTLING, MEMORY, WORKING_SET, *PRESENCE.values(), ANYTHING]
)
def test_a_default_query_names_only_the_target_and_balances_its_braces(query: str) -> None:
    aimed = aim(query, Target("rag7", Kind.STATEFUL_SET, "db.v1"))

    assert "$" not in aimed
    assert 'namespace="rag7",pod=~"db\\\\.v1-[0-9]+"' in aimed
    assert aimed.count("{") == aimed.count("}")
    assert aimed.count("(") == aimed.count(")")
