"""How big and how full the volumes of pods are, by the kubelet's measures in Prometheus and by the claims themselves.

Called by the handlers of logs and volumes and of database connections. Reads only; what nobody measures is unknown, never fine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from app.domain.errors import RemediatorError, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue, Obj
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.kube.manifest import claims_of
from remediations.evidence.usage import count, memory, percent
from remediations.shared import aim

_USED: Final = 'kubelet_volume_stats_used_bytes{namespace="$namespace"}'
_CAPACITY: Final = 'kubelet_volume_stats_capacity_bytes{namespace="$namespace"}'
_INODES: Final = 'kubelet_volume_stats_inodes_used{namespace="$namespace"} / kubelet_volume_stats_inodes{namespace="$namespace"}'
_SHOWN: Final = 10


async def volumes_finding(scene: Scene, code: str, pods: Sequence[Obj], full: float) -> Finding:
    """Size and fill of the claims that these pods mount; `data["full"]` names those that are at least as full as `full` says."""
    names = sorted({name for pod in pods for name in claims_of(pod["spec"])})
    if not names:
        return Finding(code, "Its pods mount no PersistentVolumeClaim", data={"full": []})
    claims = await asyncio.gather(*(_claim(scene, name) for name in names))
    used, capacity, inodes = await asyncio.gather(*(_by_claim(scene, q) for q in (_USED, _CAPACITY, _INODES)))
    over: list[JsonValue] = []
    details = []
    for name, claim in zip(names, claims, strict=True):
        told = [claim]
        if name in used and capacity.get(name):
            share = used[name] / capacity[name]
            told.append(f"{memory(int(used[name]))} used ({percent(share)})")
            over += [name] if share >= full else []
        if name in inodes:
            told.append(f"{percent(inodes[name])} of its inodes used")
            over += [name] if inodes[name] >= full and name not in over else []
        details.append(f"{name}: {', '.join(told)}")
    text = f"{count(len(names), 'volume')}"
    measured = [name for name in names if name in used]
    if not measured:
        why = "no Prometheus is configured" if scene.metrics is None else "Prometheus has no value for them"
        text = f"{text}; how full is not known ({why})"
        return Finding(code, text, Certainty.UNKNOWN, {"full": over}, tuple(details[:_SHOWN]))
    text = f"{text}, {len(over)} of {len(measured)} measured at {percent(full)} or more"
    text += f": {', '.join(map(str, over))}" if over else ""
    return Finding(code, text, data={"full": over}, details=tuple(details[:_SHOWN]))


async def _claim(scene: Scene, name: str) -> str:
    """Size, class and state of a claim in words."""
    try:
        claim = await scene.cluster.get(Kind.PVC, scene.workload.target.namespace, name)
    except RemediatorError as error:
        return f"cannot be read ({error.code})"
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    size = (status.get("capacity") or {}).get("storage") or "no size yet"
    wanted = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    parts = [str(size), f"class {spec.get('storageClassName') or 'of the cluster'}"]
    if wanted and wanted != size:
        parts.append(f"{wanted} asked for")
    if status.get("phase") != "Bound":
        parts.append(f"phase {status.get('phase') or 'unknown'}")
    return ", ".join(parts)


async def _by_claim(scene: Scene, query: str) -> Mapping[str, float]:
    return {
        labels["persistentvolumeclaim"]: value
        for labels, value in await asked(scene, query)
        if "persistentvolumeclaim" in labels
    }


async def asked(scene: Scene, query: str) -> Sequence[tuple[Mapping[str, str], float]]:
    """What Prometheus knows; nothing when it cannot be asked."""
    if scene.metrics is None:
        return ()
    try:
        return await scene.metrics.instant(aim(query, scene.workload.target))
    except TryLater:
        return ()
