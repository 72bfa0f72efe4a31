"""The remediations and procedures that a running service has, and what an order of each has to give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from app.cli.output import AsJson, give, table, write
from app.cli.remote import DEFAULT_URL, Remote, Token, Url
from app.domain.errors import BadInput

_COLUMNS = ("name", "kind", "order needs", "parameters")
_PARAMETERS = ("parameter", "type", "default", "what it is")


def remediations(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this one, with all parameters.")] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """What rules and orders can name: which are procedures, what an order of each needs, and the parameters."""
    rows = list(Remote(url, token).pages("/api/v1/remediations", {}, 1_000))
    if name:
        rows = [row for row in rows if row["name"] == name]
        if not rows:
            raise BadInput("the service has no such remediation", code="unknown_remediation", where=name)
    if as_json:
        give(rows)
    elif name:
        write(f"{name}: {_kind(rows[0])}; an order needs {rows[0]['order']['needs']}")
        write(f"steps: {', '.join(rows[0]['steps'])}")
        table(_PARAMETERS, [_parameter(p) for p in rows[0]["parameters"]])
    else:
        table(_COLUMNS, [_row(row) for row in rows])


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    ordered = [p for p in row["parameters"] if p["ordered"]]
    words = [p["name"] + (" (required)" if p["required"] else "") for p in ordered]
    needed = row["order"]["needs"]
    return dict(zip(_COLUMNS, (row["name"], _kind(row), needed, ", ".join(words)), strict=True))


def _kind(row: Mapping[str, Any]) -> str:
    return "procedure" if row["procedure"] else "remediation"


def _parameter(given: Mapping[str, Any]) -> dict[str, str]:
    default = "required" if given["required"] else json.dumps(given["default"])
    about = given["about"] if given["ordered"] else f"only the rule sets this. {given['about']}".rstrip()
    return dict(zip(_PARAMETERS, (given["name"], given["type"], default, about), strict=True))
