"""Logs and volumes: how big the target's volumes and logs are, what fills them, and what Kubernetes rotates by itself.

Implements the runbook's section Log Rotation. Called by the flow. It only looks: `kubectl exec ... du` of the runbook needs a shell in the
pod, and the kubelet measures the same. What is to be done (a bigger claim, a limit, retention in the logging backend) is a person's work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from app.domain.errors import BadInput, RemediatorError
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import Obj
from app.domain.plan import ActionKind, Step
from app.domain.procedure import Procedure
from app.domain.remediation import Params, Remediation, Scene
from app.domain.target import Kind
from app.kube.manifest import parse_memory
from app.kube.quoted import told_by
from remediations.evidence.pods import pods_state
from remediations.evidence.usage import count, joined, memory, short
from remediations.evidence.volumes import asked, volumes_finding
from remediations.shared import Share, refuse

BY_HAND = "free-by-hand"
VOLUMES, LOGS, EPHEMERAL = "volumes.state", "logs.size", "ephemeral.state"
"""The findings; the data of the first is `full`: the claims that are at least as full as `full` says."""
_LOGS = 'sum by (pod) (kubelet_container_log_filesystem_used_bytes{namespace="$namespace", pod=~"$pods"})'
_ROTATED = (
    "the kubelet rotates what containers write to stdout and stderr by itself, by default at 10 MiB and 5 files a container"
    " (containerLogMaxSize, containerLogMaxFiles); files inside of containers and volumes it does not"
)
_SHOWN = 10


class LogsAndVolumesParams(Params):
    """`full`: share of a volume, of its bytes or its inodes, from which on it is told as full."""

    full: Share = Field(default=0.85, description="Share from which on a volume is told as full.")


class LogsAndVolumes(Remediation[LogsAndVolumesParams]):
    """The handler. It has no actions."""

    name = "logs-and-volumes"
    runbook = "Log Rotation"
    steps: tuple[str, ...] = (BY_HAND,)
    params: type[LogsAndVolumesParams] = LogsAndVolumesParams
    actions: frozenset[ActionKind] = frozenset()
    procedure = Procedure()

    async def diagnose(self, scene: Scene, params: LogsAndVolumesParams) -> Diagnosis:
        """The volumes of the target's pods, their logs, and their ephemeral storage."""
        pods, state = await asyncio.gather(
            _pods(scene), pods_state(scene.cluster, scene.workload, scene.fired_at)
        )
        if isinstance(pods, str):
            text = f"The volumes could not be looked at: {pods}"
            return Diagnosis(text, (Finding(VOLUMES, text, Certainty.UNKNOWN, {"full": []}), state))
        volumes, logs = await asyncio.gather(volumes_finding(scene, VOLUMES, pods, params.full), _logs(scene))
        ephemeral = _ephemeral(pods)
        return Diagnosis(joined([volumes.text, logs.text]), (volumes, logs, ephemeral, state))

    async def ladder(
        self, scene: Scene, params: LogsAndVolumesParams, diagnosis: Diagnosis
    ) -> Sequence[Step]:
        """Nothing is written; what a person does about it."""
        del scene, params
        found = diagnosis.finding(VOLUMES)
        full: Any = found.data["full"] if found else []
        advice = (
            f"free space in or enlarge {', '.join(full)} (spec.resources.requests.storage of the claim, where its StorageClass"
            " allows expansion)"
            if full
            else ""
        )
        return (refuse(BY_HAND, diagnosis.summary, advice),)


async def _pods(scene: Scene) -> list[Obj] | str:
    """The pods' manifests, or why they cannot be read."""
    namespace = scene.workload.target.namespace
    try:
        return await scene.cluster.list_objects(Kind.POD, namespace, scene.workload.selector)
    except RemediatorError as error:
        return error.message


async def _logs(scene: Scene) -> Finding:
    rows = [(labels["pod"], value) for labels, value in await asked(scene, _LOGS) if "pod" in labels]
    if not rows:
        return Finding(LOGS, "The size of its logs is not measured", Certainty.UNKNOWN, details=(_ROTATED,))
    rows.sort(key=lambda row: -row[1])
    total, (most, size) = sum(value for _, value in rows), rows[0]
    text = (
        f"Its logs take up {memory(int(total))} on {count(len(rows), 'pod')}, {memory(int(size))} of {most}"
    )
    details = [f"{pod}: {memory(int(value))}" for pod, value in rows[:_SHOWN]]
    return Finding(LOGS, text, details=(*details, _ROTATED))


def _ephemeral(pods: Sequence[Obj]) -> Finding:
    """Limits of ephemeral storage, emptyDirs, and pods that were evicted for it."""
    evicted = [p for p in pods if (p.get("status") or {}).get("reason") == "Evicted"]
    details = sorted({line for pod in pods for line in _limits(pod["spec"])})
    details += [
        f"{p['metadata']['name']}: {told_by(p['status'].get('message'), 160)}" for p in evicted[:_SHOWN]
    ]
    without = sum(not _limit(c) for pod in pods for c in pod["spec"].get("containers") or ())
    text = f"{count(without, 'container')} without a limit of ephemeral storage, {count(len(evicted), 'evicted pod')}"
    return Finding(EPHEMERAL, text, details=tuple(details[:_SHOWN]))


def _limits(spec: Mapping[str, Any]) -> Iterator[str]:
    for container in spec.get("containers") or ():
        if limit := _limit(container):
            yield f"container {container['name']}: at most {_size(limit)} of ephemeral storage"
    for volume in spec.get("volumes") or ():
        if (empty := volume.get("emptyDir")) is not None:
            limit = empty.get("sizeLimit")
            where = "in memory" if empty.get("medium") == "Memory" else "on the node's disk"
            yield f"emptyDir {volume['name']} {where}: {f'at most {_size(limit)}' if limit else 'no limit'}"


def _limit(container: Mapping[str, Any]) -> str:
    return str(((container.get("resources") or {}).get("limits") or {}).get("ephemeral-storage") or "")


def _size(quantity: str) -> str:
    try:
        return memory(parse_memory(quantity))
    except BadInput:
        return short(str(quantity), 20)
