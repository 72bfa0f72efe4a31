"""`--follow`: each change once, in the order of its coming, until Ctrl-C; a service that is away is waited for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from app.cli.remote import Remote
from app.domain.errors import ProbeUnavailable, Refused
from tests.unit.cli.shell import Shell

Answer = list[dict[str, str]] | Exception
AWAY = ProbeUnavailable("no answer (ConnectError)", code="service_unreachable")


def run(name: str, state: str, result: str = "") -> dict[str, str]:
    return {"id": name, "state": state, "remediation": "high-latency", "target": "a/b/c", "result": result}


def script(monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> list[Mapping[str, Any]]:
    """The service answers so, one look after another; then somebody presses Ctrl-C. Returns what was asked for."""
    left, asked = iter(answers), list[Mapping[str, Any]]()

    def pages(_: Remote, path: str, params: Mapping[str, Any], limit: int) -> Iterator[dict[str, str]]:
        asked.append({"path": path, **params, "limit": limit})
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        yield from answer

    def sleep(seconds: float) -> None:
        assert seconds == 2.0
        if len(asked) == len(answers):
            raise KeyboardInterrupt

    monkeypatch.setattr(Remote, "pages", pages)
    monkeypatch.setattr("app.cli.queries.time.sleep", sleep)
    return asked


def test_each_change_is_printed_once_and_the_oldest_first(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = run("run_1", "acting"), run("run_2", "waiting")
    further = {**first, "progress": "1 of 2 tables vacuumed"}
    ended = run("run_1", "fixed", "it helped\nreally")
    asked = script(monkeypatch, [second, first], [second, first], [second, further], [second, ended])
    lines = shell.good("runs", "--follow", "--state", "x", "--limit", "7").out.splitlines()
    assert lines == [
        "run_1  acting  high-latency  a/b/c  -  -  -  -",
        "run_2  waiting  high-latency  a/b/c  -  -  -  -",
        "run_1  acting  high-latency  a/b/c  -  -  1 of 2 tables vacuumed  -",
        "run_1  fixed  high-latency  a/b/c  -  -  -  it helped really",
    ]
    assert asked == [{"path": "/api/v1/runs", "state": "x", "limit": 7}] * 4


def test_as_json_each_change_is_a_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = {"id": "inc_1", "state": "open", "alertname": "HighLatency"}
    script(monkeypatch, [incident], [{**incident, "state": "fixed"}])
    lines = [json.loads(li) for li in shell.good("incidents", "-f", "--json").out.splitlines()]
    assert [li["state"] for li in lines] == ["open", "fixed"]


def test_a_service_that_restarts_is_waited_for_and_told_once(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, [run("run_1", "waiting")], AWAY, AWAY, [run("run_1", "fixed")])
    ended = shell.good("runs", "--follow")
    assert len(ended.out.splitlines()) == 2
    assert ended.err == "no answer (ConnectError); waiting\n"


def test_a_service_that_restarts_before_there_is_a_row_is_waited_for(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a quiet night nothing is listed for hours."""
    script(monkeypatch, [], AWAY, AWAY, [], AWAY, [run("run_1", "waiting")])
    ended = shell.good("runs", "--follow")
    assert len(ended.out.splitlines()) == 1
    assert ended.err == "no answer (ConnectError); waiting\n" * 2


@pytest.mark.parametrize("error", [AWAY, Refused("no such token", code="not_authenticated")])
def test_a_wrong_address_or_token_is_a_failure_at_once(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    script(monkeypatch, error)
    assert shell("runs", "--follow").code == 1
