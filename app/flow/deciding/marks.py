"""Off limits: what the policy's scope or the marks of its owners keep the service away from, told before anything else is read; and what somebody
is deleting.

Called by the decision, the next step, the verification, the diagnosis, the check of orders and what holds an undo. Reads two objects at most of
a target, for their metadata: the namespace's, and the workload's where the namespace's mark leaves it open; and those of what a plan writes
beside it. Owns too which workloads are behind the database that a plan works in, and whether labels name somebody else's beside the target. What is not known to be ours is not read any further.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from app.domain.called import Called, called
from app.domain.cluster import Cluster
from app.domain.copies import service_of
from app.domain.database import DatabaseAddress, Databases
from app.domain.errors import AccessDenied, BadInput, ObjectMissing, RemediatorError
from app.domain.json import Obj
from app.domain.plan import SERVERS, Action, Step
from app.domain.subject import host_of
from app.domain.target import WORKLOAD_KINDS, Kind, Target
from app.kube.owners import find
from app.kube.parse import being_deleted
from app.policy.gates.target import kept_away, mark_of, off_limits_by_name
from app.policy.match import Hint, beside, called_alike, could_be_its, is_name, target_hint
from app.policy.model import Opt, Rule, Scope

NAMESPACE, OBJECT, NOT_SET = "namespace", "object", "not set"
OWNING: Final = frozenset(
    {*WORKLOAD_KINDS, Kind.REPLICA_SET, Kind.JOB, Kind.CRON_JOB, Kind.ROLLOUT, Kind.SCALED_OBJECT}
)
_OWNERS = 4  # steps up from an object
_PODS = 5  # of a server that are asked whose they are
Marks = Mapping[str, str]
"""The marks that were found, by where they stand."""


async def of_namespace(cluster: Cluster, namespace: str) -> Marks:
    """The namespace's own mark. Raises the port's read errors."""
    return _found(NAMESPACE, await cluster.get(Kind.NAMESPACE, "", namespace))


async def of_target(cluster: Cluster, scope: Scope, target: Target) -> Marks:
    """Both marks; of a namespace that opted out only its own, as nothing in it is read. A workload that is gone has none, and what is none of
    ours to change tells none where it may not be read. Raises the port's read errors."""
    around = await of_namespace(cluster, target.namespace)
    if namespace_shut(scope, around):
        return around
    try:
        found = await cluster.get(target.kind, target.namespace, target.name)
    except ObjectMissing:
        return around
    except AccessDenied:
        if target.kind not in (*WORKLOAD_KINDS, Kind.POD):
            return around
        raise
    return {**around, **_found(OBJECT, found)}


async def of_what_is_there(cluster: Cluster, scope: Scope, target: Target) -> Marks | None:
    """Both marks for a change that is about to be written; None when the workload or its namespace is gone, so that nothing can be. Raises
    the port's read errors."""
    try:
        around = await of_namespace(cluster, target.namespace)
        if namespace_shut(scope, around):
            return around
        return {**around, **_found(OBJECT, await cluster.get(target.kind, target.namespace, target.name))}
    except ObjectMissing:
        return None


async def namespace_off_limits(cluster: Cluster, scope: Scope, namespace: str) -> bool:
    """Whether nothing in the namespace is read: out of the scope, protected, opted out, or its mark is not known. With `opt: in`
    an unmarked namespace is open so far as its workloads are marked."""
    if off_limits_by_name(scope, namespace):
        return True
    try:
        return namespace_shut(scope, await of_namespace(cluster, namespace))
    except ObjectMissing:
        return False  # nothing is in it: looking for the target tells so
    except RemediatorError:
        return True  # the scope gate tells why


def namespace_shut(scope: Scope, around: Marks) -> bool:
    """Whether the namespace's mark keeps us away from all of it: no mark of a workload opens it again."""
    return bool(around) and kept_away(scope, around)


