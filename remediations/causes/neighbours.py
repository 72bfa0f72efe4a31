"""Services that errors or the containers' last words name: whether their pods are ready, since when they are not, what changed of them lately, and what
they lack themselves.

Asked by `investigate`, `others` and `everyday`. Reads only, bounded; tells nothing of what is off limits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from app.domain.errors import ClusterRefused, ObjectMissing, TryLater
from app.domain.evidence import Finding
from app.domain.json import Obj
from app.domain.remediation import Scene
from app.domain.target import Kind, Target
from app.kube.lineage import NOBODY, last_write
from app.kube.owners import resolve, who_changed
from app.kube.parse import OF_SERVICE, controller_of, parse_pod, parse_time, selector_text, serves
from remediations.causes.churn import lost_last
from remediations.causes.demands import selects_labels
from remediations.causes.edits import edit_of
from remediations.causes.model import NEAR, Neighbour, not_ready_since
from remediations.causes.stopped import written_by
from remediations.evidence.error_words import Nature
from remediations.evidence.logs import ErrorLog, read_errors
from remediations.evidence.natures import absent_names
from remediations.evidence.usage import count, short
from remediations.evidence.used_up import USED_UP

_MAX_NAMED = 3
_MAX_HOPS, _MAX_PODS = 2, 2  # Services behind which is looked, and pods of each whose log is read
_MAX_BEHIND = 6  # workloads that are asked whether they stand at 0
_MAINLY = 0.5
_NAME = re.compile(r"(?<![\w.-])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?=[.:/\s,;'\")\]]|$)")
_ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")


async def neighbours_in(scene: Scene, texts: Iterable[str]) -> list[Neighbour]:
    """Services of the namespace that these texts name, or whose ClusterIP they have, other than the workload's own, with and without
    ready pods; and those that were looked up and do not exist; at most three. Raises ClusterRefused and TryLater."""
    read = [text.lower() for text in texts]
    words = {w for text in read for w in _NAME.findall(text)}
    addresses = {a for text in read for a in _ADDRESS.findall(text)}
    if not words and not addresses:
        return []
    services = await scene.cluster.list_objects(Kind.SERVICE, scene.workload.target.namespace)
    own = scene.workload.pod_labels
    named = [
        s
        for s in services
        if (s["metadata"]["name"] in words or addresses_of(s) & addresses)
        and selector_of(s)
        and not serves(s, own)
    ]
    found = [await _neighbour(scene, service) for service in named[:_MAX_NAMED]]
    names_there = {s["metadata"]["name"] for s in services}
    absent = dict.fromkeys(n for text in read for n in absent_names(text, scene.workload.target.namespace))
    missing = [Neighbour(n, "it does not exist", exists=False) for n in absent if n not in names_there]
    known = [n for n in found if n is not None]
    return [*[*(n for n in known if not n.ready), *missing][:_MAX_NAMED], *(n for n in known if n.ready)]


def addresses_of(service: Obj) -> set[str]:
    """Its addresses in the cluster."""
    spec = service.get("spec") or {}
    return {spec.get("clusterIP", ""), *(spec.get("clusterIPs") or ())} - {"", "None"}


def selector_of(service: Obj) -> dict[str, str]:
    """The labels of the pods that a Service chooses."""
    selector: dict[str, str] = (service.get("spec") or {}).get("selector") or {}
    return selector


async def _neighbour(scene: Scene, service: Obj) -> Neighbour | None:
    name, text = service["metadata"]["name"], selector_text({"matchLabels": selector_of(service)})
    listed = await scene.cluster.list_objects(Kind.POD, scene.workload.target.namespace, text)
    there = [(m, p) for m in listed if not (p := parse_pod(m)).over]
    pods, addresses = [p for _, p in there], tuple(sorted(addresses_of(service)))
    if ready := tuple(m for m, p in there if p.ready):
        times = [c.since for p in pods if p.ready and (c := p.condition("Ready")) is not None]
        began = min((t for t in times if t is not None), default=None) if all(times) else None
        with suppress(ClusterRefused, TryLater):  # it tells more and is no reason to tell less
            changed = await _changed(scene, service, await _owners(scene, listed))
            return Neighbour(name, "", began, addresses=addresses, ready=ready, changed=changed)
        return Neighbour(name, "", began, addresses=addresses, ready=ready)
    owners = await _owners(scene, listed)
    if owners is None:
        return None
    stopped, at = ("", None) if pods else await _stopped(scene, service)
    if stopped is None:
        return None
    # It is away since its last ready pod was lost: since the newest of what tells of that, however long another one has been broken.
    lost = [not_ready_since(pods), at, await _emptied(scene, name)]
    since = await lost_last(scene, pods, max((t for t in lost if t is not None), default=None))
    waits = next((f"{p.name} {c.waiting}" for p in pods for c in p.containers if c.waiting), "")
    changed = await _changed(scene, service, owners)
    told = [short(one, 120) for one in (stopped or waits, changed) if one]
    state = f"0 of {count(len(pods), 'pod')}{': ' if told else ''}{'; '.join(told)}"
    return Neighbour(name, state, since, addresses=addresses)


async def _changed(scene: Scene, service: Obj, owners: Sequence[Target] | None) -> str:
    """What somebody changed lately of a Service and of the workloads of its pods, in words; empty for nothing, and where nobody may tell."""
    if owners is None:
        return ""
    found, edit = list[str](), edit_of(service, {"metadata": {}})
    for owner in owners:
        try:
            manifest = await scene.cluster.get(owner.kind, owner.namespace, owner.name)
        except (ClusterRefused, TryLater):
            continue
        found += _released(scene, owner, manifest)
        edit = edit if (own := edit_of(service, manifest)) is None or own.sure else None
    if edit is not None and _lately(scene, edit.write.at):
        by = short(edit.write.by, 60)
        found.append(
            f"Service {service['metadata']['name']} was changed{written_by(scene.now, by, edit.write.at)}"
        )
    return "; ".join(found)


def _released(scene: Scene, owner: Target, manifest: Obj) -> list[str]:
    """Whose template is a new one, and whose number of replicas somebody set."""
    what, found = f"{owner.kind} {short(owner.name, 80)}", []
    for path, did in (("/spec/template", "was deployed"), ("/spec/replicas", "was scaled")):
        by, at = next(((by, at) for by, at in who_changed(manifest, path) if by not in NOBODY), ("", None))
        made = parse_time(manifest["metadata"].get("creationTimestamp"))
        if at is not None and _lately(scene, at) and (path == "/spec/template" or at != made):
            size = f" to {(manifest.get('spec') or {}).get('replicas')}" if did == "was scaled" else ""
            found.append(f"{what} {did}{size}{written_by(scene.now, short(by, 60), at)}")
    return found


def _lately(scene: Scene, at: datetime) -> bool:
    return at >= scene.fired_at - NEAR


async def _emptied(scene: Scene, service: str) -> datetime | None:
    """When the EndpointSlices of a Service changed last: it has lost its last ready pod by then. None where nobody tells."""
    try:
        listed = await scene.cluster.list_objects(
            Kind.ENDPOINT_SLICE, scene.workload.target.namespace, f"{OF_SERVICE}={service}"
        )
    except (ClusterRefused, TryLater):
        return None
    writes = [last_write(m, everybody=True) for m in listed]
    return max((w.at for w in writes if w is not None), default=None)


async def _stopped(scene: Scene, service: Obj) -> tuple[str | None, datetime | None]:
    """Which workload the Service stands for that is set to 0 replicas, and by whom, in words, and since when; empty when none is, or it is
    not found. None where it is kept away."""
    try:
        behind = await _behind(scene, service)
    except (ClusterRefused, TryLater):
        return "", None  # it tells more and is no reason to tell less
    other: tuple[str, Target] | None = None
    for kind, name in behind:
        try:
            manifest = await scene.cluster.get(kind, scene.workload.target.namespace, name)
        except (ClusterRefused, TryLater):
            continue
        spec, what = manifest.get("spec") or {}, f"{kind} {short(name, 80)}"
        chosen = selects_labels(selector_of(service), spec.get("template") or {})
        target = Target(scene.workload.target.namespace, kind, name)
        if not chosen:
            labels = short(selector_text({"matchLabels": selector_of(service)}), 60)
            other = other or (f"its selector {labels} chooses no pod of {what}", target)
        if not chosen or spec.get("replicas") != 0:
            continue
        if await scene.off_limits(target):
            return None, None
        by, at = next(iter(who_changed(manifest, "/spec/replicas")), ("", None))
        return f"{what} is scaled to 0{written_by(scene.now, short(by, 60), at)}", at
    if other is None:
        return "", None
    told, target = other
    return (None, None) if await scene.off_limits(target) else (told, None)


_SCALABLE = (Kind.DEPLOYMENT, Kind.STATEFUL_SET)


async def _behind(scene: Scene, service: Obj) -> list[tuple[Kind, str]]:
    """Workloads that may make the pods of a Service that has none: those whose revisions have its labels, and those of its own name."""
    text = selector_text({"matchLabels": selector_of(service)})
    listed = await asyncio.gather(
        *(
            scene.cluster.list_objects(kind, scene.workload.target.namespace, text)
            for kind in (Kind.REPLICA_SET, Kind.CONTROLLER_REVISION)
        )
    )
    owners = [owner for found in listed for m in found if (owner := controller_of(m)) is not None]
    made = [(kind, str(o.get("name"))) for o in owners for kind in _SCALABLE if o.get("kind") == kind.value]
    named = [(kind, str(service["metadata"]["name"])) for kind in _SCALABLE]
    return list(dict.fromkeys([*made, *named]))[:_MAX_BEHIND]


async def kept_away(scene: Scene, pods: Sequence[Obj]) -> bool:
    """Whether one of their owners, or a pod without one, is off limits: then nothing is told of any."""
    return await _owners(scene, pods) is None


async def _owners(scene: Scene, pods: Sequence[Obj]) -> list[Target] | None:
    """Whose pods they are; a pod without an owner is its own. None where one of them is off limits."""
    namespace, found = scene.workload.target.namespace, list[Target]()
    names = {str((controller_of(m) or m["metadata"]).get("uid")): m["metadata"]["name"] for m in pods}
    for name in names.values():
        try:
            owner = await resolve(scene.cluster, namespace, Kind.POD, name)
        except ObjectMissing:
            owner = Target(namespace, Kind.POD, name)
        if await scene.off_limits(owner):
            return None
        found.append(owner)
    return list(dict.fromkeys(found))


# One hop behind what the errors name: a Service with ready pods that fails itself, because of something that it needs. Where a database is
# down, who asks it answers its own callers with errors, and each of them names only the one before it.


async def lacking(scene: Scene, named: Sequence[Neighbour], window: float) -> list[Finding]:
    """What these Services lack, as findings of failed dependencies. Raises ClusterRefused and TryLater."""
    looked = await asyncio.gather(*(_lacks(scene, n, window) for n in named[:_MAX_HOPS]))
    return list({f.code: f for f in looked if f is not None}.values())


async def _lacks(scene: Scene, neighbour: Neighbour, window: float) -> Finding | None:
    pods = neighbour.ready[:_MAX_PODS]
    if await kept_away(scene, pods):
        return None
    log = await read_errors(scene.cluster, [parse_pod(m) for m in pods], scene.now, window)
    if not log.errors:
        return None
    behind = await neighbours_in(scene, [g.said for g in log.groups])
    away = [n for n in behind if n.exists and not n.ready and n.name != neighbour.name]
    down = next((n for n in away if n.fits(scene.fired_at)), None)
    if down is not None:
        text = f"Service {down.name} has no ready pod ({down.state}), and {neighbour.name}, which the errors name, fails with it{_example(log)}"
        return _failed(down.name, f"{down.name}: {text}")
    if log.share(Nature.DEPENDENCY) < _MAINLY or any(USED_UP.search(g.said) for g in log.groups):
        return None  # its own fault, its load, or a limit, which whoever asks it may have brought
    name = f"what {neighbour.name} connects to"
    return _failed(name, f"{neighbour.name}, which the errors name, cannot connect itself{_example(log)}")


def _example(log: ErrorLog) -> str:
    top = log.top
    return f': "{short(top.key, 120)}" ({count(top.count, "error line")})' if top else ""


def _failed(name: str, text: str) -> Finding:
    return Finding(f"dependency.{name}", text, data={"name": name, "kind": "service", "healthy": False})
