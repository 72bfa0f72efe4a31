"""Who else writes an object: GitOps tools, Helm, an autoscaler, and who last set a field.

Called by `app.kube.read` (for the ownership gate) and `app.kube.apply` (for conflict texts). Pure; reads manifests only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from app.domain.change import tokens
from app.domain.json import Obj
from app.domain.workload import Manager
from app.kube.parse import parse_time

ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
ARGO_LABEL = "argocd.argoproj.io/instance"
_FLUX_LABELS = ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")
_FLUX_WRITERS = frozenset({"kustomize-controller", "helm-controller"})
HELM_RELEASE = "meta.helm.sh/release-name"


def managers_of(manifest: Obj, *, autoscaled: bool) -> tuple[Manager, ...]:
    """Everyone who would revert or fight a change of this object, in the order of `Manager`.

    The label app.kubernetes.io/instance, by which older Argo CD tracks, is no sign by itself, since plain Helm sets it
    too; there Argo CD is known by being a writer in managedFields.
    """
    meta = manifest["metadata"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    writers = {entry.get("manager", "") for entry in meta.get("managedFields") or ()}
    found = []
    if ARGO_TRACKING in annotations or ARGO_LABEL in labels or any(w.startswith("argocd") for w in writers):
        found.append(Manager.ARGO_CD)
    if any(label in labels for label in _FLUX_LABELS) or writers & _FLUX_WRITERS:
        found.append(Manager.FLUX)
    if labels.get("app.kubernetes.io/managed-by") == "Helm" or HELM_RELEASE in annotations:
        found.append(Manager.HELM)
    if autoscaled:
        found.append(Manager.HPA)
    return tuple(found)


def who_changed(manifest: Obj, path: str) -> list[tuple[str, datetime | None]]:
    """Field managers that own the field at `path` or anything below it, newest first.

    Status writers do not count: they never own a field of the spec.
    """
    wanted = tokens(path)
    found: dict[str, datetime | None] = {}
    for entry in manifest["metadata"].get("managedFields") or ():
        if entry.get("subresource") == "status" or not _owns(entry.get("fieldsV1") or {}, wanted):
            continue
        manager, at = entry.get("manager", "unknown"), parse_time(entry.get("time"))
        known = found.get(manager)
        if manager not in found or (at is not None and (known is None or at > known)):
            found[manager] = at
    return sorted(found.items(), key=lambda item: item[1].timestamp() if item[1] else 0.0, reverse=True)


def written_at(manifest: Obj, manager: str) -> datetime | None:
    """When this field manager last wrote the object, as far as managedFields tell."""
    entries = manifest["metadata"].get("managedFields") or ()
    times = [parse_time(entry.get("time")) for entry in entries if entry.get("manager") == manager]
    return max((at for at in times if at is not None), default=None)


def _owns(fields: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    """fieldsV1 is a tree of `f:name` and `k:{"name":"x"}` keys; a leaf `{}` owns the whole value there."""
    node: Mapping[str, Any] = fields
    for token in path:
        child = next((node[key] for key in _keys(token) if key in node), None)
        if child is None:
            return False
        if not child:
            return True
        node = child
    return True


def _keys(token: str) -> Iterator[str]:
    yield f"f:{token}"
    if token.startswith("[name="):
        yield f'k:{{"name":"{token[6:-1]}"}}'
