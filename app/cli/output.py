"""How commands print: data to stdout (a table for people, JSON for scripts), talk to stderr.

Foreign text (alert names, reasons) never reaches the terminal as control codes, and nothing is ever cut: people copy ids.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import typer

from app.domain.text import visible as escaped

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def say(text: str) -> None:
    """Talk: to stderr, one line."""
    sys.stderr.write(visible(text) + "\n")


def give(data: Any) -> None:
    """Data as JSON on stdout."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=True) + "\n")


def write(text: str) -> None:
    """Data as text on stdout."""
    sys.stdout.write(visible(text) + "\n")


def write_lines(lines: Iterable[str]) -> None:
    """Each on a line of its own: what a stranger wrote into one of them begins no other."""
    for line in lines:
        write(" ".join(line.splitlines()))


@contextmanager
def progress(text: str, total: int | None, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """How far long work has come: a bar on stderr that goes again, where a person looks at it, never in a file, in a pipe or beside JSON. Gives
    what is to be called with how much is done of `total`, from whichever thread."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done: None
        return
    # Not at the top: a command that takes no time does without it.
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.update(task, completed=done)


def counted(items: Iterable[T], told: Callable[[int], None]) -> Iterator[T]:
    """The same items, while it is told how many were taken."""
    for number, item in enumerate(items, 1):
        yield item
        told(number)


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a table on stdout: one line a row, no colour, no cell cut."""
    cells = [list(columns)] + [["" if row.get(c) is None else str(row[c]) for c in columns] for row in rows]
    shown = [[visible(cell).replace("\n", " ") for cell in row] for row in cells]
    widths = [max(len(row[i]) for row in shown) for i in range(len(columns))]
    for row in shown:
        write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def visible(text: str) -> str:
    """With what nobody sees or no font has written out, line ends and tabs aside."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in escaped(text))
