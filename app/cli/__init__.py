"""The command `remediator`: thin commands over the HTTP API, the policy and the audit trail.

Data goes to stdout, talk to stderr; `--json` everywhere; exit codes 0 done, 1 failed, 2 usage. No logic lives here: the
commands that give orders are clients of a running service, so that there is one writer and one place that checks rights.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup

from app.cli import audit, orders, queries, serve, trust
from app.cli.output import say
from app.domain.errors import BadInput, RemediatorError


class _Commands(TyperGroup):
    """The commands; those with tools that `serve` does without are imported when somebody asks for them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names."""
        return [*super().list_commands(ctx), *_LATER]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name."""
        if cmd_name not in _LATER:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"app.cli.{cmd_name}")
        if hasattr(module, "app"):
            found = typer.main.get_command(module.app)
        else:
            alone = typer.Typer(add_completion=False)
            alone.command()(getattr(module, cmd_name))
            found = typer.main.get_command(alone)
        found.name = cmd_name
        return found


_LATER = ("config", "doctor", "policy", "rbac")
"""Each is a module of this package: with an `app` of several commands, or with the one function of its name."""
app = typer.Typer(
    name="remediator",
    cls=_Commands,
    help="Alert-driven auto-remediation for Kubernetes: acts once, checks, undoes or escalates, and explains itself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(serve.serve)
app.command()(serve.demo)
app.command()(orders.trigger)
app.command()(orders.approve)
app.command()(orders.reject)
app.command()(orders.undo)
app.command()(orders.keep)
app.command()(orders.pause)
app.command()(orders.resume)
app.command()(queries.incidents)
app.command()(queries.runs)
app.command()(queries.explain)
app.command()(queries.scorecard)
app.add_typer(trust.app, name="trust")
app.add_typer(audit.app, name="audit", help="Verify and export the audit trail.")
app.add_typer(audit.db, name="db", help="The database schema.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: our errors become one line on stderr and an exit code. None: the process's own arguments."""
    try:
        app(arguments)
    except BadInput as error:
        say(f"error: {error} [{error.code}]")
        sys.exit(2)
    except RemediatorError as error:
        say(f"error: {error} [{error.code}]")
        sys.exit(1)
