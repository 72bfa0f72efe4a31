"""The command `doctor`: what is wrong with a set-up, and how to mend it. It changes nothing."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from app.cli.output import AsJson, give, say, write
from app.doctor.examine import examine
from app.doctor.findings import Area, Finding, Level, failed
from app.observe.system import SystemClock


def doctor(
    without: Annotated[
        list[Area] | None, typer.Option("--without", help="An area not to look at. Repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at the whole set-up and say what is wrong and how to mend it. Exit 1 when something does not work."""
    found = asyncio.run(examine(SystemClock(), without or ()))
    if as_json:
        give({"ok": not failed(found), "findings": [f.to_json() for f in found]})
    else:
        for finding in found:
            write(_line(finding))
        say(", ".join(f"{sum(f.level is level for f in found)} {level.value}" for level in Level))
    if failed(found):
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    line = f"{finding.level.value.upper():<4}  {finding.area.value:<12}  {finding.text}"
    return f"{line}\n{'':20}-> {finding.fix}  [{finding.code}]" if finding.fix else line
