"""Owns what a bench hands back: measures with units, limits and whether they hold, as a table and as JSON."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Scale:
    """How much to measure. `tiny` only shows that a bench runs, so its numbers are not judged; `quick` fills less."""

    quick: bool = False
    tiny: bool = False

    def of(self, full: int, quick: int, tiny: int) -> int:
        """The count for this scale."""
        return tiny if self.tiny else quick if self.quick else full


@dataclass(frozen=True)
class Measure:
    """One number. `limit` is what it is held against, empty for numbers that only explain; `ok` None: not judged."""

    bench: str
    name: str
    value: float
    unit: str
    limit: str = ""
    ok: bool | None = None
    note: str = ""


def at_least(measure: Measure, limit: float) -> Measure:
    """Held against a lower limit."""
    return _held(measure, f">= {limit:g}", ok=measure.value >= limit)


def below(measure: Measure, limit: float) -> Measure:
    """Held against an upper limit."""
    return _held(measure, f"< {limit:g}", ok=measure.value < limit)


def _held(measure: Measure, limit: str, *, ok: bool) -> Measure:
    return Measure(measure.bench, measure.name, measure.value, measure.unit, limit, ok, measure.note)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed (nearest rank). Raises ValueError for no values."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def busy() -> float:
    """Work that waited for a processor during the last minute, in processors: above 1 the numbers are too high."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, in seconds: what a busy machine disturbs least."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(measures: Sequence[Measure], console: Console) -> None:
    """Print the table."""
    table = Table(title=f"{os.cpu_count()} processors, load {busy():.1f} each", title_justify="left")
    for name in ("bench", "measure"):
        table.add_column(name)
    for name in ("value", "limit"):
        table.add_column(name, justify="right")
    for name in ("", "note"):
        table.add_column(name)
    words = {True: "ok", False: "MISSED", None: ""}
    for m in measures:
        table.add_row(m.bench, m.name, f"{m.value:,.4g} {m.unit}", m.limit, words[m.ok], m.note)
    console.print(table)


def as_json(measures: Sequence[Measure]) -> dict[str, Any]:
    """For files."""
    return {
        "processors": os.cpu_count(),
        "load_per_processor": round(busy(), 2),
        "measures": [asdict(m) for m in measures],
    }
