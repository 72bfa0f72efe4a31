"""Owns the corpus: one file a target, one input a line as a Python bytes literal, so that a diff of it can be read."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
LONGEST = 1_024
MAX_INPUTS = 60


def read(name: str) -> list[bytes]:
    """The inputs that are kept for this target."""
    file = FOLDER / f"{name}.txt"
    if not file.exists():
        return []
    return [ast.literal_eval(line) for line in file.read_text("ascii").splitlines() if line]


def write(name: str, inputs: Iterable[bytes]) -> None:
    """Keep at most MAX_INPUTS inputs of at most LONGEST bytes, the short ones first."""
    kept = sorted({i for i in inputs if 0 < len(i) <= LONGEST}, key=lambda i: (len(i), i))[:MAX_INPUTS]
    (FOLDER / f"{name}.txt").write_text("".join(f"{one!r}\n" for one in kept), "ascii")
