"""Investigate a workload once: one bounded look at it and at what its pods use, its causes, and the word on the last rollout.

Called by the handlers in `diagnose`. Reads only, and nothing without a bound in number or time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ParamSpec, TypeVar

from app.domain.accusing import Sign
from app.domain.errors import ClusterRefused, ObjectMissing, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import Obj
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.domain.workload import Pod, killed_within
from app.kube.lineage import beneath, last_write
from app.kube.manifest import claims_of, config_keys
from app.kube.parse import OF_SERVICE, parse_pod, selector_text, serves
from app.kube.read import WARNINGS, autoscaler_manifest, pod_manifests, read_pods, replica_sets_of, revisions
from remediations.causes.around import meant
from remediations.causes.blame import Blame, blame
from remediations.causes.changes import of_itself
from remediations.causes.compared import of_older_too
from remediations.causes.creation import events_about, held_back
from remediations.causes.everyday import judged
from remediations.causes.images import WAITING, pull_secrets
from remediations.causes.model import (
    NEAR,
    RECENT,
    Cause,
    CauseCode,
    Kept,
    Neighbour,
    Snapshot,
    Sureness,
    not_ready_since,
)
from remediations.causes.neighbours import addresses_of, kept_away, neighbours_in, selector_of
from remediations.causes.others import with_nodes, with_others
from remediations.causes.pods import ends_soon, stuck
from remediations.causes.rank import calm, causes_of
from remediations.causes.scheduling import node_comes, wants_taints
from remediations.causes.stopped import paused_on_purpose, starts, stopped_by_design, under_way
from remediations.causes.witnesses import with_words
from remediations.evidence.error_lines import TOKENS
from remediations.evidence.logs import ErrorLog, Usual, read_errors
from remediations.evidence.natures import absent_names
from remediations.evidence.usage import DEPENDENCY, count, span

# The neighbour that failed first, for errors in the logs: a Service which they name and behind which no pod is ready.
#
# Called by the handlers. Cause before victim: what our pods ask for is looked at before our pods are changed.


_RELEASED = 3600.0  # seconds


async def errors_of(
    scene: Scene, found: Investigation, window: float, tokens: Sequence[str] = TOKENS, released: float = _RELEASED
) -> tuple[ErrorLog, list[Finding]]:  # fmt: skip
    """The errors of its pods in `window` seconds without what was there before the trouble, and findings of Services without a ready pod that
    they name (`dependency.NAME`, with `healthy` False, for each that may be the cause). One that does not exist is no dependency of an older
    version for certain, and is left to the errors. What was released in `released` seconds may have brought whatever its pods say."""
    seen = found.seen
    log = await read_errors(scene.cluster, seen.pods, scene.now, window, tokens)
    said = [g.said for g in (*log.groups, *log.warned)]
    try:
        named = await neighbours_in(scene, said) if await _may_name(scene, said) else []
    except (ClusterRefused, TryLater):
        named = []  # optional: without it nothing is known of neighbours
    at_least = (seen.now - seen.fired_at).total_seconds() + _RELEASED
    older = of_older_too(seen, log, max(released, at_least))
    if not (log.groups or log.warned) or (older is not None and not named and not older):
        return log, []

    async def read(usual: Usual) -> ErrorLog:
        return await read_errors(scene.cluster, seen.pods, scene.now, window, tokens, usual=usual)

    return await judged(scene, seen.pods, log, named, read, older=older)


async def _may_name(scene: Scene, said: Sequence[str]) -> bool:
    """At a glance: whether a Service of others has its name or an address in it, or a host was looked up that is none."""
    namespace, own = scene.workload.target.namespace, scene.workload.pod_labels
    listed = await scene.cluster.list_objects(Kind.SERVICE, namespace) if said else []
    services = [s for s in listed if selector_of(s) and not serves(s, own)]
    names = {name for s in services for name in (s["metadata"]["name"], *addresses_of(s))}
    text = "\n".join(said).lower()
    return any(name in text for name in names) or any(
        name for one in said for name in absent_names(one.lower(), namespace)
    )


def with_neighbours(
    checked: Sequence[Finding], pods: Sequence[Finding]
) -> tuple[list[Finding], list[Finding]]:
    """The findings of `pods` that are no dependency's, and one word on each dependency: our own check where it tells something, else what
    the Service's pods say."""
    known = {f.code for f in checked if f.certainty is Certainty.KNOWN}
    near = [f for f in pods if f.code.startswith(DEPENDENCY)]
    said = {f.code: f for f in near if f.code not in known}
    own = [f for f in checked if f.code not in said]
    return [f for f in pods if f not in near], [*own, *said.values()]


