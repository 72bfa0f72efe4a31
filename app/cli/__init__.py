"""The command `remediator`: thin commands over the HTTP API, the policy and the audit trail.

Data goes to stdout, talk to stderr; `--json` everywhere, also for errors; exit codes 0 done, 1 failed, 2 usage. No logic lives
here: the commands that give orders are clients of a running service, so that there is one writer and one place that checks rights.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from types import ModuleType
from typing import Annotated, Any, Final, cast

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandInfo

from app.cli.output import give, say, write
from app.domain.errors import BadInput, RemediatorError

_COMMANDS: Final[Mapping[str, str]] = {
    "serve": "serve:serve",
    "demo": "serve:demo",
    "trigger": "orders:trigger",
    "approve": "orders:approve",
    "reject": "orders:reject",
    "undo": "orders:undo",
    "keep": "orders:keep",
    "acknowledge": "orders:acknowledge",
    "ack": "orders:acknowledge",
    "pause": "orders:pause",
    "resume": "orders:resume",
    "incidents": "queries:incidents",
    "runs": "queries:runs",
    "explain": "queries:explain",
    "diagnose": "diagnose:diagnose",
    "scorecard": "queries:scorecard",
    "schedules": "queries:schedules",
    "remediations": "catalogue:remediations",
    "trust": "trust:app",
    "audit": "audit:app",
    "db": "audit:db",
    "config": "config:config",
    "configuration": "configuration:app",
    "doctor": "doctor:doctor",
    "policy": "policy:app",
    "rbac": "rbac:rbac",
}
"""Where each command is: a module of this package, and in it the function, or the `Typer` of several commands."""


_UsageError: Final = cast("type[Exception]", typer.BadParameter.__bases__[0])
"""What the parser says of arguments that it cannot take, missing and unknown ones as well; typer names only its child."""


class _Commands(TyperGroup):
    """The commands, each imported when somebody asks for it: who looks at incidents at night does not wait for the whole service
    to be imported, and `serve` does without the tools for policies."""

    _as_json = False

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Read the arguments before the command's name."""
        self._as_json = "--json" in args
        return self._told(lambda: super(_Commands, self).make_context(info_name, args, parent, **extra))

    def invoke(self, ctx: Any) -> Any:
        """Read the rest and run the command."""
        return self._told(lambda: super(_Commands, self).invoke(ctx))

    def _told(self, work: Callable[[], Any]) -> Any:
        """The parser's own usage errors are JSON too where that was asked for; its text for people goes to stderr as always."""
        try:
            return work()
        except _UsageError as error:
            if self._as_json:
                text = str(getattr(error, "format_message", error.__str__)())
                give({"error": {"code": "usage", "message": text, "where": ""}})
            raise

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's
        """All names."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's
        """The command of this name."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        found = getattr(_imported(f"app.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command()(found)
            found = alone
        for one in _all_of(found):
            one.cls = _Command
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


class _Command(TyperCommand):
    """A command that takes the value of each option once: of two the parser would take the last, and whoever gave both meant each."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse the second."""
        given = self.make_parser(ctx).parse_args(list(args))[2]
        once = [
            one
            for one in given
            if not one.multiple and one.param_type_name == "option" and not getattr(one, "is_flag", False)
        ]
        for option in once:
            if once.count(option) > 1:
                raise _UsageError(f"{option.opts[-1]} is given twice", ctx)
        return super().parse_args(ctx, args)


def _all_of(of: typer.Typer) -> Iterator[CommandInfo]:
    yield from of.registered_commands
    for group in of.registered_groups:
        if group.typer_instance is not None:
            yield from _all_of(group.typer_instance)


def _imported(module: str) -> ModuleType:
    """The module, with the collector at rest meanwhile: what is imported stays, and walking it again and again is a good part of a start."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        _quiet()
        if collects:
            gc.enable()


def _quiet() -> None:
    """What is logged goes to no script: our own lines to standard error, where structlog would write to standard output, and those of
    libraries to nobody, where Python would write their bare text. What somebody has to know the command says itself; `serve` logs anew."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    structlog = sys.modules.get("structlog")
    if structlog is not None and not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


app = typer.Typer(
    name="remediator",
    cls=_Commands,
    help="Alert-driven auto-remediation for Kubernetes: acts once, checks, undoes or escalates, and explains itself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        write(version("alert-remediator"))
        raise typer.Exit


@app.callback()
def _remediator(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    # Without one, typer takes an application that has no commands of its own for a mistake.
    pass


def _readable() -> None:
    """A character that the terminal's encoding has not is written as its number, and output that has no place to go says so."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:
        sys.stdout = _Nowhere()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process lives


class _Nowhere(io.TextIOBase):
    """Standard output that was closed before the start."""

    def write(self, _: str) -> int:
        """Refuse it."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


_LOST: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG})
"""What writing to standard output fails with."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. None: the process's own arguments. A reader of the output that has gone, as of `| head`, is told nothing; a full disk is an error."""
    _readable()
    try:
        try:
            _command(arguments)
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in _LOST:
            raise
        # What is still buffered would be tried again at the exit.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process lives
        if error.errno != errno.EPIPE:
            say(f"error: standard output could not be written: {error.strerror} [output_lost]")
        sys.exit(1)


def _command(arguments: Sequence[str] | None) -> None:
    """Our errors become one line on stderr and an exit code; where `--json` was asked for, a JSON document on stdout too, so that a script never
    has to read the line."""
    try:
        app(arguments)
    except RemediatorError as error:
        from app.domain.redact import redact  # a command that ends well does without it

        message, where = redact(error.message), redact(error.where)
        if "--json" in (sys.argv[1:] if arguments is None else arguments):
            give({"error": {"code": error.code, "message": message, "where": where}})
        # Each for itself: a name in front of a sentence makes it look like a header with its value.
        say(f"error: {RemediatorError(message, where=where)} [{error.code}]")
        sys.exit(2 if isinstance(error, BadInput) else 1)
