"""What changed lately of all that the pods use, since when the logs have the errors of now, and what was measured before a rollout.

Whether something can come from a change is asked elsewhere. Only `with_beginning` reads the cluster, in two bounded looks at earlier
parts of logs, and `measured_since` Prometheus. Raw lines do not leave here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from typing import Final

from app.domain.cluster import Cluster, LogQuery
from app.domain.errors import ClusterRefused, TryLater
from app.domain.onset import Onset, Since, onset
from app.domain.ports import Sample
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.domain.text import beside
from app.domain.tools import writes_by_itself
from app.domain.workload import Pod, Workload
from app.kube.lineage import NOBODY, last_write, lives, template_written_at
from app.kube.owners import who_changed
from app.kube.parse import parse_time
from remediations.causes.edits import OF_TLS, came_with, of_something_else
from remediations.causes.model import Snapshot, earliest
from remediations.evidence.error_lines import Beginning, errors_in, first_time
from remediations.evidence.logs import ErrorLog
from remediations.evidence.rollouts import last_deployment
from remediations.evidence.usage import percent, short, span
from remediations.shared import PRESENCE, aim

# What changed lately, of everything the pods use, in one list: newest first. Pure; the times stand in the objects'
# metadata.
#
# A write to an object's status is no change. What was deleted leaves no trace but a reference that leads nowhere.


@dataclass(frozen=True, slots=True)
class Change:
    """One write: what was changed, when, and by whom (the field manager's name, empty when not known)."""

    at: datetime
    kind: Kind
    name: str
    what: str
    by: str = ""

    def told(self, now: datetime) -> str:
        """`14 s ago: ConfigMap app-config changed by kubectl-edit`."""
        by = f" by {self.by}" if self.by else ""
        return f"{span((now - self.at).total_seconds())} ago: {self.what}{by}"


def changes_of(seen: Snapshot) -> list[Change]:
    """All known changes, newest first."""
    found = [*_workload(seen), *_configuration(seen), *_objects(seen), *_nodes(seen)]
    return sorted(found, key=lambda c: c.at, reverse=True)


def _workload(seen: Snapshot) -> Iterator[Change]:
    target, manifest = seen.workload.target, seen.workload.manifest
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is not None:
        writers = [by for by, _ in who_changed(manifest, "/spec/template") if by not in NOBODY]
        word = "restored" if last.restored else "deployed"
        text = f"revision {last.revision.number} of {target.name} ({last.change}) {word}"
        moment, by = seen.now - timedelta(seconds=last.age), writers[0] if writers else ""
        yield Change(moment, target.kind, target.name, text, by)
    made = parse_time(manifest["metadata"].get("creationTimestamp"))
    for by, at in who_changed(manifest, "/spec/replicas")[:1]:
        if at is not None and at != made and by not in NOBODY:  # what it was made with nobody changed
            text = f"replicas of {target.name} set to {seen.workload.desired}"
            yield Change(at, target.kind, target.name, text, by)


def _configuration(seen: Snapshot) -> Iterator[Change]:
    for kept in seen.kept.values():
        if kept.keys is not None and kept.changed_at is not None:
            yield Change(kept.changed_at, kept.kind, kept.name, f"{kept.kind} {kept.name} changed", kept.by)
            if kept.hand is not None:
                at, by = kept.hand
                yield Change(at, kept.kind, kept.name, f"{kept.kind} {kept.name} changed", by)


def _objects(seen: Snapshot) -> Iterator[Change]:
    groups = (
        (Kind.HPA, (seen.autoscaler,) if seen.autoscaler else ()),
        (Kind.SERVICE, seen.services),
        (Kind.NETWORK_POLICY, seen.policies),
        (Kind.RESOURCE_QUOTA, seen.quotas),
        (Kind.LIMIT_RANGE, seen.limit_ranges),
        (Kind.PVC, tuple(c for c in seen.claims.values() if c is not None)),
    )
    for kind, manifests in groups:
        for manifest in manifests:
            write, name = last_write(manifest), manifest["metadata"]["name"]
            if write is not None:
                yield Change(write.at, kind, name, f"{kind} {name} changed", write.by)


_JOINED = timedelta(minutes=5)
"""So soon after a node was made its readiness is its beginning, and no change of it."""


def _nodes(seen: Snapshot) -> Iterator[Change]:
    """Who took nodes out of the scheduler's hands, and when their readiness came or went. Their other fields are written all the time."""
    for manifest in seen.nodes:
        meta, spec = manifest["metadata"], manifest.get("spec") or {}
        name, made = meta["name"], parse_time(meta.get("creationTimestamp"))
        for by, at in who_changed(manifest, "/spec/unschedulable")[:1]:
            if spec.get("unschedulable") and at is not None:
                yield Change(at, Kind.NODE, name, f"Node {name} cordoned", by)
        for condition in (manifest.get("status") or {}).get("conditions") or ():
            at = parse_time(condition.get("lastTransitionTime"))
            if condition.get("type") != "Ready" or at is None or (made is not None and at - made < _JOINED):
                continue
            became = "became ready again" if condition.get("status") == "True" else "is not ready any more"
            yield Change(at, Kind.NODE, name, f"Node {name} {became}")


CONFIGURATION = frozenset({Kind.CONFIG_MAP, Kind.SECRET})
CAN_BRING: Final = CONFIGURATION | {Kind.NETWORK_POLICY, Kind.SERVICE}
"""Kinds of objects whose change makes requests fail without a rollout."""


def telling(seen: Snapshot, said: Sequence[str]) -> Iterator[Change]:
    """What was `said` of the trouble can come from these changes, or be mended by them, newest first. A renewed certificate has to do with nothing else."""
    return (c for c in changes_of(seen) if c.kind in CAN_BRING and not _renewed_only(seen, c, said))


def _renewed_only(seen: Snapshot, change: Change, said: Sequence[str]) -> bool:
    kept = seen.kept.get((change.kind, change.name))
    keys = kept.keys if kept is not None and kept.kind is Kind.SECRET else None
    return bool(keys and keys <= OF_TLS) and of_something_else(said)


def said_of(log: ErrorLog) -> list[str]:
    """What the errors of these logs say, and the warnings."""
    return [g.said for g in (*log.groups, *log.warned)]


def of_itself(workload: Workload) -> Callable[[str], bool]:
    """Whether a writer's name is that of a program which writes of its own accord, or of the application itself."""
    own = {workload.target.name, *(c.name for c in workload.containers)}
    return lambda by: by in NOBODY or by in own or writes_by_itself(by)


# When did the errors of now begin? Called by the handlers, where most errors are of one type and the logs of the last
# minutes do not reach back to their beginning. Logs that were rotated away tell nothing, and nothing is concluded from
# them.


def deployed_at(seen: Snapshot) -> datetime | None:
    """When the last rollout was; None without a rollout to suspect."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is None or last.previous is None:
        return None
    return seen.now - timedelta(seconds=last.age)


NEW = timedelta(minutes=10)
"""What begins so long after a rollout is not new with it."""
AT_ONCE = timedelta(minutes=2)
"""What begins so soon after the first moment of a revision's pods is new with it."""
CLEAN = timedelta(seconds=60)
"""A stretch of logs without the error that is long enough to say that it began later."""
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z ")
_PODS = 3
_BYTES = 64 * 1024
_EXPECTED = 5
"""So many of the errors a clean stretch would have, if they were as frequent as they are now."""
_DRIFT = timedelta(minutes=1)
"""The cluster counts back from when it is asked, which is later than this look began."""
_LATE = timedelta(minutes=2)
"""A log whose first line is so long after the asked moment does not reach back to it."""


def of_window(log: ErrorLog) -> Beginning:
    """What the logs of the last minutes tell by themselves."""
    top = log.top
    if top is None or top.first_seen is None:
        return Beginning()
    clean = log.begins is not None and top.first_seen - log.begins >= CLEAN
    return Beginning(top.first_seen if clean else None, top.first_seen)


async def with_beginning(
    cluster: Cluster, log: ErrorLog, pods: Sequence[Pod], deployed: datetime, now: datetime
) -> ErrorLog:
    """The log with what is known of the beginning of its most frequent error. `pods` are those of the revision that was deployed
    then. Never raises for what the cluster does."""
    known = of_window(log)
    log = replace(log, beginning=known)
    if log.top is None or not log.lines or told(known, deployed) or began_at_once(log, pods, deployed, now):
        return log
    look = _Look(cluster, log, now)
    for moment in (deployed + NEW, deployed):
        if moment >= now:
            continue
        found = await look.at(pods, moment)
        if found is None:
            break  # what does not reach back to there reaches back no further
        known = Beginning(_latest(known.after, found.after), earliest([known.by, found.by]))
        if told(known, deployed):
            break
    return replace(log, beginning=known)


def told(beginning: Beginning, deployed: datetime) -> bool:
    """It is known to have begun so late that it is not new with what was deployed."""
    return beginning.after is not None and beginning.after - deployed >= NEW


def began_at_once(log: ErrorLog, pods: Sequence[Pod], deployed: datetime, now: datetime) -> bool:
    """It is known to have begun when the pods of that revision began."""
    by = log.beginning.by or now  # what is there has begun by now
    own = [p for p in pods if log.top is not None and p.name in log.top.names] or list(pods)
    return by <= max([deployed, *(_up(p) for p in own)]) + AT_ONCE


def _up(pod: Pod) -> datetime:
    """When a pod began to serve; of one whose readiness came and went, when it was made."""
    ready = pod.condition("Ready")
    if ready is None or ready.status != "True" or ready.since is None:
        return pod.created_at
    return ready.since if ready.since - pod.created_at < NEW else pod.created_at


def served_from(pods: Sequence[Pod], deployed: datetime) -> datetime:
    """When enough pods of that revision served that requests felt it: a fifth of them. Where all were replaced since, the rollout."""
    if not pods or min(p.created_at for p in pods) > deployed + NEW:
        return deployed
    return max(deployed, sorted(map(_up, pods))[(len(pods) - 1) // 5])


def _latest(a: datetime | None, b: datetime | None) -> datetime | None:
    return max((t for t in (a, b) if t is not None), default=None)


@dataclass(frozen=True, slots=True)
class _Look:
    """One look from a moment on, at several pods."""

    cluster: Cluster
    log: ErrorLog
    now: datetime

    async def at(self, pods: Sequence[Pod], moment: datetime) -> Beginning | None:
        """Of all pods whose logs reach back to it together; None when none does. The error begins with the first pod that has it."""
        bys: list[datetime] = []
        ends: list[datetime] = []
        lines, read = 0, 0
        for pod in [p for p in pods if p.ready and p.created_at <= moment + _LATE][:_PODS]:
            rows = await self._rows(pod, moment)
            if not rows:
                continue
            read += 1
            at, before = await beside(sum(map(len, rows)), partial(self._first, rows))
            lines += before
            if at is not None:
                bys.append(at)
            ends.append(at or _last_time(rows) or moment)
        if not read or self.log.top is None:
            return None
        clean = lines * self.log.top.count / self.log.lines >= _EXPECTED
        return Beginning(min(ends) if clean else None, min(bys, default=None))

    def _first(self, rows: Sequence[str]) -> tuple[datetime | None, int]:
        """When these lines have the error for the first time, and how many come before; all of them when none has it."""
        mark = self.log.top.mark if self.log.top is not None else None
        read: list[str] = []
        for error in errors_in(_kept(rows, read)):
            if hash(error.key) == mark:
                return _last_time(read[:-1] or read) or error.at, max(0, len(read) - 2)
        return None, len(rows)

    async def _rows(self, pod: Pod, moment: datetime) -> list[str]:
        """Whole lines from `moment` on of the container that has the errors; none when it was started later or they cannot be
        read."""
        name = self._container(pod)
        state = next((c for c in pod.containers if c.name == name), None)
        if state is None or state.running_since is None or state.running_since > moment + _LATE:
            return []
        query = LogQuery(
            pod.ref.namespace,
            pod.name,
            name,
            since_seconds=round((self.now - moment + _DRIFT).total_seconds()),
            tail_lines=None,
            limit_bytes=_BYTES,
            timestamps=True,
        )
        try:
            text = await self.cluster.logs(query)
        except (ClusterRefused, TryLater):
            return []
        first = first_time(text)
        late = max(moment, state.running_since) + _LATE
        return text.splitlines()[:-1] if first is not None and first <= late else []

    def _container(self, pod: Pod) -> str:
        """The container that has the errors, else the pod's first one."""
        own = [s.name for s in pod.specs if not s.init]
        have = self.log.top.containers if self.log.top is not None else frozenset()
        return next((n for n in own if n in have), own[0] if own else "")


def _kept(rows: Sequence[str], read: list[str]) -> Iterator[str]:
    """These lines without the kubelet's times; `read` has those that were asked for, with them."""
    for row in rows:
        read.append(row)
        yield STAMP.sub("", row)


def _last_time(rows: Sequence[str]) -> datetime | None:
    """The time of the last of these lines that tells one."""
    return next((t for row in reversed(rows) if (t := first_time(row)) is not None), None)


# What Prometheus has of the time before a rollout, which the logs of pods that were born with it cannot tell.

_BEFORE = timedelta(minutes=30)
_STEP, _MAX_STEPS = 15.0, 1_000


@dataclass(frozen=True, slots=True)
class Measured:
    """Since when requests fail, as measured; `said` is that, or the reason why nobody knows, as one clause."""

    since: Since = Since.UNKNOWN
    said: str = "nothing was asked of what was measured"
    began: datetime | None = None
    """When errors began, at the latest; None when before all that was asked for, or not known."""


async def measured_since(scene: Scene, query: str, seen: Snapshot, deployed: datetime) -> Measured:
    """What the share of failing requests says of the rollout of then. Never raises."""
    if scene.metrics is None or not query:
        none = "no Prometheus is configured"
        return Measured(said=none if query else "the rule asks for no share of failing requests")
    known, length = PRESENCE.get(query, ""), (scene.now - deployed + _BEFORE).total_seconds()
    step = max(_STEP, length / _MAX_STEPS)
    start = scene.now - timedelta(
        seconds=step * ceil(length / step)
    )  # so that the last value is the one of now
    try:
        shares, rates = [
            await scene.metrics.window(aim(one, scene.workload.target), start, scene.now, step) if one else ()
            for one in (query, known)
        ]
    except TryLater as e:
        return Measured(said=short(e.message, 120))
    rate = {s.at: s.value for _, samples in rates for s in samples}
    # While nothing fails no series of failures is there; requests that were counted did not fail then.
    share = {at: 0.0 for at, value in rate.items() if value > 0}
    for _, samples in shares:
        for s in samples:
            share[s.at] = max(s.value, share.get(s.at, 0.0))
    rows = [Sample(at, share[at]) for at in sorted(share)]
    served = served_from([p for p in seen.alive if seen.newest(p)], deployed)
    records = lives(seen.revisions, template_written_at(seen.workload))
    earlier = [life.start for life in records if life.start is not None and life.start < deployed]
    return _in_words(onset(rows, rate, deployed, served, earlier), deployed, served)


def _in_words(found: Onset, deployed: datetime, served: datetime) -> Measured:
    shares = f"{percent(found.level)} of the requests failed right before it, {percent(found.most)} since"
    match found.since:
        case Since.OLDER if found.at is not None:
            ago = f"{span((deployed - found.at).total_seconds())}{' or more' if found.whole else ''}"
            said = f"errors were there {ago} before the rollout ({shares})"
            return Measured(Since.OLDER, said, None if found.whole else found.at)
        case Since.LATER if found.at is not None:
            after = span((found.at - served).total_seconds())
            return Measured(Since.LATER, f"requests began to fail {after} after its pods served", found.at)
        case Since.WITH:
            return Measured(Since.WITH, shares.replace("right before it", "before the rollout"), found.at)
        case _:
            return Measured(said=found.why or shares)


def fits_better(seen: Snapshot, log: ErrorLog, measured: Measured, deployed: datetime) -> Change | None:
    """The newest change after the rollout that errors can come from. What is younger than the errors, or than the alert that they made fire, is no
    better explanation of them than the rollout is."""
    after, here = log.beginning.after, [seen.fired_at, log.beginning.by]
    here += [measured.began + CLEAN] if measured.since is Since.WITH and measured.began is not None else []
    # Logs without them until then tell more than an alert, which may have fired for something else.
    until = after + CLEAN if after is not None else min(filter(None, here))
    return next(
        (
            c
            for c in telling(seen, said_of(log))
            if deployed < c.at <= until and not came_with(seen, c.at, c.by, deployed)
        ),
        None,
    )
