"""Trust levels of rules with mode earned, at a running service: how far each has come, and people's word on it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.output import AsJson, give, table, write
from app.cli.remote import DEFAULT_URL, Remote, Token, Url

app = typer.Typer(add_completion=False)
Key = Annotated[str, typer.Argument(metavar="KEY", help="As the list names it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the thread and the audit trail.")]
_COLUMNS = ("key", "level", "numbers", "next")


@app.callback(invoke_without_command=True)
def trust(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many rows.")] = 1_000,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """How far each alert, remediation and class of targets may go by itself, and what the next level takes."""
    if context.invoked_subcommand is not None:
        return
    rows = list(Remote(url, token).pages("/api/v1/trust", {}, limit))
    if as_json:
        give(rows)
        return
    table(_COLUMNS, [{**row, "next": row["next"] if row["in_use"] else "not in use"} for row in rows])


@app.command()
def promote(
    key: Key, reason: Reason, url: Url = DEFAULT_URL, token: Token = "", as_json: AsJson = False
) -> None:
    """Raise a trust level by one level, or confirm the promotion that waits."""
    _order(Remote(url, token), "promote", {"key": key, "reason": reason}, as_json)


@app.command()
def demote(
    key: Key, reason: Reason, url: Url = DEFAULT_URL, token: Token = "", as_json: AsJson = False
) -> None:
    """Lower a trust level by one level; counting begins again."""
    _order(Remote(url, token), "demote", {"key": key, "reason": reason}, as_json)


def _order(remote: Remote, what: str, body: dict[str, Any], as_json: bool) -> None:
    answer = remote.post(f"/api/v1/trust/{what}", body)
    if as_json:
        give(answer)
    else:
        write(answer["text"] or f"{answer['key']} stands at level {answer['level']}")
