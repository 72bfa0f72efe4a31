"""From an alert's object to the workload that owns it, and who else owns or writes that: GitOps tools, Helm, autoscalers, operators.

Reads through the port; never writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.domain.actuator import Permission
from app.domain.change import tokens
from app.domain.cluster import FIELD_MANAGER, Cluster
from app.domain.errors import AccessDenied, ObjectMissing
from app.domain.json import Obj, decoded
from app.domain.owner import Owner, Owners, Relation
from app.domain.redact import in_one_line
from app.domain.target import WORKLOAD_KINDS, Kind, Target, owners_by_name, runs_by_name
from app.domain.tools import AUTOMATIC, is_person, is_tool, tool_of, tools_of
from app.domain.units import utc
from app.domain.workload import Manager, Workload
from app.kube.canary import FLAGGER, canary_of
from app.kube.jobs import TO_COMPLETION, Apart, job_story, of_another
from app.kube.manifest import written_by
from app.kube.parse import controller_of, means, parse_time, referred
from app.kube.scaled_objects import LABEL, paused, said, scales, sizer_of
from app.kube.verbs import OPTIONAL

# Who else writes an object: GitOps tools, Helm, an autoscaler, and who last set a field.
#
# Called by `app.kube.read` (for the ownership gate) and `app.kube.apply` (for conflict texts). Pure; reads manifests
# only.

ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
ARGO_LABEL = "argocd.argoproj.io/instance"
_FLUX_LABELS = ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")
_FLUX_WRITERS = frozenset({"kustomize-controller", "helm-controller"})
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_LONGEST_NOTE = 16_000
HELM_RELEASE = "meta.helm.sh/release-name"


def managers_of(manifest: Obj, *, autoscaled: bool) -> tuple[Manager, ...]:
    """Everyone who would revert or fight a change of this object, in the order of `Manager`.

    The label app.kubernetes.io/instance, by which older Argo CD tracks, is no sign by itself, since plain Helm sets it
    too; there Argo CD is known by being a writer in managedFields.
    """
    meta = manifest["metadata"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    writers = {entry.get("manager", "") for entry in meta.get("managedFields") or ()}
    found = []
    if ARGO_TRACKING in annotations or ARGO_LABEL in labels or any(w.startswith("argocd") for w in writers):
        found.append(Manager.ARGO_CD)
    if any(label in labels for label in _FLUX_LABELS) or writers & _FLUX_WRITERS:
        found.append(Manager.FLUX)
    if labels.get("app.kubernetes.io/managed-by") == "Helm" or HELM_RELEASE in annotations:
        found.append(Manager.HELM)
    if autoscaled:
        found.append(Manager.HPA)
    return tuple(found)


def who_changed(manifest: Obj, path: str, *, exact: bool = False) -> list[tuple[str, datetime | None]]:
    """Field managers that own the field at `path` or anything below it, newest first. `exact`: a map that holds the field does not do, as
    whoever made it has it still when all of its fields are somebody else's.

    Status writers do not count: they never own a field of the spec.
    """
    wanted = tokens(path)
    found: dict[str, datetime | None] = {}
    for entry in manifest["metadata"].get("managedFields") or ():
        if entry.get("subresource") == "status" or not _owns(
            entry.get("fieldsV1") or {}, wanted, exact=exact
        ):
            continue
        manager, at = entry.get("manager", "unknown"), parse_time(entry.get("time"))
        known = found.get(manager)
        if manager not in found or (at is not None and (known is None or at > known)):
            found[manager] = at
    return sorted(found.items(), key=lambda item: item[1].timestamp() if item[1] else 0.0, reverse=True)


def last_applied(manifest: Obj) -> Obj:
    """The object as somebody last applied it, by kubectl's own note; empty without one that can be read."""
    text = (manifest["metadata"].get("annotations") or {}).get(APPLIED)
    if not isinstance(text, str) or len(text) > _LONGEST_NOTE:
        return {}
    try:
        note = decoded(text)
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def written_at(manifest: Obj, manager: str) -> datetime | None:
    """When this field manager last wrote the object, as far as managedFields tell."""
    entries = manifest["metadata"].get("managedFields") or ()
    times = [parse_time(entry.get("time")) for entry in entries if entry.get("manager") == manager]
    return max((at for at in times if at is not None), default=None)


def _owns(fields: Mapping[str, Any], path: tuple[str, ...], *, exact: bool) -> bool:
    """fieldsV1 is a tree of `f:name` and `k:{"name":"x"}` keys; a leaf `{}` owns the whole value there, or a map without its fields."""
    node: Mapping[str, Any] = fields
    for number, token in enumerate(path, 1):
        child = next((node[key] for key in _keys(token) if key in node), None)
        if child is None:
            return False
        if not child:
            return not exact or number == len(path)
        node = child
    return True


