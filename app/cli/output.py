"""How commands print: data to stdout (a table for people, JSON for scripts), talk to stderr.

Foreign text (alert names, reasons) never reaches the terminal as control codes, and nothing is ever cut: people copy ids.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

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


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a table on stdout: one line a row, no colour, no cell cut."""
    cells = [list(columns)] + [["" if row.get(c) is None else str(row[c]) for c in columns] for row in rows]
    shown = [[visible(cell).replace("\n", " ") for cell in row] for row in cells]
    widths = [max(len(row[i]) for row in shown) for i in range(len(columns))]
    for row in shown:
        write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def visible(text: str) -> str:
    """With control characters written out, line ends and tabs aside."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
