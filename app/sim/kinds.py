"""What the API server knows of each kind: group and version, scope, whether it has a generation and a status.

One table, used by the object store, the cluster and error texts. Never holds objects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from app.domain.target import Kind


@dataclass(frozen=True, slots=True)
class Api:
    """One resource. `generation`: a change of spec counts it up; `status`: it has the status subresource; `custom`: it is not
    served before somebody has put an object of it there."""

    version: str
    resource: str
    namespaced: bool = True
    generation: bool = False
    status: bool = False
    custom: bool = False


APIS: Mapping[Kind, Api] = {
    Kind.DEPLOYMENT: Api("apps/v1", "deployments", generation=True, status=True),
    Kind.STATEFUL_SET: Api("apps/v1", "statefulsets", generation=True, status=True),
    Kind.DAEMON_SET: Api("apps/v1", "daemonsets", generation=True, status=True),
    Kind.REPLICA_SET: Api("apps/v1", "replicasets", generation=True, status=True),
    Kind.CONTROLLER_REVISION: Api("apps/v1", "controllerrevisions"),
    Kind.POD: Api("v1", "pods", generation=True, status=True),
    Kind.NODE: Api("v1", "nodes", namespaced=False, status=True),
    Kind.NAMESPACE: Api("v1", "namespaces", namespaced=False, status=True),
    Kind.HPA: Api("autoscaling/v2", "horizontalpodautoscalers", status=True),
    Kind.PDB: Api("policy/v1", "poddisruptionbudgets", generation=True, status=True),
    Kind.CONFIG_MAP: Api("v1", "configmaps"),
    Kind.SECRET: Api("v1", "secrets"),
    Kind.EVENT: Api("events.k8s.io/v1", "events"),
    Kind.LIMIT_RANGE: Api("v1", "limitranges"),
    Kind.RESOURCE_QUOTA: Api("v1", "resourcequotas", status=True),
    Kind.SERVICE: Api("v1", "services", status=True),
    Kind.JOB: Api("batch/v1", "jobs", generation=True, status=True),
    Kind.CRON_JOB: Api("batch/v1", "cronjobs", generation=True, status=True),
    Kind.SERVICE_ACCOUNT: Api("v1", "serviceaccounts"),
    Kind.PVC: Api("v1", "persistentvolumeclaims", status=True),
    Kind.PRIORITY_CLASS: Api("scheduling.k8s.io/v1", "priorityclasses", namespaced=False, generation=True),
    Kind.ROLLOUT: Api("argoproj.io/v1alpha1", "rollouts", generation=True, status=True, custom=True),
    Kind.VPA: Api("autoscaling.k8s.io/v1", "verticalpodautoscalers", generation=True, custom=True),
    Kind.SCALED_OBJECT: Api("keda.sh/v1alpha1", "scaledobjects", generation=True, status=True, custom=True),
    Kind.NETWORK_POLICY: Api("networking.k8s.io/v1", "networkpolicies", generation=True),
    Kind.ENDPOINT_SLICE: Api("discovery.k8s.io/v1", "endpointslices", generation=True),
    Kind.CERTIFICATE: Api("cert-manager.io/v1", "certificates", generation=True, status=True, custom=True),
    Kind.CERTIFICATE_REQUEST: Api(
        "cert-manager.io/v1", "certificaterequests", generation=True, status=True, custom=True
    ),
    Kind.ISSUER: Api("cert-manager.io/v1", "issuers", generation=True, status=True, custom=True),
    Kind.CLUSTER_ISSUER: Api(
        "cert-manager.io/v1", "clusterissuers", namespaced=False, generation=True, status=True, custom=True
    ),
    Kind.ACME_ORDER: Api("acme.cert-manager.io/v1", "orders", generation=True, status=True, custom=True),
}


def stamp(at: float) -> str:
    """Seconds since 1970 as metav1.Time: whole seconds, UTC, `Z`."""
    return _stamp(math.floor(at))


@lru_cache(maxsize=10_000)  # a log is written out anew at every read, and has many lines of a second
def _stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> float:
    """The inverse of `stamp`; accepts fractions too."""
    return datetime.fromisoformat(text).timestamp()