# The snapshot: one bounded look at a workload and at what its pods use. Called by `investigate`. A source that cannot be read is named in `unread` with the reason, and what depends on it
# stays unknown. What healthy pods need is not read, and no source is read without a bound in number or time.

LIMIT = 12.0
"""Seconds that the look may take in all; what has not been read by then is unknown."""
_MAX_OBJECTS = 40
_MAX_EVENTS, _MAX_NODES = 200, 1_000
_LATELY = timedelta(hours=1)
_MAX_PODS, _MAX_PLACES = 3, 12
"""Services of which is read, and nodes."""

T = TypeVar("T")
P = ParamSpec("P")


class _Reads:
    """Reads that fail one by one. A read is begun by who waits for it: one that is called off before is never begun."""

    def __init__(self) -> None:
        self.unread: dict[str, str] = {}

    async def one(
        self, what: str, otherwise: T, read: Callable[P, Awaitable[T]], *args: P.args, **named: P.kwargs
    ) -> T:
        try:
            return await read(*args, **named)
        except (ClusterRefused, TryLater) as e:
            self.unread[what] = e.message
            return otherwise


async def read_snapshot(scene: Scene) -> Snapshot:
    """Look at the workload; never raises for what the cluster does."""
    reads = _Reads()
    seen = Snapshot(scene.workload, scene.now, scene.fired_at)
    try:
        async with asyncio.timeout(LIMIT):
            seen = await _core(scene, reads, seen)
            killed = killed_within(seen.alive, seen.now, NEAR)
            seen = await _used(scene, reads, seen, killed)
            seen = await with_nodes(scene, seen, killed) if killed else seen
            seen = await _around(scene, reads, seen)
            well = calm(seen) and not any(p.gated for p in seen.alive)
            seen = seen if well else await with_words(scene, seen, reads.unread)
            seen = seen if seen.whole else await with_others(scene, seen)
            seen = await _beside(scene, seen)
    except TimeoutError:
        reads.unread["the rest"] = f"the look took longer than {LIMIT:g} s"
    return replace(seen, unread=dict(reads.unread))


async def _core(scene: Scene, reads: _Reads, seen: Snapshot) -> Snapshot:
    """Pods, revisions, events."""
    cluster, workload, namespace = scene.cluster, scene.workload, scene.workload.target.namespace
    manifests, pods, found, sets, events = await asyncio.gather(
        reads.one("pods", [], pod_manifests, cluster, workload),
        reads.one("pods", [], read_pods, cluster, workload),
        reads.one("revisions", [], revisions, cluster, workload),
        reads.one("revisions", [], replica_sets_of, cluster, workload),
        reads.one("events", [], cluster.list_objects, Kind.EVENT, namespace, fields=WARNINGS),
    )
    if workload.desired == 0:
        # Who scales to 0 through the subresource scale leaves no trace in managedFields, but the controller tells when.
        of_it = f"regarding.name={workload.target.name}"
        events = [*events, *await reads.one("events", [], cluster.list_objects, Kind.EVENT, namespace, fields=of_it)]  # fmt: skip
    names = {workload.target.name, *(p.name for p in pods), *(m["metadata"]["name"] for m in sets)}
    specs = {m["metadata"]["name"]: m.get("spec") or {} for m in manifests}
    names |= {claim for spec in specs.values() for claim in claims_of(spec)}
    makers = {m["metadata"]["name"] for m in sets}
    told = await events_about(events, names, makers)
    told.sort(key=lambda e: e.last_seen or scene.now, reverse=True)
    return replace(
        seen, pods=tuple(pods), specs=specs, revisions=tuple(found), controllers=tuple(sets), events=tuple(told[:_MAX_EVENTS])
    )  # fmt: skip


