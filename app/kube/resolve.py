"""From what an alert names to the workload it is about.

Called by the flow through `app.kube.read`, before anything is decided. Follows controllers: Pod to ReplicaSet to
Deployment, Pod to StatefulSet or DaemonSet. A pod that is gone has no controller to follow any more: its ReplicaSet, when that is
still there, else its generated name tells whose it was, and `Found.how` says so. Never follows a label, and never chooses
between two candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.cluster import Cluster
from app.domain.errors import ObjectMissing
from app.domain.json import Obj
from app.domain.subject import owners_by_name
from app.domain.target import WORKLOAD_KINDS, Kind, Target
from app.kube.jobs import job_story
from app.kube.parse import controller_of

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
    ObjectMissing with the reason when there is none, or when it is not one of WORKLOAD_KINDS (a Job, a bare pod, an
    operator's own kind), and the port's read errors.
    """
    kind = _KINDS.get(hint_kind.lower())
    match kind:
        case Kind.DEPLOYMENT | Kind.STATEFUL_SET | Kind.DAEMON_SET:
            await cluster.get(kind, namespace, hint_name)
            return Found(Target(namespace, kind, hint_name))
        case Kind.HPA:
            manifest = await cluster.get(Kind.HPA, namespace, hint_name)
            scales = manifest["spec"]["scaleTargetRef"]
            return Found(await _named(cluster, namespace, scales["kind"], scales["name"]))
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
    make such names."""
    owners = owners_by_name(name)
    if any(kind == Kind.DEPLOYMENT for kind, _ in owners):
        replica_set = name.rpartition("-")[0]
        try:
            manifest = await cluster.get(Kind.REPLICA_SET, namespace, replica_set)
        except ObjectMissing:
            pass
        else:
            found = await _owner(cluster, namespace, manifest)
            return Found(found, f"Pod {name} is gone; its ReplicaSet belongs to {found.kind} {found.name}")
    for candidates in ([(kind, name) for kind in WORKLOAD_KINDS], [(Kind(k), n) for k, n in owners]):
        there = [(k, n) for k, n in candidates if await _exists(cluster, k, namespace, n)]
        if len(there) == 1:
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
    try:
        await cluster.get(kind, namespace, name)
    except ObjectMissing:
        return False
    return True


async def _owner(cluster: Cluster, namespace: str, manifest: Obj) -> Target:
    me = f"{manifest.get('kind', 'object')} {manifest['metadata']['name']}"
    owner = controller_of(manifest)
    if owner is None:
        raise _missing(f"{me} has no controller: nothing would bring it back")
    if owner["kind"] == Kind.REPLICA_SET:
        return await _owner(cluster, namespace, await cluster.get(Kind.REPLICA_SET, namespace, owner["name"]))
    if owner["kind"] == Kind.JOB:
        story = await job_story(cluster, namespace, owner["name"])
        raise _missing(f"{me} belongs to {story}. A run to completion is not restarted or rolled back")
    return await _named(cluster, namespace, owner["kind"], owner["name"])


async def _named(cluster: Cluster, namespace: str, kind_name: str, name: str) -> Target:
    kind = _KINDS.get(kind_name.lower())
    if kind not in WORKLOAD_KINDS:
        raise _missing(f"{kind_name} {name} is not a workload that can be remediated")
    await cluster.get(kind, namespace, name)
    return Target(namespace, kind, name)


def _missing(text: str) -> ObjectMissing:
    return ObjectMissing(text, code="no_workload")
