"""Error lines of a workload's pods, current and previous containers, grouped by type with counts.

The runbook's `kubectl logs ... | grep ERROR | sort | uniq -c | sort -rn`, bounded: so many pods, so many bytes a pod and
in all, so many groups. Called by the handlers. Shown lines have their secrets removed; raw lines do not leave here.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app.domain.cluster import Cluster, LogQuery
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue
from app.domain.redact import redact
from app.domain.text import bounded
from app.domain.workload import ContainerState, Pod
from remediations.evidence.error_lines import TOKENS, ErrorLine, Nature, errors_in, first_time
from remediations.evidence.units import count, short, span

MAX_PODS = 12
MAX_GROUPS = 5
MAX_KEYS = 500
POD_BYTES = 256 * 1024
TOTAL_BYTES = 2 * 1024 * 1024
_AT_ONCE = 4
_LONGEST_LINE = 500
_TURN = 16  # error lines that are sorted into groups before others have their turn


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors of one type that say the same. `example` is one of them as it was written, without secrets."""

    type: str
    key: str
    count: int
    nature: Nature
    first_seen: datetime | None
    pods: int
    example: str
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ErrorLog:
    """What the logs of the last `window` seconds hold. `unreadable` names containers whose log could not be read, `begins` is
    the time of the first line of any present container, None when no line tells one; `read` names the pods. `clean_at` is an
    earlier moment at which the logs had none of the most frequent errors although as many lines; None when nobody looked."""

    window: float
    pods: int
    lines: int
    errors: int
    groups: tuple[ErrorGroup, ...] = ()
    natures: Mapping[Nature, int] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    left_out: int = 0
    begins: datetime | None = None
    read: frozenset[str] = frozenset()
    clean_at: datetime | None = None

    @property
    def known(self) -> bool:
        """False when nothing could be read, so that "no errors" means nothing."""
        return self.lines > 0 or not self.unreadable

    @property
    def top(self) -> ErrorGroup | None:
        """The most frequent group."""
        return self.groups[0] if self.groups else None

    def share(self, nature: Nature) -> float:
        """Part of all errors that are of this nature."""
        return self.natures.get(nature, 0) / self.errors if self.errors else 0.0


@dataclass(frozen=True, slots=True)
class PodLog:
    """The log of one container, or why it could not be read. Raw: it is not shown."""

    pod: str
    container: str
    text: str = ""
    fault: str = ""
    previous: bool = False


@dataclass(frozen=True, slots=True)
class _Sorted:
    pod: str
    error: ErrorLine
    key: str
    nature: Nature


async def read_errors(
    cluster: Cluster, pods: Sequence[Pod], now: datetime, window: float, tokens: Sequence[str] = TOKENS
) -> ErrorLog:
    """Read and group the error lines of the `window` seconds before `now`, of at most MAX_PODS pods, broken first."""
    start = now - timedelta(seconds=window)
    chosen, reads = await read_logs(cluster, pods, window)
    found: list[tuple[str, ErrorLine]] = []
    for r in reads:
        for at, error in enumerate(errors_in(r.text.splitlines(), tokens)):
            if error.at is None or error.at >= start:
                found.append((r.pod, error))
            if at % _TURN == 0:
                await asyncio.sleep(0)  # thousands of lines a pod: let others have their turn in between
        await asyncio.sleep(0)
    sorted_in: list[_Sorted] = []
    for at, (pod, error) in enumerate(found):
        sorted_in.append(_Sorted(pod, error, error.key, error.nature))
        if at % _TURN == 0:
            await asyncio.sleep(0)
    return ErrorLog(
        window=window,
        pods=len(chosen),
        lines=sum(r.text.count("\n") + (not r.text.endswith("\n")) for r in reads if r.text),
        errors=len(found),
        groups=await _grouped(sorted_in),
        natures=Counter(s.nature for s in sorted_in),
        unreadable=tuple(f"{r.pod}/{r.container}: {r.fault}" for r in reads if r.fault),
        left_out=len(pods) - len(chosen),
        begins=min(
            (t for r in reads if not r.previous and (t := first_time(r.text)) and t >= start), default=None
        ),
        read=frozenset(p.name for p in chosen),
    )


async def read_logs(
    cluster: Cluster, pods: Sequence[Pod], window: float
) -> tuple[Sequence[Pod], Sequence[PodLog]]:
    """The logs of the last `window` seconds of at most MAX_PODS pods, broken first, and whose they are."""
    chosen = sorted(
        pods, key=lambda p: (p.ready, -max((c.restarts for c in p.containers), default=0), p.name)
    )
    chosen = chosen[:MAX_PODS]
    queries = [q for pod in chosen for q in _queries(pod, window)]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def read(query: LogQuery) -> PodLog:
        async with gate:
            return await _read(cluster, query)

    return chosen, _bounded(await asyncio.gather(*(read(q) for q in queries)))


