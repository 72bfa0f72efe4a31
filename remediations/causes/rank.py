"""All causes of a snapshot, merged and in order, and the word for a workload that has none. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from app.domain.workload import ContainerState, Pod
from app.kube.parse import parse_time
from app.kube.quoted import told_by
from remediations.causes.alike import said_else, words_of
from remediations.causes.around import around_causes, other_causes
from remediations.causes.containers import container_causes
from remediations.causes.creation import creation_causes, put_out_causes, reference_causes, stopped_causes
from remediations.causes.model import (
    NEAR,
    PULLING,
    STARTING,
    Cause,
    CauseCode,
    Snapshot,
    Sureness,
    earliest,
)
from remediations.causes.nodes import placed
from remediations.causes.pods import ends_soon, explains_missing, pod_causes
from remediations.causes.scheduling import node_comes, scheduling_causes
from remediations.causes.stopped import starts
from remediations.evidence.usage import count, span


def unplaced_causes(seen: Snapshot) -> Iterator[Cause]:
    """Why pods have no node, where some have none."""
    return scheduling_causes(seen) if any(not p.node for p in seen.alive) else iter(())


def calm(seen: Snapshot) -> bool:
    """Whether all containers run, are ready and never ended."""
    return all(c.calm for p in seen.alive for c in p.containers)


def _of_containers(seen: Snapshot) -> Iterable[Cause]:
    """Of containers that run, are ready and never ended there is none."""
    return () if calm(seen) else container_causes(seen)


_FINDERS = (
    stopped_causes,
    creation_causes,
    unplaced_causes,
    pod_causes,
    reference_causes,
    _of_containers,
    other_causes,
    put_out_causes,
    around_causes,
)
_SURE = {Sureness.CERTAIN: 0, Sureness.LIKELY: 1, Sureness.POSSIBLE: 2}
_ORDER = {code: number for number, code in enumerate(CauseCode)}
_EXPLAIN_ENDS = frozenset({CauseCode.DEPENDENCY, CauseCode.RIGHT})
_POD_BOUND = frozenset({"Pod"})


def causes_of(seen: Snapshot) -> list[Cause]:
    """Every cause, the one that explains most first."""
    found = [cause for finder in _FINDERS for cause in finder(seen)]
    found = [_dated(c, found) for c in found]
    found += _unexplained(seen, found)
    found = [c for c in found if not _being_removed(seen, c)]
    return [placed(seen, c) for c in sorted(_merged(seen, found), key=lambda c: _key(seen, c))]


def _dated(cause: Cause, found: Iterable[Cause]) -> Cause:
    """What explains the end of a container began when that container's trouble began, as far as nothing else tells."""
    if cause.since is not None or not cause.container or cause.code not in _EXPLAIN_ENDS:
        return cause
    ends = [c.since for c in found if c.container == cause.container and set(c.pods) & set(cause.pods)]
    return replace(cause, since=earliest(ends))


def _key(seen: Snapshot, cause: Cause) -> tuple[object, ...]:
    stopped = cause.code is not CauseCode.SCALED_TO_ZERO
    shown = len(cause.pods) or (max(seen.missing, seen.unmade) if cause.revisions else 0)
    latent = cause.code is CauseCode.CONFIG_MISSING and not cause.pods
    again = _runs_again(seen, cause)
    # What an admission put into the pods is a helper of the rest, which fails with it or without it.
    helper = bool(cause.container) and cause.container not in {c.name for c in seen.workload.containers}
    # Of two that are alike the alert is about the one that is not much older than it.
    old = cause.since is not None and cause.since < seen.fired_at - NEAR
    began = (cause.since or seen.now).timestamp()
    return (
        int(stopped),
        _SURE[cause.sureness],
        again,
        int(latent) - shown,
        _ORDER[cause.code],
        helper,
        old,
        began,
    )


def _states(seen: Snapshot, cause: Cause) -> list[ContainerState]:
    """The cause's container in its pods."""
    mine = [p for p in seen.alive if p.name in cause.pods]
    return [c for p in mine for c in p.containers if c.name == cause.container]


