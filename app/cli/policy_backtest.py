"""`policy backtest`: recorded alerts through a policy, or through two. Reads files line by line, decides nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import AsJson, give, progress, say, write_lines
from app.domain.errors import BadInput
from app.domain.quantities import parse_duration
from app.domain.text import file_fault
from app.policy.load import load_dir
from app.policy.written import read_one
from app.policytools.backtest import Replay
from app.policytools.backtest_known import Assumptions
from app.policytools.backtest_records import Heard, Reading, micros, read_lines
from app.policytools.backtest_report import Backtest, limits_hit
from app.policytools.backtest_text import report_json, report_lines
from app.policytools.cases import parse_instant
from remediations import CATALOGUE

_TOLD_EACH = 100

Alerts = Annotated[
    list[Path],
    typer.Option(
        "--alerts",
        metavar="FILE",
        help="Recorded alerts, oldest first: JSON lines of alerts, of Alertmanager bodies, or `audit export`. Repeatable.",
    ),
]
Assume = Annotated[
    Path | None,
    typer.Option(
        "--assume", metavar="FILE", help="YAML: cluster, step, run, fixed, answers, level; see the docs."
    ),
]
FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="LIMIT",
        help="Exit 1 on new-auto[:NAMESPACE-PATTERN] or more-actions-than:NUMBER. Repeatable.",
    ),
]


def backtest(
    alerts: Alerts,
    policy: Annotated[
        Path,
        typer.Option("--policy", metavar="DIR", envvar="REMEDIATOR_POLICY_DIR", help="The policy to try."),
    ] = Path("policies"),
    against: Annotated[
        Path | None, typer.Option("--against", metavar="DIR", help="The policy to compare it with.")
    ] = None,
    assume: Assume = None,
    run: Annotated[str, typer.Option("--run", help="How long a run takes, e.g. 5m.")] = "",
    not_fixed: Annotated[bool, typer.Option("--not-fixed", help="Assume that no run helps.")] = False,
    since: Annotated[str, typer.Option("--since", help="Only alerts heard from this instant on.")] = "",
    until: Annotated[str, typer.Option("--until", help="Only alerts heard before this instant.")] = "",
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:
    """What a policy would have done about recorded alerts: acted, asked, blocked (by which gate), observed. Exit 1 when a
    limit of --fail-on is hit."""
    assumed = _assumptions(assume, run, not_fixed=not_fixed)
    old = None if against is None else Replay(load_dir(against, CATALOGUE), CATALOGUE, assumed)
    test = Backtest(Replay(load_dir(policy, CATALOGUE), CATALOGUE, assumed), old)
    limits_hit(test, fail_on or [])  # a limit that is none is told before the work
    reading = Reading()
    start, end = _micros("--since", since, 0), _micros("--until", until, sys.maxsize)
    with progress("bytes", _bytes(alerts), quiet=as_json) as told:
        read = Read(told)
        for record in merge(*(_records(f, reading, read) for f in alerts), key=lambda r: r.at):
            if start <= record.at < end:
                test.hear(record)
    if reading.lines and reading.unreadable == reading.lines:
        none = f"none of {reading.lines} lines can be read: {reading.faults[0]}"
        raise BadInput(none, code="bad_alerts", where=str(alerts[0]))
    hit = limits_hit(test, fail_on or [])
    if as_json:
        give(report_json(test, reading, hit))
    else:
        write_lines(report_lines(test, reading))
    for line in hit:
        say(f"limit hit: {line}")
    if hit:
        raise typer.Exit(1)


@dataclass(slots=True)
class Read:
    """How much was read of all files; told a few hundred times at most each second of work, as a replay takes a million lines."""

    told: Callable[[int], None]
    taken: int = 0
    lines: int = 0

    def counted(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The same lines."""
        for line in lines:
            self.taken += len(line)
            self.lines += 1
            if self.lines % _TOLD_EACH == 0:
                self.told(self.taken)
            yield line


def _bytes(files: Sequence[Path]) -> int | None:
    """The size of all files; None where one has none before it is read, such as a pipe."""
    sizes = [file.stat().st_size if file.is_file() else 0 for file in files]
    return sum(sizes) if all(sizes) else None


def _records(file: Path, reading: Reading, read: Read) -> Iterator[Heard]:
    try:
        with file.open("rb") as lines:
            yield from read_lines(file.name, read.counted(lines), reading)
    except OSError as error:
        raise BadInput(
            f"cannot read the alerts: {file_fault(error)}", code="bad_alerts", where=str(file)
        ) from error


def _assumptions(file: Path | None, run: str, *, not_fixed: bool) -> Assumptions:
    assumed = Assumptions()
    if file is not None:
        try:
            assumed = read_one(Assumptions, file.name, file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(
                f"cannot read the assumptions: {file_fault(error)}", code="bad_assumptions", where=str(file)
            ) from error
    if run:
        assumed = assumed.model_copy(update={"run": span_of("--run", run)})
    return assumed.model_copy(update={"fixed": False}) if not_fixed else assumed


def span_of(option: str, text: str) -> timedelta:
    """The duration of an option. Raises BadInput that names it."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadInput(str(error), code="bad_option", where=option) from error


def instant_of(option: str, text: str) -> datetime | None:
    """The instant of an option, None when it is not given. Raises BadInput that names it."""
    try:
        return parse_instant(text) if text else None
    except ValueError as error:
        raise BadInput(str(error), code="bad_option", where=option) from error


def _micros(option: str, text: str, default: int) -> int:
    at = instant_of(option, text)
    return default if at is None else micros(at)