def _keys(token: str) -> Iterator[str]:
    yield f"f:{token}"
    if token.startswith("[name="):
        yield f'k:{{"name":"{token[6:-1]}"}}'


# From what an alert names to the workload it is about.
#
# Called by the flow through `app.kube.read`, before anything is decided. Follows controllers: Pod to ReplicaSet to
# Deployment, Pod to StatefulSet or DaemonSet. A pod that is gone has no controller to follow any more: its
# ReplicaSet, when that is still there, else its generated name tells whose it was, and `Found.how` says so. Never
# follows a label, and never chooses between two candidates.

_KINDS = {k.value.lower(): k for k in Kind}


@dataclass(frozen=True, slots=True)
class Found:
    """A workload, and in a sentence how it was found where no controller told it; else empty."""

    target: Target
    how: str = ""


async def resolve(cluster: Cluster, namespace: str, hint_kind: str, hint_name: str) -> Target:
    """`find` without how."""
    return (await find(cluster, namespace, hint_kind, hint_name)).target


async def find(cluster: Cluster, namespace: str, hint_kind: str, hint_name: str) -> Found:
    """The workload that `hint_kind/hint_name` belongs to.

    A pod that is gone, or a pod name reduced to its owner's, is looked for among the workloads of that name. Raises
    ObjectMissing with the reason when there is none, Apart when what it belongs to is none of WORKLOAD_KINDS (a Job, a bare pod, an
    operator's own kind), and the port's read errors.
    """
    kind = _KINDS.get(hint_kind.lower())
    match kind:
        case Kind.DEPLOYMENT | Kind.STATEFUL_SET | Kind.DAEMON_SET:
            await cluster.get(kind, namespace, hint_name)
            return Found(Target(namespace, kind, hint_name))
        case Kind.HPA:
            manifest = await cluster.get(Kind.HPA, namespace, hint_name)
            scaled = manifest["spec"]["scaleTargetRef"]
            return Found(await _named(cluster, namespace, scaled, f"{kind} {hint_name} scales"))
        case Kind.REPLICA_SET:
            return Found(await _owner(cluster, namespace, await cluster.get(kind, namespace, hint_name)))
        case Kind.POD:
            return await _of_pod(cluster, namespace, hint_name)
        case _:
            raise _missing(f"{hint_kind} {hint_name} is not a workload that can be remediated")


async def _of_pod(cluster: Cluster, namespace: str, name: str) -> Found:
    try:
        manifest = await cluster.get(Kind.POD, namespace, name)
    except ObjectMissing:
        return await _gone(cluster, namespace, name)
    return Found(await _owner(cluster, namespace, manifest))


async def _gone(cluster: Cluster, namespace: str, name: str) -> Found:
    """Whose pod it was: its ReplicaSet's owner, else the only workload with this name, else the only one whose kind and name
    make such names. What a Job or a Rollout may have run is nobody else's."""
    owners = owners_by_name(name)
    if runs_by_name(name):
        replica_set = name.rpartition("-")[0]
        try:
            manifest = await cluster.get(Kind.REPLICA_SET, namespace, replica_set)
        except ObjectMissing:
            pass
        else:
            found = await _owner(cluster, namespace, manifest)
            return Found(found, f"Pod {name} is gone; its ReplicaSet belongs to {found.kind} {found.name}")
    runs = [(Kind(k), n) for k, n in runs_by_name(name)]
    same = [(kind, name) for kind in (*WORKLOAD_KINDS, Kind.JOB)]
    rollouts = [(Kind.ROLLOUT, n) for k, n in owners if k == Kind.DEPLOYMENT]
    for candidates in (same, [*((Kind(k), n) for k, n in owners), *rollouts, *runs]):
        there = [(k, n) for k, n in candidates if await _exists(cluster, k, namespace, n)]
        if len(there) == 1 and there[0][0] in WORKLOAD_KINDS:
            kind, owner = there[0]
            if owner == name:
                return Found(Target(namespace, kind, owner), f"No pod is named {name}, but a {kind} is")
            text = f"Pod {name} is gone; by its name it was one of {kind} {owner}"
            return Found(Target(namespace, kind, owner), text)
        if there:
            either = " or ".join(f"{kind} {owner}" for kind, owner in there)
            raise _missing(f"pod {name} is gone, and it may be of {either}")
    named = list(dict.fromkeys((name, *(owner for _, owner in owners))))
    raise _missing(f"pod {name} is gone, and no workload is named {' or '.join(named)}")


