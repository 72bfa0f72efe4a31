"""Which other controllers own a workload, its autoscaler, or the size of its pods: owner references, operators' labels, KEDA,
Argo Rollouts and VerticalPodAutoscalers.

Called by the flow for the gate `ownership`, through the port. Rollouts and VerticalPodAutoscalers are looked for where that is
granted and the cluster has them; GitOps tools are `app.kube.owners`'. Never writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.domain.cluster import Cluster
from app.domain.errors import AccessDenied, ObjectMissing
from app.domain.json import Obj
from app.domain.owner import Owner, Owners, Relation
from app.domain.target import Kind
from app.domain.units import say_memory
from app.domain.workload import Workload
from app.kube.parse import controller_of
from app.kube.quantity import parse_memory

_TOOLS = {
    "keda.sh": "KEDA",
    "argoproj.io": "Argo",
    "postgresql.cnpg.io": "CloudNativePG",
    "acid.zalan.do": "Zalando Postgres operator",
    "postgres-operator.crunchydata.com": "Crunchy Postgres operator",
    "monitoring.coreos.com": "Prometheus Operator",
    "kafka.strimzi.io": "Strimzi",
    "core.strimzi.io": "Strimzi",
    "rabbitmq.com": "RabbitMQ operator",
    "serving.knative.dev": "Knative",
    "apps.kruise.io": "OpenKruise",
}
"""By API group; a group that ends in one of `_FAMILIES` counts too."""
_FAMILIES = {"k8s.elastic.co": "Elastic operator", "mongodb.com": "MongoDB operator"}
_LABELS = (
    ("cnpg.io/cluster", "Cluster", "postgresql.cnpg.io"),
    ("postgres-operator.crunchydata.com/cluster", "PostgresCluster", "postgres-operator.crunchydata.com"),
    ("strimzi.io/cluster", "Kafka", "kafka.strimzi.io"),
)
_KEDA = "scaledobject.keda.sh/name"
_OFF = ("Off", "Initial")
"""Modes in which a VerticalPodAutoscaler changes no running pod."""


async def owners_of(cluster: Cluster, workload: Workload) -> Owners:
    """Everybody else who writes the workload or its autoscaler. Raises TryLater kinds and ObjectMissing for an autoscaler that
    went away meanwhile."""
    target = workload.target
    found = [*_of_object(target.kind, workload.manifest)]
    scaler = workload.autoscaler
    hpa = None if scaler is None else cluster.get(Kind.HPA, target.namespace, scaler.ref.name)
    rollouts, sizers = await asyncio.gather(
        _listed(cluster, Kind.ROLLOUT, target.namespace), _listed(cluster, Kind.VPA, target.namespace)
    )
    if hpa is not None:
        found += _of_object(Kind.HPA, await hpa)
    untold = tuple(
        kind.value for kind, read in ((Kind.ROLLOUT, rollouts), (Kind.VPA, sizers)) if read is None
    )
    found += [_rollout(workload, m) for m in rollouts or () if names(m["spec"].get("workloadRef"), workload)]
    found += [
        _sizer(workload, m)
        for m in sizers or ()
        if names(m["spec"].get("targetRef"), workload)
        and (m["spec"].get("updatePolicy") or {}).get("updateMode", "Recreate") not in _OFF
    ]
    return Owners(tuple(dict.fromkeys(found)), untold)


async def _listed(cluster: Cluster, kind: Kind, namespace: str) -> Sequence[Obj] | None:
    """None when it may not be looked at; nothing when the cluster does not have the kind at all."""
    try:
        return await cluster.list_objects(kind, namespace)
    except ObjectMissing:
        return ()
    except AccessDenied:
        return None


def names(reference: Mapping[str, Any] | None, workload: Workload) -> bool:
    """Does a reference by kind and name mean this workload?"""
    target = workload.target
    if reference is None:
        return False
    return (reference.get("kind"), reference.get("name")) == (target.kind, target.name)


def _of_object(of: Kind, manifest: Obj) -> Iterator[Owner]:
    """Its controller by the owner reference, and operators that are known by their labels."""
    meta = manifest["metadata"]
    namespace, labels = meta.get("namespace", ""), meta.get("labels") or {}
    seen = set()
    owner = controller_of(manifest)
    if owner is not None:
        group = owner.get("apiVersion", "").rpartition("/")[0]
        seen.add(group)
        yield Owner(Relation.CONTROLS, of, owner["kind"], group, namespace, owner["name"], _tool(group))
    marks = [(labels[label], kind, group) for label, kind, group in _LABELS if label in labels]
    if labels.get("application") == "spilo" and "cluster-name" in labels:
        marks.append((labels["cluster-name"], "postgresql", "acid.zalan.do"))
    if of is Kind.HPA and _KEDA in labels:
        marks.append((labels[_KEDA], "ScaledObject", "keda.sh"))
    for name, kind, group in marks:
        if group not in seen:
            yield Owner(Relation.CONTROLS, of, kind, group, namespace, name, _tool(group))


def _tool(group: str) -> str:
    known = _TOOLS.get(group)
    return known or next((tool for end, tool in _FAMILIES.items() if group.endswith(end)), "")


def _rollout(workload: Workload, manifest: Obj) -> Owner:
    target = workload.target
    name = manifest["metadata"]["name"]
    return Owner(
        Relation.TEMPLATE, target.kind, "Rollout", "argoproj.io", target.namespace, name, "Argo Rollouts"
    )


def _sizer(workload: Workload, manifest: Obj) -> Owner:
    target, recommended = workload.target, []
    status = (manifest.get("status") or {}).get("recommendation") or {}
    for one in status.get("containerRecommendations") or ():
        wanted = one.get("target") or {}
        told = [say_memory(parse_memory(wanted["memory"]))] if "memory" in wanted else []
        told += [f"{wanted['cpu']} CPU"] if "cpu" in wanted else []
        recommended.append(f"{one['containerName']} {' and '.join(told)}")
    policies = (manifest["spec"].get("resourcePolicy") or {}).get("containerPolicies") or ()
    most = [
        f"{p['containerName']} at most {say_memory(parse_memory(p['maxAllowed']['memory']))}"
        for p in policies
        if "memory" in (p.get("maxAllowed") or {})
    ]
    note = "; ".join(
        filter(None, (f"recommends {', '.join(recommended)}" if recommended else "", ", ".join(most)))
    )
    return Owner(
        Relation.SIZES,
        target.kind,
        "VerticalPodAutoscaler",
        "autoscaling.k8s.io",
        target.namespace,
        manifest["metadata"]["name"],
        note=note,
    )