def _runs_again(seen: Snapshot, cause: Cause) -> bool:
    """Is its container ready again in all of its pods, while pods are not ready? What fails now comes first."""
    states = _states(seen, cause)
    return bool(states) and all(c.ready for c in states) and not all(p.ready for p in seen.alive)


def _being_removed(seen: Snapshot, cause: Cause) -> bool:
    """Pods of an old ReplicaSet whose successor is complete are on their way out: no fault."""
    named = [p for p in seen.alive if p.name in cause.pods]
    if not named or any(seen.newest(p) for p in named):
        return False
    return sum(p.ready and seen.newest(p) for p in seen.alive) >= seen.workload.desired > 0


def _merged(seen: Snapshot, found: Iterable[Cause]) -> list[Cause]:
    """The same cause of several pods is one. A missing reference that pods wait for is told once. A crash that is over is not the same as one of
    now, and one of older pods that say something else than the newest is another one."""
    groups: dict[tuple[object, ...], list[Cause]] = {}
    for cause in found:
        kind = cause.object.partition(" ")[0]
        own = "" if kind in _POD_BOUND else cause.object
        past = cause.code is CauseCode.CRASH and cause.sureness is Sureness.POSSIBLE
        groups.setdefault((cause.code, own, "" if cause.needs else cause.container, past), []).append(cause)
    return _of_nodes([_one(seen, part) for group in groups.values() for part in _by_words(seen, group)])


_NAMED = 5


def _of_nodes(found: Sequence[Cause]) -> list[Cause]:
    """Several nodes that fail alike (a zone, a switch) are one cause, told with all of them."""
    lost = [
        c for c in found if c.code is CauseCode.NODE and not c.container and c.sureness is Sureness.CERTAIN
    ]
    if len(lost) < 2:
        return list(found)
    first, *others = sorted(lost, key=lambda c: -len(c.pods))
    names = [c.object.removeprefix("Node ") for c in others]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    pods = tuple(dict.fromkeys(n for c in (first, *others) for n in c.pods))
    alike = f"{count(len(names), 'other node')} alike: {', '.join(names[:_NAMED])}{more}"
    text = f"{first.text} ({alike}; {count(len(pods), 'pod')} on them)"
    advice = f"find out what these {len(lost)} nodes have in common, such as a zone; {first.advice}, and the others alike"
    since = earliest([c.since for c in lost])
    whole = replace(first, text=text, advice=advice, pods=pods, since=since)
    return [whole if c is first else c for c in found if c not in others]


def _by_words(seen: Snapshot, group: list[Cause]) -> list[list[Cause]]:
    """The same cause of newest and of older pods, in two where these say something else."""
    newest = {p.name for p in seen.alive if seen.newest(p)}
    of_newest = [c for c in group if newest.issuperset(c.pods)]
    of_older = [c for c in group if c not in of_newest]
    new, old = ({n for c in part for n in c.pods} for part in (of_newest, of_older))
    return [of_newest, of_older] if said_else(seen, group[0], new, old) else [group]


def _one(seen: Snapshot, group: list[Cause]) -> Cause:
    first = min(
        group,
        key=lambda c: (_SURE[c.sureness], -len(c.pods), not any(n.key for n in c.needs), *_told(seen, c)),
    )
    pods = tuple(dict.fromkeys(n for c in group for n in c.pods))
    more = len(pods) - len(first.pods)
    text = f"{first.text} ({count(len(pods), 'pod')} alike)" if more > 0 else first.text
    return replace(
        first,
        text=text,
        pods=pods,
        since=earliest([c.since for c in group]),
        fields=tuple(dict.fromkeys(f for c in group for f in c.fields)),
        demands=tuple({d.acquits: d for c in group for d in c.demands}.values()),
        needs=tuple(dict.fromkeys(n for c in group for n in c.needs)),
    )


