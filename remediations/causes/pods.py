"""What keeps a pod as a whole from running: its node, its sandbox, its volumes; and pods that are over and in the way of
others: ending for too long, put out by a node. Pure, but for the nodes that are read where only their pods have the errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.domain.accusing import Sign
from app.domain.evidence import Finding
from app.domain.json import JsonValue, Obj
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.domain.workload import ConfigRef, Pod
from app.kube.manifest import claims_of
from app.kube.quoted import told_by
from remediations.causes import demands, sizes
from remediations.causes.compared import only_newest_has_them
from remediations.causes.exits import missing_config, missing_ref
from remediations.causes.gates import gate_cause
from remediations.causes.model import (
    NEAR,
    RECENT,
    Cause,
    CauseCode,
    Demand,
    Snapshot,
    Sureness,
    earliest,
)
from remediations.causes.nodes import MIN_ALIKE, ailing, ails, away, newest_apart, on_some, read_nodes
from remediations.causes.outgrown import OWN_SIZE, PUT_OUT, put_out_at
from remediations.causes.rejected import rejections
from remediations.causes.restarted import since_their_start
from remediations.evidence.logs import ErrorLog
from remediations.evidence.pods import ON_NODE
from remediations.evidence.usage import count, span

_MOUNT = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_VOLUME = re.compile(r'for volume "(?P<name>[^"]+)"')
_KEY = re.compile(r"references non-existent (?P<kind>config|secret) key: (?P<key>\S+)")
_MULTI = re.compile(r"Multi-Attach error|already (?:exclusively )?(?:attached|used)", re.IGNORECASE)


def pod_causes(seen: Snapshot) -> Iterator[Cause]:
    """At most one cause a pod; evictions together."""
    nodes = {m["metadata"]["name"]: m for m in seen.nodes}
    for pod in seen.alive:
        if pod.ready:
            continue
        found = _node(seen, pod, nodes) or _mount(seen, pod) or _sandbox(seen, pod) or gate_cause(seen, pod)
        if found is not None:
            yield found
    yield from _ending(seen, nodes)
    if not _enough(seen):
        yield from rejections(seen)
    yield from _evictions(seen)


def _node(seen: Snapshot, pod: Pod, nodes: Mapping[str, Obj]) -> Cause | None:
    """The pod's node is away or in trouble."""
    if not pod.node:
        return None
    told = seen.about("Pod", pod.name, "NodeNotReady")
    node = nodes.get(pod.node)
    conditions = {c["type"]: c for c in ((node or {}).get("status") or {}).get("conditions") or ()}
    ready = conditions.get("Ready", {}).get("status", "True")
    if not told and ready == "True":
        return ailing(seen, pod, nodes)
    why = told_by(conditions.get("Ready", {}).get("message", ""), 150)
    said = f" ({why})" if why else ""
    return Cause(
        code=CauseCode.NODE,
        object=f"Node {pod.node}",
        sureness=Sureness.CERTAIN,
        text=f"node {pod.node} of pod {pod.name} is not ready{said}",
        advice=f"repair node {pod.node}, or drain it so that its pods move",
        pods=(pod.name,),
        since=earliest([e.first_seen for e in told]),
    )


async def where_alone(scene: Scene, seen: Snapshot, log: ErrorLog) -> list[Finding]:
    """What tells the pods apart that have the most frequent error: `errors.since_start`, else `errors.node`, else `errors.some`; nothing where nothing does."""
    mixed = _mixed(seen, log)
    if mixed and (began := since_their_start(seen, log)) is not None:
        return [began]
    node = await _on_one_node(scene, seen, log)
    return node or (await on_some(scene, seen, log) if mixed else [])


def _mixed(seen: Snapshot, log: ErrorLog) -> bool:
    """Whether of the pods of one version some have the most frequent error and some do not."""
    has = log.top.names if log.top is not None else frozenset[str]()
    read = [p for p in seen.alive if p.name in log.read]
    return any(
        len({p.name in has for p in read if seen.newest(p) is newest}) == 2 for newest in (True, False)
    )


