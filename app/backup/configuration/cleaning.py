"""What of an object belongs into a backup, and which objects do not. Pure.

Left out is what the cluster makes by itself, what another object makes, and what would do harm when it is made anew. Of the rest goes
what the API server or a controller has set: status, identity, addresses. What a person may have written stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from app.domain.cluster import MARKER
from app.domain.json import Obj

KINDS_LEFT_OUT: Final[Mapping[str, str]] = {
    "events": "an event is history",
    "events.events.k8s.io": "an event is history",
    "leases.coordination.k8s.io": "held by whoever runs",
    "controllerrevisions.apps": "made by StatefulSets and DaemonSets",
    "jobs.batch": "a Job that is made anew runs again",
    "certificaterequests.cert-manager.io": "made by cert-manager",
    "orders.acme.cert-manager.io": "made by cert-manager",
    "challenges.acme.cert-manager.io": "made by cert-manager",
    "pods.metrics.k8s.io": "measured",
    "csistoragecapacities.storage.k8s.io": "measured",
}
"""By resource and group, with the reason."""
SECRETS: Final = "secrets"
NO_SECRETS: Final = "the rule does not include Secrets"
OWNED: Final = "made by another object"
TOKEN: Final = "the token of a service account"
ENDED: Final = "a pod that has ended runs again when it is made anew"
OF_CLUSTER: Final = "made by the cluster in each namespace"
RELEASE: Final = "the history of a Helm release"
ADDRESSES: Final = "made from Services and pods"
ELECTION: Final = "held by whoever leads"

_TOKEN: Final = "kube-api-access-"
_MANAGED: Final = "endpointslice.kubernetes.io/managed-by"
_CONTROLLERS: Final = frozenset(
    {"endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"}
)
_LEADS: Final = frozenset({"control-plane.alpha.kubernetes.io/leader", "leader", "initialize"})
"""Annotations by which a leader is elected: of old client libraries, and of Patroni."""
_META: Final = ("name", "namespace", "labels", "annotations")
_NOTES: Final = frozenset(
    {
        MARKER,
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        "deprecated.daemonset.template.generation",
        "pv.kubernetes.io/bind-completed",
        "pv.kubernetes.io/bound-by-controller",
        "volume.beta.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/selected-node",
        "kubernetes.io/service-account.uid",
    }
)
"""Annotations of controllers; the last applied configuration repeats values of a Secret in the clear."""
_ORDER: Final = (
    "networkpolicies.networking.k8s.io",
    "resourcequotas",
    "limitranges",
    "serviceaccounts",
    "secrets",
    "configmaps",
    "podtemplates",
    "persistentvolumeclaims",
    "resourceclaimtemplates.resource.k8s.io",
    "resourceclaims.resource.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "services",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "daemonsets.apps",
    "replicationcontrollers",
    "deployments.apps",
    "statefulsets.apps",
    "cronjobs.batch",
    "poddisruptionbudgets.policy",
    "horizontalpodautoscalers.autoscaling",
    "ingresses.networking.k8s.io",
)
"""The order in which they are put back: what others refer to comes first; custom resources come last, when whatever checks them runs."""


ORDERED: Final = frozenset(_ORDER)
"""The kinds without which a backup is not whole, where the cluster has them."""
ORDERED_GROUPS: Final = frozenset(name.partition(".")[2] for name in _ORDER)


def rank(resource: str) -> tuple[int, str]:
    """Sorts kinds into the order in which they are put back."""
    return (_ORDER.index(resource) if resource in _ORDER else len(_ORDER), resource)


def left_out(resource: str, obj: Obj) -> str:
    """Why this object does not belong into a backup; empty when it does. Secrets are the order's business."""
    meta = obj["metadata"]
    if meta.get("ownerReferences"):
        return OWNED
    if resource == "pods" and (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return ENDED
    if resource == SECRETS:
        kind = str(obj.get("type", ""))
        if kind == "kubernetes.io/service-account-token":
            return TOKEN
        return RELEASE if kind.startswith("helm.sh/release") else ""
    if resource == "endpoints":
        return _of_endpoints(meta)
    if resource == "endpointslices.discovery.k8s.io":
        return ADDRESSES if (meta.get("labels") or {}).get(_MANAGED) in _CONTROLLERS else ""
    made = (resource, meta["name"]) in {
        ("configmaps", "kube-root-ca.crt"),
        ("configmaps", "openshift-service-ca.crt"),
    }
    return OF_CLUSTER if made else ""


def _of_endpoints(meta: Obj) -> str:
    """Those of a Service without a selector are somebody's own: nobody makes them again. The controller's have no owner; that it wrote them
    stands in managedFields."""
    if not _LEADS.isdisjoint(meta.get("annotations") or {}):
        return ELECTION
    managers = {entry.get("manager") for entry in meta.get("managedFields") or ()}
    return ADDRESSES if "kube-controller-manager" in managers else ""


def cleaned(resource: str, obj: Obj) -> Obj:
    """The object without what the cluster has set; a copy as far as it differs."""
    found = {k: v for k, v in obj.items() if k not in ("metadata", "status")}
    found["metadata"] = _metadata(obj["metadata"])
    spec: Any = found.get("spec")
    if isinstance(spec, dict):
        found["spec"] = _OF_SPEC.get(resource, _same)(spec)
    if resource == "serviceaccounts":
        found.pop("secrets", None)
    return found


def _metadata(meta: Mapping[str, Any]) -> Obj:
    kept = {k: meta[k] for k in _META if meta.get(k)}
    if "annotations" in kept:
        notes = {k: v for k, v in kept["annotations"].items() if k not in _NOTES}
        kept = (
            {**kept, "annotations": notes} if notes else {k: v for k, v in kept.items() if k != "annotations"}
        )
    return kept


def _same(spec: Obj) -> Obj:
    return spec


def _service(spec: Obj) -> Obj:
    """A cluster IP belongs to this cluster; "None" is the author's word. Node ports stay: somebody outside may rely on them."""
    gone = {"healthCheckNodePort"}
    if spec.get("clusterIP") != "None":
        gone |= {"clusterIP", "clusterIPs"}
    if spec.get("ipFamilyPolicy", "SingleStack") == "SingleStack":
        gone |= {"ipFamilies"}
    return {k: v for k, v in spec.items() if k not in gone}


def _claim(spec: Obj) -> Obj:
    """Which volume was bound is no configuration; its data is no part of this backup."""
    return {k: v for k, v in spec.items() if k != "volumeName"}


def _pod(spec: Obj) -> Obj:
    """A pod that nobody else made. Its node, its priority and the token of its account are given to it when it is made; containers for debugging
    cannot be made with it."""
    kept = {k: v for k, v in spec.items() if k not in ("nodeName", "priority", "ephemeralContainers")}
    given = [v for v in kept.get("volumes") or () if v["name"].startswith(_TOKEN) and "projected" in v]
    names = {v["name"] for v in given}
    if names:
        kept["volumes"] = [v for v in kept["volumes"] if v["name"] not in names]
    for part in ("initContainers", "containers"):
        if names and kept.get(part):
            kept[part] = [_unmounted(container, names) for container in kept[part]]
    return kept


def _unmounted(container: Obj, names: Collection[str]) -> Obj:
    mounts = [m for m in container.get("volumeMounts") or () if m["name"] not in names]
    rest = {k: v for k, v in container.items() if k != "volumeMounts"}
    return {**rest, "volumeMounts": mounts} if mounts else rest


def _stateful_set(spec: Obj) -> Obj:
    templates = [
        {**{k: v for k, v in t.items() if k != "status"}, "metadata": _metadata(t["metadata"])}
        for t in spec.get("volumeClaimTemplates") or ()
    ]
    return {**spec, "volumeClaimTemplates": templates} if templates else spec


_OF_SPEC: Final = {
    "services": _service,
    "persistentvolumeclaims": _claim,
    "pods": _pod,
    "statefulsets.apps": _stateful_set,
}
