"""Error lines of a workload's pods, now and in an earlier part of their logs, grouped by type with counts.

The runbook's `kubectl logs ... | grep ERROR | sort | uniq -c | sort -rn`, bounded: so many pods, so many bytes a pod and in all,
so many groups. Called by the handlers. Shown lines have their secrets removed; raw lines do not leave here."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app.domain.accusing import Sign, accused, came_first
from app.domain.cluster import Cluster, LogQuery
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue
from app.domain.redact import REDACTED, redact, redact_lines
from app.domain.samples import sample
from app.domain.text import beside, bounded
from app.domain.workload import Pod
from remediations.evidence import natures as kinds
from remediations.evidence.error_lines import (
    TOKENS,
    Beginning,
    ErrorLine,
    errors_in,
    errors_with_lines,
    first_time,
    normalise,
    said_in,
    short_of_both,
    spanned,
)
from remediations.evidence.error_words import Nature
from remediations.evidence.natures import Said
from remediations.evidence.pods import log_queries
from remediations.evidence.usage import count, short, span
from remediations.evidence.used_up import LONG_QUERY, MEMORY_FULL, STALLED, USED_UP

_LONGEST_KEPT, MAX_PODS = 600, 12
MAX_GROUPS, MAX_KEYS = 5, 500
POD_BYTES = 256 * 1024
TOTAL_BYTES = 2 * 1024 * 1024
_AT_ONCE, _LONGEST_LINE = 4, 500
_BEHIND = 8  # lines around one that may name what it tells
_MAX_JUDGED = 64_000
_STATUSES = re.compile(r"\b[45]\d\d\b")
Usual = Mapping[int, float]  # how many of an error are no news, by its mark
NOTHING: Usual = {}


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors of one type that say the same. `said` is one of them as it was written, without secrets, and `example` the same cut for people; `mark` is equal for what has the same key before secrets are hidden; `names` are the pods
    that have them, `containers` the names of those pods' containers, `each` how many of them each of these pods has, and `latest` when it wrote the newest, as far as lines tell it."""

    type: str
    key: str
    count: int
    nature: Nature
    first_seen: datetime | None
    pods: int
    example: str
    said: str
    mark: int
    sign: Sign = Sign.NONE
    names: frozenset[str] = frozenset()
    containers: frozenset[str] = frozenset()
    each: Mapping[str, int] = field(default_factory=dict, compare=False)
    latest: Mapping[str, datetime] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class ErrorLog:
    """What the logs of the last `window` seconds hold. `unreadable` names containers whose log could not be read, `begins` is
    the time of the first line of any present container, None when no line tells one; `read` names the pods. `beginning` is what
    is known of when the most frequent error began; `unclear` errors accuse nobody, as what a framework writes after any failure; `own` accuse the
    program, and `follows` of these tell only that something is not there; `others_first`: some accused others before. `warned` are
    lines below the level of an error that say that somebody else failed, or that something is used up. `seconds` is what
    time was read on average, of a log that was cut less than the window, and of `cut` logs nobody knows. `everyday` are left out of all this: of `set_aside`
    lines `aside` tells why, and what nobody knows of them."""

    window: float
    pods: int
    lines: int
    errors: int
    groups: tuple[ErrorGroup, ...] = ()
    natures: Mapping[Nature, int] = field(default_factory=dict)
    unclear: int = 0
    own: int = 0
    follows: int = 0
    others_first: bool = False
    warned: tuple[ErrorGroup, ...] = ()
    unreadable: tuple[str, ...] = ()
    left_out: int = 0
    begins: datetime | None = None
    read: frozenset[str] = frozenset()
    beginning: Beginning = field(default_factory=Beginning)
    seconds: float = 0.0
    cut: int = 0
    everyday: tuple[ErrorGroup, ...] = ()
    set_aside: int = 0
    aside: str = ""

    @property
    def known(self) -> bool:
        """False when nothing could be read, so that "no errors" means nothing."""
        return self.lines > 0 or not self.unreadable

    @property
    def top(self) -> ErrorGroup | None:
        """The most frequent group."""
        return self.groups[0] if self.groups else None

    def share(self, nature: Nature) -> float:
        """Part of the errors that are of this nature (`share_of`)."""
        return kinds.share_of(nature, self.natures, self.unclear)

    @property
    def accuse(self) -> Sign:
        """Whom they accuse (`accused`)."""
        others = self.errors - self.unclear - self.own
        return accused(self.own, self.follows, others, self.unclear, others_first=self.others_first)


