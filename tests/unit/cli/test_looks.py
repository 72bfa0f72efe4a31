"""Looking at a running service: lists, explanations, JSON for scripts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.cli.queries import _scheduled, explain, explanation
from app.policy.decide import GATES
from tests.unit.cli.shell import Shell
from tests.unit.served import Served


@pytest.fixture
def fixed(service: Served) -> str:
    """The incident that the service has fixed by itself."""
    return service.incident("HighErrorRate", "fixed").id


def test_incidents_are_one_line_each_with_whole_ids(client: Shell, fixed: str) -> None:
    ended = client.good("incidents")
    head, *rows = ended.out.splitlines()
    assert head.split() == ["id", "state", "alertname", "namespace", "target", "opened_at"]
    row = next(r for r in rows if r.startswith(fixed))
    assert row.split()[:5] == [fixed, "fixed", "HighErrorRate", "rag7", "rag7/Deployment/langgraph"]
    assert ended.err == ""


def test_incidents_can_be_narrowed_by_state_and_number(client: Shell, fixed: str) -> None:
    rows = client.good("incidents", "--state", "fixed", "--json").json
    assert fixed in [r["id"] for r in rows]
    assert {r["state"] for r in rows} == {"fixed"}
    assert len(client.good("incidents", "--limit", "1", "--json").json) == 1


def test_lists_longer_than_a_page_are_read_to_their_end(
    client: Shell, fixed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.cli.remote import Remote

    whole = client.good("incidents", "--json").json
    assert fixed in [r["id"] for r in whole]
    get = Remote.get
    monkeypatch.setattr(Remote, "get", lambda self, path, params: get(self, path, {**params, "limit": 1}))
    assert client.good("incidents", "--json").json == whole


def test_runs_tell_what_became_of_them(client: Shell, service: Served, fixed: str) -> None:
    run = service.run(fixed, "fixed")
    rows = client.good("runs", "--json").json
    assert next(r for r in rows if r["id"] == run.id)["state"] == "fixed"
    line = next(r for r in client.good("runs").out.splitlines() if r.startswith(run.id))
    assert line.split()[1:4] == ["fixed", "high-error-rate", "rag7/Deployment/langgraph"]


@pytest.mark.parametrize("by", ["incident", "run"])
def test_an_explanation_shows_evidence_every_gate_and_the_trail(
    client: Shell, service: Served, fixed: str, by: str
) -> None:
    any_id = fixed if by == "incident" else service.run(fixed, "fixed").id
    out = client.good("explain", any_id).out
    assert out.startswith("FIXED  HighErrorRate  rag7/Deployment/langgraph\n")
    assert re.search(r"^  - \d+ error lines in 5 min", out, re.MULTILINE)
    assert f"{len(GATES)} of {len(GATES)} gates allow it" in out
    assert re.search(r"^ok    budget +\d+ of \d+ per 1h", out.replace("\n  ok", "\nok"), re.MULTILINE)
    assert re.search(r"^  applied: Roll back rag7/Deployment/langgraph", out, re.MULTILINE)
    assert re.search(r"^  fixed: +healthy for", out, re.MULTILINE)
    assert re.search(r"^ +\d+  20\d\d-\d\d-\d\dT[\d:]{8}  incident\.opened", out, re.MULTILINE)


def test_an_explanation_as_json_has_the_same_facts(client: Shell, fixed: str) -> None:
    found = client.good("explain", fixed, "--json").json
    assert found["incident"] == fixed
    assert len(found["decision"]["gates"]) == len(GATES)
    assert found["events"][0]["kind"] == "alert.fired" or found["events"][0]["kind"] == "incident.opened"


def test_an_unknown_id_is_a_usage_error_that_names_it(client: Shell) -> None:
    ended = client("explain", "inc_nobody")
    assert (ended.code, ended.out) == (2, "")
    assert "inc_nobody" in ended.err
    assert ended.err.endswith("[no_incident]\n")


def test_what_is_typed_as_an_id_cannot_become_another_path(client: Shell) -> None:
    ended = client("explain", "../incidents?x=")
    assert ended.code == 2, ended


def test_what_was_done_is_told_once() -> None:
    rows = [
        {"result": "applied", "summary": "Restart x", "text": "Restart x: applied"},
        {"result": "refused", "summary": "Restart x", "text": "it was changed"},
        {"result": "applied", "summary": "Restart x", "text": ""},
    ]
    found = {"state": "open", "alertname": "A", "reason": "", "events": [], "actions": rows}
    assert explanation(found)[1:5] == [
        "",
        "Done",
        "  applied: Restart x: applied",
        "  refused: Restart x: it was changed",
    ]
    assert explanation(found)[5] == "  applied: Restart x"


def test_an_explanation_without_evidence_says_what_is_known() -> None:
    found: dict[str, Any] = {"state": "open", "alertname": "A", "target": None, "reason": "", "events": []}
    assert explanation(found) == ["OPEN  A  no target", "", "Trail"]


def test_the_catalogue_tells_what_an_order_of_each_needs(client: Shell) -> None:
    listed = client.good("remediations").out.splitlines()
    assert listed[0].split()[:2] == ["name", "kind"]
    line = next(row for row in listed if row.startswith("high-error-rate "))
    assert line.split()[1:3] == ["remediation", "nothing"]
    assert "scale_to" in line
    one = client.good("remediations", "high-error-rate").out.splitlines()
    assert any(row.split()[:3] == ["scale_to", "integer", "5"] for row in one)
    (row,) = client.good("remediations", "high-error-rate", "--json").json
    assert (row["procedure"], row["order"]["rule"], row["order"]["mode"]) == (
        False,
        "errors after a deployment",
        "auto",
    )
    ended = client("remediations", "no-such")
    assert (ended.code, ended.out) == (2, "")
    assert "[unknown_remediation]" in ended.err


def test_schedules_say_when_each_is_due_and_what_became_of_the_last(client: Shell) -> None:
    (row,) = client.good("schedules", "--json").json
    assert (row["rule"], row["remediation"], row["last_due"]) == ("nightly size", "scale", None)
    shown = client.good("schedules").out
    assert "nightly size" in shown
    assert "-02-29T01:30:00+00:00" in shown
    assert "never" in shown
    ended = {
        **row,
        "last_due": "2028-02-29T01:30:00+00:00",
        "last_result": "ordered",
        "last_incident": "inc_1",
    }
    assert _scheduled({**ended, "last_outcome": "fixed"})["result"] == "fixed inc_1"
    assert _scheduled({**ended, "last_outcome": None})["result"] == "ordered inc_1"


def test_what_a_label_says_begins_no_line_of_an_explanation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "X\nACTED: rolled back, approved by kim\n  ok    approval      approved by kim\u2028ok"
    event = {"seq": 1, "at": "2026-03-04T03:00:00", "kind": "alert", "data": {"alertname": name}}
    found = {"state": "open", "alertname": name, "reason": name, "events": [event], "gates": [name]}
    monkeypatch.setattr("app.cli.queries.Remote.get", lambda *_: found)
    explain("inc_1")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(explanation(found))
    assert not any(line.lstrip().startswith(("ACTED", "ok")) for line in lines)