async def _on_one_node(scene: Scene, seen: Snapshot, log: ErrorLog) -> list[Finding]:
    """The finding `errors.node`, where only pods of one node have the most frequent error and those of the same version on others do not: two, or one
    of a node that says that it lacks something; or where nodes explain what only the newest version has. Data: `ill`, and what a person does (`advice`)."""
    has = log.top.names if log.top is not None and 2 * log.top.count >= log.errors else frozenset[str]()
    read = [p for p in seen.alive if p.name in log.read]
    bad = [p for p in read if p.name in has]
    nodes, versions = {p.node for p in bad}, {seen.newest(p) for p in bad}
    well = [p for p in read if p.ready and p.name not in has and p.node and seen.newest(p) in versions]
    if not well and only_newest_has_them(seen, log):
        return await newest_apart(scene, seen, log, read)
    if len(nodes) != 1 or nodes == {""} or not well or any(p.node in nodes for p in well):
        return []
    (name,) = nodes
    said, since = ails((await read_nodes(scene, nodes)).get(name, {}))
    own = log.top is not None and log.top.sign is Sign.OWN
    ill = bool(said) and not own and (since is None or since >= seen.fired_at - NEAR)
    if len(bad) < MIN_ALIKE and not ill:
        return []
    have, others = "has" if len(bad) == 1 else "have", "does" if len(well) == 1 else "do"
    text = f"Only {count(len(bad), 'pod')} on node {name} {have} the most frequent error, and {count(len(well), 'pod')} of the same version on other nodes {others} not"
    text += f": that node {said}" if ill else ""
    advice = away(name) if ill else f"see first what is wrong with node {name}"
    return [Finding(ON_NODE, text, data={"node": name, "ill": ill, "advice": advice})]


def _mount(seen: Snapshot, pod: Pod) -> Cause | None:
    """A volume that cannot be attached or mounted; only while no container of the pod has run."""
    if any(c.running_since or c.last_terminated for c in pod.containers if not c.init):
        return None
    told = seen.about("Pod", pod.name, *_MOUNT)
    if not told:
        return None
    # The event that names the object says more than the one that waited in vain for all volumes.
    event = next((e for e in told if missing_ref(e.message) or _KEY.search(e.message)), told[0])
    since = earliest([*(e.first_seen for e in told), pod.created_at])
    if ref := missing_ref(event.message) or _volume_key(seen, pod, event.message):
        who = f"a volume of pod {pod.name}"
        return replace(missing_config(seen, ref, (pod.name,), who), since=since)
    said = told_by(event.message, 300)
    multi = _MULTI.search(event.message)
    holder = _holder(seen, pod) if multi else None
    claims = sorted(n for n in claims_of(seen.specs.get(pod.name) or {}))
    what = f"PersistentVolumeClaim {claims[0]}" if len(claims) == 1 else f"Pod {pod.name}"
    why = "its volume is still attached to another node" if multi else "a volume cannot be mounted"
    has = (
        f"pod {holder.name} on {holder.node or 'no node'}" if holder else "the pod that still has the volume"
    )
    if holder:
        why += f", by {has}, which has been ending for {_ending_for(seen, holder)}"
    volumes = demands.volumes_told(seen.specs.get(pod.name) or seen.spec, seen.claims)
    advice = (
        f"let {has} end ({volumes or 'a volume'} of ReadWriteOnce is on one node at a time)"
        if multi
        else f"repair {volumes or 'the volume'}: {said}"
    )
    return Cause(
        code=CauseCode.VOLUME,
        object=what,
        sureness=Sureness.CERTAIN,
        text=f"pod {pod.name} waits because {why}: {said}",
        advice=advice,
        pods=(pod.name,),
        demands=(_mounted(seen, pod, event.message),),
        objects=tuple((Kind.PVC, n) for n in claims),
        since=since,
    )


def _mounted(seen: Snapshot, pod: Pod, said: str) -> Demand:
    """What of the template is mounted there: the volume that the kubelet names; of a PersistentVolume it names that, not the claim."""
    found = _VOLUME.search(said)
    own = {v.get("name") for v in (seen.specs.get(pod.name) or seen.spec).get("volumes") or ()}
    if found is None:
        return demands.volume("")
    return demands.volume(found["name"]) if found["name"] in own else demands.claims([])


