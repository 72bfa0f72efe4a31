"""Manifests as the API server gives them, for the tests of this folder."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind, Target
from app.domain.workload import Autoscaler, Pod, Workload
from app.kube.parse import parse_autoscaler, parse_pod, parse_workload

MIB = 1024**2
GIB = 1024**3
NAMESPACE = "rag7"
TIMES = ("2026-03-04T01:00:00Z", "2026-03-04T02:46:00Z")


def container(name: str = "app", image: str = "registry.test/langgraph:v2", **fields: Any) -> Obj:
    return {
        "name": name,
        "image": image,
        "resources": {
            "limits": {"memory": "512Mi", "cpu": "1"},
            "requests": {"memory": "256Mi", "cpu": "250m"},
        },
        **fields,
    }


def template(*containers: Obj, annotations: dict[str, str] | None = None, **spec: Any) -> Obj:
    meta: Obj = {"labels": {"app": "langgraph"}}
    if annotations:
        meta["annotations"] = annotations
    return {"metadata": meta, "spec": {"containers": list(containers or (container(),)), **spec}}


def deployment(template_: Obj | None = None, *, replicas: int = 3, **spec: Any) -> Obj:
    status = {"observedGeneration": 4, "replicas": replicas, "updatedReplicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "langgraph",
            "namespace": NAMESPACE,
            "uid": "dep-uid",
            "resourceVersion": "100",
            "generation": 4,
            "labels": {"app": "langgraph"},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "langgraph"}},
            "template": template_ or template(),
            **spec,
        },
        "status": {**status, "readyReplicas": replicas, "availableReplicas": replicas},
    }


def replica_set(
    number: int, template_: Obj, *, cause: str = "", owner: str = "dep-uid", earlier: str = "", made: int = 0
) -> Obj:
    """`made` is when it was created, in minutes; unless told, revisions were created in the order of their numbers."""
    stored = copy.deepcopy(template_)
    stored["metadata"]["labels"]["pod-template-hash"] = f"hash{number}"
    annotations = {"deployment.kubernetes.io/revision": str(number)}
    if earlier:
        annotations["deployment.kubernetes.io/revision-history"] = earlier
    if cause:
        annotations["kubernetes.io/change-cause"] = cause
    name = f"langgraph-hash{number}"
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"{name}-uid",
            "resourceVersion": "9",
            "creationTimestamp": f"2026-03-04T01:{made or number:02}:00Z",
            "annotations": annotations,
            "labels": {"app": "langgraph"},
            "ownerReferences": [owned_by("Deployment", "langgraph", owner)],
        },
        "spec": {"template": stored},
    }


def controller_revision(
    number: int, template_: Obj, *, kind: str = "StatefulSet", owner: str = "sts-uid", made: int = 0
) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"postgres-hash{number}",
            "namespace": NAMESPACE,
            "uid": f"cr{number}",
            "resourceVersion": "9",
            "creationTimestamp": f"2026-03-04T01:{made or number:02}:00Z",
            "labels": {"app": "postgres"},
            "ownerReferences": [owned_by(kind, "postgres", owner)],
        },
        "revision": number,
        "data": {"spec": {"template": {**copy.deepcopy(template_), "$patch": "replace"}}},
    }


def stateful_set(template_: Obj | None = None, *, replicas: int = 2, **spec: Any) -> Obj:
    found = deployment(template_, replicas=replicas, serviceName="postgres", **spec)
    found["kind"] = "StatefulSet"
    found["metadata"] |= {"name": "postgres", "uid": "sts-uid", "labels": {"app": "postgres"}}
    found["spec"]["selector"] = {"matchLabels": {"app": "postgres"}}
    found["status"] |= {"currentRevision": "postgres-hash2", "updateRevision": "postgres-hash2"}
    return found


def daemon_set(template_: Obj | None = None, *, nodes: int = 3, **spec: Any) -> Obj:
    found = deployment(template_, **spec)
    found["kind"] = "DaemonSet"
    found["metadata"] |= {"name": "agent", "uid": "ds-uid"}
    del found["spec"]["replicas"]
    found["status"] = {
        "observedGeneration": 4,
        "desiredNumberScheduled": nodes,
        "updatedNumberScheduled": nodes,
        "numberAvailable": nodes,
        "numberReady": nodes,
    }
    return found


def owned_by(kind: str, name: str, uid: str) -> Obj:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": True}


def pod(
    name: str = "langgraph-hash2-abcde", *, owner: Obj | None = None, ready: bool = True, **status: Any
) -> Obj:
    owner = owner if owner is not None else owned_by("ReplicaSet", "langgraph-hash2", "langgraph-hash2-uid")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"{name}-uid",
            "resourceVersion": "7",
            "creationTimestamp": TIMES[1],
            "labels": {"app": "langgraph", "pod-template-hash": "hash2"},
            "ownerReferences": [owner] if owner else [],
        },
        "spec": {"nodeName": "node-1", "containers": [container()]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            **status,
        },
    }


def hpa(minimum: int | None = 2, maximum: int = 6, *, desired: int = 3) -> Obj:
    spec: Obj = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "langgraph"},
        "maxReplicas": maximum,
    }
    if minimum is not None:
        spec["minReplicas"] = minimum
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "langgraph-hpa",
            "namespace": NAMESPACE,
            "uid": "hpa-uid",
            "resourceVersion": "50",
        },
        "spec": spec,
        "status": {
            "desiredReplicas": desired,
            "conditions": [{"type": "AbleToScale", "status": "True", "reason": "ReadyForNewScale"}],
        },
    }


def workload(manifest: Obj | None = None, *, autoscaler: Autoscaler | None = None) -> Workload:
    """The snapshot of a manifest."""
    manifest = manifest or deployment()
    target = Target(NAMESPACE, Kind(manifest["kind"]), manifest["metadata"]["name"])
    return replace(parse_workload(target, manifest), autoscaler=autoscaler)


def autoscaler(minimum: int = 2, maximum: int = 6, *, desired: int = 3) -> Autoscaler:
    return parse_autoscaler(hpa(minimum, maximum, desired=desired))


def pod_snapshot(**fields: Any) -> Pod:
    return parse_pod(pod(**fields))