async def _exists(cluster: Cluster, kind: Kind, namespace: str, name: str) -> bool:
    """Raises AccessDenied, but not for kinds that need an optional right."""
    try:
        await cluster.get(kind, namespace, name)
    except ObjectMissing:
        return False
    except AccessDenied:
        if Permission("get", kind) in OPTIONAL:
            return False
        raise
    return True


async def _owner(cluster: Cluster, namespace: str, manifest: Obj, me: str = "") -> Target:
    kind, name = manifest.get("kind", "object"), manifest["metadata"]["name"]
    me, owner = me or f"{kind} {name}", controller_of(manifest)
    if owner is None and kind == Kind.REPLICA_SET:
        whose = f"belongs to {kind} {name}" if me != f"{kind} {name}" else "makes its pods again"
        text = f"{me} {whose}, which no Deployment owns, and is not changed here"
        raise Apart(text, Target(namespace, Kind.REPLICA_SET, name))
    if owner is None:
        raise Apart(f"{me} has no controller: nothing would bring it back", Target(namespace, Kind.POD, name))
    if owner["kind"] == Kind.REPLICA_SET:
        made = await _meant(cluster, Kind.REPLICA_SET, namespace, owner, f"{me} belongs to")
        return await _owner(cluster, namespace, made, me)
    if owner["kind"] == Kind.JOB:
        story = await job_story(cluster, namespace, owner["name"])
        text = f"{me} belongs to a Job: {story}. {TO_COMPLETION}"
        raise Apart(text, Target(namespace, Kind.JOB, owner["name"]))
    return await _named(cluster, namespace, owner, f"{me} belongs to")


async def _named(cluster: Cluster, namespace: str, reference: Mapping[str, Any], said: str) -> Target:
    kind, name = _KINDS.get(reference["kind"].lower()), reference["name"]
    if kind not in WORKLOAD_KINDS:
        raise of_another(namespace, reference, said)
    await _meant(cluster, kind, namespace, reference, said)
    return Target(namespace, kind, name)


async def _meant(cluster: Cluster, kind: Kind, ns: str, reference: Mapping[str, Any], said: str) -> Obj:
    found = await cluster.get(kind, ns, reference["name"])
    if not means(reference, found):
        raise _missing(f"{said} another {kind} {found['metadata']['name']} than is there: the uid differs")
    return found


def _missing(text: str) -> ObjectMissing:
    return ObjectMissing(text, code="no_workload")


# Which other controllers own a workload, its autoscaler, or the size of its pods: owner references, operators'
# labels, KEDA, Argo Rollouts and VerticalPodAutoscalers.
#
# Called by the flow for the gate `ownership`, through the port. Rollouts and VerticalPodAutoscalers are looked for
# where that is granted and the cluster has them. Never writes.

_LABELS = (
    ("cnpg.io/cluster", "Cluster", "postgresql.cnpg.io"),
    ("postgres-operator.crunchydata.com/cluster", "PostgresCluster", "postgres-operator.crunchydata.com"),
    ("strimzi.io/cluster", "Kafka", "kafka.strimzi.io"),
)


async def owners_of(cluster: Cluster, workload: Workload) -> Owners:
    """Everybody else who writes the workload or its autoscaler. Raises TryLater kinds and ObjectMissing for an autoscaler that
    went away meanwhile."""
    target = workload.target
    found = [*_of_object(target.kind, workload.manifest)]
    scaler, writers = workload.autoscaler, managers_of(workload.manifest, autoscaled=False)
    rollouts, sizers, scalers = await asyncio.gather(
        *(_listed(cluster, kind, target.namespace) for kind in (Kind.ROLLOUT, Kind.VPA, Kind.SCALED_OBJECT))
    )
    if scaler is not None:
        hpa = await cluster.get(Kind.HPA, target.namespace, scaler.ref.name)
        found += _of_object(Kind.HPA, hpa, but=writers)
    kinds = ((Kind.ROLLOUT, rollouts), (Kind.VPA, sizers), (Kind.SCALED_OBJECT, scalers))
    untold = tuple(kind.value for kind, read in kinds if read is None)
    known = {o.name for o in found if o.kind == Kind.SCALED_OBJECT}
    own = [m for m in scalers or () if scales(m, target)]
    found += [o for m in own for o in _of_object(Kind.SCALED_OBJECT, m, but=writers)]
    found = [_with_word(o, own) for o in found]
    found += [_scaler(workload, m) for m in own if m["metadata"]["name"] not in known]
    found += [_rollout(workload, m) for m in rollouts or () if names(m["spec"].get("workloadRef"), workload)]
    if written_by(workload.manifest, FLAGGER):
        found += await canary_of(cluster, workload)
    own = [m for m in sizers or () if names(m["spec"].get("targetRef"), workload)]
    found += [owner for m in own if (owner := sizer_of(workload, m)) is not None]
    found += _resizers(workload, found)
    return Owners(tuple(dict.fromkeys(found)), untold)


