"""Whether the errors in the logs are over: a window of five minutes is no picture of the present, and what fired on it fires on after its cause is gone.

They have ended in a pod where it goes on logging without them for far longer than they were apart. Called by the handlers. Reads the logs of the pods that have
them once more with the kubelet's times, bounded, and what Prometheus has of the same minutes. Raw lines do not leave here."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

from app.domain.cluster import LogQuery
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Finding
from app.domain.remediation import Scene
from app.domain.text import beside
from app.domain.workload import ContainerState, Pod
from remediations.causes.changes import STAMP
from remediations.evidence.error_lines import entries_in, first_time
from remediations.evidence.logs import POD_BYTES, ErrorLog
from remediations.evidence.natures import may_tell, own_answer
from remediations.evidence.usage import count, percent, short, span
from remediations.shared import aim

ENDED = "errors.ended"
MAX_LOGS = 12
_LEAST = 30.0
"""Seconds without an error, below which nothing has ended, however often it came."""
_TELLS = 5.0
"""So many of them would stand there, were they as frequent still; of fewer nobody can tell."""
_PAUSES = 2.0
"""So many times as long as their longest pause they have to be away: what comes in bursts comes again."""
_FEW = 3
"""Of fewer errors nobody knows how often they come; so few lines are no logging that goes on, and no answers that fail."""
_GOES_ON = 0.25
"""Part of its other lines, by time, that a pod has to go on writing: one that nobody asks any more writes no errors either."""
_STALE = 60.0
_FAILS = 500
_AT_ONCE = timedelta(seconds=15)
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Stream:
    """What one container wrote: when its errors were, how many other lines there were before `quiet`, for how many seconds, and since. `quiet` is the last error, or when it
    was started anew without one; `newest` is its last line, `failing` are answers and warnings since then that tell of a failure all the same. `longer`: its
    errors were there before what was read."""

    pod: str
    errors: Sequence[datetime]
    quiet: datetime
    newest: datetime
    before: int = 0
    seconds: float = 0.0
    after: int = 0
    failing: int = 0
    longer: bool = False

    @property
    def silent(self) -> float:
        """Seconds without an error up to its last line."""
        return (self.newest - self.quiet).total_seconds()


@dataclass(frozen=True, slots=True)
class Ending:
    """The pods that had the errors and have none any more, by for how many seconds; `going`: those of which that is not so, or not known. `since`: the
    lines that the first ones have written since. `lasted`: how many seconds there were errors, without end where they were there
    before what was read."""

    over: Mapping[str, float]
    going: frozenset[str]
    since: int
    lasted: float

    @property
    def seconds(self) -> float:
        """For how long none of the pods has had an error; 0 where one of them has them."""
        return min(self.over.values()) if self.over and not self.going else 0.0


def ending_of(streams: Sequence[Stream], now: datetime) -> Ending:
    """By pod: one that has two containers with errors has ended with the later of them."""
    every = sorted(at for s in streams for at in s.errors)
    over = dict[str, float]()
    going = {s.pod for s in streams if not _ended(s, every, len(streams), now)}
    for stream in streams:
        if stream.pod not in going:
            over[stream.pod] = min(stream.silent, over.get(stream.pod, stream.silent))
    lasted = (every[-1] - every[0]).total_seconds() if every else 0.0
    lasted = math.inf if any(s.longer for s in streams) else lasted
    return Ending(over, frozenset(going), sum(s.after for s in streams if s.pod in over), lasted)


def _ended(stream: Stream, every: Sequence[datetime], streams: int, now: datetime) -> bool:
    """Whether a container's errors are over. Who has few of them is measured by how often all have them."""
    if len(every) < _FEW:
        return False
    few = len(stream.errors) < _FEW
    times, of = (every, streams) if few else (stream.errors, 1)
    rate = (len(times) - 1) / max(1.0, (times[-1] - times[0]).total_seconds()) / of
    pause = max((b - a).total_seconds() for a, b in pairwise(times))
    silent = stream.silent
    if silent < max(_LEAST, _PAUSES * pause) or silent * rate < _TELLS:
        return False
    usual = stream.before / stream.seconds if stream.seconds else 0.0
    goes_on = stream.after >= max(_FEW, _GOES_ON * usual * silent)
    stale = (now - stream.newest).total_seconds() > max(_STALE, silent)
    return goes_on and not stale and stream.failing < _FEW


async def ended_finding(scene: Scene, log: ErrorLog, pods: Sequence[Pod], query: str = "") -> Finding | None:
    """The finding `errors.ended`; None where no pod has ended with its errors. Data: `over` (no pod has them any more, and `query`, the share of requests that
    fail, does not say otherwise), `text`, and `asks` (why only a person may say what they tell of now)."""
    ending = ending_of(await _streams(scene, log, pods), scene.now)
    if not ending.over:
        return None
    have, go = ("has", "goes") if len(ending.over) == 1 else ("have", "go")
    if ending.going:
        least = span(min(ending.over.values()))
        text = f"{_names(ending.over)} {have} had none of the errors for {least} and {go} on logging; {_names(ending.going)} may have them still"
        return _found(text, asks=text)
    like = f' like "{short(log.top.example, 100)}"' if log.top is not None else ""
    text = (
        f"the errors{like} ended {span(ending.seconds)} ago: {count(len(ending.over), 'pod')} that had them {have} written "
        f"{count(ending.since, 'line')} without one since"
    )
    measured = await _measured(scene, query, ending)
    if measured is None:
        return _found(text)
    text += f"; {percent(measured[0])} of the requests failed by then, {percent(measured[1])} by now"
    return _found(
        text, asks=f"{text}, which is more than such an end leaves" if _stays(*measured, ending) else ""
    )


