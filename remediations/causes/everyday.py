"""What of the errors began with the trouble: lines that were there before it at a like rate, or that name a Service which has been away for
longer, are not told as its cause. Nobody can tell that they are none: what is set aside is told, and asked about. And what is told of Services without a ready pod that errors name.

Called by `investigate.errors_of` where there is something to judge. Reads earlier parts of logs, bounded. Raw lines do not leave here."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from app.domain.accusing import Sign
from app.domain.cluster import Cluster, LogQuery
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Finding
from app.domain.json import JsonValue
from app.domain.remediation import Scene
from app.domain.text import beside
from app.domain.workload import Pod
from remediations.causes.changes import STAMP
from remediations.causes.compared import is_little, of_telemetry
from remediations.causes.model import Neighbour
from remediations.causes.neighbours import lacking
from remediations.evidence.error_lines import errors_in, first_time, normalise, said_in
from remediations.evidence.logs import ErrorGroup, ErrorLog
from remediations.evidence.natures import may_tell, slow_query
from remediations.evidence.pods import enough
from remediations.evidence.usage import count, short

_BEFORE, _CLEAR = timedelta(minutes=60), timedelta(minutes=10)
"""From when to when before the alert is looked: the trouble began before it fired, by what its rule waits."""
_LEAST = timedelta(minutes=15)
"""A log that covers less of that tells nothing: what stands in half a minute of a talkative program is no rate of an hour."""
_DAY, _WAITED = timedelta(hours=24), timedelta(hours=3)
"""A rule may wait for an hour and longer (`for:`), and then the time before the alert is the trouble's own. What began in between is known from
the beginning of the logs of a day, as far as they lie so long before the alert."""
_SURELY = 4.0
"""So many lines would stand there, had they been as frequent; of fewer nobody can tell."""
_LATE = timedelta(minutes=2)
MAX_PODS, MAX_LOGS, MAX_BYTES = 6, 12, 128 * 1024
MAX_EARLY = 3
_LIKE, _MORE = 2.0, 3
"""So many times as often, and so many lines more, is a like rate."""
_MAINLY = 0.5
_LONG = timedelta(hours=6)
"""Who has been away for so long before the alert did not bring it, also where no log tells of the time before."""

Read = Callable[[Mapping[int, float]], Awaitable[ErrorLog]]
"""Reads the log once more, without errors of which there are not more than these, by their mark."""


async def judged(
    scene: Scene,
    pods: Sequence[Pod],
    log: ErrorLog,
    named: Sequence[Neighbour],
    read: Read,
    *,
    older: Mapping[int, float] | None,
) -> tuple[ErrorLog, list[Finding]]:
    """The log without what is not told as the cause, which it tells as set aside, and findings of the Services that it names. `older`: a release of lately may
    have brought it, and its pods' logs tell of no time before: what pods of an older revision have as often. None without a release."""
    away = [n for n in named if n.exists and not n.ready]
    usual, known, daily = (
        await _usual(scene, pods, log) if older is None else (older, False, frozenset[int]())
    )
    # Where the time before tells, a line that was not there is news, whoever it names.
    old = [] if known else [n for n in away if n.since is not None and n.since < scene.fired_at - _LONG]
    most = {g.mark: math.inf for g in (*log.groups, *log.warned) if any(n.named_in(g.said) for n in old)}
    if older is not None and all(g.mark in most for g in log.groups):
        most = {}  # what a release asks for the first time may have been away before
    if any(_within(g, usual) or g.mark in most for g in (*log.groups, *log.warned)):
        whole, log = log, await read({**usual, **most})
        kept = {g.mark for g in (*log.groups, *log.warned)}
        gone = tuple(g for g in (*whole.groups, *whole.warned) if g.mark not in kept)
        every = whole.errors + sum(g.count for g in whole.warned)
        left_out = every - log.errors - sum(g.count for g in log.warned)
        log = replace(log, everyday=gone, set_aside=left_out, aside=_aside(scene, left_out, gone, old))
        if older and not old:
            aside = f"{_of(left_out, gone)}: {_without_it(gone)}"
            of_requests = sum(g.count for g in gone if not of_telemetry(g))
            if _fails_nothing(gone) and log.accuse is Sign.OWN and not is_little(log.errors, log.errors + of_requests):  # fmt: skip
                left_out = 0
                aside = f"{aside.removeprefix(_UNTOLD)}, and not counted"
            log = replace(log, set_aside=left_out, aside=aside)
        if gone and all(g.mark in daily and _hung_up(g.said) for g in gone) and not old:
            example = short(gone[0].example, 100)
            log = replace(
                log,
                set_aside=0,
                aside=f'{count(left_out, "line")} like "{example}" not counted: {_EVERY_DAY}',
            )
    down = [_told(scene, n, log) for n in away]
    down += [f for n in named if n.ready and n.changed and (f := _changed(n, log)) is not None]
    if any("healthy" in f.data for f in down):
        return log, down
    return log, [*down, *await _behind(scene, named, log)]