async def _used(scene: Scene, reads: _Reads, seen: Snapshot, killed: Sequence[Pod]) -> Snapshot:
    """What the pods use: configuration; where pods wait, pull Secrets, claims, nodes and what bounds them; nodes of those `killed` for memory."""
    waiting = [p for p in seen.alive if not p.ready]
    pulls = [p for p in waiting if any(c.waiting in WAITING for c in p.containers)]
    seen = replace(seen, service_account=await _account(scene, reads, seen) if pulls else None)
    places = list(dict.fromkeys((ref.kind, ref.name) for c in seen.workload.containers for ref in c.config))
    places += [(Kind.SECRET, n) for p in pulls for n in pull_secrets(seen, p)]
    chosen = list(dict.fromkeys(places))[:_MAX_OBJECTS]
    kept = await asyncio.gather(*(_kept(scene, reads, kind, name) for kind, name in chosen))
    never_ran = [p for p in waiting if not any(c.running_since for c in p.containers)]
    claims = await _claims(scene, reads, never_ran, seen)
    nodes = await _nodes(scene, reads, [*killed, *waiting, *stuck(seen)])
    if any(not p.node for p in waiting) and wants_taints(seen):
        every = await reads.one("nodes", [], scene.cluster.list_objects, Kind.NODE, "")
        nodes = (*nodes, *every[:_MAX_NODES])
    quotas, ranges = (await _bounds(scene, reads)) if seen.missing or seen.unmade else ((), ())
    return replace(
        seen,
        kept={(k.kind, k.name): k for k in kept if k is not None},
        claims=claims,
        nodes=nodes,
        quotas=quotas,
        limit_ranges=ranges,
    )


async def _account(scene: Scene, reads: _Reads, seen: Snapshot) -> Obj | None:
    name = seen.spec.get("serviceAccountName") or "default"
    namespace = scene.workload.target.namespace
    try:
        return await scene.cluster.get(Kind.SERVICE_ACCOUNT, namespace, name)
    except ObjectMissing:
        return None
    except (ClusterRefused, TryLater) as e:
        reads.unread["service account"] = e.message
        return None


async def _kept(scene: Scene, reads: _Reads, kind: Kind, name: str) -> Kept | None:
    """What a ConfigMap or Secret has, without its values; None when that is not known."""
    try:
        found = await scene.cluster.get(kind, scene.workload.target.namespace, name)
    except ObjectMissing:
        return Kept(kind, name, None)
    except (ClusterRefused, TryLater) as e:
        reads.unread[f"{kind}s"] = e.message
        return None
    write = last_write(found)
    at, by = (write.at, write.by) if write else (None, "")
    hand = beneath(found, write, of_itself(scene.workload))
    return Kept(kind, name, config_keys(found), at, by, found.get("immutable") is True, hand)


async def _claims(scene: Scene, reads: _Reads, pods: Sequence[Pod], seen: Snapshot) -> dict[str, Obj | None]:
    names = list(dict.fromkeys(n for p in pods for n in claims_of(seen.specs.get(p.name) or {})))[
        :_MAX_OBJECTS
    ]
    found: dict[str, Obj | None] = {}
    for name in names:
        try:
            found[name] = await scene.cluster.get(Kind.PVC, scene.workload.target.namespace, name)
        except ObjectMissing:
            found[name] = None
        except (ClusterRefused, TryLater) as e:
            reads.unread["claims"] = e.message
            break
    return found


