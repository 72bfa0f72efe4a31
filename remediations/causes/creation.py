"""Why there are no pods: what somebody stopped on purpose, what their template refers to and is not there, what was said to their
controller instead of making them, and who put them out; with what of their configuration is missing, and the Events about any of them. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue, Obj
from app.domain.target import Kind
from app.domain.workload import ConfigRef, KubeEvent, Pod
from app.kube.known_good import of_revision
from app.kube.lineage import lives, template_written_at
from app.kube.parse import parse_event, parse_time
from app.kube.quoted import told_by
from app.kube.read import in_turns
from remediations.causes.changes import CONFIGURATION, telling
from remediations.causes.demands import configured_by, dropped, selected_nodes
from remediations.causes.edits import came_with
from remediations.causes.exits import missing_config
from remediations.causes.model import STARTING, Cause, CauseCode, Snapshot, Sureness, earliest, maker_of
from remediations.causes.refusals import read_refusal, said_to_controllers
from remediations.causes.repaired import unread
from remediations.causes.stopped import scaled_to_zero, writer, written_by
from remediations.evidence.rollouts import Deployment
from remediations.evidence.usage import count, span

# What somebody has stopped on purpose: scaled to 0, a paused rollout. Pure; the writer stands in managedFields.


def stopped_causes(seen: Snapshot) -> Iterator[Cause]:
    """Scaled to 0, or paused with a change that is not rolled out."""
    workload = seen.workload
    target = workload.target
    if workload.desired == 0 and target.kind is not Kind.DAEMON_SET:
        yield scaled_to_zero(seen)
    elif workload.desired == 0:
        yield Cause(
            code=CauseCode.SCALED_TO_ZERO,
            object=f"{target.kind} {target.name}",
            sureness=Sureness.CERTAIN,
            text=f"no node is chosen by the node selector and tolerations of {target.kind} {target.name}",
            advice="label a node as the pod template's nodeSelector wants it",
            demands=(selected_nodes(), dropped("tolerations")),
        )
    elif workload.paused and (workload.updated < workload.desired or workload.unavailable):
        by, at = writer(seen, "/spec/paused")
        behind = count(max(0, workload.desired - workload.updated), "pod")
        resume = f"kubectl rollout resume {target.kind.lower()}/{target.name} -n {target.namespace}"
        fails = any(seen.newest(p) and not p.ready for p in seen.alive)
        yield Cause(
            code=CauseCode.PAUSED,
            object=f"{target.kind} {target.name}",
            sureness=Sureness.CERTAIN if workload.updated < workload.desired else Sureness.POSSIBLE,
            text=f"the rollout of {target.name} is paused{written_by(seen.now, by, at)}, {behind} not updated",
            advice=f"make its pod template right first, as pods of it are not ready; only then {resume}"
            if fails
            else f"{resume}, when that is meant",
            since=at,
        )


def held_back(seen: Snapshot) -> str:
    """`, 1 of them not updated: partition 1 holds it back`; empty where no update waits for a person."""
    workload = seen.workload
    behind = workload.desired - workload.updated
    strategy = (workload.manifest.get("spec") or {}).get("updateStrategy") or {}
    if workload.target.kind is Kind.DEPLOYMENT or behind <= 0:
        return ""
    if strategy.get("type") == "OnDelete":
        return f", {behind} of them not updated: with the strategy OnDelete a pod is updated when somebody deletes it"
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if partition <= 0 or behind > partition:
        return ""
    return f", {behind} of them not updated: partition {partition} of its update strategy holds them back"


# Configuration that the present template needs and that does not exist, found by looking at it. Pure.
#
# The kubelet says so too, but only once it has tried, and never for pods that still run with what was deleted.


def reference_causes(seen: Snapshot) -> Iterator[Cause]:
    """One cause for each missing ConfigMap, Secret or key. Certain as long as pods wait, likely when all of them run and only
    new ones would wait."""
    waiting = tuple(
        p.name for p in seen.alive if not p.ready and not any(c.running_since for c in p.containers)
    )
    for ref, container in missing_references(seen):
        found = missing_config(seen, ref, waiting, f"container {container}")
        sure = Sureness.CERTAIN if waiting else Sureness.LIKELY
        since = earliest([p.created_at for p in seen.alive if p.name in waiting])
        yield replace(found, sureness=sure, since=since, container=container)


def missing_references(seen: Snapshot) -> list[tuple[ConfigRef, str]]:
    """Needed references that lead nowhere, each with the container that needs it; only what could be looked at."""
    found: dict[ConfigRef, str] = {}
    for container in seen.workload.containers:
        for ref in container.config:
            kept = seen.kept.get((ref.kind, ref.name))
            if ref.optional or ref in found or kept is None:
                continue
            if kept.keys is None or (ref.key and ref.key not in kept.keys):
                found[ref] = container.name
    return list(found.items())


# Configuration that changed before a rollout, so that its pods were the first to start with it. Pure.

_DAY = timedelta(days=1)
"""A change that is older has mostly been met by others, and a question about it helps nobody."""


def picked_up(seen: Snapshot, last: Deployment, deployed: datetime, said: Iterable[str] = ()) -> str:
    """Why going back may not help: nobody knows whether the older version works with what `met_first` tells. Where as many pods of the older one are
    ready as are wanted, going back starts none, and these have what they need."""
    of_older = sum(of_revision(p, last.previous) for p in _older(seen)) if last.previous is not None else 0
    told = "" if of_older >= seen.workload.desired > 0 else met_first(seen, last, deployed, said)
    return f"{told}: an older version may fail with it as well" if told else ""


def beware(seen: Snapshot, last: Deployment, deployed: datetime, said: Iterable[str] = ()) -> str:
    """What to tell of going back also where that is right: the pods of the older version that serve have not started with it yet."""
    told = met_first(seen, last, deployed, said)
    return f"{told}: pods of an older version that start again may fail with it as well" if told else ""


def _older(seen: Snapshot) -> list[Pod]:
    return [p for p in seen.alive if p.ready and not seen.newest(p)]


def _begun(pod: Pod) -> datetime:
    """From when on all of its containers have what they read when they start."""
    runs = [c.running_since or pod.created_at for c in pod.containers if not c.first]
    return max(pod.created_at, min(runs, default=pod.created_at))


def met_first(seen: Snapshot, last: Deployment, deployed: datetime, said: Iterable[str] = ()) -> str:
    """That configuration which the older template needs was changed in the day before this rollout, so that only pods of the newer one have started with
    it. Empty when none was, or a pod of the older one has started with it since. That one from before has it in a volume and stays ready tells nothing:
    most programs read their files when they start, and never again. What was `said` of the trouble, if anything was, clears a certificate that was
    renewed where it is about something else."""
    records = lives(seen.revisions, template_written_at(seen.workload))
    before = [
        life.start
        for life in records
        if last.previous and life.revision.fingerprint == last.previous.fingerprint
    ]
    started = max((t for t in before if t is not None), default=None)
    if started is None or last.previous is None:
        return ""
    since = max([started, deployed - _DAY, *(_begun(p) for p in _older(seen))])
    known = [c for c in telling(seen, [*said]) if c.kind in CONFIGURATION and since < c.at]
    written = [c for c in known if came_with(seen, c.at, c.by, deployed)]
    used = configured_by(last.previous.template) if written else set()
    for change in written:
        if (change.kind, change.name) in used:
            ago = span(abs(deployed - change.at).total_seconds())
            when = "before the rollout" if change.at <= deployed else "after the rollout and with it"
            by = f" by {change.by}" if change.by else ""
            what = f"{change.kind} {change.name} was changed {ago} {when}{by}"
            return f"{what}, and only pods of revision {last.revision.number} started with it"
    return ""


# Why pods cannot be made: what was said to their controller, newest first; what it means is told in `refusals`. Pure.


def creation_causes(seen: Snapshot) -> Iterator[Cause]:
    """At most one cause: the newest refusal, as long as pods are missing, or the newest ReplicaSet has not made its own."""
    missing = max(seen.missing, seen.unmade)
    if not missing:
        return
    refusals = said_to_controllers(seen)
    if not refusals:
        return
    newest = max(refusals, key=lambda r: (r.at is not None, r.at or seen.now, bool(r.revision)))
    read = read_refusal(seen, newest.said)
    same = [r.since for r in refusals if read_refusal(seen, r.said).object == read.object and r.since]
    who = f"{count(missing, 'pod')} of {seen.workload.desired} cannot be made"
    yield Cause(
        code=read.code,
        object=read.object,
        sureness=Sureness.CERTAIN,
        text=f"{who}: {read.text}",
        advice=read.advice,
        revisions=tuple(sorted({r.revision for r in refusals if r.revision})),
        fields=read.fields,
        demands=read.demands,
        doubt=read.doubt,
        said=read.said,
        objects=read.objects,
        since=min(same) if same else newest.since,
    )


# Pods that others put out: preempted, or evicted to be resized. Pure.


def put_out_causes(seen: Snapshot) -> Iterator[Cause]:
    """Pods that had to make room, as long as others are missing or wait for them."""
    if seen.ready >= seen.workload.desired:
        return
    waiting = tuple(p.name for p in seen.alive if not p.ready)
    gone = [e for e in seen.put_out if e.reason == "Preempted"]
    if gone:
        first = gone[0]
        yield Cause(
            code=CauseCode.PREEMPTED,
            object=_pod(first),
            sureness=Sureness.LIKELY,
            text=f"{count(len(gone), 'pod')} made room for a pod of a higher priority: {told_by(first.message, 160)}"
            f"{_ago(seen, first)}",
            advice="give the pods a PriorityClass that fits them, or the cluster room for both",
            pods=waiting,
            fields=("priorityClassName",),
            since=earliest([e.first_seen for e in gone]),
        )
    resized = [e for e in seen.put_out if e.reason == "EvictedByVPA"]
    if resized:
        first = resized[0]
        name = next((m["metadata"]["name"] for m in seen.vpas), "")
        what = f"VerticalPodAutoscaler {name}" if name else "a VerticalPodAutoscaler"
        made_since = [p for p in seen.alive if p.name in waiting and _after(p, resized)]
        yield Cause(
            code=CauseCode.EVICTED,
            object=what,
            sureness=Sureness.LIKELY if made_since else Sureness.POSSIBLE,
            text=f"{what} put {count(len(resized), 'pod')} out to give others its requests{_ago(seen, first)}",
            advice=f"see whether the pods start with what {what} recommends; its minAllowed, its updateMode Off, or a "
            "PodDisruptionBudget bound it",
            pods=tuple(p.name for p in made_since),
            since=earliest([e.first_seen for e in resized]),
        )


def _pod(event: KubeEvent) -> str:
    return f"Pod {event.about.partition('/')[2]}"


def _after(pod: Pod, events: Sequence[KubeEvent]) -> bool:
    return any(e.first_seen is not None and pod.created_at >= e.first_seen for e in events)


def _ago(seen: Snapshot, event: KubeEvent) -> str:
    return f", {span((seen.now - event.last_seen).total_seconds())} ago" if event.last_seen else ""


# What of the configuration that the pods use is missing. Pure.

MISSING = "config.missing"


def missing_finding(seen: Snapshot) -> Finding:
    """The finding `config.missing`."""
    if why := unread(seen):
        return Finding(MISSING, f"Whether configuration is missing is not known: {why}", Certainty.UNKNOWN)
    found = missing_references(seen)
    rows: list[JsonValue] = [{"kind": r.kind.value, "name": r.name, "key": r.key} for r, _ in found]
    if not found:
        return Finding(
            MISSING, "All ConfigMaps, Secrets and keys that the pods need exist", data={"missing": rows}
        )
    texts = [f"container {who} needs {r.kind} {r.name}{f' key {r.key}' if r.key else ''}" for r, who in found]
    return Finding(MISSING, f"Missing: {'; '.join(texts)}", data={"missing": rows}, details=tuple(texts))


def is_missing(diagnosis: Diagnosis, kinds: tuple[Kind, ...] = (Kind.CONFIG_MAP, Kind.SECRET)) -> bool:
    """Is any configuration of these kinds missing?"""
    finding = diagnosis.finding(MISSING)
    rows: Any = finding.data.get("missing", ()) if finding is not None else ()
    return any(r["kind"] in kinds for r in rows)


def unobserved(seen: Snapshot) -> Iterator[Cause]:
    """Nobody carries out what the workload's spec says by now: its status is that of an older generation."""
    workload, target = seen.workload, seen.workload.target
    # Any write may have counted as a generation: annotations of a Deployment do.
    entries = workload.manifest["metadata"].get("managedFields") or ()
    times = [parse_time(e.get("time")) for e in entries if e.get("subresource") != "status"]
    at = max((time for time in times if time is not None), default=None)
    if None in times:
        return  # a scaling has no time: it may be of this moment, by an autoscaler
    if workload.observed_generation >= workload.ref.generation or at is None or seen.now - at < STARTING:
        return
    yield Cause(
        code=CauseCode.NOT_READY,
        object=f"{target.kind} {target.name}",
        sureness=Sureness.CERTAIN,
        text=f"its controller has not looked at {target.kind.lower()} {target.name} since it was changed "
        f"{span((seen.now - at).total_seconds())} ago (generation {workload.observed_generation} of {workload.ref.generation})",
        advice="see whether kube-controller-manager runs and has a leader; nothing that is changed here takes effect before",
        since=at,
    )


async def events_about(
    events: Sequence[Obj], names: Container[str], makers: Container[str]
) -> list[KubeEvent]:
    """Those about one of these names, or a pod that one of these ReplicaSets made. What they are about may be gone."""

    def mine(event: KubeEvent) -> bool:
        kind, _, name = event.about.partition("/")
        return name in names or (kind == Kind.POD and maker_of(name) in makers)

    return [event for event in await in_turns(parse_event, events) if mine(event)]
