"""Permissions: every action and every read is listed in RBAC's words."""

from __future__ import annotations

import pytest

from app.domain.actuator import Permission
from app.domain.plan import ActionKind
from app.domain.target import WORKLOAD_KINDS, Kind
from app.kube.actions import BUILDERS
from app.kube.paths import RESOURCES
from app.kube.verbs import ACTIONS, CONFIG_READS, EVENTS, OPTIONAL, READS, permissions_for, rule_of


def permissions_of(kind: ActionKind) -> list[Permission]:
    """On all kinds of objects that the action may touch."""
    return [p for on in Kind for p in permissions_for(kind, on)]


@pytest.mark.parametrize("kind", sorted(ACTIONS))
def test_every_action_kind_has_permissions_and_a_builder(kind: ActionKind) -> None:
    assert any(p.verb in ("patch", "delete", "create") for p in permissions_of(kind))
    assert all(p.kind in RESOURCES for p in permissions_of(kind))
    assert kind in BUILDERS


@pytest.mark.parametrize("kind", Kind)
def test_every_object_kind_has_a_resource(kind: Kind) -> None:
    assert RESOURCES[kind].plural.startswith(kind.value.lower()[:4])


def test_permissions_are_as_narrow_as_the_action() -> None:
    assert [rule_of(p) for p in permissions_for(ActionKind.EVICT_POD, Kind.POD)] == [
        ("get", "", "pods", ""),
        ("create", "", "pods", "eviction"),
    ]
    assert [rule_of(p) for p in permissions_for(ActionKind.RAISE_MIN_REPLICAS, Kind.HPA)] == [
        ("get", "autoscaling", "horizontalpodautoscalers", ""),
        ("patch", "autoscaling", "horizontalpodautoscalers", ""),
    ]
    assert permissions_for(ActionKind.SCALE, Kind.DAEMON_SET) == ()
    assert permissions_for(ActionKind.DELETE_POD, Kind.DEPLOYMENT) == ()


def test_nothing_but_the_actions_own_writes_is_asked_for() -> None:
    assert {p.verb for p in (*READS, *CONFIG_READS, *OPTIONAL)} <= {"get", "list"}
    assert [rule_of(p) for p in EVENTS] == [("create", "events.k8s.io", "events", "")]
    assert ("get", "", "pods", "log") in {rule_of(p) for p in READS}
    assert all(any(p.kind is k for p in permissions_of(ActionKind.ROLL_BACK)) for k in WORKLOAD_KINDS)


def test_paths_are_escaped_and_cluster_wide_kinds_ignore_the_namespace() -> None:
    assert RESOURCES[Kind.DEPLOYMENT].path("rag7", "a?b") == "/apis/apps/v1/namespaces/rag7/deployments/a%3Fb"
    assert RESOURCES[Kind.POD].path("rag7", "p", "log") == "/api/v1/namespaces/rag7/pods/p/log"
    assert RESOURCES[Kind.NODE].path("rag7", "n1") == "/api/v1/nodes/n1"
    assert RESOURCES[Kind.POD].path("") == "/api/v1/pods"
