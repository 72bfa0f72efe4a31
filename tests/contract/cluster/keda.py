"""KEDA for the contract: its kind on the real API server, with the types of the fields that matter here, and a controller of a few lines
that makes the autoscaler. On the simulated side the simulated one does the same by itself.
"""

from __future__ import annotations

from typing import Any

from app.domain.errors import ObjectMissing
from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.paths import RESOURCES
from tests.contract.cluster.sides import RealSide, Side
from tests.live.stack import ControlPlane, wait_until

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "format": "int32"}
_OPEN: Obj = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_TRIGGER: Obj = {
    "type": "object",
    "required": ["metadata", "type"],
    "properties": {
        "type": _TEXT,
        "name": _TEXT,
        "metricType": _TEXT,
        "useCachedMetrics": {"type": "boolean"},
        "metadata": {"type": "object", "additionalProperties": _TEXT},
        "authenticationRef": _OPEN,
    },
}
_SPEC: Obj = {
    "type": "object",
    "required": ["scaleTargetRef", "triggers"],
    "properties": {
        "scaleTargetRef": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": _TEXT, "kind": _TEXT, "apiVersion": _TEXT, "envSourceContainerName": _TEXT},
        },
        "pollingInterval": _COUNT,
        "initialCooldownPeriod": _COUNT,
        "cooldownPeriod": _COUNT,
        "idleReplicaCount": _COUNT,
        "minReplicaCount": _COUNT,
        "maxReplicaCount": _COUNT,
        "advanced": _OPEN,
        "fallback": _OPEN,
        "triggers": {"type": "array", "items": _TRIGGER},
    },
}  # fmt: skip
NAME, HPA = "web", "keda-hpa-web"


def install(plane: ControlPlane) -> None:
    """The kind, once for a control plane."""
    resource = RESOURCES[Kind.SCALED_OBJECT]
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": _SPEC, "status": _OPEN}}
    version = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {"plural": resource.plural, "kind": "ScaledObject", "singular": "scaledobject"},
            "versions": [version],
        },
    }
    answer = plane.client().post(_CRDS, json=definition)
    assert answer.status_code in (201, 409), answer.text
    path = resource.path("default")
    wait_until(lambda: plane.client().get(path).is_success, 20)


async def furnish(side: Side) -> None:
    """A ScaledObject of the Deployment `web`, and KEDA's autoscaler for it."""
    if isinstance(side, RealSide):
        install(side.plane)
    side.create(
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": NAME},
            "spec": {
                "scaleTargetRef": {"name": "web"},
                "minReplicaCount": 2,
                "maxReplicaCount": 6,
                "triggers": [
                    {"type": "cron", "metadata": {"timezone": "UTC", "desiredReplicas": "2"}},
                    {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}},
                ],
            },
        }
    )
    await made(side)


async def made(side: Side) -> Obj:
    """Let KEDA work until there is an autoscaler; that one."""

    async def there() -> bool:
        await play(side)
        found = await side.cluster.list_objects(Kind.HPA, side.namespace)
        return any(m["metadata"]["name"] == HPA for m in found)

    await side.until(there, "KEDA's autoscaler")
    return await side.cluster.get(Kind.HPA, side.namespace, HPA)


async def play(side: Side) -> None:
    """One look of the small controller at the real side."""
    if not isinstance(side, RealSide):
        await side.pause()
        return
    scaler = await side.cluster.get(Kind.SCALED_OBJECT, side.namespace, NAME)
    spec: Any = scaler["spec"]
    cpu = next(t for t in spec["triggers"] if t["type"] == "cpu")
    target = {"type": "Utilization", "averageUtilization": int(cpu["metadata"]["value"])}
    bounds = {"minReplicas": spec["minReplicaCount"], "maxReplicas": spec["maxReplicaCount"]}
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    wanted = {**bounds, "metrics": metrics, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}  # fmt: skip
    try:
        await side.cluster.get(Kind.HPA, side.namespace, HPA)
    except ObjectMissing:
        meta = scaler["metadata"]
        owner = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "controller": True}
        owners = [{**owner, "name": NAME, "uid": meta["uid"]}]
        labels = {"scaledobject.keda.sh/name": NAME}
        manifest = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": wanted}
        side.create({**manifest, "metadata": {"name": HPA, "labels": labels, "ownerReferences": owners}})
        return
    side.edit(Kind.HPA, HPA, [{"op": "replace", "path": "/spec", "value": wanted}], "keda")