@dataclass(frozen=True, slots=True)
class PodLog:
    """The log of one container, or why it could not be read. Raw: it is not shown."""

    pod: str
    container: str
    text: str = ""
    fault: str = ""
    previous: bool = False
    cut: bool = False
    no_end: bool = False


@dataclass(frozen=True, slots=True)
class _Sorted:
    pod: str
    container: str
    error: ErrorLine
    key: str
    nature: Nature
    sign: Sign
    around: Callable[[], tuple[Sequence[str], Sequence[str]]]
    """The lines that were read up to its end, and some behind it, raw."""


async def read_errors(
    cluster: Cluster, pods: Sequence[Pod], now: datetime, window: float, tokens: Sequence[str] = TOKENS, *, usual: Usual = NOTHING
) -> ErrorLog:  # fmt: skip
    """Read and group the error lines of the `window` seconds before `now`, of at most MAX_PODS pods (`sample`); without those of which
    there are no more than `usual`."""
    start = now - timedelta(seconds=window)
    chosen, reads = await read_logs(cluster, pods, window)
    size = sum(len(r.text) for r in reads)
    found, groups = await beside(size, lambda: _errors(reads, start, tokens, usual))
    warned = await beside(size, lambda: _warned(reads, start, tokens, usual))
    covered = [_covered(r, now, window) for r in reads if not r.previous]
    return ErrorLog(
        window=window,
        pods=len(chosen),
        lines=sum(r.text.count("\n") + (not r.text.endswith("\n")) for r in reads if r.text),
        errors=len(found),
        groups=groups,
        natures=Counter(s.nature for s in found),
        unclear=sum(s.sign is Sign.NONE for s in found),
        own=sum(s.sign is Sign.OWN for s in found),
        follows=sum(s.sign is Sign.OWN and s.error.follows for s in found),
        others_first=came_first((s.pod, s.sign, s.error.at) for s in found),
        warned=warned,
        unreadable=tuple(f"{r.pod}/{r.container}: {r.fault}" for r in reads if r.fault),
        left_out=len(pods) - len(chosen),
        begins=min(
            (t for r in reads if not r.previous and (t := first_time(r.text)) and t >= start), default=None
        ),
        read=frozenset(p.name for p in chosen) - {r.pod for r in reads if r.fault and not r.previous},
        seconds=sum(one or window for one in covered) / len(covered) if covered else window,
        cut=covered.count(None),
    )


def _covered(read: PodLog, now: datetime, window: float) -> float | None:
    """Of how many seconds a log was read; None when nobody can tell. Cut in lines it has the newest, cut in bytes it ends early."""
    if not read.cut or (first := first_time(read.text)) is None:
        return None if read.cut else window
    return min(window, spanned(read.text) or window) if read.no_end else (now - first).total_seconds()


def _errors(
    reads: Sequence[PodLog], start: datetime, tokens: Sequence[str], usual: Usual
) -> tuple[Sequence[_Sorted], tuple[ErrorGroup, ...]]:
    known: dict[tuple[str, ...], tuple[Sign, Nature]] = {}
    # To judge a line costs ten times what its key does, and most repeat. After so many long ones only beginnings are judged.
    whole = 0

    def sort(
        read: PodLog, error: ErrorLine, around: Callable[[], tuple[Sequence[str], Sequence[str]]]
    ) -> _Sorted:
        key = error.key
        same = (key, *_STATUSES.findall(error.text))
        nonlocal whole
        if same not in known:
            whole += len(error.text)
            cut = whole > _MAX_JUDGED and len(error.text) > _LONGEST_LINE
            known[same] = (replace(error, text=bounded(error.text, _LONGEST_LINE)) if cut else error).judged
        sign, nature = known[same]
        return _Sorted(read.pod, read.container, error, key, nature, sign, around)

    found = [
        sort(read, error, around)
        for read in reads
        for error, around in errors_with_lines(read.text, tokens)
        if error.at is None or error.at >= start
    ]
    counts = Counter(s.key for s in found)
    news = [s for s in found if counts[s.key] > usual.get(hash(s.key), 0)]
    return news, _grouped(news, tokens)


