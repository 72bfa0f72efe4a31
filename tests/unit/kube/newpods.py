"""Worlds for the tests of `app.kube.newpods`: a Deployment whose pods can start, and what may stand in their way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.json import Obj
from app.domain.new_pods import Finding, NewPods, Part
from app.domain.plan import Action
from app.domain.workload import Workload
from app.kube.actions import rollout_restart
from app.kube.newpods import new_pods
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster

NOW = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)


def named(kind: str, name: str, **fields: Any) -> Obj:
    """An object of a kind whose group does not matter here."""
    metadata = {"name": name, "namespace": m.NAMESPACE, "uid": f"{name}-uid", "resourceVersion": "1"}
    return {"kind": kind, "metadata": metadata, **fields}


def node(name: str = "node-1", *, ready: bool = True, **fields: Any) -> Obj:
    """A node that is big enough for any pod of these tests unless told."""
    status = {
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        "allocatable": {"cpu": "8", "memory": "16Gi", **fields.pop("allocatable", {})},
    }
    labels = {"kubernetes.io/arch": "amd64", **fields.pop("labels", {})}
    return {
        "kind": "Node",
        "metadata": {"name": name, "namespace": "", "labels": labels},
        "spec": fields,
        "status": status,
    }


def quota(name: str = "team", *, used: dict[str, str] | None = None, **spec: Any) -> Obj:
    """A ResourceQuota; `hard` in `spec` is in force."""
    return named("ResourceQuota", name, spec=spec, status={"hard": spec["hard"], "used": used or {}})


def limit_range(kind: str = "Container", **item: Any) -> Obj:
    return named("LimitRange", "bounds", spec={"limits": [{"type": kind, **item}]})


def event(reason: str, about: str, note: str = "", *, ago: float = 60) -> Obj:
    """An Event, that many seconds old."""
    at = (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    kind, _, name = about.partition("/")
    found = named("Event", f"{reason}-{name}-{ago}", reason=reason, note=note, type="Warning")
    return {**found, "regarding": {"kind": kind, "name": name}, "deprecatedLastTimestamp": at}


def world(*more: Obj, deployment: Obj | None = None, pods: int = 3, missing: int = 0) -> FakeCluster:
    """The workload with its ReplicaSet and pods, the account `default` and one node. `missing` pods could not be made."""
    deployment = deployment or m.deployment()
    current = m.replica_set(2, deployment["spec"]["template"])
    current["spec"]["replicas"] = pods + missing
    current["status"] = {"replicas": pods}
    made = [m.pod(f"langgraph-hash2-{i}") for i in range(pods)]
    for one in made:
        one["spec"] = {"nodeName": "node-1", **deployment["spec"]["template"]["spec"]}
    return FakeCluster(deployment, current, *made, named("ServiceAccount", "default"), node(), *more)


async def looked(
    cluster: FakeCluster, workload: Workload | None = None, actions: Sequence[Action] | None = None
) -> NewPods:
    """What is found for a restart of the world's Deployment, or for these actions."""
    workload = workload or m.workload(cluster.objects["Deployment", m.NAMESPACE, "langgraph"])
    if actions is None:
        restart = rollout_restart(workload, NOW)
        assert isinstance(restart, Action)
        actions = (restart,)
    return await new_pods(cluster, workload, actions, NOW)


def faults(found: NewPods) -> dict[Part, str]:
    """What stands in the way, by part."""
    return {c.part: c.text for c in found.found(Finding.MISSING)}
