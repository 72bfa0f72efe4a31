"""Where each kind lives in the API: group, version, plural, and whether it is namespaced.

Called by `app.kube.client` (URLs), `app.kube.verbs` (RBAC resources) and `app.kube.faults` (names in messages). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from app.domain.errors import ObjectInvalid
from app.domain.target import Kind


@dataclass(frozen=True, slots=True)
class Resource:
    """One API resource. `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As manifests write it: `apps/v1`, `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """As messages and kubectl write it: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """The URL path of the group and version, where discovery tells its kinds. Raises as `path`."""
        return "/".join(
            ["/apis", segment(self.group), segment(self.version)]
            if self.group
            else ["/api", segment(self.version)]
        )

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object. Raises ObjectInvalid for a part that would lead elsewhere."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts += ["namespaces", segment(namespace)]
        parts += [segment(self.plural), *(segment(p) for p in (name, subresource) if p)]
        return "/".join(parts)


def segment(text: str) -> str:
    """One part of a URL path, escaped. Raises ObjectInvalid for what Kubernetes takes in no name: `.`, `..`, nothing, and what holds `/`
    or `%`, as its API server decodes a path before it splits it."""
    if text in ("", ".", "..") or set(text) & set("/%"):
        raise ObjectInvalid(f"{text[:100]!r} is no part of a path", code="bad_path")
    return quote(text, safe="")


RESOURCES: Mapping[Kind, Resource] = {
    Kind.DEPLOYMENT: Resource("apps", "v1", "deployments"),
    Kind.STATEFUL_SET: Resource("apps", "v1", "statefulsets"),
    Kind.DAEMON_SET: Resource("apps", "v1", "daemonsets"),
    Kind.REPLICA_SET: Resource("apps", "v1", "replicasets"),
    Kind.CONTROLLER_REVISION: Resource("apps", "v1", "controllerrevisions"),
    Kind.POD: Resource("", "v1", "pods"),
    Kind.NODE: Resource("", "v1", "nodes", namespaced=False),
    Kind.NAMESPACE: Resource("", "v1", "namespaces", namespaced=False),
    Kind.HPA: Resource("autoscaling", "v2", "horizontalpodautoscalers"),
    Kind.PDB: Resource("policy", "v1", "poddisruptionbudgets"),
    Kind.CONFIG_MAP: Resource("", "v1", "configmaps"),
    Kind.SECRET: Resource("", "v1", "secrets"),
    Kind.EVENT: Resource("events.k8s.io", "v1", "events"),
    Kind.LIMIT_RANGE: Resource("", "v1", "limitranges"),
    Kind.RESOURCE_QUOTA: Resource("", "v1", "resourcequotas"),
    Kind.SERVICE: Resource("", "v1", "services"),
    Kind.JOB: Resource("batch", "v1", "jobs"),
    Kind.CRON_JOB: Resource("batch", "v1", "cronjobs"),
    Kind.SERVICE_ACCOUNT: Resource("", "v1", "serviceaccounts"),
    Kind.PVC: Resource("", "v1", "persistentvolumeclaims"),
    Kind.PRIORITY_CLASS: Resource("scheduling.k8s.io", "v1", "priorityclasses", namespaced=False),
    Kind.ROLLOUT: Resource("argoproj.io", "v1alpha1", "rollouts"),
    Kind.VPA: Resource("autoscaling.k8s.io", "v1", "verticalpodautoscalers"),
    Kind.SCALED_OBJECT: Resource("keda.sh", "v1alpha1", "scaledobjects"),
    Kind.NETWORK_POLICY: Resource("networking.k8s.io", "v1", "networkpolicies"),
    Kind.ENDPOINT_SLICE: Resource("discovery.k8s.io", "v1", "endpointslices"),
    Kind.CERTIFICATE: Resource("cert-manager.io", "v1", "certificates"),
    Kind.CERTIFICATE_REQUEST: Resource("cert-manager.io", "v1", "certificaterequests"),
    Kind.ISSUER: Resource("cert-manager.io", "v1", "issuers"),
    Kind.CLUSTER_ISSUER: Resource("cert-manager.io", "v1", "clusterissuers", namespaced=False),
    Kind.ACME_ORDER: Resource("acme.cert-manager.io", "v1", "orders"),
}
POD_METRICS = Resource("metrics.k8s.io", "v1beta1", "pods")
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False)
