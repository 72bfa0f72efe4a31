"""Policy documents, without a running service: check, test, explain, lint and replay them. Reads files, decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from app.cli.output import AsJson, give, say, write, write_lines
from app.cli.policy_backtest import backtest, instant_of, span_of
from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.text import file_fault
from app.domain.units import counted
from app.policy.faults import PolicyInvalid
from app.policy.load import load_dir
from app.policy.matchers import labels_of
from app.policytools.assumed import World
from app.policytools.cases import read_cases
from app.policytools.hypothetical import explain_alert
from app.policytools.lint import lint as lint_policy
from app.policytools.lint_findings import Severity, Timing
from app.policytools.lint_rules import read_rules
from app.policytools.schema import json_schema
from app.policytools.testing import report_lines, run_cases
from remediations import CATALOGUE

T = TypeVar("T")


class Level(StrEnum):
    """Where a record may stand."""

    OBSERVE = Mode.OBSERVE.value
    APPROVE = Mode.APPROVE.value
    AUTO = Mode.AUTO.value


class ServiceMode(StrEnum):
    """What the service may be set to."""

    NORMAL = "normal"
    OBSERVE = "observe"


app = typer.Typer(no_args_is_help=True, add_completion=False, help="Check policy documents.")
app.command()(backtest)

Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", envvar="REMEDIATOR_POLICY_DIR", help="Folder of the policy documents."),
]


@app.command()
def check(folder: Folder = Path("policies"), as_json: AsJson = False) -> None:
    """Check all documents of a folder: every fault with file, line, column and what is allowed there."""
    policy = or_faults(lambda: load_dir(folder, CATALOGUE), as_json=as_json)
    rules = [{"name": r.name, "remediation": r.remediation, "mode": r.mode.value} for r in policy.rules]
    if as_json:
        give({"ok": True, "version": policy.version, "rules": rules})
    else:
        write(f"ok: {len(rules)} rules, version {policy.version}")


@app.command()
def schema(as_json: AsJson = False) -> None:
    """Print the JSON Schema of a policy file, for editors and reviews. It is JSON in any case."""
    del as_json
    give(json_schema())


@app.command(name="test")
def run_tests(
    folder: Folder = Path("policies"),
    cover: Annotated[bool, typer.Option("--cover", help="Fail when a rule is reached by no case.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the cases of *.test.yaml against the policy of the folder. Exit 1 when one does not come out as expected."""
    policy = or_faults(lambda: load_dir(folder, CATALOGUE), as_json=as_json)
    cases = or_faults(lambda: read_cases(_test_files(folder)), as_json=as_json)
    report = run_cases(policy, CATALOGUE, cases)
    if as_json:
        give(report.to_json())
    else:
        write_lines(report_lines(report))
    if report.failed or (cover and report.uncovered):
        raise typer.Exit(1)


@app.command()
def explain(
    alert: Annotated[str, typer.Option("--alert", metavar="K=V,K=V", help="Labels of the alert.")],
    folder: Folder = Path("policies"),
    at: Annotated[
        str, typer.Option("--at", help="When, e.g. 2026-03-06 17:00 Europe/Berlin; empty: now.")
    ] = "",
    level: Annotated[
        Level | None,
        typer.Option(
            "--level", help="Of the trust level, where the rule has mode earned; none: where it begins."
        ),
    ] = None,
    service: Annotated[
        ServiceMode,
        typer.Option("--service", envvar="REMEDIATOR_MODE", help="The mode that the service is set to."),
    ] = ServiceMode.NORMAL,
    as_json: AsJson = False,
) -> None:
    """What the policy would say about an alert that nobody raised: rule, target and all gates, under assumed facts."""
    policy = or_faults(lambda: load_dir(folder, CATALOGUE), as_json=as_json)
    ceiling = Mode.OBSERVE if service is ServiceMode.OBSERVE else None
    world = World(policy, CATALOGUE, level=Mode(level.value) if level else None, ceiling=ceiling)
    lines, data = explain_alert(world, labels_of(alert, "--alert"), instant_of("--at", at) or _now())
    if as_json:
        give(data)
    else:
        write_lines(lines)


@app.command()
def lint(
    rules: Annotated[
        list[Path],
        typer.Option("--rules", metavar="FILE", help="Prometheus rules (manifest or groups). Repeatable."),
    ],
    folder: Folder = Path("policies"),
    repeat_interval: Annotated[str, typer.Option(help="Alertmanager's repeat_interval.")] = "4h",
    group_interval: Annotated[str, typer.Option(help="Alertmanager's group_interval.")] = "5m",
    as_json: AsJson = False,
) -> None:
    """Does the policy fit the alerts that Prometheus is told to raise? Exit 1 when something surely does not work."""
    policy = or_faults(lambda: load_dir(folder, CATALOGUE), as_json=as_json)
    alerts = or_faults(lambda: read_rules(_texts(rules)), as_json=as_json)
    repeat = span_of("--repeat-interval", repeat_interval)
    timing = Timing(_now(), repeat, span_of("--group-interval", group_interval))
    found = lint_policy(policy, alerts, timing, CATALOGUE)
    counts = {severity.value: sum(f.severity is severity for f in found) for severity in Severity}
    if as_json:
        give(
            {
                "ok": not counts["error"],
                "alerts": len(alerts),
                **counts,
                "findings": [f.to_json() for f in found],
            }
        )
    else:
        for finding in found:
            write(str(finding))
        summary = ", ".join(counted(n, severity) for severity, n in counts.items())
        write(f"{counted(len(alerts), 'alert')}, {counted(len(policy.rules), 'rule')}: {summary}")
    if counts["error"]:
        raise typer.Exit(1)


def _texts(files: list[Path]) -> dict[str, str]:
    try:
        return {str(f): f.read_text("utf-8") for f in files}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"cannot read the rules: {file_fault(error)}", code="bad_rules", where="--rules"
        ) from error


def _test_files(folder: Path) -> dict[str, str]:
    try:
        files = [f for f in sorted(folder.iterdir()) if f.name.endswith((".test.yaml", ".test.yml"))]
        texts = {f.name: f.read_text("utf-8") for f in files}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"cannot read the tests: {file_fault(error)}", code="bad_policy", where=str(folder)
        ) from error
    if not texts:
        raise BadInput("no test file (*.test.yaml) in the folder", code="no_tests", where=str(folder))
    return texts


def or_faults(read: Callable[[], T], *, as_json: bool) -> T:
    """What was read; or every fault of it and exit code 1."""
    try:
        return read()
    except PolicyInvalid as error:
        if as_json:
            give({"ok": False, "faults": [fault.to_json() for fault in error.faults]})
        else:
            for fault in error.faults:
                write(str(fault))
            say(counted(len(error.faults), "fault"))
        raise typer.Exit(1) from error


def _now() -> datetime:
    return datetime.now(UTC)