def _aside(scene: Scene, lines: int, gone: Sequence[ErrorGroup], old: Sequence[Neighbour]) -> str:
    """Which lines were set aside and why, and that this proves nothing: a trouble may be older than its alert, and what is off may be asked
    for only now."""
    of_old = [n for n in old if any(n.named_in(g.said) for g in gone)]
    before = not of_old or any(not any(n.named_in(g.said) for n in of_old) for g in gone)
    why = [
        f"about Service {n.name}, which has no ready pod ({n.state}): {n.since_when(scene.now)}"
        for n in of_old
    ]
    why += ["written before the alert as well"] * before
    return f"{_of(lines, gone)}, {'; '.join(why)}"


def _without_it(gone: Sequence[ErrorGroup]) -> str:
    sent = all(map(of_telemetry, gone))
    return "telemetry that could not be sent" if sent else "pods of an older revision have them as often"


def _fails_nothing(gone: Sequence[ErrorGroup]) -> bool:
    """Whether none of these accuses anybody whom a request needs: where older pods have them as often and a fault of the program is the newest's alone,
    nothing is left to ask about them."""
    return all(g.sign is not Sign.OTHERS or of_telemetry(g) for g in gone)


_UNTOLD = "not taken for the cause, and nobody can tell: "


def _of(lines: int, gone: Sequence[ErrorGroup]) -> str:
    like = f' like "{short(gone[0].example, 100)}"' if gone else ""
    return f"{_UNTOLD}{count(lines, 'line')}{like}"


async def _behind(scene: Scene, named: Sequence[Neighbour], log: ErrorLog) -> list[Finding]:
    still = [n for n in named if n.ready and any(n.named_in(g.said) for g in log.groups)]
    try:
        return await lacking(scene, still, log.window)
    except (ClusterRefused, TryLater):
        return []  # optional: without it nothing is known of neighbours


def _told(scene: Scene, away: Neighbour, log: ErrorLog) -> Finding:
    """A failed dependency where it fits in time and most errors that accuse somebody name it; else a note, which is a question (`asks`)
    where it may have to do with it."""
    text = f"{away.name}: Service {away.name} has no ready pod ({away.state})"
    fits = away.fits(scene.fired_at)
    lines, warned = (sum(g.count for g in gs if away.named_in(g.said)) for gs in (log.groups, log.warned))
    if fits and lines and lines >= _MAINLY * (log.errors - log.unclear):
        data: dict[str, JsonValue] = {"name": away.name, "kind": "service", "healthy": False}
        return Finding(f"dependency.{away.name}", text, data=data)
    if fits is not True:
        text = f"{text}; {away.since_when(scene.now)}, so that it is not told as the cause"
    asks, every = "", log.errors + sum(g.count for g in log.warned)
    # Away for longer it may be asked for only now: that lowers a refusal to a question, and to no more.
    if enough(lines + warned, every):
        asks = f"whether {away.name} has to do with it is not known: {text} and {count(lines + warned, 'line')} of {every:,} name it"
    return Finding(f"neighbour.{away.name}", text, data={"name": away.name, "asks": asks})


def _changed(near: Neighbour, log: ErrorLog) -> Finding | None:
    """What was changed lately of a Service with ready pods that errors name: it may have brought them, and a release of ours as well."""
    lines = sum(g.count for g in (*log.groups, *log.warned) if near.named_in(g.said))
    every = log.errors + sum(g.count for g in log.warned)
    if not lines:
        return None
    text, asks = f"{near.name}, which errors name: {near.changed}", ""
    if enough(lines, every):
        asks = f"whether {near.name} has to do with it is not known: {near.changed}, and {count(lines, 'line')} of {every:,} name it"
    data: dict[str, JsonValue] = {"name": near.name, "asks": asks, "changed": near.changed}
    return Finding(f"neighbour.{near.name}", text, data=data)


# What was there before.


@dataclass(frozen=True, slots=True)
class _Look:
    """What one container wrote in the time before: how often each line, by its mark, in which third of that time, and for how long."""

    counts: Counter[tuple[int, int]]
    seconds: float
    cut: bool


def _within(group: ErrorGroup, most: Mapping[int, float]) -> bool:
    return group.count <= most.get(group.mark, -1)


async def _usual(
    scene: Scene, pods: Sequence[Pod], log: ErrorLog
) -> tuple[Mapping[int, float], bool, frozenset[int]]:
    """How many of each line may be in the window and are as many as before the trouble, by its mark: of what was there from the beginning of
    the time before on; whether all of that time is known; and of which there were as many long before, while no alert fired. Only pods that ran
    through it tell."""
    start, end = scene.fired_at - _BEFORE, scene.fired_at - _CLEAR
    chosen = [p for p in pods if p.created_at <= start and not p.over and p.name in log.read][:MAX_PODS]
    queries = [q for p in chosen for q in _queries(p, start, scene.now)][:MAX_LOGS]
    found = await asyncio.gather(*(_look(scene.cluster, q, start, end) for q in queries))
    early = await _early(scene, chosen) if any(found) else []
    looks = [look for look in found if look is not None]
    if not looks:
        return {}, False, frozenset()
    # A pod's containers run at the same time.
    seconds = sum(look.seconds for look in looks) * len(chosen) / max(len(looks), len(chosen))
    counts = sum((look.counts for look in looks), Counter[tuple[int, int]]())
    exposure = log.pods * (log.seconds or log.window)
    usual: dict[int, float] = {}
    daily: set[int] = set()
    well = _was_well(scene)
    for mark in {mark for mark, _ in counts}:
        thirds = [counts[mark, third] for third in range(3)]
        total = sum(thirds)
        steady = total >= 2 and thirds[0] >= max(1, total / 6)
        if steady and not _began(early, mark, total / seconds):
            usual[mark] = _LIKE * total / seconds * exposure + _MORE
            if well and _stood(early, mark) >= max(_SURELY, total / seconds * _length(early) / _LIKE):
                daily.add(mark)
    return usual, not any(look.cut for look in looks), frozenset(daily)


