"""Promise 11, a new pod could start: quotas and LimitRanges have room, admission accepts it, nobody was just refused one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.domain.errors import ClusterUnavailable, ObjectInvalid, RemediatorError
from app.domain.json import Obj
from app.domain.new_pods import Finding, NewPods, Part
from app.domain.plan import Action
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.actions import (
    Bounds,
    adjust_scaled_object,
    delete_pod,
    raise_memory,
    roll_back,
    rollout_restart,
    scale,
)
from app.kube.newpods.goal import pod_amounts, quality
from app.kube.parse import parse_pod, parse_replica_set
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster, raising
from tests.unit.kube.newpods import NOW, event, faults, limit_range, looked, quota, world

RECREATE: dict[str, Any] = {"strategy": {"type": "Recreate"}}
ALL_AT_ONCE: dict[str, Any] = {"strategy": {"rollingUpdate": {"maxUnavailable": "100%"}}}
FULL: dict[str, Any] = {"hard": {"limits.memory": "1536Mi"}, "used": {"limits.memory": "1536Mi"}}
ONE_MORE: dict[str, Any] = {"hard": {"limits.memory": "2Gi"}, "used": {"limits.memory": "1536Mi"}}
EXCEEDED: dict[str, Any] = {"hard": {"limits.memory": "1Gi"}, "used": {"limits.memory": "1536Mi"}}
RESTART, SCALE, RAISE, DELETE = "restart", "scale to 4", "raise memory by half", "delete a pod"


def _action(step: str, workload: Workload, cluster: FakeCluster) -> Action:
    found: Any
    match step:
        case "restart":
            found = rollout_restart(workload, NOW)
        case "scale to 4":
            found = scale(workload, 4)
        case "raise memory by half":
            found = raise_memory(workload, ["app"], 1.5, 4 * m.GIB)
        case _:
            found = delete_pod(parse_pod(cluster.of(Kind.POD, "langgraph-hash2-0")), workload)
    assert isinstance(found, Action)
    return found


async def test_a_higher_minimum_of_keda_s_object_makes_pods_like_that_of_an_autoscaler() -> None:
    cluster = world(quota(**FULL))
    workload = m.workload(cluster.of(Kind.DEPLOYMENT, "langgraph"))
    scaler = {
        "metadata": {"name": "web", "namespace": "rag7", "uid": "u", "resourceVersion": "1"},
        "spec": {"scaleTargetRef": {"name": "langgraph"}, "triggers": [{"type": "cron"}]},
    }
    action = adjust_scaled_object(workload, scaler, Bounds(minimum=4))
    assert isinstance(action, Action)
    assert "ResourceQuota team refuses new pods" in str(faults(await looked(cluster, workload, (action,))))


async def _looked(cluster: FakeCluster, step: str) -> NewPods:
    workload = m.workload(cluster.of(Kind.DEPLOYMENT, "langgraph"))
    return await looked(cluster, workload, (_action(step, workload, cluster),))


def _left(needed: str, hard: str, left: str = "0 B") -> str:
    need = f"they need {needed} more limits.memory, and it has {left} of {hard} limits.memory left"
    return f"ResourceQuota team refuses new pods: {need}"


QUOTAS: list[tuple[str, str, dict[str, Any], dict[str, Any], str]] = [
    ("a restart surges by a pod", RESTART, {}, FULL, _left("512 MiB", "1.5 GiB")),
    ("there is room for the pod that surges", RESTART, {}, ONE_MORE, ""),
    ("nothing surges, and the same comes back", RESTART, RECREATE, FULL, ""),
    (
        "the quota was lowered below what runs: what is taken down does not come back",
        RESTART,
        RECREATE,
        EXCEEDED,
        "ResourceQuota team refuses new pods: it is exceeded already, 512 MiB limits.memory beyond 1 GiB",
    ),
    (
        "the same for one pod that is deleted",
        DELETE,
        {},
        EXCEEDED,
        "ResourceQuota team refuses new pods: it is exceeded already, 512 MiB limits.memory beyond 1 GiB",
    ),
    ("a deleted pod comes back", DELETE, {}, FULL, ""),
    ("scale into a full quota", SCALE, {}, FULL, _left("512 MiB", "1.5 GiB")),
    ("scale into one pod's room", SCALE, {}, ONE_MORE, ""),
    ("more memory for all, nothing surges", RAISE, RECREATE, ONE_MORE, _left("768 MiB", "2 GiB", "512 MiB")),
    (
        "pods are counted too",
        RESTART,
        {},
        {"hard": {"pods": "3"}, "used": {"pods": "3"}},
        "ResourceQuota team refuses new pods: they need 1 more pods, and it has 0 of 3 pods left",
    ),
    (
        "CPU by its short name",
        RESTART,
        {},
        {"hard": {"cpu": "800m"}, "used": {"cpu": "750m"}},
        "ResourceQuota team refuses new pods: they need 250 mCPU more requests.cpu, and it has 50 mCPU of 0.8 CPU requests.cpu left",
    ),
    (
        "what it demands and no container sets",
        RESTART,
        {"bare": True},
        {"hard": {"limits.memory": "9Gi"}},
        "ResourceQuota team refuses new pods: container app sets no limits.memory, which it demands",
    ),
    ("of best effort pods only", RESTART, {}, {**FULL, "scopes": ["BestEffort"]}, ""),
    ("of pods that end", RESTART, {}, {**FULL, "scopes": ["Terminating"]}, ""),
    (
        "of pods that stay",
        RESTART,
        {},
        {**FULL, "scopes": ["NotTerminating", "NotBestEffort"]},
        _left("512 MiB", "1.5 GiB"),
    ),
    (
        "of another priority",
        RESTART,
        {},
        {
            **FULL,
            "scopeSelector": {
                "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
            },
        },
        "",
    ),
    ("of things that are no pods", RESTART, {}, {"hard": {"services": "1"}, "used": {"services": "1"}}, ""),
]


@pytest.mark.parametrize(
    ("step", "fields", "given", "text"), [r[1:] for r in QUOTAS], ids=[r[0] for r in QUOTAS]
)
async def test_a_quota_has_room_for_what_the_step_makes(
    step: str, fields: dict[str, Any], given: dict[str, Any], text: str
) -> None:
    bare = fields.get("bare")
    spec = {k: v for k, v in fields.items() if k != "bare"}
    container = m.container(resources={}) if bare else m.container()
    cluster = world(quota(**given), deployment=m.deployment(m.template(container), **spec))
    assert faults(await _looked(cluster, step)) == ({Part.QUOTA: text} if text else {})


async def test_pods_that_could_not_be_made_need_their_room_too() -> None:
    """Three are wanted and one runs: a restart in place needs room for the two that are missing."""
    cluster = world(quota(**ONE_MORE), deployment=m.deployment(**RECREATE), pods=1)
    assert faults(await _looked(cluster, RESTART)) == {Part.QUOTA: _left("1 GiB", "2 GiB", "512 MiB")}


SIDECAR = m.container("proxy", resources={"limits": {"memory": "128Mi"}}, restartPolicy="Always")
PEAK = m.container("migrate", resources={"limits": {"memory": "2Gi"}})
LEVEL = {"resources": {"limits": {"memory": "1Gi"}}}
SUMS: list[tuple[str, dict[str, Any], int]] = [
    ("one container", {}, 512),
    ("a native sidecar runs beside it", {"initContainers": [SIDECAR]}, 640),
    ("an init container counts by its peak", {"initContainers": [PEAK]}, 2048),
    ("the peak runs beside the sidecar that was started before", {"initContainers": [SIDECAR, PEAK]}, 2176),
    ("pod-level resources take the sum's place", LEVEL, 1024),
    ("the runtime's overhead comes on top", {"overhead": {"memory": "32Mi"}}, 544),
]


@pytest.mark.parametrize(("spec", "mebibytes"), [r[1:] for r in SUMS], ids=[r[0] for r in SUMS])
def test_a_pod_is_counted_as_the_api_server_counts_it(spec: dict[str, Any], mebibytes: int) -> None:
    assert pod_amounts(m.template(**spec)["spec"], "limits")["memory"] == mebibytes * m.MIB


@pytest.mark.parametrize(
    ("resources", "word"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"nvidia.com/gpu": "1"}}, "BestEffort"),
    ],
)
def test_the_quality_of_service_is_the_api_server_s(resources: dict[str, Any], word: str) -> None:
    assert quality(m.template(m.container(resources=resources))["spec"]) == word


LIMITS: list[tuple[Obj, str]] = [
    (limit_range(max={"memory": "256Mi"}), "container app: its memory limit is above the maximum of 256Mi"),
    (limit_range(min={"memory": "300Mi"}), "container app: its memory request is below the minimum of 300Mi"),
    (
        limit_range(maxLimitRequestRatio={"cpu": "2"}),
        "container app: its cpu limit is more than 2 times its request",
    ),
    (
        limit_range("Pod", max={"memory": "256Mi"}),
        "a new pod: its memory limit is above the maximum of 256Mi",
    ),
    (limit_range(max={"memory": "1Gi"}), ""),
    (limit_range(max={"ephemeral-storage": "1Gi"}, default={"ephemeral-storage": "1Gi"}), ""),
    (
        limit_range(max={"ephemeral-storage": "1Gi"}),
        "container app: no ephemeral-storage limit, and the maximum is 1Gi",
    ),
]


@pytest.mark.parametrize(("bounds", "text"), LIMITS)
async def test_a_limit_range_lets_the_pod_in(bounds: Obj, text: str) -> None:
    told = {Part.LIMITS: f"LimitRange bounds refuses {text}"} if text else {}
    assert faults(await looked(world(bounds))) == told


async def test_more_memory_than_a_limit_range_allows_is_seen_in_the_goal_and_not_in_what_runs() -> None:
    assert faults(await _looked(world(limit_range(max={"memory": "600Mi"})), RAISE)) == {
        Part.LIMITS: "LimitRange bounds refuses container app: its memory limit is above the maximum of 600Mi"
    }


async def test_what_a_limit_range_fills_in_counts_for_the_quota() -> None:
    deployment = m.deployment(m.template(m.container(resources={})))
    cluster = world(limit_range(default={"memory": "512Mi"}), quota(**FULL), deployment=deployment, pods=0)
    assert faults(await looked(cluster)) == {Part.QUOTA: _left("1.5 GiB", "1.5 GiB")}


RS = "ReplicaSet/langgraph-hash2"
NOTE = 'Error creating: pods "langgraph-" is forbidden: violates PodSecurity "restricted:latest"'
REFUSED = {Part.REFUSALS: f"ReplicaSet langgraph-hash2 was refused a pod 1m ago: {NOTE}"}
EVENTS: list[tuple[str, int, list[Obj], dict[Part, str]]] = [
    ("it was refused a minute ago and lacks a pod", 1, [event("FailedCreate", RS, NOTE)], REFUSED),
    ("it has all its pods again", 0, [event("FailedCreate", RS, NOTE)], {}),
    (
        "it made one since",
        1,
        [event("FailedCreate", RS, NOTE), event("SuccessfulCreate", RS, "Created pod", ago=5)],
        {},
    ),
    (
        "it made one before",
        1,
        [event("FailedCreate", RS, NOTE), event("SuccessfulCreate", RS, "Created pod", ago=90)],
        REFUSED,
    ),
    ("eleven minutes ago", 1, [event("FailedCreate", RS, NOTE, ago=660)], {}),
    ("another ReplicaSet was refused", 1, [event("FailedCreate", "ReplicaSet/other-hash2", NOTE)], {}),
]


@pytest.mark.parametrize(("missing", "events", "told"), [r[1:] for r in EVENTS], ids=[r[0] for r in EVENTS])
async def test_a_refusal_that_still_stands_is_told(
    missing: int, events: list[Obj], told: dict[Part, str]
) -> None:
    assert faults(await looked(world(*events, missing=missing))) == told


async def test_a_workload_that_has_all_its_pods_asks_for_no_events() -> None:
    cluster = world()
    cluster.denied.add(("list", Kind.EVENT))
    assert (await looked(cluster)).found(Finding.UNKNOWN) == ()


async def test_what_the_bad_revision_was_refused_is_no_word_against_the_one_before_it() -> None:
    good = m.template(m.container(image="registry.test/langgraph:v1"))
    cluster = world(m.replica_set(1, good), event("FailedCreate", RS, NOTE), missing=1)
    workload = m.workload(cluster.of(Kind.DEPLOYMENT, "langgraph"))
    kept = [parse_replica_set(cluster.of(Kind.REPLICA_SET, f"langgraph-hash{n}")) for n in (2, 1)]
    action = roll_back(workload, [replace(kept[0], current=True), kept[1]])
    assert isinstance(action, Action)
    assert faults(await looked(cluster, workload, (action,))) == {}
    assert cluster.dry_runs[0]["spec"]["containers"][0]["image"] == "registry.test/langgraph:v1"


DRY_RUNS: list[tuple[RemediatorError, Finding, str]] = [
    (
        ObjectInvalid("violates PodSecurity: privileged", code="admission_denied"),
        Finding.MISSING,
        "a dry run of a new pod was refused: violates PodSecurity: privileged",
    ),
    (
        ObjectInvalid('admission webhook "w" does not support dry run'),
        Finding.UNTOLD,
        "an admission webhook knows no dry run",
    ),
    (
        ClusterUnavailable("failed calling webhook"),
        Finding.UNKNOWN,
        "the dry run of a pod failed: failed calling webhook",
    ),
]


@pytest.mark.parametrize(("error", "finding", "text"), DRY_RUNS)
async def test_admission_is_asked_about_such_a_pod(
    error: RemediatorError, finding: Finding, text: str
) -> None:
    cluster = world()
    cluster.on_dry_run.append(raising(error))
    found = await looked(cluster)
    assert [(c.finding, c.text) for c in found.checks if c.part is Part.ADMISSION] == [(finding, text)]


async def test_without_the_right_to_create_pods_none_is_sent_and_that_closes_nothing() -> None:
    cluster = world()
    cluster.denied.add(("create", Kind.POD))
    found = await looked(cluster)
    assert cluster.dry_runs == []
    assert [c.text for c in found.found(Finding.UNTOLD)] == ["a dry run of a pod is not allowed"]


async def test_the_pod_of_the_dry_run_has_no_owner_and_the_claims_of_a_stateful_set() -> None:
    mounted = m.container(volumeMounts=[{"name": "data", "mountPath": "/data"}])
    manifest = m.stateful_set(m.template(mounted), volumeClaimTemplates=[{"metadata": {"name": "data"}}])
    cluster = world(manifest)
    workload = m.workload(manifest)
    restart = rollout_restart(workload, NOW)
    assert isinstance(restart, Action)
    await looked(cluster, workload, (restart,))
    (pod,) = cluster.dry_runs
    assert "ownerReferences" not in pod["metadata"]
    assert pod["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-postgres-0"}}
    ]


@pytest.mark.parametrize(
    ("spec", "all_down"),
    [({}, False), (RECREATE, True), (ALL_AT_ONCE, True)],
    ids=["rolling", "Recreate", "maxUnavailable 100 %"],
)
async def test_a_step_that_may_take_all_running_pods_down_is_told(
    spec: dict[str, Any], all_down: bool
) -> None:
    assert (await looked(world(deployment=m.deployment(**spec)))).all_down is all_down


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        (Kind.LIMIT_RANGE, Part.LIMITS),
        (Kind.RESOURCE_QUOTA, Part.QUOTA),
        (Kind.EVENT, Part.REFUSALS),
    ],
)
async def test_promise_4_what_may_not_be_listed_is_unknown(kind: Kind, part: Part) -> None:
    cluster = world(missing=1)
    cluster.denied.add(("list", kind))
    assert [c.part for c in (await looked(cluster)).found(Finding.UNKNOWN)] == [part]