async def _nodes(scene: Scene, reads: _Reads, pods: Iterable[Pod]) -> tuple[Obj, ...]:
    """The nodes of these pods, those that have most of them first: a zone that is lost takes many. The right to read them is optional: it is for the
    whole cluster."""
    names = [name for name, _ in Counter(p.node for p in pods if p.node).most_common(_MAX_PLACES)]
    asked = ((Kind.NODE, "", "", f"metadata.name={name}") for name in names)
    listed = await asyncio.gather(
        *(reads.one("nodes", [], scene.cluster.list_objects, *one) for one in asked)
    )
    return tuple(node for nodes in listed for node in nodes if node["metadata"]["name"] in names)


async def _bounds(scene: Scene, reads: _Reads) -> tuple[tuple[Obj, ...], tuple[Obj, ...]]:
    namespace = scene.workload.target.namespace
    quotas, ranges = await asyncio.gather(
        reads.one("quotas", [], scene.cluster.list_objects, Kind.RESOURCE_QUOTA, namespace),
        reads.one("limit ranges", [], scene.cluster.list_objects, Kind.LIMIT_RANGE, namespace),
    )
    return tuple(quotas), tuple(ranges)


async def _around(scene: Scene, reads: _Reads, seen: Snapshot) -> Snapshot:
    """Services, the autoscaler and network policies."""
    target, read = scene.workload.target, scene.cluster.list_objects
    services, autoscaler, policies = await asyncio.gather(
        reads.one("services", [], scene.cluster.list_objects, Kind.SERVICE, target.namespace),
        reads.one("autoscalers", None, autoscaler_manifest, scene.cluster, target),
        reads.one("network policies", [], scene.cluster.list_objects, Kind.NETWORK_POLICY, target.namespace),
    )
    seen = replace(seen, services=_near(seen, services), policies=tuple(policies), autoscaler=autoscaler)
    selected: dict[str, tuple[int, int]] = {}
    for service in [s for s in seen.services if meant(seen, s)][:_MAX_PODS]:
        text = selector_text({"matchLabels": service["spec"]["selector"]})
        pods = await reads.one("pods of services", None, read, Kind.POD, target.namespace, text)
        if pods is not None:
            alive = [p for p in map(parse_pod, pods) if not p.over]
            selected[service["metadata"]["name"]] = len(alive), sum(p.ready for p in alive)
    names = [s["metadata"]["name"] for s in seen.services if serves(s, seen.workload.pod_labels)][:_MAX_PODS]
    chosen = ((Kind.ENDPOINT_SLICE, target.namespace, f"{OF_SERVICE}={n}") for n in names)
    listed = await asyncio.gather(*(reads.one("endpoint slices", [], read, *one) for one in chosen))
    slices = {name: tuple(found) for name, found in zip(names, listed, strict=True) if found}
    return replace(seen, selected=selected, slices=slices)


def _near(seen: Snapshot, services: Sequence[Obj]) -> tuple[Obj, ...]:
    """Services that select the pods, or are meant to."""
    return tuple(s for s in services if serves(s, seen.workload.pod_labels) or meant(seen, s))


