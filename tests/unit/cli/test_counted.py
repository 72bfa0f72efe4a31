"""A running service counts what it does: commits, messages and policy loads are on /metrics."""

from __future__ import annotations

import re

import httpx

from remediations import CATALOGUE
from tests.unit.chart.generate import CHART
from tests.unit.cli.shell import Shell
from tests.unit.served import Served


def test_commits_are_timed_and_counted(client: Shell, service: Served) -> None:
    assert client("incidents").code == 0
    rows = httpx.get(f"{service.url}/metrics", trust_env=False, timeout=60).text.splitlines()
    found = {name: float(value) for name, _, value in (row.rpartition(" ") for row in rows if row[0] != "#")}
    # The service's start is a write.
    assert found["remediator_store_commit_seconds_count"] >= 1
    assert found["remediator_store_commit_writes_sum"] >= found["remediator_store_commit_writes_count"] >= 1
    assert found["remediator_store_failures_total"] == 0


def _grown_in_alerts() -> list[tuple[str, dict[str, str]]]:
    """The counters whose growth the chart's alerts look at, each with its matchers."""
    text = (CHART / "files" / "alerts.yaml").read_text("utf-8")
    found = re.findall(r"(?:increase|rate)\((\w+)\{([^}]*)\}\[", text)
    return [(name, dict(re.findall(r'(\w+)=~?"([^"]*)"', matchers))) for name, matchers in found]


def test_what_our_own_alerts_see_grow_is_there_before_its_first_event(service: Served) -> None:
    """Prometheus sees no growth in a series that begins with the event."""
    rows = httpx.get(f"{service.url}/metrics", trust_env=False, timeout=60).text
    series = [
        (name, dict(re.findall(r'(\w+)="([^"]*)"', labels or "")))
        for name, labels in re.findall(r"^(\w+_total)(?:\{(.*)\})? ", rows, re.MULTILINE)
    ]
    grown = _grown_in_alerts()
    assert len(grown) >= 5
    wanted: dict[str, list[dict[str, str]]] = {
        "remediator_runs_total": [{"remediation": name, "result": "expired"} for name in CATALOGUE],
        "remediator_decisions_total": [
            {"verdict": "deny", "code": code} for code in ("budget_spent", "rate_limited")
        ],
        "remediator_http_requests_total": [
            {"method": "POST", "route": f"/webhooks/{route}", "status": status}
            for route in ("alertmanager", "pagerduty", "pagerduty/orchestration", "slack/interactions")
            for status in ("401", "403", "500", "503")
        ],
        "remediator_alerts_total": [
            {"source": source, "status": "firing"} for source in ("alertmanager", "pagerduty")
        ],
        "remediator_store_failures_total": [{}],
    }
    assert {name for name, _ in grown} == set(wanted), "a counter that an alert uses has its series here"
    for name, matchers in grown:
        for labels in wanted[name]:
            assert (name, labels) in series, (name, labels)
            for label, pattern in matchers.items():
                assert label == "job" or re.fullmatch(pattern, labels[label]), "the alert looks at it"
