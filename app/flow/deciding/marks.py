"""Off limits: what the policy's scope or the marks of its owners keep the service away from, told before anything else is read.

Called by the decision, the next step, the verification, the diagnosis, the check of orders and what holds an undo. Reads two objects at most, for
their metadata: the namespace's, and the workload's where the namespace's mark leaves it open. What is not known to be ours is
not read any further.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.cluster import Cluster
from app.domain.errors import ObjectMissing, RemediatorError
from app.domain.json import Obj
from app.domain.target import Kind, Target
from app.policy.gates.target import kept_away, mark_of, off_limits_by_name
from app.policy.model import Scope

NAMESPACE, OBJECT = "namespace", "object"
Marks = Mapping[str, str]
"""The marks that were found, by where they stand."""


async def of_namespace(cluster: Cluster, namespace: str) -> Marks:
    """The namespace's own mark. Raises the port's read errors."""
    return _found(NAMESPACE, await cluster.get(Kind.NAMESPACE, "", namespace))


async def of_target(cluster: Cluster, scope: Scope, target: Target) -> Marks:
    """Both marks; of a namespace that opted out only its own, as nothing in it is read. A workload that is gone has none. Raises
    the port's read errors."""
    around = await of_namespace(cluster, target.namespace)
    if namespace_shut(scope, around):
        return around
    try:
        found = await cluster.get(target.kind, target.namespace, target.name)
    except ObjectMissing:
        return around
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


def keeps_away(scope: Scope, around: Marks, metadata: Obj) -> bool:
    """The same for an object that is read already, in a namespace with these marks."""
    return kept_away(scope, {**around, **_found(OBJECT, {"metadata": metadata})})


def _found(where: str, manifest: Obj) -> dict[str, str]:
    mark = mark_of(manifest.get("metadata") or {})
    return {} if mark is None else {where: mark}
