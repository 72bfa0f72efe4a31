"""Who else writes a Secret, and whether it may be changed at all: owners, labels, annotations and field managers.

Called by `app.kube.key_actuator` and by the handlers that propose a change of a Secret. Pure; reads manifests only, and of those never a
value. A Secret that a controller makes is changed where the controller reads it, because behind its back the change is set back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.domain.json import Obj
from app.domain.workload import Manager
from app.kube.owners import APPLIED, managers_of

_LABELS: Final[Mapping[str, str]] = {
    "reconcile.external-secrets.io/managed": "External Secrets",
    "reconcile.external-secrets.io/created-by": "External Secrets",
    "secrets-store.csi.k8s.io/managed": "the Secrets Store CSI driver",
    "secrets.hashicorp.com/vso-ownerRefUID": "the Vault Secrets Operator",
    "sealedsecrets.bitnami.com/sealed-secrets-key": "Sealed Secrets",
}
_ANNOTATIONS: Final[Mapping[str, str]] = {
    "reconcile.external-secrets.io/data-hash": "External Secrets",
    "sealedsecrets.bitnami.com/managed": "Sealed Secrets",
    "cert-manager.io/certificate-name": "cert-manager",
    "reflector.v1.k8s.emberstack.com/reflects": "Reflector",
    "replicator.v1.mittwald.de/replicated-from-version": "the Kubernetes Replicator",
}
_MANAGED_BY: Final[Mapping[str, str]] = {
    "hashicorp-vso": "the Vault Secrets Operator",
    "external-secrets": "External Secrets",
    "1password-operator": "the 1Password operator",
}
_WRITERS: Final[Mapping[str, str]] = {
    "external-secrets": "External Secrets",
    "sealed-secrets": "Sealed Secrets",
    "vault-secrets-operator": "the Vault Secrets Operator",
    "secrets-store": "the Secrets Store CSI driver",
    "bank-vaults": "Bank-Vaults",
}
"""Beginnings of the names under which these write."""
_TITLES: Final[Mapping[Manager, str]] = {Manager.ARGO_CD: "Argo CD", Manager.FLUX: "Flux"}


def kept_by(manifest: Obj) -> str:
    """Who sets this Secret back when somebody else changes it; empty when nobody is known to."""
    meta = manifest["metadata"]
    for owner in meta.get("ownerReferences") or ():
        return f"{owner.get('kind')} {owner.get('name')}"
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    found = [name for label, name in _LABELS.items() if label in labels]
    found += [name for annotation, name in _ANNOTATIONS.items() if annotation in annotations]
    by = str(labels.get("app.kubernetes.io/managed-by", ""))
    found += [_MANAGED_BY[by]] if by in _MANAGED_BY else []
    for entry in meta.get("managedFields") or ():
        writer = str(entry.get("manager", ""))
        found += [name for start, name in _WRITERS.items() if writer.startswith(start)]
    found += [_TITLES[m] for m in managers_of(manifest, autoscaled=False) if m in _TITLES]
    return found[0] if found else ""


def written_from(manifest: Obj) -> str:
    """What writes this Secret anew the next time somebody runs it; empty when nothing is known to."""
    if Manager.HELM in managers_of(manifest, autoscaled=False):
        return "helm upgrade"
    return "kubectl apply" if APPLIED in (manifest["metadata"].get("annotations") or {}) else ""


def closed(manifest: Obj) -> str:
    """Why this Secret is never changed; empty when it may be."""
    name = manifest["metadata"]["name"]
    if manifest.get("immutable"):
        return f"Secret {name} is immutable, so that its values can only be replaced with the whole Secret"
    if keeper := kept_by(manifest):
        return f"Secret {name} is kept by {keeper}, which would set a change back"
    return ""
