"""Which permissions each action and each read needs, in RBAC's words.

Called by the preflight (one SelfSubjectAccessReview each) and by the chart's test. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.actuator import Permission
from app.domain.plan import ActionKind
from app.domain.target import Kind
from app.kube.paths import RESOURCES


def rule_of(permission: Permission) -> tuple[str, str, str, str]:
    """(verb, API group, resource, subresource)."""
    resource = RESOURCES[permission.kind]
    return (permission.verb, resource.group, resource.plural, permission.subresource)


_TEMPLATED = (Kind.DEPLOYMENT, Kind.STATEFUL_SET, Kind.DAEMON_SET)
_OBJECTS: Mapping[ActionKind, tuple[Kind, ...]] = {
    ActionKind.ROLLOUT_RESTART: _TEMPLATED,
    ActionKind.ROLL_BACK: _TEMPLATED,
    ActionKind.SCALE: (Kind.DEPLOYMENT, Kind.STATEFUL_SET),
    ActionKind.RAISE_MIN_REPLICAS: (Kind.HPA,),
    ActionKind.RAISE_MEMORY_LIMIT: _TEMPLATED,
    ActionKind.SET_IMAGE: _TEMPLATED,
    ActionKind.ADJUST_AUTOSCALER: (Kind.HPA,),
    ActionKind.ADJUST_SCALED_OBJECT: (Kind.SCALED_OBJECT,),
}
_PODS: Mapping[ActionKind, Permission] = {
    ActionKind.DELETE_POD: Permission("delete", Kind.POD),
    ActionKind.EVICT_POD: Permission("create", Kind.POD, "eviction"),
}
ACTIONS = frozenset({*_OBJECTS, *_PODS})
"""The kinds that act on the cluster's objects."""
EVENTS = (Permission("create", Kind.EVENT),)
"""Wanted, not needed: without it an action leaves no Kubernetes Event."""

READS: tuple[Permission, ...] = (
    *(
        Permission("get", kind)
        for kind in (
            *_TEMPLATED,
            Kind.REPLICA_SET,
            Kind.POD,
            Kind.HPA,
            Kind.NAMESPACE,
            Kind.SERVICE_ACCOUNT,
            Kind.PVC,
        )
    ),
    *(
        Permission("list", kind)
        for kind in (
            Kind.REPLICA_SET,
            Kind.CONTROLLER_REVISION,
            Kind.POD,
            Kind.HPA,
            Kind.PDB,
            Kind.EVENT,
            Kind.LIMIT_RANGE,
            Kind.RESOURCE_QUOTA,
            Kind.JOB,
        )
    ),
    Permission("get", Kind.POD, "log"),
)
"""What resolving, diagnosing, the gates and the verification read."""

CONFIG_READS = (Permission("get", Kind.CONFIG_MAP), Permission("get", Kind.SECRET))
"""What the investigation of causes and the gate `new pods` read besides; without it they are unknown."""

OPTIONAL = (
    Permission("list", Kind.NODE),
    Permission("list", Kind.SERVICE),
    Permission("list", Kind.NETWORK_POLICY),
    Permission("list", Kind.ENDPOINT_SLICE),
    Permission("get", Kind.PRIORITY_CLASS),
    Permission("list", Kind.ROLLOUT),
    Permission("list", Kind.VPA),
    Permission("list", Kind.SCALED_OBJECT),
    *(Permission("get", kind) for kind in (Kind.JOB, Kind.CRON_JOB, Kind.ROLLOUT, Kind.SCALED_OBJECT)),
)
"""What tells more where it is granted, and closes nothing where it is not."""

DRY_RUN_POD = (Permission("create", Kind.POD),)
"""Strong: whoever may create pods can run anything. Used for server-side dry runs alone, and only where it is granted."""


def permissions_for(kind: ActionKind, on: Kind) -> tuple[Permission, ...]:
    """What one action needs on one object kind: reading it, and the write. Empty when it never acts on that kind."""
    if kind in _PODS:
        return (Permission("get", Kind.POD), _PODS[kind]) if on is Kind.POD else ()
    if on not in _OBJECTS[kind]:
        return ()
    return (Permission("get", on), Permission("patch", on))
