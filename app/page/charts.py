"""Charts of a run's verification: what its looks read, as lines that a template draws, with the same in words and numbers.

Called by `app.page.incident`. Pure: it computes places on a small canvas and never makes markup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.domain.units import counted, duration, say_memory
from app.domain.verification import READINGS, Reading
from app.store.runs import Run

WIDTH: Final = 600.0
HEIGHT: Final = 90.0
"""The canvas; a browser stretches it to the room there is."""
_EDGE: Final = 4.0
"""Room for a line's own breadth."""

Points = Sequence[tuple[datetime, float | None]]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line. `parts` are its stretches as `x,y x,y`, with a gap where nothing could be read; `dots` are readings that stand alone."""

    name: str
    parts: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart. `words` says in a sentence what it shows, `top` and `bottom` are the ends of its scale; `line` is the height of what was
    measured before the step; `rows` are the looks as numbers, in the order of `columns`."""

    title: str
    words: str
    top: str
    bottom: str
    curves: tuple[Curve, ...]
    line: float | None
    columns: tuple[str, ...]
    rows: tuple[tuple[datetime, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Charts:
    """The charts of one run, over the same time. `acted` are the places on the canvas at which it had done something."""

    run: str
    looks: int
    since: datetime
    until: datetime
    acted: tuple[float, ...]
    shown: tuple[Chart, ...]

    @property
    def looked(self) -> str:
        """How much is shown, in words."""
        return f"{counted(self.looks, 'look')} over {duration(self.until - self.since)}"


def charts_of(run: Run, acted: Sequence[datetime]) -> Charts | None:
    """What this run's looks read, `acted` being when its actions were done; None before two looks: one is no line."""
    readings = [Reading.from_json(one) for one in run.life.get(READINGS, ())]
    if len(readings) < 2:
        return None
    times = [r.at for r in readings]
    since, until = min(*times, *acted), max(times)
    across = _scale(since.timestamp(), until.timestamp(), _EDGE, WIDTH - _EDGE)
    found = (_symptom(run, readings, across), _replicas(readings, across), _memory(readings, across))
    shown = tuple(chart for chart in found if chart is not None)
    marks = tuple(round(across(at.timestamp()), 1) for at in acted if at <= until)
    return Charts(run.id, len(readings), since, until, marks, shown) if shown else None


def _symptom(run: Run, readings: Sequence[Reading], across: Callable[[float], float]) -> Chart | None:
    symptom = run.step.symptom
    if symptom is None or all(r.value is None for r in readings):
        return None
    points = [(r.at, r.value) for r in readings]
    before = f"{symptom.value:.3g} before the step"
    words = f"{before}, {_first_and_last(points, _number)}"
    return _chart(symptom.what, words, {"Measured": points}, across, _number, symptom.value)


def _replicas(readings: Sequence[Reading], across: Callable[[float], float]) -> Chart | None:
    ready = [(r.at, _float(r.ready)) for r in readings]
    wanted = [(r.at, _float(r.desired)) for r in readings]
    known = [r for r in readings if r.ready is not None]
    if not known:
        return None
    first, last = known[0], known[-1]
    words = f"{first.ready} of {first.desired} ready at the first look, {last.ready} of {last.desired} at the last"
    return _chart("Replicas", words, {"Ready": ready, "Wanted": wanted}, across, _number)


def _memory(readings: Sequence[Reading], across: Callable[[float], float]) -> Chart | None:
    if all(r.memory is None for r in readings):
        return None
    points = [(r.at, _float(r.memory)) for r in readings]
    say = _bytes
    return _chart("Memory of the fullest pod", _first_and_last(points, say), {"Memory": points}, across, say)


def _first_and_last(points: Points, say: Callable[[float], str]) -> str:
    known = [value for _, value in points if value is not None]
    return f"{say(known[0])} at the first look, {say(known[-1])} at the last"


def _chart(
    title: str,
    words: str,
    lines: dict[str, Points],
    across: Callable[[float], float],
    say: Callable[[float], str],
    before: float | None = None,
) -> Chart:
    values = [v for points in lines.values() for _, v in points if v is not None]
    most = max(values + ([] if before is None else [before]))
    least = min(0.0, *values)
    up = _scale(least, most, HEIGHT - _EDGE, _EDGE)
    curves = tuple(_curve(name, points, across, up) for name, points in lines.items())
    line = None if before is None else round(up(before), 1)
    times = [at for at, _ in next(iter(lines.values()))]
    rows = tuple(
        (at, tuple("not read" if (v := points[n][1]) is None else say(v) for points in lines.values()))
        for n, at in enumerate(times)
    )
    return Chart(title, words, say(most), say(least), curves, line, tuple(lines), rows)


def _curve(
    name: str, points: Points, across: Callable[[float], float], up: Callable[[float], float]
) -> Curve:
    stretches: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append((round(across(at.timestamp()), 1), round(up(value), 1)))
    parts = tuple(" ".join(f"{x},{y}" for x, y in one) for one in stretches if len(one) > 1)
    return Curve(name, parts, tuple(one[0] for one in stretches if len(one) == 1))


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From numbers between `low` and `high` to places; where there is no span all stand at the start."""
    span = high - low
    return lambda value: start + (end - start) * ((value - low) / span) if span > 0 else start


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)


def _number(value: float) -> str:
    return f"{value:.3g}"


def _bytes(value: float) -> str:
    return say_memory(round(value))
