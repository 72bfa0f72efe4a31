"""Manifests to snapshots."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.target import Kind
from app.domain.workload import ConfigRef
from app.kube.manifest import containers_of
from app.kube.parse import (
    REVISION,
    REVISION_HISTORY,
    essential_template,
    fingerprint,
    parse_autoscaler,
    parse_controller_revision,
    parse_event,
    parse_pod,
    parse_replica_set,
    parse_time,
    parse_usage,
    plain_template,
    selector_text,
    selects,
)
from tests.unit.kube import manifests as m


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-04T03:00:00Z", datetime(2026, 3, 4, 3, tzinfo=UTC)),
        ("2026-03-04T03:00:00.123456789Z", datetime(2026, 3, 4, 3, 0, 0, 123456, UTC)),
        ("2026-03-04T04:00:00+01:00", datetime(2026, 3, 4, 3, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_utc_or_absent(text: str | None, at: datetime | None) -> None:
    assert parse_time(text) == at


def test_a_deployment_is_read_with_its_numbers() -> None:
    found = m.workload()
    assert (found.desired, found.ready, found.updated, found.available, found.paused) == (3, 3, 3, 3, False)
    assert found.selector == "app=langgraph"
    assert (found.ref.uid, found.ref.resource_version, found.ref.generation) == ("dep-uid", "100", 4)
    app = found.containers[0]
    assert (app.memory_limit, app.memory_request, app.cpu_limit, app.cpu_request) == (
        512 * m.MIB,
        256 * m.MIB,
        1000,
        250,
    )


def test_a_deployment_that_has_just_been_made_has_no_numbers_yet() -> None:
    young = m.deployment()
    del young["status"], young["spec"]["replicas"]
    found = m.workload(young)
    assert (found.desired, found.ready, found.observed_generation, found.unavailable) == (1, 0, 0, 1)


def test_a_daemon_set_counts_nodes() -> None:
    found = m.workload(m.daemon_set(nodes=5))
    assert (found.desired, found.ready, found.updated, found.available) == (5, 5, 5, 5)


def test_an_autoscaler_without_minimum_has_one() -> None:
    found = parse_autoscaler(m.hpa(None))
    assert (found.min_replicas, found.max_replicas, found.desired) == (1, 6, 3)
    assert found.last_action == "ReadyForNewScale"


def test_a_crashing_pod_shows_how_its_containers_ended() -> None:
    killed = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-03-04T02:59:00Z"}
    crash = {
        "name": "app",
        "ready": False,
        "restartCount": 5,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
        "lastState": {"terminated": killed},
    }
    init = {
        "name": "migrate",
        "ready": True,
        "restartCount": 0,
        "state": {"terminated": {"exitCode": 0, "reason": "Completed"}},
    }
    found = parse_pod(m.pod(ready=False, containerStatuses=[crash], initContainerStatuses=[init]))
    migrate, app = found.containers
    assert (migrate.init, app.init, app.waiting, app.restarts) == (True, False, "CrashLoopBackOff", 5)
    assert app.oom_killed is not None
    assert app.oom_killed.finished_at == datetime(2026, 3, 4, 2, 59, tzinfo=UTC)
    assert migrate.oom_killed is None
    assert (found.ready, found.template_hash, found.node) == (False, "hash2", "node-1")
    assert found.owner is not None
    assert found.owner.kind is Kind.REPLICA_SET


def test_exit_code_137_alone_is_not_an_oom_kill() -> None:
    sigkill = {"terminated": {"reason": "Error", "exitCode": 137}}
    status = {"name": "app", "ready": False, "restartCount": 1, "state": {}, "lastState": sigkill}
    assert parse_pod(m.pod(containerStatuses=[status])).containers[0].oom_killed is None


def test_a_pod_of_an_unknown_controller_has_no_owner_of_ours() -> None:
    rollout = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": "r",
        "uid": "u",
        "controller": True,
    }
    assert parse_pod(m.pod(owner=rollout)).owner is None


def test_a_pod_on_its_way_out_is_terminating() -> None:
    leaving = m.pod()
    leaving["metadata"]["deletionTimestamp"] = "2026-03-04T03:00:00Z"
    assert parse_pod(leaving).terminating
    assert not parse_pod(m.pod()).terminating


def test_needed_config_is_found_in_environment_and_volumes() -> None:
    spec: dict[str, Any] = {
        "volumes": [
            {"name": "files", "configMap": {"name": "files", "items": [{"key": "a.yaml", "path": "a"}]}},
            {"name": "cert", "secret": {"secretName": "tls", "optional": True}},
            {
                "name": "mixed",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "one"}},
                        {"secret": {"name": "two"}},
                        {"downwardAPI": {}},
                    ]
                },
            },
            {"name": "scratch", "emptyDir": {}},
        ],
        "initContainers": [{"name": "first"}],
        "containers": [
            {
                "name": "app",
                "envFrom": [
                    {"configMapRef": {"name": "env"}},
                    {"secretRef": {"name": "opt", "optional": True}},
                ],
                "env": [
                    {"name": "A", "value": "plain"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
                "volumeMounts": [{"name": "files", "mountPath": "/f"}, {"name": "cert", "mountPath": "/c"}],
            }
        ],
    }
    first, app = containers_of(spec)
    assert app.config == (
        ConfigRef(Kind.CONFIG_MAP, "env"),
        ConfigRef(Kind.SECRET, "opt", optional=True),
        ConfigRef(Kind.SECRET, "s", "k"),
        ConfigRef(Kind.CONFIG_MAP, "c", "k"),
        ConfigRef(Kind.CONFIG_MAP, "files", "a.yaml"),
        ConfigRef(Kind.SECRET, "tls", optional=True),
    )
    # Nobody mounts it, and yet the pod does not start without it.
    assert first.config == (ConfigRef(Kind.CONFIG_MAP, "one"), ConfigRef(Kind.SECRET, "two"))


def test_of_a_long_template_nothing_is_copied_and_nothing_is_changed() -> None:
    """A copy of ten templates of a megabyte holds everything up for seconds."""
    restart = {"kubectl.kubernetes.io/restartedAt": "2026-03-04T02:50:00Z", "a": "b"}
    stored = {**m.template(annotations=restart), "$patch": "replace"}
    stored["metadata"] |= {"creationTimestamp": None}
    stored["metadata"]["labels"] |= {"pod-template-hash": "x"}
    before = copy.deepcopy(stored)
    plain, essential = plain_template(stored), essential_template(stored)
    assert plain["spec"] is essential["spec"] is stored["spec"]
    assert stored == before
    assert plain["metadata"]["annotations"] == restart
    assert essential["metadata"]["annotations"] == {"a": "b"}
    for found in (plain, essential):
        assert "$patch" not in found
        assert "creationTimestamp" not in found["metadata"]
        assert "pod-template-hash" not in found["metadata"]["labels"]


def test_a_restart_does_not_change_the_fingerprint_and_anything_else_does() -> None:
    plain = m.template()
    restarted = m.template(annotations={"kubectl.kubernetes.io/restartedAt": "2026-03-04T03:00:00Z"})
    annotated = m.template(annotations={"team": "rag"})
    other = m.template(m.container(image="registry.test/langgraph:v3"))
    assert fingerprint(plain) == fingerprint(restarted)
    assert len({fingerprint(t) for t in (plain, annotated, other)}) == 3


def test_revisions_are_equal_wherever_they_are_stored() -> None:
    stored, patch = (
        parse_replica_set(m.replica_set(3, m.template())),
        parse_controller_revision(m.controller_revision(5, m.template())),
    )
    assert (stored.number, patch.number) == (3, 5)
    assert stored.fingerprint == patch.fingerprint == fingerprint(m.template())
    assert stored.template == patch.template == m.template()
    assert stored.images == ("registry.test/langgraph:v2",)


def test_a_null_creation_timestamp_is_no_difference() -> None:
    old = m.template()
    old["metadata"]["creationTimestamp"] = None
    assert fingerprint(old) == fingerprint(m.template())


_ABOUT = {"kind": "Pod", "name": "web-1"}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            {
                "regarding": _ABOUT,
                "note": "n",
                "reason": "BackOff",
                "type": "Warning",
                "eventTime": "2026-03-04T03:00:00.000000Z",
            },
            ("n", 1, 3),
        ),
        (
            {
                "regarding": _ABOUT,
                "note": "n",
                "eventTime": "2026-03-04T01:00:00.000000Z",
                "series": {"count": 7, "lastObservedTime": "2026-03-04T05:00:00.000000Z"},
            },
            ("n", 7, 5),
        ),
        (
            {
                "regarding": _ABOUT,
                "note": "n",
                "eventTime": None,
                "deprecatedCount": 4,
                "deprecatedLastTimestamp": "2026-03-04T04:00:00Z",
            },
            ("n", 4, 4),
        ),
        (
            {"involvedObject": _ABOUT, "message": "m", "count": 2, "lastTimestamp": "2026-03-04T02:00:00Z"},
            ("m", 2, 2),
        ),
    ],
)
def test_events_of_both_apis_carry_their_newest_sighting(
    event: dict[str, Any], expected: tuple[str, int, int]
) -> None:
    found = parse_event({"metadata": {"name": "e", "creationTimestamp": "2026-03-04T00:30:00Z"}, **event})
    assert found.last_seen is not None
    assert (found.message, found.count, found.last_seen.hour) == expected
    assert found.about == "Pod/web-1"


_EXPRESSIONS = [
    {"key": "tier", "operator": "In", "values": ["a", "b"]},
    {"key": "env", "operator": "NotIn", "values": ["test"]},
    {"key": "app", "operator": "Exists"},
    {"key": "old", "operator": "DoesNotExist"},
]


def test_selectors_are_written_for_list_requests() -> None:
    text = selector_text({"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": _EXPRESSIONS})
    assert text == "a=1,b=2,tier in (a,b),env notin (test),app,!old"
    assert selector_text(None) == ""


@pytest.mark.parametrize(
    ("labels", "matches"),
    [
        ({"app": "x", "tier": "a"}, True),
        ({"app": "x", "tier": "c"}, False),
        ({"app": "x", "tier": "a", "env": "test"}, False),
        ({"tier": "a"}, False),
        ({"app": "x", "tier": "b", "old": ""}, False),
    ],
)
def test_selectors_match_as_the_controllers_do(labels: dict[str, str], matches: bool) -> None:
    assert selects({"matchExpressions": _EXPRESSIONS}, labels) is matches


def test_an_empty_selector_matches_all_and_none_matches_nothing() -> None:
    assert selects({}, {"app": "x"})
    assert not selects(None, {"app": "x"})
    assert not selects({"matchLabels": {"app": "y"}}, {"app": "x"})


def test_usage_is_read_in_bytes_and_millicores() -> None:
    usage = {
        "containers": [
            {"name": "app", "usage": {"cpu": "12345678n", "memory": "131072Ki"}},
            {"name": "b", "usage": {}},
        ]
    }
    found = parse_usage({"metadata": {"name": "web-1"}, "timestamp": "2026-03-04T03:00:00Z", **usage})
    assert (found.memory, found.cpu) == ({"app": 128 * m.MIB, "b": 0}, {"app": 13, "b": 0})
    assert found.total_memory == 128 * m.MIB


@pytest.mark.parametrize("text", ["", "x", "\u00b2", "-1", "1" * 5_000, " 3 "])
def test_a_revision_that_is_no_number_costs_nothing_but_its_number(text: str) -> None:
    """Anybody who may write a ReplicaSet writes its annotations."""
    manifest = replica_set_with(text)
    revision = parse_replica_set(manifest)
    assert revision.number == (3 if text == " 3 " else 0)
    assert revision.earlier == ((3,) if text == " 3 " else ())


def replica_set_with(text: str) -> dict[str, Any]:
    annotations = {REVISION: text, REVISION_HISTORY: text}
    return {"metadata": {"name": "x", "annotations": annotations}, "spec": {"template": m.template()}}