async def off_limits(cluster: Cluster, scope: Scope, target: Target) -> bool:
    """Whether the workload is only named: by its namespace or by its own mark, or because the marks are not known."""
    return bool(await why_off_limits(cluster, scope, target))


async def why_off_limits(cluster: Cluster, scope: Scope, target: Target) -> str:
    """The same in words; empty when it may be read. That a mark could not be read is not said to be its owners' word."""
    if off_limits_by_name(scope, target.namespace):
        return "the target is off limits by now (scope)"
    try:
        shut = kept_away(scope, await of_target(cluster, scope, target))
    except RemediatorError as error:
        return f"whether it is off limits by now could not be read: {error.message}"
    return "the target is off limits by now (its mark)" if shut else ""


async def leaving(cluster: Cluster, *targets: Target) -> str:
    """What somebody is deleting that takes one of these with it: itself, its namespace, or one of its owners; empty for nothing. To delete a parent is
    a person's hand on all that it has. What is not there or may not be read says nothing. Raises the port's other read errors."""
    for target in targets:
        space = await _granted(cluster, Kind.NAMESPACE, "", target.namespace)
        if space and (told := being_deleted(f"namespace {target.namespace}", space)):
            return told
        manifest = await _granted(cluster, target.kind, target.namespace, target.name)
        if manifest and (told := being_deleted(f"{target.kind} {target.name}", manifest)):
            return told
        if manifest and (told := await _owner_leaving(cluster, target.namespace, manifest)):
            return f"its owner {told}"
    return ""


async def _owner_leaving(cluster: Cluster, namespace: str, manifest: Obj, up: int = _OWNERS) -> str:
    """The owner on the way up that is being deleted, but for one that leaves behind what it owns. Kinds that the service does not read say nothing."""
    for reference in manifest["metadata"].get("ownerReferences") or () if up else ():
        kind = reference.get("kind")
        if kind not in OWNING:
            continue
        owner = await _granted(cluster, Kind(kind), namespace, reference["name"])
        if owner is None or owner["metadata"].get("uid") != reference.get("uid"):
            continue  # another group's kind of that name
        orphans = "orphan" in (owner["metadata"].get("finalizers") or ())
        told = "" if orphans else being_deleted(f"{kind} {reference['name']}", owner)
        if told := told or await _owner_leaving(cluster, namespace, owner, up - 1):
            return told
    return ""


async def _granted(cluster: Cluster, kind: Kind, namespace: str, name: str) -> Obj | None:
    try:
        return await cluster.get(kind, namespace, name)
    except (AccessDenied, ObjectMissing):
        return None


def keeps_away(scope: Scope, around: Marks, metadata: Obj) -> bool:
    """The same for an object that is read already, in a namespace with these marks."""
    return kept_away(scope, {**around, **_found(OBJECT, {"metadata": metadata})})


def _found(where: str, manifest: Obj) -> dict[str, str]:
    mark = mark_of(manifest.get("metadata") or {})
    return {} if mark is None else {where: mark}


async def of_others(cluster: Cluster, scope: Scope, target: Target, others: Collection[Target]) -> Marks:
    """The marks on what is written beside the target, by its name, and on its namespace where that is another one. What is made for the target
    needs no mark of its own where the scope takes one; another's workload does. A Secret that no role lets us read is written by who makes
    the certificate, at whose object the owners' word stands: what we write ourselves may be read. Raises the port's read errors."""
    found: dict[str, str] = {}
    for other in sorted(set(others) - {target}):
        if off_limits_by_name(scope, other.namespace) or other.kind is Kind.SERVICE:
            continue
        around = {} if other.namespace == target.namespace else await of_namespace(cluster, other.namespace)
        marks = {f"{NAMESPACE} {other.namespace}": mark for mark in around.values()}
        if not namespace_shut(scope, around):
            try:
                manifest = await cluster.get(other.kind, other.namespace, other.name)
            except ObjectMissing:
                continue
            except AccessDenied:
                if other.kind is Kind.SECRET:
                    continue
                raise
            marks |= {f"{other.kind} {other.name}": mark for mark in _found(OBJECT, manifest).values()}
        if scope.opt is Opt.IN and not marks and other.kind in WORKLOAD_KINDS:
            own = await of_namespace(cluster, other.namespace)
            marks = {} if own else {f"{other.kind} {other.name}": NOT_SET}
        found |= marks
    return found


