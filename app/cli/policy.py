"""Policy documents, without a running service: check, test, explain, lint and replay them. Reads files, decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from app.cli.output import AsJson, give, say, write
from app.cli.policy_backtest import backtest
from app.domain.errors import BadInput
from app.policy.cases import read_cases
from app.policy.faults import PolicyInvalid
from app.policy.load import load_dir
from app.policy.schema import json_schema
from app.policy.testing import report_lines, run_cases
from remediations import CATALOGUE

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True)
app.command()(backtest)

Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", envvar="REMEDIATOR_POLICY_DIR", help="Folder of the policy documents."),
]


@app.callback()
def _group() -> None:
    """Policy documents."""


@app.command()
def check(folder: Folder = Path("policies"), as_json: AsJson = False) -> None:
    """Check all documents of a folder: every fault with file, line, column and what is allowed there."""
    policy = _or_faults(lambda: load_dir(folder, CATALOGUE), as_json=as_json)
    rules = [{"name": r.name, "remediation": r.remediation, "mode": r.mode.value} for r in policy.rules]
    if as_json:
        give({"ok": True, "version": policy.version, "rules": rules})
    else:
        write(f"ok: {len(rules)} rules, version {policy.version}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a policy file, for editors and reviews."""
    give(json_schema())


@app.command(name="test")
def run_tests(
    folder: Folder = Path("policies"),
    cover: Annotated[bool, typer.Option("--cover", help="Fail when a rule is reached by no case.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the cases of *.test.yaml against the policy of the folder. Exit 1 when one does not come out as expected."""
    policy = _or_faults(lambda: load_dir(folder, CATALOGUE), as_json=as_json)
    cases = _or_faults(lambda: read_cases(_test_files(folder)), as_json=as_json)
    report = run_cases(policy, CATALOGUE, cases)
    if as_json:
        give(report.to_json())
    else:
        for line in report_lines(report):
            write(line)
    if report.failed or (cover and report.uncovered):
        raise typer.Exit(1)


def _test_files(folder: Path) -> dict[str, str]:
    try:
        files = [f for f in sorted(folder.iterdir()) if f.name.endswith((".test.yaml", ".test.yml"))]
        texts = {f.name: f.read_text("utf-8") for f in files}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the tests: {error}", code="bad_policy", where=str(folder)) from error
    if not texts:
        raise BadInput("no test file (*.test.yaml) in the folder", code="no_tests", where=str(folder))
    return texts


def _or_faults(read: Callable[[], T], *, as_json: bool) -> T:
    """What was read; or every fault of it and exit code 1."""
    try:
        return read()
    except PolicyInvalid as error:
        if as_json:
            give({"ok": False, "faults": [fault.to_json() for fault in error.faults]})
        else:
            for fault in error.faults:
                write(str(fault))
            say(f"{len(error.faults)} faults")
        raise typer.Exit(1) from error


def _now() -> datetime:
    return datetime.now(UTC)