def _resizers(workload: Workload, found: Sequence[Owner]) -> Iterator[Owner]:
    """Who set the replicas last, through the subresource scale or not, where that is nobody's command: a script of whoever sizes it by the
    clock, for example. Who deploys it writes the template too, and what an autoscaler sizes is told by that."""
    target, manifest = workload.target, workload.manifest
    if workload.autoscaler is not None or any(o.relation is Relation.SCALES for o in found):
        return
    known = {
        FIELD_MANAGER,
        *AUTOMATIC,
        *(o.tool for o in found),
        *(who for who, _ in who_changed(manifest, "/spec/template")),
    }
    for who, at in who_changed(manifest, "/spec/replicas"):
        if who not in known and not is_person(who) and not is_tool(who):
            when = f"at {utc(at)}" if at else "time not told"
            yield Owner(
                Relation.RESIZES, target.kind, "", "", target.namespace, "", in_one_line(who, 128), when
            )


async def _listed(cluster: Cluster, kind: Kind, namespace: str) -> Sequence[Obj] | None:
    """None when it may not be looked at; nothing when the cluster does not have the kind at all."""
    try:
        return await cluster.list_objects(kind, namespace)
    except ObjectMissing:
        return ()
    except AccessDenied:
        return None


def names(reference: Mapping[str, Any] | None, workload: Workload) -> bool:
    """Does a reference by kind and name mean this workload?"""
    target = workload.target
    if reference is None:
        return False
    return (reference.get("kind"), reference.get("name")) == (target.kind, target.name)


_RELATIONS = {
    Manager.ARGO_CD: Relation.DECLARES,
    Manager.FLUX: Relation.DECLARES,
    Manager.HELM: Relation.DEPLOYS,
}
_CALLED = {Manager.ARGO_CD: "Argo CD", Manager.FLUX: "Flux", Manager.HELM: "Helm"}


def _of_object(of: Kind, manifest: Obj, *, but: Sequence[Manager] | None = None) -> Iterator[Owner]:
    """Its owners by reference, operators that are known by their labels, and tools that write it from elsewhere. `but`: who writes the
    workload, and is told of that, where this is another object."""
    meta = manifest["metadata"]
    namespace, labels = meta.get("namespace", ""), meta.get("labels") or {}
    seen = set()
    # Operators that only want their objects deleted with the owner set no controller, and write them all the same.
    for owner in meta.get("ownerReferences") or ():
        kind, name, group = referred(owner)
        seen.add(group)
        yield Owner(Relation.CONTROLS, of, kind, group, namespace, name, tool_of(group))
    marks = [(labels[label], kind, group) for label, kind, group in _LABELS if label in labels]
    if labels.get("application") == "spilo" and "cluster-name" in labels:
        marks.append((labels["cluster-name"], "postgresql", "acid.zalan.do"))
    if of is Kind.HPA and LABEL in labels:
        marks.append((labels[LABEL], "ScaledObject", "keda.sh"))
    for name, made, group in marks:
        if group not in seen:
            yield Owner(Relation.CONTROLS, of, made, group, namespace, name, tool_of(group))
    if not seen and not marks:
        managers = [] if but is None else [m for m in managers_of(manifest, autoscaled=False) if m not in but]
        told = [*tools_of(manifest), *((_CALLED[m], _RELATIONS[m]) for m in managers)]
        for tool, relation in dict.fromkeys(told):
            yield Owner(relation, of, "", "", namespace, "", tool)


def _rollout(workload: Workload, manifest: Obj) -> Owner:
    of, name, place = workload.target.kind, manifest["metadata"]["name"], workload.target.namespace
    return Owner(Relation.TEMPLATE, of, "Rollout", "argoproj.io", place, name, "Argo Rollouts")


def _scaler(workload: Workload, manifest: Obj) -> Owner:
    """KEDA's own object, where no autoscaler leads to it: while it is paused there is none."""
    target, meta = workload.target, manifest["metadata"]
    return Owner(
        Relation.SCALES,
        target.kind,
        Kind.SCALED_OBJECT,
        "keda.sh",
        target.namespace,
        meta["name"],
        "KEDA",
        said(manifest),
        held=paused(manifest),
    )


def _with_word(owner: Owner, scalers: Sequence[Obj]) -> Owner:
    """The ScaledObject that makes an autoscaler, with what it says of itself."""
    if owner.kind != Kind.SCALED_OBJECT:
        return owner
    mine = next((m for m in scalers if m["metadata"]["name"] == owner.name), None)
    return owner if mine is None else replace(owner, note=said(mine), held=paused(mine))
