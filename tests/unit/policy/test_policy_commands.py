"""The commands `remediator policy ...`, in process: output, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.policy import app
from app.domain.errors import BadInput
from app.policytools.schema import json_schema

SHIPPED = Path(__file__).parents[3] / "policies"
RULE = """\
version: 1
scope: {namespaces: [rag7, prod]}
rules:
  - name: crash
    when: alertname="Crash"
    target: {name: {label: deployment}}
    remediation: pod-restarting
    mode: MODE
"""
ALERT = {
    "labels": {"alertname": "Crash", "namespace": "prod", "deployment": "a"},
    "startsAt": "2026-03-04T03:00:00Z",
}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def data(result: Result) -> Any:
    return json.loads(result.stdout)


def policy(tmp_path: Path, mode: str, test: str = "") -> Path:
    folder = tmp_path / mode
    folder.mkdir()
    (folder / "p.yaml").write_text(RULE.replace("MODE", mode))
    if test:
        (folder / "p.test.yaml").write_text(f"version: 1\ncases:\n  - {test}\n")
    return folder


@pytest.fixture
def alerts(tmp_path: Path) -> Path:
    file = tmp_path / "alerts.jsonl"
    file.write_text(
        json.dumps(ALERT) + "\n" + json.dumps({**ALERT, "startsAt": "2026-03-04T05:00:00Z"}) + "\n"
    )
    return file


def test_the_shipped_policy_passes_its_tests_and_they_reach_every_rule() -> None:
    result = run("test", SHIPPED, "--cover")
    assert result.exit_code == 0, result.stdout
    assert "rules reached by a case: 8 of 8" in result.stdout


def test_a_failing_case_is_exit_code_1(tmp_path: Path) -> None:
    folder = policy(tmp_path, "auto", "{name: x, alert: {alertname: Crash}, expect: {verdict: allow}}")
    result = run("test", folder)
    assert result.exit_code == 1
    assert "FAILED  p.test.yaml:3  x" in result.stdout
    assert data(run("test", folder, "--json"))["failed"] == 1


def test_a_rule_without_a_case_fails_only_when_cover_is_asked_for(tmp_path: Path) -> None:
    folder = policy(tmp_path, "auto", "{name: x, alert: {alertname: Other}, expect: {code: no_rule}}")
    assert run("test", folder).exit_code == 0
    assert run("test", folder, "--cover").exit_code == 1


def test_faults_of_the_tests_are_shown_with_their_place(tmp_path: Path) -> None:
    folder = policy(tmp_path, "auto", "{nam: x}")
    result = run("test", folder)
    assert result.exit_code == 1
    assert "p.test.yaml:3:6: unknown key" in result.stdout
    faults = data(run("test", folder, "--json"))["faults"]
    assert {f["file"] for f in faults} == {"p.test.yaml"}


def test_a_folder_without_tests_says_so(tmp_path: Path) -> None:
    result = run("test", policy(tmp_path, "auto"))
    assert isinstance(result.exception, BadInput)
    assert result.exception.code == "no_tests"


def test_the_schema_is_printed() -> None:
    assert data(run("schema")) == json_schema()


def test_a_replay_tells_what_would_have_been_done(tmp_path: Path, alerts: Path) -> None:
    result = run("backtest", "--alerts", alerts, "--policy", policy(tmp_path, "auto"))
    assert result.exit_code == 0
    assert "2  acts by itself  on 1 target" in result.stdout


@pytest.mark.parametrize(
    ("limit", "code"),
    [("new-auto", 1), ("new-auto:rag7", 0), ("more-actions-than:1", 1), ("more-actions-than:2", 0)],
)
def test_a_limit_that_is_hit_is_exit_code_1(tmp_path: Path, alerts: Path, limit: str, code: int) -> None:
    new, old = policy(tmp_path, "auto"), policy(tmp_path, "approve")
    result = run("backtest", "--alerts", alerts, "--policy", new, "--against", old, "--fail-on", limit)
    assert result.exit_code == code
    assert ("limit hit" in result.stderr) is bool(code)


def test_a_replay_takes_a_span_of_time_assumptions_and_several_files(tmp_path: Path, alerts: Path) -> None:
    assume = tmp_path / "assume.yaml"
    assume.write_text("cluster: {managers: [flux]}\nrun: 1m\nstep: {name: roll-back}\n")
    folder = policy(tmp_path, "auto")
    common = ("--policy", folder, "--alerts", alerts, "--alerts", alerts, "--json")
    assert data(run("backtest", *common))["records"] == 4
    asked = data(run("backtest", *common, "--assume", assume, "--since", "2026-03-04T04:00:00Z"))
    assert (asked["records"], asked["policy"]["totals"]["asked"]) == (2, 1)
    early = data(run("backtest", *common, "--until", "2026-03-04 05:00 UTC", "--not-fixed", "--run", "2m"))
    assert early["records"] == 2
    assert "a run takes 2m, and does not help; nobody answers a question" in early["assumed"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--run", "soon"), ("--since", "yesterday"), ("--fail-on", "odd"), ("--alerts", "missing.jsonl")],
)
def test_a_wrong_option_is_named(tmp_path: Path, alerts: Path, option: str, value: str) -> None:
    result = run("backtest", "--alerts", alerts, "--policy", policy(tmp_path, "auto"), option, value)
    assert isinstance(result.exception, BadInput)
    assert result.exception.where in (option, value)


def test_a_hypothetical_alert_is_explained(tmp_path: Path) -> None:
    folder = policy(tmp_path, "auto")
    arguments = (
        "explain",
        folder,
        "--alert",
        "alertname=Crash,namespace=prod,deployment=a",
        "--at",
        "2026-03-04 03:00 UTC",
    )
    result = run(*arguments)
    assert result.exit_code == 0
    assert 'Allowed by rule "crash": 17 of 17 gates' in result.stdout
    assert "- it is 2026-03-04 03:00:00 UTC; the alert fires" in result.stdout
    assert data(run(*arguments, "--json"))["target"] == "prod/Deployment/a"


def test_a_service_that_only_observes_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alert = ("explain", policy(tmp_path, "auto"), "--alert", "alertname=Crash,namespace=prod,deployment=a")
    asked = run(*alert, "--service", "observe")
    monkeypatch.setenv("REMEDIATOR_MODE", "observe")
    for result in (asked, run(*alert)):
        assert result.exit_code == 0
        assert result.stdout.startswith("Only observing: kill switch: the service is set to observe")
        assert "- the service is set to observe (REMEDIATOR_MODE)" in result.stdout


def test_lint_fails_on_what_surely_does_not_work(tmp_path: Path) -> None:
    folder, rules = policy(tmp_path, "auto"), tmp_path / "r.yaml"
    rules.write_text("groups: [{name: g, rules: [{alert: Crash, expr: 'increase(x[1h]) > 0'}]}]\n")
    result = run("lint", folder, "--rules", rules)
    assert result.exit_code == 1
    assert result.stdout.startswith("error    clears_too_late")
    assert result.stdout.endswith("1 alert, 1 rule: 1 error, 0 warnings, 2 notes\n")
    found = data(run("lint", folder, "--rules", rules, "--json", "--repeat-interval", "15m"))
    assert (found["ok"], found["error"], found["note"]) == (False, 1, 1)
    rules.write_text("groups: [{name: g, rules: [{alert: Crash, expr: 'x > 0'}]}]\n")
    assert run("lint", folder, "--rules", rules).exit_code == 0


def test_rules_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    folder, rules = policy(tmp_path, "auto"), tmp_path / "r.yaml"
    assert isinstance(run("lint", folder, "--rules", rules).exception, BadInput)
    rules.write_text("groups: []\n")
    result = run("lint", folder, "--rules", rules)
    assert result.exit_code == 1
    assert "no alerting rule in it" in result.stdout
