"""Reading one workload for a diagnosis, within its limit. Called by `look` and `inside`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from app.domain.cluster import OPT, Cluster
from app.domain.errors import AccessDenied, ClusterUnavailable, ObjectMissing, RemediatorError
from app.domain.target import Target
from app.domain.workload import Workload
from app.flow.deciding.marks import Marks, keeps_away
from app.flow.diagnosing.section import LIMIT, said
from app.kube.owners import managers_of
from app.kube.parse import parse_workload
from app.kube.read import read_workload
from app.policy.model import Opt, Scope

T = TypeVar("T")


async def asked(reading: Coroutine[Any, Any, T]) -> T:
    """What everything else depends on, within the limit of a section. Raises ClusterUnavailable when it cannot be told."""
    try:
        async with asyncio.timeout(LIMIT):
            return await reading
    except TimeoutError as error:
        raise ClusterUnavailable(f"the API server did not answer within {LIMIT:g} s") from error
    except AccessDenied as error:
        text = f"{error.message}; `remediator rbac` tells the rights that are needed"
        raise ClusterUnavailable(text, code=error.code) from error


async def read(cluster: Cluster, target: Target) -> tuple[Workload, str]:
    """The workload, and why its autoscaler is not known where that could not be read. Raises the port's errors for the object itself."""
    half = LIMIT / 2
    try:
        async with asyncio.timeout(half):
            return await read_workload(cluster, target), ""
    except ObjectMissing:
        raise
    except TimeoutError:
        why = f"autoscalers: it took longer than {half:g} s"
    except RemediatorError as error:
        why = said(f"autoscalers: {error.message}")
    manifest = await cluster.get(target.kind, target.namespace, target.name)
    managers = managers_of(manifest, autoscaled=False)
    return replace(parse_workload(target, manifest), managers=managers), why


@dataclass(frozen=True, slots=True)
class Ground:
    """What may be shown of a namespace goes by the policy's scope and the namespace's own mark."""

    scope: Scope
    around: Marks

    def opt_out_of(self, workload: Workload) -> str:
        """Why the workload is only named; empty when it may be looked at."""
        if not keeps_away(
            self.scope, self.around, {"labels": workload.labels, "annotations": workload.annotations}
        ):
            return ""
        why = "is not opted in" if self.scope.opt is Opt.IN else "opted out"
        return f"it {why} ({OPT}): nothing of it is shown"

    @property
    def marked_alone(self) -> bool:
        """Only what bears a mark itself may be shown."""
        return keeps_away(self.scope, self.around, {})
