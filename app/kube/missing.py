"""Which ConfigMaps, Secrets or keys a workload needs and does not find.

Called by the handlers through `app.kube.read`. Of a Secret only the key names are looked at: its values never leave
this module.
"""

from __future__ import annotations

from app.domain.cluster import Cluster
from app.domain.errors import ObjectMissing
from app.domain.target import Kind
from app.domain.workload import ConfigRef, Workload


async def missing_config(cluster: Cluster, workload: Workload) -> list[tuple[ConfigRef, str]]:
    """Needed references that lead nowhere, each with a sentence. Optional ones never count.

    Raises AccessDenied when Secrets or ConfigMaps may not be read: then nothing is known, rather than nothing missing.
    """
    known: dict[tuple[Kind, str], frozenset[str] | None] = {}
    found: dict[ConfigRef, str] = {}
    for container in workload.containers:
        for ref in container.config:
            if ref.optional or ref in found:
                continue
            place = (ref.kind, ref.name)
            if place not in known:
                known[place] = await _keys(cluster, workload.target.namespace, ref)
            if text := _fault(ref, known[place]):
                found[ref] = f"container {container.name} needs {text}"
    return list(found.items())


async def _keys(cluster: Cluster, namespace: str, ref: ConfigRef) -> frozenset[str] | None:
    try:
        manifest = await cluster.get(ref.kind, namespace, ref.name)
    except ObjectMissing:
        return None
    return frozenset(manifest.get("data") or ()) | frozenset(manifest.get("binaryData") or ())


def _fault(ref: ConfigRef, keys: frozenset[str] | None) -> str:
    if keys is None:
        return f"{ref.kind} {ref.name}, which does not exist"
    if ref.key and ref.key not in keys:
        return f"key {ref.key} of {ref.kind} {ref.name}, which does not have it"
    return ""
