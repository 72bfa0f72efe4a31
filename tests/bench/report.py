"""Owns what a bench hands back: measures with units, limits and whether they hold, as a table and as JSON."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Scale:
    """How much to measure. `tiny` only shows that a bench runs and names its limits: its numbers are not judged. `quick` fills less."""

    quick: bool = False
    tiny: bool = False

    def of(self, full: int, quick: int, tiny: int) -> int:
        """The count for this scale."""
        return tiny if self.tiny else quick if self.quick else full


@dataclass(frozen=True)
class Measure:
    """One number. `limit` is what it is held against, empty for numbers that only explain; `ok` None: not judged. What is
    `missing` was not measured, and `note` says why: it has a row all the same, so that nobody takes it for held."""

    bench: str
    name: str
    value: float
    unit: str
    limit: str = ""
    ok: bool | None = None
    note: str = ""
    missing: bool = False


def at_least(measure: Measure, limit: float, scale: Scale) -> Measure:
    """Held against a lower limit."""
    return _held(measure, f">= {limit:g}", scale, ok=measure.value >= limit)


def below(measure: Measure, limit: float, scale: Scale) -> Measure:
    """Held against an upper limit."""
    return _held(measure, f"< {limit:g}", scale, ok=measure.value < limit)


def _held(measure: Measure, limit: str, scale: Scale, *, ok: bool) -> Measure:
    return replace(measure, limit=limit, ok=None if scale.tiny or measure.missing else ok)


def left_out(bench: str, name: str, why: str) -> Measure:
    """A measure that could not be taken here."""
    return Measure(bench, name, 0.0, "", note=why, missing=True)


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


def resident(pid: int | str, field: str = "VmRSS") -> float:
    """Resident memory of a process now (VmRSS) or at most so far (VmHWM), in MiB. Raises OSError or StopIteration once it has ended."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    line = next(x for x in status.splitlines() if x.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


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
        number = f"{m.value:,.0f}" if m.value >= 10_000 else f"{m.value:,.4g}"
        value = "-" if m.missing else f"{number} {m.unit}"
        table.add_row(m.bench, m.name, value, m.limit, "LEFT OUT" if m.missing else words[m.ok], m.note)
    console.print(table)


def as_json(measures: Sequence[Measure]) -> dict[str, Any]:
    """For files."""
    return {
        "processors": os.cpu_count(),
        "load_per_processor": round(busy(), 2),
        "measures": [{**asdict(m), "value": None if m.missing else m.value} for m in measures],
    }
