"""Errors of the newest revision's pods, held against those of older pods beside them and against each other: by how often they come, as one line tells
nothing, and of each kind by itself, as the most frequent one may be the noise of every day. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import inf

from app.domain.accusing import Sign
from app.domain.workload import Pod
from app.kube.known_good import of_revision, short_digests, stood_for
from app.kube.lineage import template_written_at
from remediations.causes.exits import runs_well
from remediations.causes.model import STARTING, Snapshot
from remediations.evidence.error_signs import TELEMETRY
from remediations.evidence.logs import ErrorGroup, ErrorLog
from remediations.evidence.rollouts import last_deployment
from remediations.evidence.usage import count

_LIKE, _MORE = 2.0, 3
"""So many times as often, and so many lines more, is a like rate."""
_TELLS = 5
"""So many lines would stand there, were they as frequent; of fewer nobody can tell."""
_SHARE = 0.1
"""What is rarer among the errors of the newest pods accuses nobody beside the others."""
_NAMED = 3
_MOMENT = timedelta(seconds=15)
"""Nothing that was written so lately has ended."""


def _seconds(seen: Snapshot, log: ErrorLog, pods: Iterable[Pod]) -> float:
    """How long these pods wrote into what was read."""
    window = timedelta(seconds=log.window)
    return sum((min(window, seen.now - p.created_at) for p in pods), timedelta()).total_seconds()


def _having(seen: Snapshot, group: ErrorGroup) -> list[Pod]:
    return [p for p in seen.alive if p.name in group.each and seen.newest(p)]


def _would_have(seen: Snapshot, log: ErrorLog, group: ErrorGroup, pod: Pod) -> float:
    """How many of them this pod had, were they as frequent there as in pods of the newest revision that have them."""
    having = _having(seen, group)
    seconds = _seconds(seen, log, having)
    lines = sum(group.each[p.name] for p in having)
    return lines / seconds * _seconds(seen, log, [pod]) if seconds else 0.0


def _far_fewer(seen: Snapshot, log: ErrorLog, group: ErrorGroup, pod: Pod) -> bool:
    wanted = _would_have(seen, log, group, pod)
    return wanted >= _TELLS and wanted > _LIKE * group.each.get(pod.name, 0) + _MORE


def as_often(seen: Snapshot, log: ErrorLog, group: ErrorGroup) -> list[Pod]:
    """The older pods that have it about as often as those of the newest revision, or alone."""
    older = [p for p in seen.alive if not seen.newest(p) and p.name in group.each]
    return [p for p in older if not _far_fewer(seen, log, group, p)]


def names_having(seen: Snapshot, log: ErrorLog, group: ErrorGroup) -> frozenset[str]:
    """The pods that have it, but for older ones that have far fewer of it."""
    often = as_often(seen, log, group)
    return group.names - {p.name for p in seen.alive if not seen.newest(p) and p not in often}


def only_newest_has_them(seen: Snapshot, log: ErrorLog) -> bool:
    """Pods of an older revision run beside, were read, and do not have the most frequent error, or far fewer of it. Where pods of the newest template from before its
    restart do not have it either, what the others read when they start tells them apart."""
    current, has = seen.current, names_having(seen, log, log.top) if log.top else frozenset[str]()
    read = [p for p in seen.alive if p.ready and p.name in log.read]
    without = [p for p in read if p.name not in has]
    spared = any(seen.newest(p) and not (current and of_revision(p, current)) for p in without)
    older = [p for p in read if not seen.newest(p)]
    return log.top is not None and bool(older) and all(p in without for p in older) and not spared


def fewer_in_older(seen: Snapshot, log: ErrorLog) -> str:
    """That older pods have the most frequent error as well, though far fewer of it; empty where they do not, or have it as often."""
    group = log.top
    if group is None or as_often(seen, log, group):
        return ""
    older = [p for p in seen.alive if not seen.newest(p) and p.name in group.each]
    if not older:
        return ""
    pod = max(older, key=lambda p: group.each[p.name])
    wanted = round(_would_have(seen, log, group, pod))
    return f"pod {pod.name} of an older revision has {group.each[pod.name]} of them too, where those of the newest have about {wanted} in that time"


def only_some(seen: Snapshot, log: ErrorLog) -> str:
    """That other pods of the newest revision serve without the most frequent error: with the release alone all of them would have it. With what else
    tells the pods apart that have it."""
    group = log.top
    having = _having(seen, group) if group is not None else []
    read = [p for p in seen.alive if p.name in log.read and seen.newest(p)]
    well = [p for p in read if group is not None and _far_fewer(seen, log, group, p) and runs_well(seen, p)]
    having = [p for p in having if p not in well]
    if group is None or not well or not having:
        return ""
    one = len(having) == 1
    names = ", ".join(
        f"{p.name}{f' (on Node {p.node})' if p.node else ''}" for p in sorted(having, key=lambda p: p.name)[:_NAMED]
    )  # fmt: skip
    more = f" and {len(having) - _NAMED} more" if len(having) > _NAMED else ""
    told = f"only {names}{more} {'has' if one else 'have'} them: {count(len(well), 'other pod')} of the newest revision {'serves' if len(well) == 1 else 'serve'} without them"
    return f"{told}{_other_image(having, well, group)}"


def _other_image(having: Sequence[Pod], well: Sequence[Pod], group: ErrorGroup) -> str:
    for container in sorted(group.containers):
        theirs, others = stood_for(having, well, container)
        if theirs and others and not theirs & others:
            return f", and the image of {container} is another one there ({short_digests(theirs)}; {short_digests(others)})"
    return ""


def of_older_too(seen: Snapshot, log: ErrorLog, released: float) -> Mapping[int, float] | None:
    """The errors that older pods have as often, or that are about telemetry, by their mark, where another one accuses the newest revision: pods of that
    have it, and older ones do not, or far fewer. However frequent the others are, it is compared by itself; but what accuses others whom a request
    needs stays where it is far more frequent, as that may be the trouble. Nothing where there is none, and None where nothing was released in so
    many seconds."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is None or last.age > released:
        return None
    aside = {g.mark for g in log.groups if as_often(seen, log, g) or of_telemetry(g)}
    lines = {g.mark: sum(g.each[p.name] for p in _having(seen, g)) for g in log.groups}
    most = max((number for mark, number in lines.items() if mark not in aside), default=0)
    needed = {g.mark for g in log.groups if g.mark in aside and g.sign is Sign.OTHERS and not of_telemetry(g)}
    if is_little(most, sum(number for mark, number in lines.items() if mark not in aside - needed)):
        aside -= needed
    return dict.fromkeys(aside, inf) if most >= _TELLS else {}


def is_little(lines: int, every: int) -> bool:
    """Whether so many lines of all accuse nobody by themselves."""
    return lines < _SHARE * every


def go_on(log: ErrorLog, now: datetime) -> bool:
    """Every pod that has errors has had one a moment ago, as far as their lines tell the time: none of them is over."""
    newest: dict[str, datetime] = {}
    for group in log.groups:
        for pod, at in group.latest.items():
            newest[pod] = max(at, newest.get(pod, at))
    having = {name for group in log.groups for name in group.names}
    return bool(having) and all(n in newest and now - newest[n] < _MOMENT for n in having)


def of_telemetry(group: ErrorGroup) -> bool:
    """Whether it tells of telemetry that could not be sent, without which programs do their work."""
    return TELEMETRY.search(group.said) is not None


def made_at(seen: Snapshot, at: datetime) -> bool:
    """Were pods made then? Who sets the replicas higher has them made, and nothing else tells how many there were."""
    return any(at - STARTING <= p.created_at <= at + STARTING for p in seen.pods)
