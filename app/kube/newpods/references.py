"""What a pod template refers to by name, and whether it is there: configuration, pull Secrets, account, claims, priority.

Used by `app.kube.newpods.gather`. Reads through the port, by name only; of a ConfigMap or Secret only the names of its keys
are looked at, and a reference that may not be read is unknown rather than missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.cluster import Cluster
from app.domain.errors import AccessDenied, ObjectMissing
from app.domain.json import Obj
from app.domain.new_pods import Finding, Part, PodCheck
from app.domain.target import Kind
from app.kube.newpods.goal import Goal
from app.kube.paths import RESOURCES
from app.kube.podspec import config_keys, containers_of

_DEFAULT_ACCOUNT = "default"
_BUILT_IN = ("system-cluster-critical", "system-node-critical")


@dataclass(frozen=True, slots=True)
class Reference:
    """One object that a new pod needs. `key` is one key of it, empty for the object itself; `who` needs it."""

    part: Part
    kind: Kind
    name: str
    who: str
    key: str = ""


def references_of(spec: Mapping[str, Any]) -> list[Reference]:
    """What the pod spec needs by name, each once, optional references aside."""
    found = [
        Reference(Part.CONFIGURATION, ref.kind, ref.name, f"container {container.name}", ref.key)
        for container in containers_of(spec)
        for ref in container.config
        if not ref.optional
    ]
    found += [
        Reference(Part.PULL_SECRETS, Kind.SECRET, ref["name"], "imagePullSecrets")
        for ref in spec.get("imagePullSecrets") or ()
        if ref.get("name")
    ]
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or _DEFAULT_ACCOUNT
    found.append(Reference(Part.SERVICE_ACCOUNT, Kind.SERVICE_ACCOUNT, account, "the pod"))
    for volume in spec.get("volumes") or ():
        if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            found.append(Reference(Part.VOLUMES, Kind.PVC, claim, f"volume {volume['name']}"))
    priority = spec.get("priorityClassName")
    if priority and priority not in _BUILT_IN:
        found.append(Reference(Part.PRIORITY, Kind.PRIORITY_CLASS, priority, "the pod"))
    unique = {(r.part, r.kind, r.name, r.key): r for r in reversed(found)}
    return list(reversed(unique.values()))


async def reference_checks(cluster: Cluster, goal: Goal) -> list[PodCheck]:
    """One check for each kind of reference that the goal's template has. Raises TryLater kinds."""
    wanted = references_of(goal.spec)
    places = list(dict.fromkeys((r.kind, r.name) for r in wanted))
    read = await asyncio.gather(*(_read(cluster, goal.namespace, *place) for place in places))
    objects = dict(zip(places, read, strict=True))
    checks = [_check(r, objects[r.kind, r.name]) for r in wanted]
    checks += await _account_pulls(cluster, goal, wanted, objects)
    faults = [c for c in checks if c.finding is not Finding.OK]
    fine = [c.part for c in checks if c.finding is Finding.OK]
    bad = {c.part for c in faults}
    return [*faults, *(PodCheck(part, Finding.OK) for part in dict.fromkeys(fine) if part not in bad)]


async def _read(cluster: Cluster, namespace: str, kind: Kind, name: str) -> Obj | None | AccessDenied:
    """The object, None when it is not there, or why it may not be read. Values do not leave this function."""
    try:
        found = await cluster.get(kind, namespace, name)
    except ObjectMissing:
        return None
    except AccessDenied as error:
        return error
    if kind not in (Kind.CONFIG_MAP, Kind.SECRET):
        return found
    return {"metadata": {"name": name}, "data": dict.fromkeys(config_keys(found))}


def _check(ref: Reference, found: Obj | None | AccessDenied) -> PodCheck:
    if isinstance(found, AccessDenied):
        return _unread(ref)
    if found is None:
        text = f"{ref.who} needs {ref.kind} {ref.name}, which does not exist"
        return PodCheck(ref.part, Finding.MISSING, text, f"{ref.kind} {ref.name} exists")
    if ref.key and ref.key not in found["data"]:
        text = f"{ref.who} needs key {ref.key} of {ref.kind} {ref.name}, which does not have it"
        return PodCheck(ref.part, Finding.MISSING, text, f"{ref.kind} {ref.name} has the key {ref.key}")
    if ref.kind is Kind.PVC and (fault := _claim_fault(found)):
        text = f"{ref.who} needs {ref.kind} {ref.name}, which {fault}"
        return PodCheck(ref.part, Finding.MISSING, text, f"{ref.kind} {ref.name} can be mounted")
    return PodCheck(ref.part, Finding.OK)


def _unread(ref: Reference) -> PodCheck:
    """A right that is not granted. The account `default` is made anew by its controller, and to read a PriorityClass is an
    optional right."""
    plural = RESOURCES[ref.kind].plural
    text = f"{ref.kind} {ref.name} may not be read"
    optional = ref.kind is Kind.PRIORITY_CLASS or (ref.kind, ref.name) == (
        Kind.SERVICE_ACCOUNT,
        _DEFAULT_ACCOUNT,
    )
    finding = Finding.UNTOLD if optional else Finding.UNKNOWN
    return PodCheck(ref.part, finding, text, f"the right to get {plural} is granted")


def _claim_fault(claim: Obj) -> str:
    """A claim that waits for its first pod is fine; one that is lost or being deleted is not."""
    if "deletionTimestamp" in claim["metadata"]:
        return "is being deleted"
    if (claim.get("status") or {}).get("phase") == "Lost":
        return "has lost its volume"
    return ""


async def _account_pulls(
    cluster: Cluster, goal: Goal, wanted: Sequence[Reference], objects: Mapping[tuple[Kind, str], Any]
) -> list[PodCheck]:
    """Pull Secrets of the ServiceAccount hold for pods whose spec names none."""
    if any(r.part is Part.PULL_SECRETS for r in wanted):
        return []
    name = next(r.name for r in wanted if r.kind is Kind.SERVICE_ACCOUNT)
    account = objects[Kind.SERVICE_ACCOUNT, name]
    if not isinstance(account, dict):
        return []
    refs = [
        Reference(Part.PULL_SECRETS, Kind.SECRET, ref["name"], f"ServiceAccount {name}")
        for ref in account.get("imagePullSecrets") or ()
        if ref.get("name")
    ]
    read = await asyncio.gather(*(_read(cluster, goal.namespace, r.kind, r.name) for r in refs))
    return [_check(ref, found) for ref, found in zip(refs, read, strict=True)]
