"""The fields that the API server knows where a remediation writes: a misspelt one is refused, as fieldValidation=Strict
does. Pure; used by validation. Not a full schema: other places take any field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.domain.errors import ObjectInvalid
from app.domain.json import Obj
from app.domain.target import Kind

_TOP = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_WORKLOAD = frozenset({"selector", "template", "minReadySeconds", "revisionHistoryLimit"})
_SPEC = {
    Kind.DEPLOYMENT: _WORKLOAD | {"replicas", "strategy", "paused", "progressDeadlineSeconds"},
    Kind.REPLICA_SET: frozenset({"replicas", "minReadySeconds", "selector", "template"}),
    Kind.STATEFUL_SET: _WORKLOAD
    | {
        "replicas",
        "serviceName",
        "podManagementPolicy",
        "updateStrategy",
        "volumeClaimTemplates",
        "persistentVolumeClaimRetentionPolicy",
        "ordinals",
    },
    Kind.DAEMON_SET: _WORKLOAD | {"updateStrategy"},
    Kind.HPA: frozenset({"scaleTargetRef", "minReplicas", "maxReplicas", "metrics", "behavior"}),
    Kind.SCALED_OBJECT: frozenset(
        {
            "scaleTargetRef",
            "pollingInterval",
            "initialCooldownPeriod",
            "cooldownPeriod",
            "idleReplicaCount",
            "minReplicaCount",
            "maxReplicaCount",
            "advanced",
            "triggers",
            "fallback",
        }
    ),
}
_CONTAINER = frozenset(
    [
        "args",
        "command",
        "env",
        "envFrom",
        "image",
        "imagePullPolicy",
        "lifecycle",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "resizePolicy",
        "resources",
        "restartPolicy",
        "restartPolicyRules",
        "securityContext",
        "startupProbe",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    ]
)


def check_fields(kind: Kind, obj: Obj) -> None:
    """Refuse unknown fields of workloads, autoscalers and containers. Raises ObjectInvalid naming the field."""
    if kind not in _SPEC:
        return
    _only(obj, _TOP, "")
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        raise ObjectInvalid("required value", where="spec")
    _only(spec, _SPEC[kind], "spec.")
    template = spec.get("template", {})
    _only(template, ("metadata", "spec"), "spec.template.")
    pod = template.get("spec", {})
    for field in ("containers", "initContainers"):
        containers = pod.get(field, []) if isinstance(pod, dict) else []
        for number, container in enumerate(containers if isinstance(containers, list) else []):
            place = f"spec.template.spec.{field}[{number}]."
            _only(container, _CONTAINER, place)
            _only(container.get("resources", {}), ("limits", "requests", "claims"), f"{place}resources.")


def _only(value: Any, known: Iterable[str], place: str) -> None:
    if not isinstance(value, dict):
        raise ObjectInvalid("must be an object", where=place.rstrip("."))
    for name in value:
        if name not in known:
            raise ObjectInvalid(
                f'strict decoding error: unknown field "{place}{name}"', where=f"{place}{name}"
            )
