"""The defaults that the API server fills in, so that simulated manifests look like stored ones.

Used by the object store when an object is created or its spec is replaced. Works in place on the store's own copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind

_POD = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
}
_CONTAINER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def fill(kind: Kind, obj: Obj) -> None:
    """Complete a manifest of this kind in place."""
    if kind is Kind.NAMESPACE:
        metadata = obj["metadata"]
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]
        _put(obj, {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
    if kind is Kind.PVC:
        obj["status"] = {"phase": "Pending"}  # as created; what binds it writes the status
    filler = _FILLERS.get(kind)
    if filler is not None and isinstance(obj.get("spec"), dict):
        filler(obj["spec"])


def _put(target: Obj, defaults: Mapping[str, Any]) -> None:
    for key, value in defaults.items():
        target.setdefault(key, value)


def _template(spec: Obj) -> None:
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        pod_spec(template["spec"])


def pod_spec(spec: Obj) -> None:
    """Defaults of a pod's spec, in place."""
    _put(spec, _POD)
    spec.setdefault("securityContext", {})
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        if isinstance(container, dict):
            _container(container)
    for volume in spec.get("volumes", []):
        for source in ("configMap", "secret"):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 420)


def _container(container: Obj) -> None:
    _put(container, _CONTAINER)
    container.setdefault("resources", {})
    tag = str(container.get("image", "")).rpartition("/")[2].partition(":")[2]
    container.setdefault("imagePullPolicy", "Always" if tag in {"", "latest"} else "IfNotPresent")
    for port in container.get("ports", []):
        port.setdefault("protocol", "TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(probe), dict):
            _put(container[probe], _PROBE)


def pod_requests(spec: Obj) -> None:
    """In a pod (not in a template) a missing request equals the limit, in place."""
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        resources = container.get("resources", {})
        for name, limit in resources.get("limits", {}).items():
            resources.setdefault("requests", {}).setdefault(name, limit)


def _deployment(spec: Obj) -> None:
    _put(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        _put(strategy.setdefault("rollingUpdate", {}), {"maxSurge": "25%", "maxUnavailable": "25%"})
    _template(spec)


def _replica_set(spec: Obj) -> None:
    spec.setdefault("replicas", 1)
    _template(spec)


def _stateful_set(spec: Obj) -> None:
    _put(spec, {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady"})
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        _put(strategy.setdefault("rollingUpdate", {}), {"partition": 0, "maxUnavailable": 1})
    _put(
        spec.setdefault("persistentVolumeClaimRetentionPolicy", {}),
        {"whenDeleted": "Retain", "whenScaled": "Retain"},
    )
    _template(spec)


def _daemon_set(spec: Obj) -> None:
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        _put(strategy.setdefault("rollingUpdate", {}), {"maxSurge": 0, "maxUnavailable": 1})
    _template(spec)


def _job(spec: Obj) -> None:
    _put(spec, {"backoffLimit": 6, "parallelism": 1, "completions": 1, "completionMode": "NonIndexed"})
    _template(spec)


def _autoscaler(spec: Obj) -> None:
    spec.setdefault("minReplicas", 1)


def _pod(spec: Obj) -> None:
    pod_spec(spec)
    pod_requests(spec)
    _put(spec, {"enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority", "priority": 0})


_FILLERS: Mapping[Kind, Callable[[Obj], None]] = {
    Kind.DEPLOYMENT: _deployment,
    Kind.REPLICA_SET: _replica_set,
    Kind.STATEFUL_SET: _stateful_set,
    Kind.DAEMON_SET: _daemon_set,
    Kind.JOB: _job,
    Kind.HPA: _autoscaler,
    Kind.POD: _pod,
}
