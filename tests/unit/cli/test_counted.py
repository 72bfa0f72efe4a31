"""A running service counts what it does: commits, messages and policy loads are on /metrics."""

from __future__ import annotations

import httpx

from tests.unit.cli.shell import Shell
from tests.unit.served import Served


def test_commits_are_timed_and_counted(client: Shell, service: Served) -> None:
    assert client("incidents").code == 0
    rows = httpx.get(f"{service.url}/metrics", trust_env=False).text.splitlines()
    found = {name: float(value) for name, _, value in (row.rpartition(" ") for row in rows if row[0] != "#")}
    # The service's start is a write.
    assert found["remediator_store_commit_seconds_count"] >= 1
    assert found["remediator_store_commit_writes_sum"] >= found["remediator_store_commit_writes_count"] >= 1
    assert found["remediator_store_failures_total"] == 0