def _volume_key(seen: Snapshot, pod: Pod, said: str) -> ConfigRef | None:
    """The kubelet names volume and key, and not the object behind them."""
    found, volume = _KEY.search(said), _VOLUME.search(said)
    if found is None or volume is None:
        return None
    spec = seen.specs.get(pod.name) or seen.spec
    own: Mapping[str, Any] = next(
        (v for v in spec.get("volumes") or () if v.get("name") == volume["name"]), {}
    )
    if found["kind"] == "config" and (source := own.get("configMap")):
        return ConfigRef(Kind.CONFIG_MAP, source["name"], found["key"])
    if found["kind"] == "secret" and (source := own.get("secret")):
        return ConfigRef(Kind.SECRET, source["secretName"], found["key"])
    return None


def _sandbox(seen: Snapshot, pod: Pod) -> Cause | None:
    told = seen.about("Pod", pod.name, "FailedCreatePodSandBox", "NetworkNotReady")
    if not told:
        return None
    said = told_by(told[0].message, 300)
    node = f"node {pod.node}" if pod.node else "its node"
    return Cause(
        code=CauseCode.SANDBOX,
        object=f"Node {pod.node}" if pod.node else f"Pod {pod.name}",
        sureness=Sureness.CERTAIN,
        text=f"{node} cannot make the sandbox of pod {pod.name}: {said}",
        advice=f"repair the network plugin or the runtime of {node}: {said}",
        pods=(pod.name,),
        fields=("runtimeClassName",),
        since=earliest([e.first_seen for e in told]),
    )


def _evictions(seen: Snapshot) -> Iterator[Cause]:
    """Pods that a node has put out lately, as long as others are missing for it."""
    gone = [p for p in seen.pods if p.phase == "Failed" and p.reason in PUT_OUT]
    lately = [p for p in gone if (at := put_out_at(p)) is None or at >= seen.now - RECENT]
    own = [p for p in lately if OWN_SIZE.search(p.message)]
    newest = sum(p.ready and seen.newest(p) for p in seen.alive)
    if own and newest < seen.workload.desired:
        fields, tests = _of_size(seen, own[0])
        raised = "raise the size that they outgrew, or write less ({said})"
        yield replace(_evicted(own, raised), object=f"Pod {own[0].name}", fields=fields, demands=tests)
    others = [p for p in lately if p not in own]
    if others and not _enough(seen):
        advice = "free what the node lacks, or set the pods' requests to what they use ({said})"
        yield _evicted(others, advice)


def _evicted(pods: Sequence[Pod], advice: str) -> Cause:
    first = pods[0]
    said = told_by(first.message, 200)
    return Cause(
        code=CauseCode.EVICTED,
        object=f"Node {first.node}" if first.node else f"Pod {first.name}",
        sureness=Sureness.LIKELY,
        text=f"{count(len(pods), 'pod')} put out by the node ({first.reason}): {said}",
        advice=advice.replace("{said}", said),
        pods=tuple(p.name for p in pods),
        since=earliest([put_out_at(p) for p in pods]),
    )


def _of_size(seen: Snapshot, pod: Pod) -> tuple[tuple[str, ...], tuple[Demand, ...]]:
    """What of the template can bring that: any change of what runs, or a size that became smaller."""
    found = OWN_SIZE.search(pod.message)
    if found is not None and found["volume"]:
        return ("containers", f"volumes[{found['volume']}]"), (sizes.scratch(found["volume"]),)
    if found is not None and (name := found["container"]):
        where = f"containers[{name}]"
        return (where,), sizes.room(where, "ephemeral-storage")
    template = seen.workload.manifest["spec"]["template"]
    return ("containers",), sizes.everywhere(sizes.room, template, "ephemeral-storage")


def _enough(seen: Snapshot) -> bool:
    """Nobody misses the pods that are over: as many as wanted are ready, and no rollout waits for newer ones."""
    return seen.ready >= seen.workload.desired and not seen.unmade and not _waits(seen)


def _waits(seen: Snapshot) -> bool:
    """The rollout of the present template is on its way, and no pod of it is ready."""
    return seen.workload.updated < seen.workload.desired and not any(
        p.ready and seen.newest(p) for p in seen.alive
    )


# Pods that are over and in the way: of a StatefulSet, a DaemonSet and a Deployment that recreates, nothing takes the place of a pod before
# it is gone.

_LATE = timedelta(seconds=60)
"""How long after the end of its grace period a pod that is still there is stuck."""


