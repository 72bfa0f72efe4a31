"""Which workloads stand behind a database's connections: whose pods the clients are, and whether a workload is the server itself.

Called by the handler of database connections. A client is found by its address among the pods of the namespace; behind a proxy or
from another namespace it is not. Data of `database.client_workload`: `target`, empty when it is not known.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from app.domain.cluster import Cluster
from app.domain.errors import ClusterRefused, RemediatorError, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import Obj
from app.domain.owner import Relation
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.manifest import claims_of
from app.kube.owners import find, owners_of
from app.kube.parse import serves
from remediations.evidence.usage import count
from remediations.evidence.volumes import volumes_finding

CLIENT_WORKLOAD, DISK = "database.client_workload", "database.disk"
_LOOKED_AT = 5


async def client_workload(cluster: Cluster, namespace: str, addresses: Collection[str]) -> Finding:
    """The one workload whose pods have these addresses."""
    try:
        pods = await cluster.list_objects(Kind.POD, namespace)
        own = [p for p in pods if _addresses(p) & set(addresses)]
        targets = {
            (await find(cluster, namespace, Kind.POD, p["metadata"]["name"])).target for p in own[:_LOOKED_AT]
        }
    except (ClusterRefused, TryLater) as error:
        text = f"Whose pods the client is, is not known: {error.message}"
        return Finding(CLIENT_WORKLOAD, text, Certainty.UNKNOWN, {"target": ""})
    if len(targets) != 1:
        who = "no pod" if not targets else "pods of several workloads"
        text = f"The client's addresses belong to {who} of namespace {namespace}"
        return Finding(CLIENT_WORKLOAD, text, Certainty.UNKNOWN, {"target": ""})
    (target,) = targets
    text = f"The client's connections come from {count(len(own), 'pod')} of {target}"
    return Finding(CLIENT_WORKLOAD, text, data={"target": target.key})


async def disk_finding(scene: Scene, service: str, full: float) -> Finding | None:
    """The volumes of the server's pods: of those that the Service chooses, or of the target where no Service is named and it keeps volumes of
    its own. None when there are none, as for a server outside of the cluster."""
    workload = scene.workload
    try:
        selector = await _selector(scene, service)
        pods = (
            await scene.cluster.list_objects(Kind.POD, workload.target.namespace, selector)
            if selector
            else []
        )
    except RemediatorError as error:
        text = f"The volumes of the server were not looked at: {error.message}"
        return Finding(DISK, text, Certainty.UNKNOWN, {"full": []})
    if not any(claims_of(pod["spec"]) for pod in pods):
        return None
    found = await volumes_finding(scene, DISK, pods, full)
    return replace(found, text=f"The server's pods have {found.text}")


async def _selector(scene: Scene, service: str) -> str:
    """Of the server's pods; empty when they are not known. Raises RemediatorError."""
    workload = scene.workload
    if service in ("", workload.manifest["spec"].get("serviceName")):
        return workload.selector if workload.target.kind is Kind.STATEFUL_SET else ""
    services = await scene.cluster.list_objects(
        Kind.SERVICE, workload.target.namespace, fields=f"metadata.name={service}"
    )
    chosen = ((services[0].get("spec") or {}).get("selector") or {}) if services else {}
    return ",".join(f"{key}={value}" for key, value in sorted(chosen.items()))


def _addresses(pod: Obj) -> set[str]:
    status: Any = pod.get("status") or {}
    return {status.get("podIP", ""), *(one.get("ip", "") for one in status.get("podIPs") or ())} - {""}


async def is_server(cluster: Cluster, workload: Workload, service: str) -> str:
    """Why the workload is not known to be the server behind this Service; empty when it is."""
    if not service:
        return "the rule's params name no service, so which workload the server is, is not known"
    spec = workload.manifest["spec"]
    if spec.get("serviceName") == service:
        return ""
    try:
        services = await cluster.list_objects(Kind.SERVICE, workload.target.namespace)
    except RemediatorError as error:
        return f"which pods the Service {service} chooses is not known: {error.message}"
    if any(s["metadata"]["name"] == service and serves(s, workload.pod_labels) for s in services):
        return ""
    return f"it is not the server: the Service {service} does not choose its pods"


async def operator_of(cluster: Cluster, workload: Workload) -> str:
    """The operator that manages the workload, or that nobody can tell; empty without one."""
    try:
        owners = await owners_of(cluster, workload)
    except RemediatorError as error:
        return f"an owner that could not be looked for ({error.message})"
    managed = [o for o in owners.found if o.relation is Relation.CONTROLS and o.of is workload.target.kind]
    return str(managed[0]) if managed else ""