def _told(seen: Snapshot, cause: Cause) -> tuple[bool, bool, float]:
    """Which of several that are alike is told: one whose words were read, of the newest revision, and that ended last."""
    ends = [
        e.finished_at for c in _states(seen, cause) if (e := c.terminated or c.last_terminated) is not None
    ]
    last = max((at.timestamp() for at in ends if at is not None), default=0.0)
    older = not any(seen.newest(p) for p in seen.alive if p.name in cause.pods)
    return not words_of(seen, cause.container, cause.pods), older, -last


def _unexplained(seen: Snapshot, found: list[Cause]) -> list[Cause]:
    """Pods that are not ready, or missing, and of which nothing says why."""
    if any(c.code is CauseCode.SCALED_TO_ZERO for c in found):
        return []
    explained = {n for c in found for n in c.pods}
    dark = [
        p
        for p in seen.alive
        if not p.ready and p.name not in explained and seen.now - p.created_at >= _patience(seen, p)
    ]
    causes = []
    for pod in dark[:1]:
        names = tuple(p.name for p in dark)
        age = span((seen.now - pod.created_at).total_seconds())
        waits = next((f", container {c.name} waits ({c.waiting})" for c in pod.containers if c.waiting), "")
        gap = f" ({'; '.join(f'{k}: {v}' for k, v in seen.unread.items())})" if seen.unread else ""
        text = f"pod {pod.name} is {pod.phase or 'unknown'} and not ready {age} after it was made{waits}, and nothing says why{gap}"
        advice = f"kubectl describe pod {pod.name} -n {seen.workload.target.namespace}"
        fields = ("*",)
        causes.append(
            Cause(
                CauseCode.NOT_READY,
                f"Pod {pod.name}",
                Sureness.POSSIBLE,
                text,
                advice,
                names,
                fields=fields,
                since=pod.created_at,
            )
        )
    refused = any(explains_missing(seen, c) for c in found)
    if not dark and not found and (stalled := _stalled(seen)):
        causes.append(stalled)
        return causes
    if seen.missing and not dark and not refused and "pods" not in seen.unread and not _young(seen):
        target = seen.workload.target
        text = f"{count(seen.missing, 'pod')} of {seen.workload.desired} missing, and nothing says why"
        advice = f"kubectl describe {target.kind.lower()} {target.name} -n {target.namespace}"
        causes.append(
            Cause(
                CauseCode.NOT_READY,
                f"{target.kind} {target.name}",
                Sureness.POSSIBLE,
                text,
                advice,
                fields=(),
            )
        )
    return causes


def _patience(seen: Snapshot, pod: Pod) -> timedelta:
    """How long a pod may take without a word; longer while its image is being pulled, and as long as it takes while a node comes or its startup probe waits."""
    if node_comes(seen, pod) or starts(seen, [pod]):
        return timedelta.max
    return PULLING if pod.name in seen.pulling else STARTING


def _stalled(seen: Snapshot) -> Cause | None:
    """The pods that run are enough, and the rollout of the present template has passed its deadline."""
    workload = seen.workload
    conditions = (workload.manifest.get("status") or {}).get("conditions") or ()
    late = next(
        (c for c in conditions if c.get("type") == "Progressing" and c.get("status") == "False"), None
    )
    if late is None or "pods" in seen.unread or seen.missing or starts(seen, seen.alive):
        return None
    target, behind = workload.target, max(0, workload.desired - workload.updated)
    return Cause(
        CauseCode.NOT_READY,
        f"{target.kind} {target.name}",
        Sureness.POSSIBLE,
        f"the rollout of {target.name} does not go on ({told_by(late.get('reason')) or 'no reason'}, {count(behind, 'pod')} not updated), and "
        "nothing says why",
        f"kubectl rollout status {target.kind.lower()}/{target.name} -n {target.namespace}; kubectl describe its ReplicaSets",
        fields=("*",),
        since=parse_time(late.get("lastTransitionTime")),
    )


def _young(seen: Snapshot) -> bool:
    """The controller has not caught up yet, or waits for a pod that is ending in time."""
    return (
        ends_soon(seen)
        or seen.workload.observed_generation < seen.workload.ref.generation
        or any(seen.now - p.created_at < STARTING for p in seen.pods)
    )
