"""Policy documents: check them without a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import AsJson, give, say, write
from app.policy.faults import PolicyInvalid
from app.policy.load import load_dir
from remediations import CATALOGUE

app = typer.Typer(no_args_is_help=True)

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
    try:
        policy = load_dir(folder, CATALOGUE)
    except PolicyInvalid as error:
        faults = [
            {
                "file": f.file,
                "line": f.line,
                "column": f.column,
                "message": f.message,
                "allowed": list(f.allowed),
            }
            for f in error.faults
        ]
        if as_json:
            give({"ok": False, "faults": faults})
        else:
            for fault in error.faults:
                write(str(fault))
            say(f"{len(error.faults)} faults")
        raise typer.Exit(1) from error
    rules = [{"name": r.name, "remediation": r.remediation, "mode": r.mode.value} for r in policy.rules]
    if as_json:
        give({"ok": True, "version": policy.version, "rules": rules})
    else:
        write(f"ok: {len(rules)} rules, version {policy.version}")
