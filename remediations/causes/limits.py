"""Where the memory limits that killed containers ran into come from: the template, a release that lowered them, somebody between the
template and the pods, or this service. Pure.

Called by the handler of memory: more than the template gives helps only where it is the template that gave too little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.evidence import Finding
from app.domain.json import JsonValue
from app.domain.workload import Pod
from app.kube.lineage import lives, template_written_at, written_by_us
from app.kube.manifest import containers_of, differences, pod_memory_limit
from remediations.causes.changes import changes_of
from remediations.causes.model import At, Cause, CauseCode, Snapshot
from remediations.causes.outgrown import fills_since, killed_before, short_node, shows_kills_too
from remediations.causes.suspects import suspects
from remediations.evidence.rollouts import Deployment, last_deployment
from remediations.evidence.usage import count, joined, memory, span

SIZES = "memory.sizes"
"""Finding: where the limits that the killed containers had come from. Data: `ran_with` (limits in bytes of the pods that are higher than
the template's), `given_less` (those that are lower), `before` (the higher limits that a release took away, which only newer pods ran
into), `lowered_by` (which one), `untried` (the higher limits of the template, of which no pod has been killed)."""
BROUGHT = "memory.released"
"""Finding: that the kills came with the last release, whatever that changed. Data: `revision`."""
REPAIR = "memory.repair"
"""Finding: that the last release came after the alert, or gave the killed containers more alone, so that it brought no kill and was not enough."""
OTHERS = "a webhook, a VerticalPodAutoscaler or another admission, or a resize of the running pods (kubectl get pod -o yaml shows annotations of it)"
"""Who gives pods another limit than the template does. The API does not tell which of them it was."""
NODE = "memory.node"
"""Finding: that the node of a killed pod has no memory left itself, so that the limit may not be what ended it."""
_WITH = timedelta(minutes=10)
"""Kills that began so soon after a release began with it, whatever that changed. What it changed of the killed container fills slower."""
_DAY = timedelta(days=1)
"""A limit that an earlier release than the last one took away is a suspect for so long, and one that this service raised was not enough for so long."""


@dataclass(frozen=True, slots=True)
class _Lowered:
    """The higher limits of before in bytes, who took them away, and whether that was this service."""

    before: Mapping[str, int]
    by: str
    own: bool = False


def sizes_of_killed(seen: Snapshot, names: Sequence[str], killed: frozenset[str]) -> Finding | None:
    """What the template does not tell of the limits of the killed containers; None when it tells all. `killed` are names of pods."""
    template = {c.name: c.memory_limit for c in seen.workload.containers}
    ran_with, less = _of_others(seen, names, killed)
    told = [f"pods run with {memory(size)} for {name}, and the template says {memory(template[name] or 0)}: somebody else sets it"
            for name, size in {**ran_with, **less}.items()]  # fmt: skip
    found = _lowered(seen, names, killed)
    told += [f"{found.by} lowered the memory limit of {name} from {memory(size)} to {memory(template[name] or 0)}"
             for name, size in found.before.items()]  # fmt: skip
    untried = _untried(seen, names, killed)
    told += [
        f"the template gives {name} {memory(size)} by now, and no pod with that was killed"
        for name, size in untried.items()
    ]
    data: dict[str, JsonValue] = {
        "ran_with": {**ran_with},
        "given_less": {**less},
        "before": {} if found.own else {**found.before},
        "lowered_by": found.by,
        "untried": {**untried},
    }
    return Finding(SIZES, joined(told), data=data) if told else None


def node_finding(seen: Snapshot, killed: frozenset[str]) -> Finding | None:
    """The finding `memory.node`; None where no node of these pods is known to be short of memory."""
    told = short_node(seen, killed)
    return Finding(NODE, f"{told[:1].upper()}{told[1:]}") if told else None


def _of_others(
    seen: Snapshot, names: Sequence[str], killed: frozenset[str]
) -> tuple[dict[str, int], dict[str, int]]:
    """The limits of pods of the present template that are not the template's: higher ones, and lower ones that all of its killed pods have."""
    template = {c.name: c.memory_limit for c in seen.workload.containers if c.memory_limit}
    higher: dict[str, int] = {}
    had: dict[str, int] = {}
    for pod in filter(seen.newest, seen.pods):
        for spec in pod.specs:
            limit, own = spec.memory_limit, template.get(spec.name)
            if spec.name not in names or not limit or own is None:
                continue
            if limit > own:
                higher[spec.name] = limit
            if pod.name in killed:
                had[spec.name] = max(limit, had.get(spec.name, 0))
    return higher, {name: size for name, size in had.items() if size < template[name]}