def _warned(reads: Sequence[PodLog], start: datetime, tokens: Sequence[str], usual: Usual) -> tuple[ErrorGroup, ...]:  # fmt: skip
    """What lines of any lower level say of somebody else's failure, or of something that is used up, and no later line of the pod says to
    be over. The level only ranks: many libraries warn where they try again."""
    found: dict[str, ErrorGroup] = {}
    keys, said, whole = dict[str, str](), dict[str, Said](), 0
    places: dict[str, tuple[Sequence[str], int]] = {}
    for read in (r for r in reads if not r.previous):
        lines = read.text.splitlines()
        slow = {n for n, line in enumerate(lines) if kinds.slow_query(line[:_LONGEST_LINE])}
        told = [n for n in range(len(lines) - 1, -1, -1) if n in slow or kinds.may_tell(lines[n])]
        texts = [said_in(lines[n][:_LONGEST_LINE]) for n in told]
        for place in sorted({*kinds.unsettled(texts, said), *(at for at, n in enumerate(told) if n in slow)}):
            number, shape = told[place], kinds.shape_of(texts[place])
            key = keys.get(shape) or keys.setdefault(shape, normalise(texts[place]))
            if key not in found and len(found) < MAX_KEYS:
                raw = lines[number] if whole < _MAX_JUDGED else lines[number][:_LONGEST_LINE]
                whole += len(raw)
                found[key] = _warning(raw, tokens, start)
                places[key] = lines, number
            if (group := found.get(key)) is not None:
                names = group.names | {read.pod}
                found[key] = replace(group, count=group.count + 1, names=names, pods=len(names))
    told_of = (g for g in found.items() if g[1].key and g[1].count > usual.get(g[1].mark, 0))
    kept = sorted(told_of, key=lambda g: -g[1].count)[:MAX_GROUPS]
    return tuple(_in_words(group, *places[key]) for key, group in kept)


def _warning(raw: str, tokens: Sequence[str], start: datetime) -> ErrorGroup:
    """One such line, not yet in words; its `key` is empty where it is an error, too old, or about nothing that counts."""
    at, text = first_time(raw), said_in(raw)
    sign, nature = kinds.judged([text])
    about = sign is Sign.OTHERS or any(p.search(text) for p in (USED_UP, STALLED, MEMORY_FULL))
    counts = (
        about and (at is None or at >= start) and (kinds.own_answer(raw) is None or LONG_QUERY.search(text))
    )
    key = normalise(text) if counts and next(errors_in([raw], tokens), None) is None else ""
    return ErrorGroup("", key, 0, nature, at, 0, "", "", hash(key))


def _in_words(group: ErrorGroup, lines: Sequence[str], number: int) -> ErrorGroup:
    """What it says, without secrets: those around it are read for that, which only the few that are told are worth."""
    first = max(0, number - _BEHIND)
    said = redact(said_in(redact_lines(lines[first : number + _BEHIND])[number - first]))
    return replace(group, key=normalise(said), example=short_of_both(said, 300), said=said)


def _without_secrets(line: _Sorted, tokens: Sequence[str]) -> ErrorLine:
    """The error as its log tells it without secrets: a line alone does not say that the one before it, or behind it, names a secret.
    What is hidden so far that it is no error any more is not shown at all."""
    raw, behind = line.around()
    errors = list(errors_in(redact_lines([*raw, *behind])[: len(raw)], tokens))
    same = len(errors) == sum(1 for _ in errors_in(raw, tokens)) > 0
    error = errors[-1] if same else replace(line.error, type=REDACTED, text="", chain=())
    return replace(error, type=redact(error.type), text=redact(error.text))


async def read_logs(
    cluster: Cluster, pods: Sequence[Pod], window: float
) -> tuple[Sequence[Pod], Sequence[PodLog]]:
    """The logs of the last `window` seconds of at most MAX_PODS pods, a fair share of each kind (`sample`), and whose they are."""
    chosen = pods if len(pods) <= MAX_PODS else sample(pods, MAX_PODS)
    queries = [q for pod in chosen for q in log_queries(pod, window, POD_BYTES)]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def read(query: LogQuery) -> PodLog:
        async with gate:
            return await read_log(cluster, query)

    return chosen, _bounded(await asyncio.gather(*(read(q) for q in queries)))


async def read_log(cluster: Cluster, query: LogQuery) -> PodLog:
    """One log, or why it could not be read."""
    try:
        text = await cluster.logs(query)
        lines, whole = query.tail_lines or len(text) + 2, len(text.encode()) < 0.99 * query.limit_bytes
        cut = not whole or text.count("\n") >= lines - 1
        return PodLog(query.pod, query.container, text, "", query.previous, cut, not whole)
    except (ClusterRefused, TryLater) as e:
        return PodLog(query.pod, query.container, fault=e.message)