async def with_servers(
    cluster: Cluster, scope: Scope, databases: Databases | None, steps: Sequence[Step]
) -> tuple[Step, ...]:
    """The steps, with what stands behind the databases that their actions work in: it is written, too. Raises the ports' read errors."""
    known: dict[DatabaseAddress, tuple[str, ...]] = {}

    async def complete(action: Action) -> Action:
        written = action.part.get("database")
        if not isinstance(written, Mapping):
            return action
        at = DatabaseAddress.from_json(written)
        if at not in known:
            host = at.host or (await databases.host(cluster, at) if databases else "")
            place = service_of(host, at.namespace)
            behind = await _behind(cluster, scope, *place) if place else ()
            known[at] = tuple(server.key for server in behind)
        return replace(action, params={**action.params, SERVERS: list(known[at])}) if known[at] else action

    return tuple([replace(step, actions=tuple([await complete(a) for a in step.actions])) for step in steps])


async def _behind(cluster: Cluster, scope: Scope, namespace: str, name: str) -> tuple[Target, ...]:
    """The workloads behind a Service, and the pods that have none of ours; the Service itself for whatever it may be, where that is not told or
    not ours to read. None behind one that leads out of the cluster."""
    unknown = (Target(namespace, Kind.SERVICE, name),)
    if off_limits_by_name(scope, namespace):
        return unknown
    found = set()
    try:
        try:
            manifest = await cluster.get(Kind.STATEFUL_SET, namespace, name)
        except ObjectMissing:
            manifest = {}
        if (manifest.get("spec") or {}).get("serviceName") == name:
            found.add(Target(namespace, Kind.STATEFUL_SET, name))
        services = await cluster.list_objects(Kind.SERVICE, namespace, fields=f"metadata.name={name}")
        spec = (services[0].get("spec") or {}) if services else {}
        if spec.get("type") == "ExternalName":
            return ()
        if chosen := spec.get("selector"):
            selector = ",".join(f"{key}={value}" for key, value in sorted(chosen.items()))
            pods = await cluster.list_objects(Kind.POD, namespace, selector)
            found |= {await _whose(cluster, namespace, pod["metadata"]["name"]) for pod in pods[:_PODS]}
    except AccessDenied:
        found = found or set(unknown)
    return tuple(sorted(found)) or unknown


async def _whose(cluster: Cluster, namespace: str, pod: str) -> Target:
    try:
        return (await find(cluster, namespace, Kind.POD, pod)).target
    except (ObjectMissing, BadInput):
        return Target(namespace, Kind.POD, pod)


_MAX_NAMES = 8
"""Names of apps and services of one alert that the cluster is asked about, by some reads each; whoever sends an alert chooses how many there are."""


async def named_beside(cluster: Cluster, rule: Rule, labels: Mapping[str, str], target: Target) -> str:
    """That the labels name something beside the workload that is another's, by the cluster's word; empty for nothing: a pod, a ReplicaSet or an
    autoscaler, or by an app, service, job or release another workload of the namespace. Raises TryLater."""
    named = f"a label names {target.kind} {target.name}, and label"
    for label, kind, name in beside(rule, labels):
        if whose := await _anothers(cluster, target, kind, name):
            return f'{named} "{label}" {name}, which {whose}'
    hint = target_hint(rule, labels)
    if not isinstance(hint, Hint) or hint.by_default:
        return ""
    known = rule.when.pinned(rule.labels.names.read(labels))  # whoever wrote the rule knows of them
    told_by = [
        told
        for told in called(rule.labels.names, rule.labels.names.subject(labels))
        if known.get(told.label) != labels.get(told.label) and is_name(told.name)
    ]
    if (number := len({told.name for told in told_by})) > _MAX_NAMES:
        return f"a label names {target.kind} {target.name}, and others {number} apps or services"
    for told in told_by:
        alone = told.group or hint.kind is Kind.POD  # then it contradicts only what is there
        if why := await _not_in_front(cluster, target, told, alone=alone):
            return f'{named} "{told.label}" {told.name}, {why}'
    return ""


