"""The port to a Kubernetes cluster: the one way to read and write, implemented by `app.kube` (real) and `app.sim`.

It is deliberately as narrow as the API server itself: manifests in, manifests out, one request a call. What a rollback
or a restart *is* lives above this port, so that the simulated cluster runs the same logic as the real one.
Implementations translate every foreign error into `app.domain.errors` and never retry a write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from app.domain.json import Obj
from app.domain.target import Kind

FIELD_MANAGER = "alert-remediator"
"""The field manager and user agent under which all our writes appear in managedFields and the API server's audit log."""

MARKER = "alert-remediator.io/action"
"""Annotation on every object we patch: the id of our last action there. Written in the same patch as the change, so
reading it back tells for certain whether a write with an unclear outcome happened."""

OPT = "alert-remediator.io/enabled"
"""Label or annotation on an object or its namespace: "false" keeps us away from it."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which log lines to read; bounded in lines and bytes so that a chatty pod cannot fill our memory. The newest `tail_lines`
    since then, or with None the oldest ones; `limit_bytes` cuts the end of either. `timestamps` puts in front of each line when it
    was written, as the kubelet noted it (RFC 3339 and a space)."""

    namespace: str
    pod: str
    container: str
    previous: bool = False
    since_seconds: int | None = None
    tail_lines: int | None = 2_000
    limit_bytes: int = 1_048_576
    timestamps: bool = False


@dataclass(frozen=True, slots=True)
class PodUsage:
    """Momentary usage of one pod from metrics.k8s.io: memory working set in bytes, CPU in millicores, by container."""

    pod: str
    at: datetime
    memory: dict[str, int]
    cpu: dict[str, int]

    @property
    def total_memory(self) -> int:
        """Sum over the containers, in bytes."""
        return sum(self.memory.values())


USAGE_LASTS = timedelta(minutes=5)
"""So long a usage tells of now. metrics-server measures every 15 to 60 s, an adapter of Prometheus every few minutes at most: what is
older was measured before something stopped measuring, and nobody knows what has happened since."""


def measured_lately(usage: Iterable[PodUsage], now: datetime) -> list[PodUsage]:
    """What of these tells of now."""
    return [u for u in usage if now - u.at <= USAGE_LASTS]


class Cluster(Protocol):
    """One Kubernetes cluster.

    Reads raise ObjectMissing, AccessDenied, ClusterUnavailable, ClusterThrottled. Writes raise in addition
    ObjectChanged, ObjectInvalid, DisruptionBlocked, and OutcomeUnclear when the request was sent and the answer lost
    (connection broken, timeout, 5xx other than a clean refusal).
    """

    name: str

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """Read one object. `namespace` is ignored for Node and Namespace."""
        ...

    async def list_objects(
        self, kind: Kind, namespace: str, selector: str = "", fields: str = ""
    ) -> list[Obj]:
        """List objects by label selector and field selector (paged inside; all pages returned)."""
        ...

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """Apply a JSON patch (RFC 6902) in one request as our field manager; returns the object after it.

        A patch that sets /metadata/resourceVersion is refused with ObjectChanged unless the object still has it.
        """
        ...

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """As `patch`, through the status subresource: of the object only the status changes."""
        ...

    async def delete_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Delete a pod if it still has this uid (ObjectChanged otherwise). Ignores disruption budgets, as kubectl does."""
        ...

    async def evict_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Evict a pod if it still has this uid. DisruptionBlocked when a PodDisruptionBudget says no."""
        ...

    async def delete_secret(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Delete a Secret if it still has this uid (ObjectChanged otherwise)."""
        ...

    async def dry_run_pod(self, namespace: str, pod: Obj) -> Obj:
        """Ask whether a pod like this would be accepted (dryRun=All, admission included); nothing is stored. Gives it as it
        would be stored. Raises ObjectInvalid when validation or admission refuses it."""
        ...

    async def create_job(self, namespace: str, job: Obj, *, dry_run: bool = False) -> Obj:
        """Create a Job as our field manager; unknown fields are refused. Gives it as stored, or with `dry_run` as it would be.

        Raises ObjectChanged (`already_exists`) when there is one of its name.
        """
        ...

    async def create_event(self, event: Obj) -> None:
        """Create an events.k8s.io/v1 Event. The name makes it once: an existing one of that name counts as success."""
        ...

    async def logs(self, query: LogQuery) -> str:
        """Read log text; invalid UTF-8 is replaced. Missing previous logs give the empty text."""
        ...

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        """Usage from the metrics API. ProbeUnavailable when the cluster does not serve it."""
        ...

    async def can_i(
        self, verb: str, kind: Kind, namespace: str, subresource: str = "", name: str = ""
    ) -> bool:
        """SelfSubjectAccessReview: may we do this to all objects, or to the one with this name?"""
        ...