def waits_for_the_end(seen: Snapshot) -> bool:
    """Whether this workload makes a pod only when the one before is gone."""
    if seen.workload.target.kind is not Kind.DEPLOYMENT:
        return True
    strategy = (seen.workload.manifest.get("spec") or {}).get("strategy") or {}
    return bool(strategy.get("type") == "Recreate")


def stuck(seen: Snapshot) -> list[Pod]:
    """Pods that should have been gone for a while."""
    return [p for p in seen.pods if p.terminating and p.ends_at is not None and p.ends_at + _LATE <= seen.now]


def ends_soon(seen: Snapshot) -> bool:
    """Whether a pod whose place is waited for is ending in time."""
    late = {p.name for p in stuck(seen)}
    return waits_for_the_end(seen) and any(p.terminating and p.name not in late for p in seen.pods)


def explains_missing(seen: Snapshot, cause: Cause) -> bool:
    """Does it say why pods are not there: they cannot be made, are not to be made, or one that is over is in the way?"""
    over = {p.name for p in seen.pods if p.over}
    return bool(cause.revisions) or cause.code is CauseCode.PAUSED or not over.isdisjoint(cause.pods)


def _holder(seen: Snapshot, pod: Pod) -> Pod | None:
    """The pod that is stuck in its end and mounts a claim of this one."""
    wanted = set(claims_of(seen.specs.get(pod.name) or {}))
    return next((p for p in stuck(seen) if wanted & set(claims_of(seen.specs.get(p.name) or {}))), None)


def _ending_for(seen: Snapshot, pod: Pod) -> str:
    return span((seen.now - (pod.ends_at or seen.now)).total_seconds())


def _ending(seen: Snapshot, nodes: Mapping[str, Obj]) -> Iterator[Cause]:
    """Pods that do not come to their end, where others wait for that."""
    if not seen.missing or not waits_for_the_end(seen):
        return
    for pod in stuck(seen):
        place = f"pod {pod.name} has been ending for {_ending_for(seen, pod)}, and nothing takes its place before it is gone"
        if lost := _node(seen, pod, nodes):
            name = f"node {pod.node}"
            advice = f"repair {name}; if it is gone for good, delete its Node object or taint it node.kubernetes.io/out-of-service"
            yield replace(lost, text=f"{place}: {lost.text}", advice=advice)
            continue
        held = ", ".join(pod.finalizers)
        why = f"finalizer {held} is not done" if held else f"its node {pod.node or '(none)'} has not ended it"
        advice = (
            f"let the controller of finalizer {held} finish, or take the finalizer off by hand once its work is done"
            if held
            else f"look at the kubelet of node {pod.node}: kubectl describe pod {pod.name} -n {seen.workload.target.namespace}"
        )
        yield Cause(
            code=CauseCode.TERMINATING,
            object=f"Pod {pod.name}",
            sureness=Sureness.CERTAIN,
            text=f"{place}: {why}",
            advice=advice,
            pods=(pod.name,),
            since=pod.ends_at,
        )


def revision_finding(seen: Snapshot, causes: Sequence[Cause]) -> Finding | None:
    """Do the pods of the present template do worse than those of an older one? None when revisions are not known."""
    current = seen.current
    if current is None:
        return None
    shown = {n for c in causes if c.sureness is not Sureness.POSSIBLE for n in c.pods}
    broken = [p for p in seen.alive if p.name in shown]

    def split(pods: list[Pod]) -> tuple[int, int]:
        newest = sum(seen.newest(p) for p in pods)
        return newest, len(pods) - newest

    new_broken, old_broken = split(broken)
    new_ready, old_ready = split([p for p in seen.alive if p.ready])
    data: dict[str, JsonValue] = {
        "only_newest": bool(broken) and old_broken == 0,
        "older_ready": old_ready,
        "newest_ready": new_ready,
    }
    text = (
        f"{count(new_broken, 'pod')} of revision {current.number} broken and {new_ready} ready; "
        f"of older revisions {old_broken} broken and {old_ready} ready"
    )
    if both := sum(p.ready for p in broken):
        text += f" ({both} of the broken {'is' if both == 1 else 'are'} ready for now)"
    return Finding("pods.revision", text, data=data)