def _found(text: str, *, asks: str = "") -> Finding:
    return Finding(ENDED, text[:1].upper() + text[1:], data={"over": not asks, "asks": asks, "text": text})


def _names(pods: Mapping[str, float] | frozenset[str]) -> str:
    names = sorted(pods)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{'pod' if len(names) == 1 else 'pods'} {', '.join(names[:_NAMED])}{more}"


# Reading.


async def _streams(scene: Scene, log: ErrorLog, pods: Sequence[Pod]) -> list[Stream]:
    """What the containers that have the errors wrote; nothing where some could not be read. A pod that has ended writes nothing any more."""
    chosen = [
        (p, name)
        for p in pods
        if not p.over
        for name in sorted(frozenset[str]().union(*(g.containers for g in log.groups if p.name in g.names)))
    ]
    if len(chosen) > MAX_LOGS or log.unreadable or log.left_out:
        return []
    found = await asyncio.gather(*(_stream(scene, log, p, name) for p, name in chosen))
    unknown = [Stream(p.name, (), scene.now, scene.now) for p, _ in chosen]
    return [one or none for one, none in zip(found, unknown, strict=True)]


async def _stream(scene: Scene, log: ErrorLog, pod: Pod, name: str) -> Stream | None:
    """None where it cannot be read to its end, or has no times; who is not ready serves no more."""
    state = next((c for c in pod.containers if c.name == name), None)
    if not pod.ready or state is None or state.running_since is None:
        return None
    query = LogQuery(
        pod.ref.namespace, pod.name, name, since_seconds=round(log.window), limit_bytes=POD_BYTES, timestamps=True
    )  # fmt: skip
    try:
        text = await scene.cluster.logs(query)
    except (ClusterRefused, TryLater):
        return None
    if len(text.encode()) >= 0.99 * POD_BYTES:
        return None
    reaches = scene.now - timedelta(seconds=log.window)
    return await beside(len(text), partial(_read, pod.name, state, text, log, reaches))


def _read(pod: str, state: ContainerState, text: str, log: ErrorLog, reaches: datetime) -> Stream | None:
    rows = [(first_time(row[:40]), row) for row in text.splitlines()]
    timed = [at for at, _ in rows if at is not None]
    if not timed:
        return None
    aside = {g.mark for g in log.everyday}
    entries = list(_entries(rows, timed[0]))
    errors = [at for at, _, mark in entries if mark is not None and mark not in aside]
    if not errors and not state.restarts:
        return None
    quiet = errors[-1] if errors else timed[0]
    before = [row for at, row, mark in entries if mark is None and at <= quiet]
    after = [row for at, row, mark in entries if mark is None and at > quiet]
    warned = bool(log.warned)
    failing = sum((own_answer(row) or 0) >= _FAILS or (warned and may_tell(row)) for row in after)
    ran = state.running_since is not None and state.running_since < reaches
    longer = ran and bool(errors) and errors[0] - timed[0] < _AT_ONCE
    seconds = (quiet - timed[0]).total_seconds()
    return Stream(pod, errors, quiet, timed[-1], len(before), seconds, len(after), failing, longer)


def _entries(
    rows: Sequence[tuple[datetime | None, str]], first: datetime
) -> Iterator[tuple[datetime, str, int | None]]:
    """Each entry with its time, what it says, and the mark of the error that it is. An error is known for one only with the line behind it."""
    times = [first, first]

    def told() -> Iterator[str]:
        for at, row in rows:
            times.append(at or times[-1])
            yield STAMP.sub("", row)
        times.append(times[-1])

    for entry in entries_in(told()):
        yield (times[-1], entry.text, None) if entry.plain else (times[-2], "", hash(entry.key))


# What is measured over minutes falls after the end, as what it counts leaves its window; what stays says that something goes on which no log tells.

_COUNTED_OVER = 300.0
_LAG = 60.0
"""So late a scrape and what follows from it show."""
_HALF, _NOISE = 0.5, 1.05
_STEP = 15.0


async def _measured(scene: Scene, query: str, ending: Ending) -> tuple[float, float] | None:
    """What a query had at most when the errors ended, which shows late, and has now; None where nobody knows."""
    if not query or scene.metrics is None:
        return None
    start = scene.now - timedelta(seconds=ending.seconds + _STEP)
    try:
        series = await scene.metrics.window(aim(query, scene.workload.target), start, scene.now, _STEP)
    except TryLater:
        return None
    samples = sorted((s for _, found in series for s in found), key=lambda s: s.at)
    shown = start + timedelta(seconds=_STEP + _LAG)
    then = max((s.value for s in samples if s.at <= shown), default=None)
    return (then, samples[-1].value) if then is not None else None


def _stays(then: float, now: float, ending: Ending) -> bool:
    """Whether it fell by less than half of what its window has lost since."""
    away = max(0.0, ending.seconds - _LAG)
    lasted = min(_COUNTED_OVER, ending.lasted)
    left = max(0.0, min(away + lasted, _COUNTED_OVER) - away) / max(1.0, lasted)
    return now > then * (_NOISE - _HALF * (1 - left))