def _bounded(reads: Sequence[PodLog]) -> list[PodLog]:
    """Together no more than TOTAL_BYTES: what short ones leave is shared out evenly, for of a log that is left out nothing could be told."""
    room, left = TOTAL_BYTES, TOTAL_BYTES
    for n, size in enumerate(sorted(len(read.text) for read in reads)):
        room = left // (len(reads) - n)
        left -= min(size, room)
    # A line of which the beginning is gone no longer says what it is.
    ends = (r.text[max(0, len(r.text) - room) :] for r in reads)
    return [r if len(r.text) <= room else replace(r, text=end.partition("\n")[2], cut=True) for r, end in zip(reads, ends, strict=True)]  # fmt: skip


def _grouped(found: Iterable[_Sorted], tokens: Sequence[str]) -> tuple[ErrorGroup, ...]:
    counts, first = Counter[str](), dict[str, _Sorted]()
    times, latest = dict[str, datetime](), dict[str, dict[str, datetime]]()
    pods, containers = dict[str, Counter[str]](), dict[str, set[str]]()
    for line in found:
        key, error = line.key, line.error
        if key not in first and len(first) >= MAX_KEYS:
            continue  # nothing groups any more; the frequent ones have been met by now
        counts[key] += 1
        first.setdefault(key, line)
        pods.setdefault(key, Counter())[line.pod] += 1
        containers.setdefault(key, set()).add(line.container)
        if error.at:
            times[key] = min(error.at, times.get(key, error.at))
            newest = latest.setdefault(key, {})
            newest[line.pod] = max(error.at, newest.get(line.pod, error.at))
    groups = []
    for key, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_GROUPS]:
        # Redacted first: what replaces the digits of a password would hide the password's form from `redact`.
        plain = _without_secrets(first[key], tokens)
        said = redact(plain.words)
        groups.append(ErrorGroup(
            type=plain.type, key=plain.key, mark=hash(key), count=number, sign=first[key].sign, nature=first[key].error.judged[1], first_seen=times.get(key),
            pods=len(pods[key]), names=frozenset(pods[key]), each=pods[key], latest=latest.get(key, {}), containers=frozenset(containers[key]), example=short_of_both(said, 300), said=said,
        ))  # fmt: skip
    return tuple(groups)


def errors_finding(log: ErrorLog) -> Finding:
    """The finding `errors.grouped`."""
    where = f"{count(log.pods, 'pod')}" + (f" ({log.left_out} more not read)" if log.left_out else "")
    data: dict[str, JsonValue] = {
        "errors": log.errors,
        "lines": log.lines,
        "pods": log.pods,
        "window_seconds": log.window,
        "unreadable": len(log.unreadable),
        "seconds": log.seconds or log.window,
        "cut": log.cut,
        "unclear": log.unclear,
        "natures": {nature.value: number for nature, number in sorted(log.natures.items())},
        "groups": [_row(g) for g in log.groups],
        "warned": [_row(g) for g in log.warned],
        "set_aside": log.set_aside,
        "aside": log.aside,
    }
    if not log.known:
        text = f"Logs of {where} could not be read ({short(log.unreadable[0], 150)})"
        return Finding("errors.grouped", text, Certainty.UNKNOWN, data, log.unreadable[:MAX_GROUPS])
    details = tuple(f"{g.count} x {g.example}" for g in log.groups)
    details += tuple(f"{g.count} x, not as an error: {g.example}" for g in log.warned)
    details += tuple(f"{g.count} x, not taken for the cause: {g.example}" for g in log.everyday)
    if log.top is None:
        none = "No new error lines" if log.everyday else "No error lines"
        text = f"{none} in {span(log.window)} of logs of {where}"
    else:
        who = "all" if log.top.count == log.errors else f"{log.top.count:,}"
        most = f'{who} of them "{short(log.top.example, 120)}"'
        have = len({name for g in log.groups for name in g.names})
        some = have < log.pods and sum(g.count for g in log.groups) == log.errors
        on = f"{have} of {where}" if some else where
        text = f"{count(log.errors, 'error line')} in {span(log.window)} on {on}, {most}"
    if log.aside:
        text += f"; {log.aside}"
    if log.unreadable:
        text += f"; {count(len(log.unreadable), 'log')} could not be read"
    if log.cut or 0 < log.seconds < 0.9 * log.window:
        text += f"; the logs were cut: of each {span(log.seconds)} were read on average"
    return Finding("errors.grouped", text, data=data, details=details)


def _row(g: ErrorGroup) -> dict[str, JsonValue]:
    return {
        "type": g.type,
        "key": g.key,
        "said": short_of_both(g.said, _LONGEST_KEPT),
        "count": g.count,
        "nature": g.nature.value,
        "first_seen": g.first_seen.isoformat() if g.first_seen else None,
        "pods": g.pods,
        "accuses_program": g.sign is Sign.OWN,
    }
