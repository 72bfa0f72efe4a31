"""Validation of manifests: the rules whose breach a remediation could cause, with the API server's kind of words.

Used by the object store on every create and update. Raises ObjectInvalid with the field's path; changes nothing.
Not a full schema: see `app.sim.schema` for where unknown fields are refused.
"""

from __future__ import annotations

import re
from typing import Any

from app.domain.errors import ObjectInvalid
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.kinds import APIS
from app.sim.patch import clone
from app.sim.quantity import amount
from app.sim.schema import check_fields
from app.sim.selectors import matches

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?\Z")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)\Z")
_WORKLOADS = (Kind.DEPLOYMENT, Kind.STATEFUL_SET, Kind.DAEMON_SET, Kind.REPLICA_SET)


def validate(kind: Kind, obj: Obj, old: Obj | None = None) -> None:
    """Refuse what the API server would refuse. Raises ObjectInvalid."""
    metadata = obj.get("metadata", {})
    if obj.get("kind") != kind or obj.get("apiVersion") != APIS[kind].version:
        raise ObjectInvalid(f"expected {APIS[kind].version} {kind}", where="kind")
    if not _NAME.match(str(metadata.get("name", ""))):
        raise ObjectInvalid(f"not a valid name: {metadata.get('name')!r}", where="metadata.name")
    _metadata(metadata)
    check_fields(kind, obj)
    if kind in _WORKLOADS:
        _workload(kind, obj["spec"], old)
    if kind is Kind.POD:
        _pod_spec(obj["spec"], "spec")
        if old is not None:
            _pod_update(old["spec"], obj["spec"])
    if kind is Kind.JOB:
        _job(obj["spec"])
    if kind is Kind.HPA:
        _autoscaler(obj["spec"])
    if kind is Kind.SCALED_OBJECT:
        _scaled_object(obj["spec"])
    if kind is Kind.EVENT:
        _event(obj)


def _metadata(metadata: Obj) -> None:
    for field in ("labels", "annotations"):
        for key, value in (metadata.get(field) or {}).items():
            where = f"metadata.{field}"
            if not isinstance(value, str):
                raise ObjectInvalid(f"the value of {key!r} must be a string", where=where)
            if field == "labels" and (len(value) > 63 or not _LABEL.match(value)):
                raise ObjectInvalid(f"not a valid label value: {value!r}", where=where)


def _count(value: Any, where: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ObjectInvalid(f"must be an integer: {value!r}", where=where)
    if value < 0:
        raise ObjectInvalid("must be greater than or equal to 0", where=where)


def _workload(kind: Kind, spec: Obj, old: Obj | None) -> None:
    if kind is not Kind.DAEMON_SET:
        _count(spec.get("replicas"), "spec.replicas")
    template = spec.get("template")
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        raise ObjectInvalid("required value", where="spec.template")
    if not matches(spec.get("selector"), template.get("metadata", {}).get("labels", {})):
        raise ObjectInvalid(
            "`selector` does not match template `labels`", where="spec.template.metadata.labels"
        )
    _metadata(template.get("metadata", {}))
    _pod_spec(template["spec"], "spec.template.spec")
    if old is not None and old["spec"].get("selector") != spec.get("selector"):
        raise ObjectInvalid("field is immutable", where="spec.selector")


def _job(spec: Obj) -> None:
    pod = spec.get("template", {}).get("spec")
    if not isinstance(pod, dict):
        raise ObjectInvalid("required value", where="spec.template")
    _metadata(spec["template"].get("metadata", {}))
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        raise ObjectInvalid("supported values: OnFailure, Never", where="spec.template.spec.restartPolicy")
    _pod_spec(pod, "spec.template.spec")


def _pod_spec(spec: Obj, where: str) -> None:
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers:
        raise ObjectInvalid("required value", where=f"{where}.containers")
    names: set[str] = set()
    for number, container in enumerate([*spec.get("initContainers", []), *containers]):
        place = f"{where}.containers[{number}]"
        name = container.get("name") if isinstance(container, dict) else None
        if not name or name in names:
            raise ObjectInvalid(f"name is missing or used twice: {name!r}", where=f"{place}.name")
        names.add(name)
        if not container.get("image"):
            raise ObjectInvalid("required value", where=f"{place}.image")
        _resources(container.get("resources", {}), f"{place}.resources")


def _resources(resources: Obj, where: str) -> None:
    limits = {k: amount(k, v, f"{where}.limits") for k, v in resources.get("limits", {}).items()}
    requests = {k: amount(k, v, f"{where}.requests") for k, v in resources.get("requests", {}).items()}
    for name, request in requests.items():
        if name in limits and request > limits[name]:
            text = f"{resources['requests'][name]!r}: must be less than or equal to {name} limit of {resources['limits'][name]}"
            raise ObjectInvalid(text, where=f"{where}.requests")


def _pod_update(old: Obj, new: Obj) -> None:
    """Of a running pod only images may change (and a few fields nobody here touches)."""
    left, right = clone(old), clone(new)
    for spec in (left, right):
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            container.pop("image", None)
        spec.pop("nodeName", None)
    if left != right:
        raise ObjectInvalid("pod updates may not change fields other than container images", where="spec")


def _autoscaler(spec: Obj) -> None:
    low: Any = spec.get("minReplicas")
    high: Any = spec.get("maxReplicas")
    _count(low, "spec.minReplicas")
    _count(high, "spec.maxReplicas")
    if high < low:
        raise ObjectInvalid("must be greater than or equal to `minReplicas`", where="spec.maxReplicas")


def _scaled_object(spec: Obj) -> None:
    """What KEDA's own admission refuses."""
    low, high = spec.get("minReplicaCount") or 0, spec.get("maxReplicaCount", 100)
    idle = spec.get("idleReplicaCount")
    for count, name in ((low, "minReplicaCount"), (high, "maxReplicaCount"), (idle, "idleReplicaCount")):
        _count(count or 0, f"spec.{name}")
    if low > high:
        raise ObjectInvalid("must be at least minReplicaCount", where="spec.maxReplicaCount")
    if idle is not None and idle >= low:
        raise ObjectInvalid("must be less than minReplicaCount", where="spec.idleReplicaCount")


def _event(event: Obj) -> None:
    if event.get("eventTime") is None and event.get("deprecatedSource"):
        return  # written by an old recorder: accepted without the fields of the new form
    if not _MICRO_TIME.match(str(event.get("eventTime"))):
        raise ObjectInvalid("must have exactly six fraction digits and a zone", where="eventTime")
    for field in ("reportingController", "reportingInstance", "action", "reason", "regarding"):
        if not event.get(field):
            raise ObjectInvalid("required value", where=field)
    if len(event["reason"]) > 128 or len(event["action"]) > 128:
        raise ObjectInvalid("can have at most 128 characters", where="reason")
    if event.get("type") not in {"Normal", "Warning"}:
        raise ObjectInvalid(f"has invalid value: {event.get('type')!r}", where="type")
    if len(str(event.get("note", "")).encode()) > 1024:
        raise ObjectInvalid("can have at most 1024 bytes", where="note")