def _untried(seen: Snapshot, names: Sequence[str], killed: frozenset[str]) -> dict[str, int]:
    """The higher limits that somebody has set since, while all pods that were killed are from before."""
    pods = [p for p in seen.pods if p.name in killed]
    if not pods or any(map(seen.newest, pods)):
        return {}
    had = {s.name: s.memory_limit for p in pods for s in p.specs if s.name in names}
    now = {c.name: c.memory_limit for c in seen.workload.containers if c.name in had}
    return {n: size for n, size in now.items() if size and (old := had[n]) is not None and size > old}


def _lowered(seen: Snapshot, names: Sequence[str], killed: frozenset[str]) -> _Lowered:
    """The limits that the killed containers had before the last release, or before an earlier one of the last day, where it lowered them
    and no older pod was killed: memory may take its time to fill what is left. What this service lowered itself, as it took its own step
    back, is no release."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    pods = [p for p in seen.pods if p.name in killed]
    if last is None or last.previous is None or not pods or not all(map(seen.newest, pods)):
        return _Lowered({}, "")
    now = {c.name: c.memory_limit for c in seen.workload.containers if c.memory_limit and c.name in names}
    own = written_by_us(seen.workload, seen.now - timedelta(seconds=last.age))
    by = "this service itself, and no release," if own else "the last release"
    if before := _higher(last.previous.template, now):
        return _Lowered(before, by, own)
    for life in reversed(lives(seen.revisions, template_written_at(seen.workload))):
        lately = life.end is not None and seen.now - life.end <= _DAY
        if lately and (before := _higher(life.revision.template, now)):
            return _Lowered(
                before, f"the release that followed revision {life.revision.number}, {_ago(seen, life.end)},"
            )
    return _Lowered({}, "")


def _ago(seen: Snapshot, at: datetime | None) -> str:
    return f"{span((seen.now - at).total_seconds())} ago" if at is not None else ""


def _higher(template: Mapping[str, object], now: Mapping[str, int]) -> dict[str, int]:
    """The limits that this template gives more of."""
    spec = template.get("spec")
    old = {c.name: c.memory_limit for c in containers_of(spec if isinstance(spec, dict) else {})}
    return {n: size for n, limit in now.items() if (size := old.get(n)) is not None and size > limit}


def came_with_release(seen: Snapshot, causes: Sequence[Cause], killed: frozenset[str]) -> Finding | None:
    """The finding `memory.released`: only pods of the last release were killed, and older ones run well beside them or the kills began with
    it; or `memory.repair`, where it can only have been meant to end them, also by this service. None otherwise."""
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    pods = [p for p in seen.alive if p.name in killed]
    if last is None or last.previous is None or not pods or not all(map(seen.newest, pods)):
        return None
    deployed = seen.now - timedelta(seconds=last.age)
    own = written_by_us(seen.workload, deployed)
    name = f"revision {last.revision.number} ({last.change}), deployed {span(last.age)} ago"
    data: dict[str, JsonValue] = {"revision": last.revision.number}
    ends = [c for c in causes if c.code is CauseCode.OUT_OF_MEMORY]
    first = min((c.since for c in ends if c.since), default=seen.now)
    names = frozenset(c.container for c in ends if c.container)
    repair = _repair(seen, last, deployed, names)
    if own:  # no release: what it gave more was not enough, also where it took some hours to fill
        return repair if repair is not None and seen.now - deployed <= _DAY else None
    if repair is not None:
        return repair if first - deployed < _WITH or deployed > seen.fired_at else None
    if _older_too(seen, ends, names):
        return None
    if well := _well(seen, names):
        beside = (
            f"{count(len(well), 'pod')} of an older one {'runs' if len(well) == 1 else 'run'} well beside"
        )
        return Finding(BROUGHT, f"Only pods of {name}, are killed, and {beside}", data=data)
    if first - deployed < _WITH:
        return Finding(BROUGHT, f"The kills began with {name}", data=data)
    brings = any(suspects(c, last.previous.template, last.revision.template).all for c in ends)
    if not brings or not fills_since(seen, last, first, killed):
        return None
    after = f"The kills began {span((first - deployed).total_seconds())} after {name}, which is as long as memory may take to fill"
    return Finding(BROUGHT, f"{after}, and the version before it was there for longer without", data=data)


def _well(seen: Snapshot, names: frozenset[str]) -> list[Pod]:
    """Ready pods of older revisions in which none of these containers was killed for memory lately."""
    killed = {p.name for p in killed_before(seen, names)}
    return [p for p in seen.alive if p.ready and not seen.newest(p) and p.name not in killed]


def _older_too(seen: Snapshot, ends: Sequence[Cause], names: frozenset[str]) -> bool:
    """Whether a pod of an older revision shows the same: then the kills did not come with the newest one."""
    told = {n for c in ends for n in c.pods}
    same = any(p.name in told and not seen.newest(p) for p in seen.pods)
    return same or shows_kills_too(seen, names) is not None


_MEMORY = (".resources.limits.memory", ".resources.requests.memory")


def _repair(seen: Snapshot, last: Deployment, deployed: datetime, names: frozenset[str]) -> Finding | None:
    """The finding `memory.repair`: the release gave these containers more memory and changed nothing else, or came after the alert while no pod of an older one
    runs well beside. None otherwise."""
    before = last.previous.template if last.previous is not None else {}
    had = {n: size for n, size in _limits(before).items() if n in names}
    now = _limits(last.revision.template)
    raised = {n: size for n, size in had.items() if now.get(n, 0) > size}
    alone = all(d.path.endswith(_MEMORY) for d in differences(before, last.revision.template))
    after = deployed > seen.fired_at
    ours = written_by_us(seen.workload, deployed)
    if not (raised and len(raised) == len(names) and alone) and (ours or not after or _well(seen, names)):
        return None
    kind = seen.workload.target.kind
    own = next((c for c in changes_of(seen) if c.kind is kind and c.at == deployed), None)
    by = " by this service itself" if ours else f" by {own.by}" if own is not None and own.by else ""
    when = f"{span(last.age)} ago{by}{', after the alert fired' if after else ''}"
    told = [
        f"the memory limit of {n} was raised from {memory(size)} to {memory(now[n])} {when}, and that is not enough either"
        for n, size in raised.items()
    ]
    other = f"revision {last.revision.number} ({last.change}) was deployed {when}, so it did not bring the kills, and does not end them"
    text = joined(told) or other
    return Finding(REPAIR, f"{text[:1].upper()}{text[1:]}", data={"revision": last.revision.number})


def _limits(template: Mapping[str, object]) -> dict[str, int]:
    spec = template.get("spec")
    found = containers_of(spec if isinstance(spec, dict) else {})
    return {c.name: c.memory_limit for c in found if c.memory_limit}


# What a killed container ran into, and where a person gives it more, in words.


def more_memory(at: At, short: str) -> str:
    """Where a person gives it more memory: where the limit that it ran into is set, unless its node is `short` of it, in words."""
    name, seen = at.state.name, at.seen
    own = next((s.memory_limit for s in at.pod.specs if s.name == name), None)
    template = next((c for c in seen.workload.containers if c.name == name), None)
    whole = pod_memory_limit(seen.spec)
    if template is None:
        where = f"raise the memory limit of {name} where admission takes it from (its injector, or an annotation of the pods)"
    elif (
        template.memory_limit is not None
        and own is not None
        and own < template.memory_limit
        and seen.newest(at.pod)
    ):
        where = f"see what gives {name} {memory(own)} where the template says {memory(template.memory_limit)} (a webhook, a VPA, a resize), and raise it there"
    elif template.memory_limit is not None:
        where = f"raise the memory limit of {name} (the remediation out-of-memory does)"
    elif own is not None:
        where = f"set a memory limit for {name} in the pod template; now a LimitRange or admission gives it {memory(own)}"
    elif whole is not None:
        where = f"raise the memory limit of the whole pod beyond {memory(whole)}"
    else:
        where = f"give {name} a memory request and limit that fit its usage, and see what else fills node {at.pod.node or 'of the pod'}"
    if short:
        place = f"node {at.pod.node}"
        return f"give {name} a memory request near to its usage, so that it gets a node with room, and see what else fills {place} (drain it, if need be); only then {where}"
    return f"{where}, or find what uses it"


def limit_of(at: At) -> str:
    """The limit that a container ran into: its own, that of its pod as a whole, or the node's end."""
    own = next((s.memory_limit for s in at.pod.specs if s.name == at.state.name), None)
    if own is not None:
        return f"limit {memory(own)}"
    whole = pod_memory_limit(at.seen.specs.get(at.pod.name) or at.seen.spec)
    return f"limit of the whole pod {memory(whole)}" if whole is not None else "no limit: it was the node"
