"""Owns how long corpora are tried: many rows to a test, for each test costs more than most of its rows. Names no row; a test tells those
that fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row")


def in_batches(rows: Sequence[Row], size: int = 50) -> list[list[Row]]:
    """All rows in their order, `size` to a batch."""
    return [list(rows[first : first + size]) for first in range(0, len(rows), size)]
