"""Finding out whether a write whose answer was lost has happened.

Called by `app.kube.apply` and `app.kube.undo`. Reads only. Certainty comes from two facts: our marker is written in the
same patch as the change, and the patch is bound to a resourceVersion. So the marker proves that it happened, and a
resourceVersion that moved on without it proves that it never can.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum

from app.domain.actuator import Sleep
from app.domain.cluster import Cluster
from app.domain.errors import ClusterRefused, ClusterUnavailable, ObjectMissing, OutcomeUnclear, TryLater
from app.domain.json import Obj
from app.domain.target import ObjectRef
from app.kube.look import marker_of

real_sleep: Sleep = asyncio.sleep

PAUSES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each look; together longer than the API server works on a write of ours (its time-out is 15 s)."""


async def between_attempts(attempt: int, sleep: Sleep) -> None:
    """Wait before this attempt (from 0), if it is not the first: a controller writes the status of a rollout in bursts, and slow servers
    stretch them, so that each wait is twice the one before."""
    if attempt:
        await sleep(0.1 * 2.0**attempt)


class Finding(StrEnum):
    """What reading back showed."""

    HAPPENED = "happened"
    NOT_HAPPENED = "not_happened"
    GONE = "gone"
    UNREADABLE = "unreadable"


async def read_back(
    cluster: Cluster, ref: ObjectRef, marker: str, sleep: Sleep = real_sleep
) -> tuple[Finding, Obj]:
    """Look until it is certain, at most `len(PAUSES)` times. `ref` has the resourceVersion the patch was bound to.

    NOT_HAPPENED after all looks is as certain as it gets, and safe: should the write still land, a repeat bound to the
    same resourceVersion is refused. The manifest is empty unless something was read.
    """
    last: Finding = Finding.UNREADABLE
    manifest: Obj = {}
    for pause in PAUSES:
        await sleep(pause)
        try:
            manifest = await cluster.get(ref.kind, ref.namespace, ref.name)
        except ObjectMissing:
            return Finding.GONE, {}
        except (TryLater, ClusterRefused):
            last = Finding.UNREADABLE
            continue
        if manifest["metadata"].get("uid") != ref.uid:
            return Finding.GONE, manifest
        if marker_of(manifest) == marker:
            return Finding.HAPPENED, manifest
        last = Finding.NOT_HAPPENED
        if manifest["metadata"].get("resourceVersion") != ref.resource_version:
            return last, manifest
    return last, manifest


def not_applied(error: OutcomeUnclear) -> ClusterUnavailable:
    """What is raised where reading back has shown that a request whose answer was lost did nothing, so that it may be tried again."""
    text = f"the answer was lost ({error.message}); reading back shows that nothing was written"
    failure = ClusterUnavailable(text, code="not_applied", where=error.where)
    failure.__cause__ = error
    return failure


async def pod_gone(cluster: Cluster, ref: ObjectRef, sleep: Sleep = real_sleep) -> Finding:
    """The same question for the removal of a pod: gone, replaced by a namesake, or on its way out."""
    last = Finding.UNREADABLE
    for pause in PAUSES:
        await sleep(pause)
        try:
            if await removed(cluster, ref):
                return Finding.HAPPENED
            last = Finding.NOT_HAPPENED
        except (TryLater, ClusterRefused):
            last = Finding.UNREADABLE
    return last


async def removed(cluster: Cluster, ref: ObjectRef) -> bool:
    """Is the pod with this uid gone or terminating? Raises the port's read errors."""
    try:
        manifest = await cluster.get(ref.kind, ref.namespace, ref.name)
    except ObjectMissing:
        return True
    meta = manifest["metadata"]
    return meta.get("uid") != ref.uid or "deletionTimestamp" in meta