_EVERY_DAY = "clients that hung up, as often as hours before, when no alert fired"
_OF_CLIENTS = re.compile(
    r"ClientAbortException|while reading client request|client (?:prematurely )?closed connection|write response\b.{0,120}(?:broken pipe|connection reset)",
    re.IGNORECASE,
)
_OF_MORE = re.compile(
    r"upstream|time[d-]? ?out|refused|pool|memory|exhaust|too many|unavailable|database|redis", re.IGNORECASE
)


def _hung_up(said: str) -> bool:
    """Whether it tells that somebody who asked us went away, and of nothing that we need: no dependency, no pool and no memory."""
    return _OF_CLIENTS.search(said) is not None and _OF_MORE.search(said) is None


def _was_well(scene: Scene) -> bool:
    """Whether in the day before, as far as it is no trouble of now, every alert would have been heard, and none of the target fired."""
    start, end = scene.fired_at - _DAY, scene.fired_at - _WAITED
    heard = any(begin <= start and end <= until for begin, until in scene.history.watched or ())
    return heard and not any(a.fired_in(start, end, 0.0) for a in scene.history.alerts)


def _stood(early: Sequence[_Look], mark: int) -> int:
    return sum(look.counts[mark, third] for look in early for third in range(3))


def _length(early: Sequence[_Look]) -> float:
    return sum(look.seconds for look in early)


async def _early(scene: Scene, pods: Sequence[Pod]) -> list[_Look]:
    """The beginning of the logs of a day, of pods that ran then."""
    start, end = scene.fired_at - _DAY, scene.fired_at - _WAITED
    queries = [q for p in pods for q in _queries(p, start, scene.now, until=end)][:MAX_EARLY]
    found = await asyncio.gather(*(_look(scene.cluster, q, start, end) for q in queries))
    return [look for look in found if look is not None]


def _began(early: Sequence[_Look], mark: int, rate: float) -> bool:
    """Whether a line of which there were so many a second in the hour before the alert was not there, or far less often, long before: then
    it began with something, and is no noise of every day."""
    wanted = rate * _length(early)
    return wanted >= _SURELY and _stood(early, mark) < wanted / (2 * _LIKE)


def _queries(pod: Pod, start: datetime, now: datetime, until: datetime | None = None) -> Iterator[LogQuery]:
    """Of the containers that ran at `start`, or by `until`."""
    since = round((now - start).total_seconds())
    for state in pod.containers:
        if state.running_since is not None and state.running_since <= (until or start) and not state.first:
            yield LogQuery(
                pod.ref.namespace, pod.name, state.name, since_seconds=since, tail_lines=None, limit_bytes=MAX_BYTES, timestamps=True
            )  # fmt: skip


async def _look(cluster: Cluster, query: LogQuery, start: datetime, end: datetime) -> _Look | None:
    """None where the log cannot be read, or tells of too little of that time."""
    try:
        text = await cluster.logs(query)
    except (ClusterRefused, TryLater):
        return None
    return await beside(len(text), partial(_counted, text, start, end))


def _counted(text: str, start: datetime, end: datetime) -> _Look | None:
    cut = len(text.encode()) >= 0.99 * MAX_BYTES
    rows = text.splitlines()[: -1 if cut else None]
    timed = [(at, STAMP.sub("", row)) for row in rows if (at := first_time(row[:40])) is not None]
    inside = [(at, row) for at, row in timed if start - _LATE <= at < end]
    if not inside:
        return None
    first, last = inside[0][0], inside[-1][0] if cut and len(inside) == len(timed) else end
    length = last - first
    if length < _LEAST:
        return None
    counts: Counter[tuple[int, int]] = Counter()
    for at, mark in _marks(inside):
        counts[mark, min(2, int(3 * ((at - first) / length)))] += 1
    return _Look(counts, max(1.0, length.total_seconds()), cut)


def _marks(rows: Sequence[tuple[datetime, str]]) -> Iterator[tuple[datetime, int]]:
    """The marks of what the lines report, as `logs` makes them."""
    now = [rows[0][0]]

    def told() -> Iterator[str]:
        for at, row in rows:
            yield row
            now.append(at)

    for error in errors_in(told()):
        yield now[-1], hash(error.key)
    for at, row in rows:
        if (may_tell(row) or slow_query(row)) and next(errors_in([row]), None) is None:
            yield at, hash(normalise(said_in(row)))