_ADDRESSES = ("instance", "exported_instance", "pod_ip")


async def addressed(cluster: Cluster, rule: Rule, labels: Mapping[str, str], target: Target) -> str:
    """Why the rule's default is not meant, where no label names the workload and an address is that of another one's pod in the namespace; empty
    where none is. An exporter's address tells who measured, and that of a pod in its node's network is the node's. Raises TryLater."""
    hint = target_hint(rule, labels)
    told = {host_of(labels[label]): label for label in _ADDRESSES if labels.get(label)}
    if not told or not isinstance(hint, Hint) or not hint.by_default or not rule.target.name.label:
        return ""
    with suppress(AccessDenied):
        for pod in await cluster.list_objects(Kind.POD, target.namespace):
            name, status = pod["metadata"]["name"], pod.get("status") or {}
            label = told.get(status.get("podIP", ""), "")
            over = status.get("phase") in ("Succeeded", "Failed") or "exporter" in name
            if not label or over or (pod.get("spec") or {}).get("hostNetwork"):
                continue
            if whose := await _anothers(cluster, target, Kind.POD, name):
                address = f'label "{label}" is the address of pod {name}, which {whose}'
                return f"{address}, so the rule's default {target.name} is not meant, and no label names a workload"
    return ""


async def _not_in_front(cluster: Cluster, target: Target, told: Called, *, alone: bool) -> str:
    """Why what a label calls a Service or an app is not this workload's, so far as the cluster tells; empty where it is: it is called so, as a
    proxy calls its port too, the Service of that name chooses its pods, or its own labels have the name. `alone`: only what is there counts, as
    it does for a Service that the namespace does not have: it is whose series was scraped."""
    name = told.name
    bare = name.removeprefix(f"{target.namespace}-")
    if target.name in (name, bare, re.sub(r"-(?:\d+|https?|grpc)$", "", bare)):
        return ""
    manifest = await cluster.get(target.kind, target.namespace, target.name)
    template = ((manifest.get("spec") or {}).get("template") or {}).get("metadata") or {}
    pods, services = template.get("labels") or {}, list[Obj]()
    with suppress(AccessDenied):
        services = await cluster.list_objects(Kind.SERVICE, target.namespace)
        alone = alone or (told.service and all(s["metadata"]["name"] != name for s in services))
    chosen = next((s["spec"].get("selector") for s in services if s["metadata"]["name"] == name), None)
    if chosen:
        return "" if chosen.items() <= pods.items() else f"a Service that chooses no pod of {target.name}"
    if name in (*(manifest["metadata"].get("labels") or {}).values(), *pods.values()):
        return ""
    for kind in WORKLOAD_KINDS:
        with suppress(ObjectMissing, AccessDenied, BadInput):
            await cluster.get(kind, target.namespace, name)
            return f"and there is a {kind} {name} beside it"
    return "" if alone or called_alike(target.name, name) else f"and nothing says that this is {target.name}"


async def _anothers(cluster: Cluster, target: Target, kind: Kind, name: str) -> str:
    """Whose this object is; empty for the target's own. Of what is gone its name tells."""
    try:
        owner = (await find(cluster, target.namespace, kind, name)).target
    except (ObjectMissing, AccessDenied, BadInput):
        return "" if could_be_its(target, kind, name) else f"is none of {target.name}'s, by its name"
    return "" if owner == target else f"is of {owner.kind} {owner.name}"