def _queries(pod: Pod, window: float) -> Iterable[LogQuery]:
    states = {c.name: c for c in pod.containers}
    for spec in pod.specs:
        state = states.get(spec.name)
        if state is None or not _has_run(state):
            continue  # a container that never ran has no log; asking gives an error and not an empty text
        query = LogQuery(
            pod.ref.namespace,
            pod.name,
            spec.name,
            since_seconds=max(1, round(window)),
            limit_bytes=POD_BYTES,
        )
        yield query
        if state.restarts:
            # The previous run of a crashing container is what tells why, however long ago it began.
            yield replace(query, previous=True, since_seconds=None)


def _has_run(state: ContainerState) -> bool:
    running = not state.waiting and state.terminated is None
    return running or state.restarts > 0 or state.terminated is not None or state.last_terminated is not None


async def _read(cluster: Cluster, query: LogQuery) -> PodLog:
    try:
        return PodLog(query.pod, query.container, await cluster.logs(query), previous=query.previous)
    except (ClusterRefused, TryLater) as e:
        return PodLog(query.pod, query.container, fault=e.message)


def _bounded(reads: Sequence[PodLog]) -> list[PodLog]:
    kept, size = [], 0
    for read in reads:
        room = max(0, TOTAL_BYTES - size)
        size += len(read.text)
        kept.append(read if len(read.text) <= room else replace(read, text=read.text[-room:] if room else ""))
    return kept


async def last_words(cluster: Cluster, pod: Pod, container: str, tokens: Sequence[str] = TOKENS) -> str:
    """What a container said before it last ended: its last error, else its last line, without secrets; empty when it
    said nothing or could not be read (runbook, Pod Crash Loop: `kubectl logs --previous`, `--tail=100`)."""
    for previous in (True, False):
        query = LogQuery(pod.ref.namespace, pod.name, container, previous=previous, tail_lines=100)
        lines = (await _read(cluster, query)).text.splitlines()
        error = deque(errors_in(lines, tokens), maxlen=1)
        if error:
            return short(redact(_words(error[0])), 200)
        if said := next((line for line in reversed(lines) if line.strip()), ""):
            return short(redact(bounded(said, _LONGEST_LINE)), 200)
    return ""


async def _grouped(found: Iterable[_Sorted]) -> tuple[ErrorGroup, ...]:
    counts: Counter[str] = Counter()
    first: dict[str, ErrorLine] = {}
    times: dict[str, datetime] = {}
    pods: dict[str, set[str]] = {}
    for line in found:
        key, error = line.key, line.error
        if key not in first and len(first) >= MAX_KEYS:
            continue  # nothing groups any more; the frequent ones have been met by now
        counts[key] += 1
        first.setdefault(key, error)
        pods.setdefault(key, set()).add(line.pod)
        if error.at:
            times[key] = min(error.at, times.get(key, error.at))
    groups = []
    for key, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_GROUPS]:
        await asyncio.sleep(0)
        # Redacted first: what replaces the digits of a password would hide the password's form from `redact`.
        plain = replace(first[key], text=redact(first[key].text))
        group = ErrorGroup(
            type=plain.type,
            key=plain.key,
            count=number,
            nature=first[key].nature,
            first_seen=times.get(key),
            pods=len(pods[key]),
            names=frozenset(pods[key]),
            example=short(redact(_words(first[key])), 300),
        )
        groups.append(group)
    return tuple(groups)


def _words(error: ErrorLine) -> str:
    return f"{error.type}: {error.text}" if error.named and error.text else error.text or error.type


def errors_finding(log: ErrorLog) -> Finding:
    """The finding `errors.grouped`."""
    where = f"{count(log.pods, 'pod')}" + (f" ({log.left_out} more not read)" if log.left_out else "")
    data: dict[str, JsonValue] = {
        "errors": log.errors,
        "lines": log.lines,
        "pods": log.pods,
        "window_seconds": log.window,
        "unreadable": len(log.unreadable),
        "natures": {nature.value: number for nature, number in sorted(log.natures.items())},
        "groups": [
            {
                "type": g.type,
                "key": g.key,
                "count": g.count,
                "nature": g.nature.value,
                "first_seen": g.first_seen.isoformat() if g.first_seen else None,
                "pods": g.pods,
            }
            for g in log.groups
        ],
    }
    if not log.known:
        text = f"Logs of {where} could not be read ({short(log.unreadable[0], 150)})"
        return Finding("errors.grouped", text, Certainty.UNKNOWN, data, log.unreadable[:MAX_GROUPS])
    details = tuple(f"{g.count} x {g.example}" for g in log.groups)
    if log.top is None:
        text = f"No error lines in {span(log.window)} of logs of {where}"
    else:
        text = f"{count(log.errors, 'error line')} in {span(log.window)} on {where}, {top_error(log)}"
    if log.unreadable:
        text += f"; {count(len(log.unreadable), 'log')} could not be read"
    return Finding("errors.grouped", text, data=data, details=details)


def top_error(log: ErrorLog) -> str:
    """The most frequent error in words: `780 of them "OperationalError: connection refused"`."""
    if log.top is None:
        return "no error lines"
    who = "all" if log.top.count == log.errors else f"{log.top.count:,}"
    return f'{who} of them "{short(log.top.example, 120)}"'
