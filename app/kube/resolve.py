"""From what an alert names to the workload it is about.

Called by the flow through `app.kube.read`, before anything is decided. Follows controllers: Pod to ReplicaSet to
Deployment, Pod to StatefulSet or DaemonSet. Never follows a label, and never chooses between two candidates.
"""

from __future__ import annotations

from app.domain.alert import target_hint
from app.domain.cluster import Cluster
from app.domain.errors import ObjectMissing
from app.domain.json import Obj
from app.domain.target import WORKLOAD_KINDS, Kind, Target
from app.kube.jobs import job_story
from app.kube.parse import controller_of

_KINDS = {k.value.lower(): k for k in Kind}


async def resolve(cluster: Cluster, namespace: str, hint_kind: str, hint_name: str) -> Target:
    """The workload that `hint_kind/hint_name` belongs to.

    A pod that is gone, or a pod name reduced to its owner's, is looked for among the workloads of that name. Raises
    ObjectMissing with the reason when there is none, or when it is not one of WORKLOAD_KINDS (a Job, a bare pod, an
    operator's own kind), and the port's read errors.
    """
    kind = _KINDS.get(hint_kind.lower())
    match kind:
        case Kind.DEPLOYMENT | Kind.STATEFUL_SET | Kind.DAEMON_SET:
            await cluster.get(kind, namespace, hint_name)
            return Target(namespace, kind, hint_name)
        case Kind.HPA:
            manifest = await cluster.get(Kind.HPA, namespace, hint_name)
            scales = manifest["spec"]["scaleTargetRef"]
            return await _named(cluster, namespace, scales["kind"], scales["name"])
        case Kind.REPLICA_SET:
            return await _owner(cluster, namespace, await cluster.get(kind, namespace, hint_name))
        case Kind.POD:
            return await _of_pod(cluster, namespace, hint_name)
        case _:
            raise _missing(f"{hint_kind} {hint_name} is not a workload that can be remediated")


async def _of_pod(cluster: Cluster, namespace: str, name: str) -> Target:
    try:
        manifest = await cluster.get(Kind.POD, namespace, name)
    except ObjectMissing:
        return await _by_name(cluster, namespace, name)
    return await _owner(cluster, namespace, manifest)


async def _by_name(cluster: Cluster, namespace: str, name: str) -> Target:
    """The only workload with this name, else the only one with the name that the pod name was generated from."""
    stem = target_hint({"pod": name}).partition("/")[2]
    for candidate in dict.fromkeys((name, stem)):
        found = [k for k in WORKLOAD_KINDS if await _exists(cluster, k, namespace, candidate)]
        if len(found) == 1:
            return Target(namespace, found[0], candidate)
        if found:
            kinds = " and a ".join(found)
            raise _missing(f"pod {name} is gone, and {candidate} is the name of a {kinds}")
    raise _missing(f"pod {name} is gone, and no workload is named {' or '.join(dict.fromkeys((name, stem)))}")


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
