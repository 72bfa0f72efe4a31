"""Diagnose: one screen about a workload or a namespace, instead of the runbook's commands. Prints; decides nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from app.cli.output import AsJson, give, write_lines
from app.cli.remote import DEFAULT_URL, Remote, Token, Url
from app.domain.errors import BadInput

WIDTH = 100
"""Columns of the screen."""


def diagnose(
    what: Annotated[
        str, typer.Argument(metavar="NAMESPACE[/KIND/NAME]", help="A namespace or a workload in it.")
    ],
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Status, cause, revisions, managers, pods, usage, warnings, errors, endpoints, limits, alerts, decisions and runs."""
    parts = what.split("/")
    if len(parts) not in (1, 3) or not all(parts):
        raise BadInput("expected NAMESPACE or NAMESPACE/KIND/NAME", code="bad_target", where=what)
    asked = dict(zip(("namespace", "kind", "name"), parts, strict=False))
    found = Remote(url, token).get("/api/v1/diagnosis", asked)
    if as_json:
        give(found)
        return
    write_lines(screen(found))


def screen(found: Mapping[str, Any]) -> list[str]:
    """The diagnosis as lines for a terminal, none wider than `WIDTH`."""
    lines = _wrapped(f"{found['subject']}  {found['at'][:19]} UTC, read in {found['seconds']:.1f} s", "")
    lines += _wrapped(f"Cause: {found['cause'] or 'not known'}", "")
    lines += _wrapped(f"To do: {found['advice']}", "") if found["advice"] else []
    for section in found["sections"]:
        lines += ["", section["name"]]
        for line in section["lines"]:
            lines += _wrapped(line, "  ")
        lines += _wrapped(f"? not read: {section['unread']}", "  ") if section["unread"] else []
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ") or [indent]
