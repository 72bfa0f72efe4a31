"""Dependencies, slow queries and single metrics as findings."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue
from app.domain.ports import DependencyResult, SlowQuery
from app.domain.remediation import Scene
from app.sim import SimCluster, VirtualClock
from remediations.evidence.usage import (
    Metric,
    dependency_findings,
    failed_dependencies,
    healthy_dependencies,
    latency_metric,
    measured,
    metric_finding,
    slow_queries,
    slow_query_findings,
    unknown_dependencies,
    with_the_errors,
)
from tests.unit.remediations.snapshots import NOW, workload
from tests.unit.remediations.stage import Metrics, Services

SLOW = SlowQuery("SELECT * FROM checkpoints WHERE thread = $1", 4021, 1830.25)
RARE = SlowQuery("VACUUM FULL", 2, 90_000.0)
FAST = SlowQuery("SELECT 1", 9000, 0.2)


def scene(metrics: Metrics | None) -> Scene:
    return Scene(SimCluster(VirtualClock()), workload(), "A", {}, NOW, NOW, Services({}), metrics)


async def test_each_dependency_is_a_finding_and_the_three_kinds_are_told_apart() -> None:
    found = await dependency_findings(
        Services({"postgres": True, "redis": False}), ["postgres", "redis", "vault"]
    )
    diagnosis = Diagnosis("", tuple(found))

    assert [f.text for f in found] == [
        "postgres: answers (2 ms)",
        "redis: connection refused (2 ms)",
        "vault: refuses the login of this check (2 ms)",
    ]
    assert healthy_dependencies(diagnosis) == ["postgres"]
    assert [f.code for f in failed_dependencies(diagnosis)] == ["dependency.redis"]
    assert [f.code for f in unknown_dependencies(diagnosis)] == ["dependency.vault"]


async def test_a_rule_without_dependencies_is_told_that_none_was_checked() -> None:
    (finding,) = await dependency_findings(Services({}), [])
    assert finding.certainty is Certainty.UNKNOWN
    assert finding.text == "No dependency is named in the rule's params, so none was checked"
    assert unknown_dependencies(Diagnosis("", (finding,))) == []


async def test_only_a_statement_that_is_slow_and_frequent_is_blamed() -> None:
    services = Services({"postgres": True}, [RARE, SLOW, FAST])
    found = await slow_query_findings(services, await dependency_findings(services, ["postgres"]), 1, 10)

    assert len(found) == 1
    assert found[0].text == (
        "1 query of postgres takes 1.00 s or more on average, "
        "the slowest 1.83 s x 4,021 calls: SELECT * FROM checkpoints WHERE thread = $1"
    )
    assert slow_queries(Diagnosis("", tuple(found))) == found


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([FAST], "No query of postgres takes 1.00 s or more on average; the slowest takes 0 ms"),
        ([], "No query of postgres takes 1.00 s or more on average"),
    ],
)
async def test_fast_statements_are_told_too(rows: list[SlowQuery], text: str) -> None:
    services = Services({"postgres": True}, rows)
    found = await slow_query_findings(services, await dependency_findings(services, ["postgres"]), 1, 10)
    assert [f.text for f in found] == [text]
    assert slow_queries(Diagnosis("", tuple(found))) == []


async def test_unreadable_statistics_are_unknown() -> None:
    services = Services({"postgres": True}, None)
    (found,) = await slow_query_findings(services, await dependency_findings(services, ["postgres"]), 1, 10)
    assert found.certainty is Certainty.UNKNOWN
    assert found.text.endswith("postgres does not have the extension pg_stat_statements")


@pytest.mark.parametrize(("name", "healthy"), [("redis", True), ("postgres", False), ("postgres", None)])
async def test_only_a_postgres_that_answers_is_asked_for_slow_queries(
    name: str, healthy: bool | None
) -> None:
    services = Services({name: healthy}, [SLOW])
    assert await slow_query_findings(services, await dependency_findings(services, [name]), 1, 10) == []


async def test_the_highest_value_of_a_query_is_the_measure() -> None:
    metrics = Metrics({"http_request_duration": 1.84})
    query = 'http_request_duration{namespace="$namespace"}'

    finding = await metric_finding(scene(metrics), latency_metric(query))

    assert finding is not None
    assert finding.text == "95 % of the requests are answered in 1.84 s"
    assert measured(Diagnosis("", (finding,)), "metrics.latency") == 1.84
    assert metrics.asked == ['http_request_duration{namespace="rag7"}']


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        (Metrics({"q": None}), "5xx not measured: Prometheus did not answer within 5 s"),
        (Metrics({}), "5xx not measured: Prometheus has no value for this workload"),
    ],
)
async def test_what_was_not_measured_is_unknown_and_has_no_value(metrics: Metrics, text: str) -> None:
    finding = await metric_finding(scene(metrics), Metric("m", "5xx", "q", str))

    assert finding is not None
    assert (finding.certainty, finding.text) == (Certainty.UNKNOWN, text)
    assert measured(Diagnosis("", (finding,)), "m") is None


@pytest.mark.parametrize(("metrics", "query"), [(None, "q"), (Metrics({"q": 1.0}), "")])
async def test_without_prometheus_or_query_there_is_no_finding(metrics: Metrics | None, query: str) -> None:
    assert await metric_finding(scene(metrics), Metric("m", "5xx", query, str)) is None


def _errors(*groups: tuple[str, str, int], certainty: Certainty = Certainty.KNOWN) -> Finding:
    found: list[JsonValue] = [
        {"type": "Error", "key": key, "nature": nature, "count": number} for key, nature, number in groups
    ]
    return Finding("errors.grouped", "", certainty, {"groups": found})


class Unreachable:
    """A check that gets no further than its own network."""

    async def check(self, names: Sequence[str]) -> Sequence[DependencyResult]:
        kinds = {"redis": "redis"}
        return [
            DependencyResult(n, kinds.get(n, "postgres"), None, "connection refused", unreachable=True)
            for n in names
        ]

    async def slow_queries(self, name: str, limit: int) -> Sequence[SlowQuery]:
        raise AssertionError("nobody asks what cannot be reached")


@pytest.mark.parametrize(
    ("errors", "down"),
    [
        (None, []),
        (_errors(), []),
        (_errors(("KeyError: 'postgres'", "code", 500)), []),
        (_errors(("OperationalError: connection refused", "dependency", 880)), ["postgres"]),
        (_errors(("dial tcp 10.0.0.7:5432: connect: connection refused", "dependency", 3)), ["postgres"]),
        (_errors(("Error 111 connecting to redis:6379. Connection refused.", "dependency", 9)), ["redis"]),
        (_errors(("connect ECONNREFUSED 10.0.0.9:9200", "dependency", 90)), []),
        (
            _errors(("OperationalError: connection refused", "dependency", 880), certainty=Certainty.UNKNOWN),
            [],
        ),
    ],
)
async def test_what_our_check_cannot_reach_is_down_only_when_the_workload_says_so_too(
    errors: Finding | None, down: list[str]
) -> None:
    checked = await dependency_findings(Unreachable(), ["postgres", "redis"])
    diagnosis = Diagnosis("", tuple(with_the_errors(checked, errors)))
    assert [f.data["name"] for f in failed_dependencies(diagnosis)] == down
    assert [f.data["name"] for f in unknown_dependencies(diagnosis)] == [
        n for n in ("postgres", "redis") if n not in down
    ]
    for finding in failed_dependencies(diagnosis):
        assert "from here (connection refused) and by the workload" in finding.text
    for finding in unknown_dependencies(diagnosis):
        assert "cannot be reached from here, so whether it is down is not known" in finding.text