async def _beside(scene: Scene, seen: Snapshot) -> Snapshot:
    """Services of the namespace whose pods all stopped being ready within the hour, whether anybody names them or not; asked only where what
    a container said may follow from that. One without pods is nobody's outage, and without an answer nothing is known of others."""
    if not any(words.sign is Sign.OWN and words.follows for words in seen.words.values()):
        return seen
    namespace, own = scene.workload.target.namespace, scene.workload.pod_labels
    try:
        services, pods = await asyncio.gather(
            scene.cluster.list_objects(Kind.SERVICE, namespace),
            scene.cluster.list_objects(Kind.POD, namespace),
        )
    except (ClusterRefused, TryLater):
        return seen
    found = list[Neighbour]()
    for service in (s for s in services if selector_of(s) and not serves(s, own)):
        wanted = selector_of(service).items()
        listed = [m for m in pods if wanted <= ((m["metadata"].get("labels") or {}).items())]
        alive = [p for p in map(parse_pod, listed) if not p.over]
        since = not_ready_since(alive)
        if not alive or any(p.ready for p in alive) or since is None or seen.now - since > _LATELY:
            continue
        if len(found) < _MAX_PODS and not await kept_away(scene, listed):
            found.append(Neighbour(service["metadata"]["name"], f"0 of {count(len(alive), 'pod')}", since))
    return replace(seen, down=tuple(found))


@dataclass(frozen=True, slots=True)
class Investigation:
    """What one look found. `causes` are in order; `blame` is the word on the last rollout about the first of them; `rest`
    says why nothing is to be done now, empty when something is; `by_design`: because it is meant to have no pods."""

    seen: Snapshot
    causes: tuple[Cause, ...]
    blame: Blame | None
    rest: str
    by_design: bool = False

    @property
    def nothing_to_do(self) -> str:
        """`recovered 12 min ago, nothing to do: 3 of 3 pods ready`; empty when something is."""
        how, colon, state = self.rest.partition(": ")
        return f"{how}, nothing to do{colon}{state}" if self.rest else ""


async def investigate(scene: Scene) -> Investigation:
    """Look, and conclude."""
    return conclude(await read_snapshot(scene))


def conclude(seen: Snapshot) -> Investigation:
    """Everything that follows from a snapshot. Pure."""
    causes = causes_of(seen) if "pods" not in seen.unread else []
    first = causes[0] if causes else None
    word = blame(seen, first, causes) if first is not None else None
    stopped = "" if seen.workload.desired else stopped_by_design(seen)
    rest = stopped or at_rest(seen, causes) or under_way(seen, causes)
    return Investigation(seen, tuple(causes), word, rest, bool(stopped))


def at_rest(seen: Snapshot, causes: Collection[Cause]) -> str:
    """Why there is nothing to do now: healthy, healthy again, still starting, or paused on purpose. Empty when there is, or may be."""
    if "pods" in seen.unread or any(
        c.sureness is not Sureness.POSSIBLE or c.pods or c.code is CauseCode.NOT_READY for c in causes
    ):
        return paused_on_purpose(seen, causes)
    wanted = seen.workload.desired
    ready = [p for p in seen.alive if p.ready]
    state = f"{seen.ready} of {count(wanted, 'pod')} ready"
    if seen.ready > wanted:
        state = f"{count(seen.ready, 'pod')} ready, {wanted} wanted"
    if wanted == 0:
        return ""
    state += held_back(seen)
    if len(ready) >= wanted and len(ready) == len(seen.alive):
        times = [c.since for p in ready if (c := p.condition("Ready")) is not None and c.since is not None]
        restarts = sum(c.restarts for p in ready for c in p.containers)
        if not times:
            return f"healthy: {state}"
        since = span((seen.now - max(times)).total_seconds())
        again = max(times) >= seen.fired_at or restarts
        how = f"recovered {since} ago" if again else f"healthy for {since}"
        return f"{how}: {state}"
    failed = [
        p for p in seen.pods if p.phase == "Failed" and seen.newest(p) and p.created_at >= seen.now - RECENT
    ]
    if len(failed) > 1:
        return ""  # the next one is young, and those before it did not live
    newest = max((p.created_at for p in seen.alive if not p.ready), default=None)
    if newest is None:
        return f"still starting: {state}, a pod of before is ending" if ends_soon(seen) else ""
    comes = any(node_comes(seen, p) for p in seen.alive) and "a node is being added"
    made = f"the newest was made {span((seen.now - newest).total_seconds())} ago"
    return f"still starting: {state}, {comes or starts(seen, seen.alive) or made}"
