"""What others have to do with pods that are not ready: a dependency that failed first, a right that the application lacks, pods that
were preempted or evicted to be resized, a resize that no node can carry, a disruption budget that holds evictions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from app.domain.redact import redact
from app.domain.target import Kind
from app.domain.workload import KubeEvent, Pod
from remediations.causes.model import Cause, CauseCode, Snapshot, Sureness, earliest
from remediations.evidence.units import count, short, span

_FORBIDDEN = re.compile(
    r'forbidden: User "system:serviceaccount:(?P<space>[a-z0-9-]{1,63}):(?P<account>[a-z0-9.-]{1,253})" '
    r'cannot (?P<verb>[a-z]{1,20}) resource "(?P<resource>[a-z0-9./-]{1,100})"'
)
"""The API server's refusal, as client libraries print it."""


def other_causes(seen: Snapshot) -> Iterator[Cause]:
    """In the order in which they explain each other."""
    yield from _said(seen)
    yield from _preempted(seen)
    yield from _resized(seen)
    yield from _budgets(seen)


def _said(seen: Snapshot) -> Iterator[Cause]:
    """What containers in trouble said last: a neighbour that is away, or a right that they lack."""
    for (pod, container), words in seen.words.items():
        shown = _in_trouble(seen, container)
        if not shown:
            continue
        for neighbour in seen.neighbours:
            if re.search(rf"(?<![\w.-]){re.escape(neighbour.name)}(?![\w-])", words, re.IGNORECASE):
                yield Cause(
                    code=CauseCode.DEPENDENCY,
                    object=f"Service {neighbour.name}",
                    sureness=Sureness.CERTAIN,
                    text=f"Service {neighbour.name} has no ready pod ({neighbour.state}), and container {container} of {pod} "
                    f'needs it: it said last "{words}"',
                    advice=f"restore {neighbour.name} first (ready are {neighbour.state})",
                    pods=shown,
                    objects=((Kind.SERVICE, neighbour.name),),
                    since=neighbour.since,
                    container=container,
                )
        if found := _FORBIDDEN.search(words):
            yield _right(seen, (pod, container), shown, found)


def _in_trouble(seen: Snapshot, container: str) -> tuple[str, ...]:
    """Pods that are not ready whose container of this name is not."""
    return tuple(
        p.name
        for p in seen.alive
        if not p.ready and any(c.name == container and not c.ready for c in p.containers)
    )


def _right(seen: Snapshot, where: tuple[str, str], shown: tuple[str, ...], found: re.Match[str]) -> Cause:
    pod, container = where
    account, verb, resource = found["account"], found["verb"], found["resource"]
    group = (
        "initContainers"
        if any(c.init and c.name == container for c in seen.workload.containers)
        else "containers"
    )
    return Cause(
        code=CauseCode.RIGHT,
        object=f"ServiceAccount {account}",
        sureness=Sureness.CERTAIN,
        text=f"ServiceAccount {account} of namespace {found['space']} may not {verb} {resource}, which container {container} of "
        f"{pod} asked for before it ended",
        advice=f"grant it: a Role with {verb} on {resource} and a RoleBinding to ServiceAccount {account}, or restore what was there",
        pods=shown,
        fields=("serviceAccountName", "serviceAccount", f"{group}[{container}].image", f"{group}[{container}].args",
                f"{group}[{container}].command", f"{group}[{container}].env"),
        objects=((Kind.SERVICE_ACCOUNT, account),),
        container=container,
    )  # fmt: skip


def _preempted(seen: Snapshot) -> Iterator[Cause]:
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
            text=f"{count(len(gone), 'pod')} made room for a pod of a higher priority: {short(redact(first.message), 160)}"
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


_PENDING = {
    "Infeasible": "its node can never carry",
    "Deferred": "its node cannot carry for now",
}


def _resized(seen: Snapshot) -> Iterator[Cause]:
    """Pods whose requests were changed in place, and whose node has not given them what they ask for."""
    for pod in seen.alive:
        found = pod.condition("PodResizePending")
        if found is None or found.status != "True":
            continue
        said = short(redact(found.message), 200)
        why = _PENDING.get(found.reason, "its node has not given it")
        yield Cause(
            code=CauseCode.RESIZE,
            object=f"Pod {pod.name}",
            sureness=Sureness.POSSIBLE,
            text=f"pod {pod.name} was resized in place to what {why} ({found.reason}: {said})",
            advice=f"move pod {pod.name} to a node with room, or ask for less ({said})",
            pods=() if pod.ready else (pod.name,),
            fields=("containers[*].resources", "resources"),
            since=found.since,
        )


def _budgets(seen: Snapshot) -> Iterator[Cause]:
    """Budgets that let nobody evict a pod: a drain of a node waits for them, and so does whoever wants to move pods."""
    for budget in seen.budgets:
        status, name = budget.get("status") or {}, budget["metadata"]["name"]
        if status.get("disruptionsAllowed", 1) or not status.get("expectedPods"):
            continue
        healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        never = wanted >= status["expectedPods"]
        why = "it wants all of them" if never else f"{healthy} are healthy"
        yield Cause(
            code=CauseCode.DISRUPTION_BUDGET,
            object=f"PodDisruptionBudget {name}",
            sureness=Sureness.POSSIBLE,
            text=f"PodDisruptionBudget {name} allows no eviction: of {count(status['expectedPods'], 'pod')} {wanted} have to be "
            f"healthy, and {why}",
            advice=f"a drain waits for it: make the pods healthy first, or let PodDisruptionBudget {name} allow one more",
            objects=((Kind.PDB, name),),
        )
