"""What keeps a pod as a whole from running: its node, its sandbox, its volumes, evictions, readiness gates. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from app.domain.json import Obj
from app.domain.redact import redact
from app.domain.target import Kind
from app.domain.workload import ConfigRef, Pod
from remediations.causes.containers import missing_config, missing_ref
from remediations.causes.model import RECENT, Cause, CauseCode, Snapshot, Sureness, earliest
from remediations.evidence.units import count, short

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
        found = _node(seen, pod, nodes) or _mount(seen, pod) or _sandbox(seen, pod) or _gate(pod)
        if found is not None:
            yield found
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
        return None
    why = short(redact(conditions.get("Ready", {}).get("message", "")), 150)
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
        return replace(missing_config(seen, ref, (pod.name,), who), since=since, fields=("volumes",))
    said = short(redact(event.message), 300)
    multi = _MULTI.search(event.message)
    claims = sorted(n for n in claims_of(seen.specs.get(pod.name) or {}))
    what = f"PersistentVolumeClaim {claims[0]}" if len(claims) == 1 else f"Pod {pod.name}"
    why = "its volume is still attached to another node" if multi else "a volume cannot be mounted"
    advice = (
        "let the pod that still has the volume end (a volume of ReadWriteOnce is on one node at a time)"
        if multi
        else f"repair the volume: {said}"
    )
    return Cause(
        code=CauseCode.VOLUME,
        object=what,
        sureness=Sureness.CERTAIN,
        text=f"pod {pod.name} waits because {why}: {said}",
        advice=advice,
        pods=(pod.name,),
        fields=("volumes", "volumeClaimTemplates"),
        objects=tuple((Kind.PVC, n) for n in claims),
        since=since,
    )


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


def claims_of(spec: Mapping[str, Any]) -> list[str]:
    """Names of the PersistentVolumeClaims that a pod spec mounts."""
    sources = (v.get("persistentVolumeClaim") or {} for v in spec.get("volumes") or ())
    return [s["claimName"] for s in sources if s.get("claimName")]


def _sandbox(seen: Snapshot, pod: Pod) -> Cause | None:
    told = seen.about("Pod", pod.name, "FailedCreatePodSandBox", "NetworkNotReady")
    if not told:
        return None
    said = short(redact(told[0].message), 300)
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


def _gate(pod: Pod) -> Cause | None:
    ready = pod.condition("Ready")
    if ready is None or ready.status != "False" or ready.reason != "ReadinessGatesNotReady":
        return None
    said = short(redact(ready.message), 200)
    return Cause(
        code=CauseCode.READINESS_GATE,
        object=f"Pod {pod.name}",
        sureness=Sureness.CERTAIN,
        text=f"the containers of pod {pod.name} are ready, a readiness gate is not: {said}",
        advice="find out why the controller of that readiness gate does not set it (mostly a load balancer's)",
        pods=(pod.name,),
        fields=("readinessGates",),
        since=ready.since,
    )


def _evictions(seen: Snapshot) -> Iterator[Cause]:
    """Pods that a node has put out lately, as long as others are missing for it."""
    gone = [
        p
        for p in seen.pods
        if p.phase == "Failed" and p.reason in ("Evicted", "Preempting", "NodeLost", "Terminated")
    ]
    lately = [p for p in gone if (at := _ended_at(p)) is None or at >= seen.now - RECENT]
    if not lately or seen.ready >= seen.workload.desired:
        return
    first = lately[0]
    said = short(redact(first.message), 200)
    yield Cause(
        code=CauseCode.EVICTED,
        object=f"Node {first.node}" if first.node else f"Pod {first.name}",
        sureness=Sureness.LIKELY,
        text=f"{count(len(lately), 'pod')} put out by the node ({first.reason}): {said}",
        advice=f"free what the node lacks, or set the pods' requests to what they use ({said})",
        pods=tuple(p.name for p in lately),
        since=earliest([_ended_at(p) for p in lately]),
    )


def _ended_at(pod: Pod) -> Any:
    ends = [t.finished_at for c in pod.containers for t in (c.terminated,) if t is not None and t.finished_at]
    conditions = [c.since for c in pod.conditions if c.type == "DisruptionTarget" and c.since]
    return max([*ends, *conditions], default=None)
