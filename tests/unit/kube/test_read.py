"""Reads through the port: what belongs to a workload and what only looks like it."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.errors import AccessDenied, ObjectMissing
from app.domain.json import Obj
from app.domain.target import Kind, Target
from app.domain.workload import Manager, Revision, Workload
from app.kube import read
from app.kube.owners import find, resolve
from app.kube.parse import parse_replica_set
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster

TARGET = Target(m.NAMESPACE, Kind.DEPLOYMENT, "langgraph")
_V1 = m.template(m.container(image="registry.test/langgraph:v1"))
_RESTARTED = m.template(annotations={"kubectl.kubernetes.io/restartedAt": "2026-03-04T02:50:00Z"})


async def test_a_workload_comes_with_its_autoscaler_and_managers() -> None:
    other = m.hpa()
    other["metadata"]["name"] = "another"
    other["spec"]["scaleTargetRef"]["name"] = "another"
    found = await read.read_workload(FakeCluster(m.deployment(), other, m.hpa()), TARGET)
    assert found.autoscaler is not None
    assert (found.autoscaler.ref.name, found.managers) == ("langgraph-hpa", (Manager.HPA,))


async def test_an_autoscaler_that_may_not_be_read_closes_the_read() -> None:
    class Denied(FakeCluster):
        async def list_objects(self, *args: Any, **options: Any) -> list[Obj]:
            raise AccessDenied("the verb list on horizontalpodautoscalers.autoscaling is not granted")

    with pytest.raises(AccessDenied):
        await read.read_workload(Denied(m.deployment()), TARGET)


async def test_only_really_owned_pods_are_the_workloads() -> None:
    cluster = FakeCluster(
        m.deployment(),
        m.replica_set(1, _V1),
        m.replica_set(2, m.template()),
        m.replica_set(7, m.template(), owner="somebody-else"),
        m.pod("langgraph-hash2-b"),
        m.pod("langgraph-hash1-a", owner=m.owned_by("ReplicaSet", "langgraph-hash1", "langgraph-hash1-uid")),
        m.pod("langgraph-hash7-x", owner=m.owned_by("ReplicaSet", "langgraph-hash7", "langgraph-hash7-uid")),
        m.pod("bare", owner={}),
    )
    workload = await read.read_workload(cluster, TARGET)
    assert [p.name for p in await read.read_pods(cluster, workload)] == [
        "langgraph-hash1-a",
        "langgraph-hash2-b",
    ]


async def test_stored_revisions_are_compared_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may be a megabyte, and all of it is hashed."""
    threads = list[str]()

    def parse(manifest: Obj) -> Revision:
        threads.append(threading.current_thread().name)
        return parse_replica_set(manifest)

    monkeypatch.setattr(read, "parse_replica_set", parse)
    cluster = FakeCluster(m.deployment(), m.replica_set(1, _V1), m.replica_set(2, m.template()))
    workload = await read.read_workload(cluster, TARGET)
    assert len(await read.revisions(cluster, workload)) == 2
    around = await read.around(cluster, workload, datetime(2026, 3, 4, 3, tzinfo=UTC), ())
    assert around.revisions is not None
    assert len(threads) == 4
    assert threading.current_thread().name not in threads


@pytest.mark.parametrize("what", ["pods", "events"])
async def test_many_pods_and_events_are_parsed_without_holding_up_the_loop(what: str) -> None:
    pods = [m.pod(f"langgraph-hash2-{n}") for n in range(1_000)]
    about = [{"kind": "Pod", "name": pod["metadata"]["name"]} for pod in pods]
    events: list[Obj] = [
        {"kind": "Event", "metadata": {"name": f"e{n}", "namespace": m.NAMESPACE}, "regarding": one}
        for n, one in enumerate(about)
    ]
    many = pods if what == "pods" else events
    cluster = FakeCluster(m.deployment(), m.replica_set(2, m.template()), *many)
    workload, turns = await read.read_workload(cluster, TARGET), 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    if what == "pods":
        assert len(await read.read_pods(cluster, workload)) == 1_000
    else:
        names = {f"langgraph-hash2-{n}" for n in range(1_000)}
        assert len(await read.events_about(cluster, m.NAMESPACE, names, limit=2_000)) == 1_000
    beside.cancel()
    assert turns >= 10


async def test_pods_of_a_stateful_set_are_owned_directly() -> None:
    mine, other = (
        m.pod("postgres-0", owner=m.owned_by("StatefulSet", "postgres", "sts-uid")),
        m.pod("lookalike"),
    )
    for pod in (mine, other):
        pod["metadata"]["labels"] = {"app": "postgres", "controller-revision-hash": "postgres-hash2"}
    cluster = FakeCluster(m.stateful_set(), mine, other)
    workload = await read.read_workload(cluster, Target(m.NAMESPACE, Kind.STATEFUL_SET, "postgres"))
    (found,) = await read.read_pods(cluster, workload)
    assert (found.name, found.template_hash) == ("postgres-0", "postgres-hash2")


async def _numbers(cluster: FakeCluster, workload: Workload) -> list[tuple[int, bool]]:
    return [(r.number, r.current) for r in await read.revisions(cluster, workload)]


async def test_revisions_come_newest_first_with_the_current_marked() -> None:
    cluster = FakeCluster(
        m.replica_set(2, m.template()), m.replica_set(10, _RESTARTED), m.replica_set(1, _V1)
    )
    assert await _numbers(cluster, m.workload(m.deployment(_RESTARTED))) == [
        (10, True),
        (2, False),
        (1, False),
    ]
    # An undo by hand: revision 2's template is back, though 10 is the newest number.
    assert await _numbers(cluster, m.workload(m.deployment())) == [(10, False), (2, True), (1, False)]


async def test_a_template_without_a_revision_yet_has_no_current_one() -> None:
    fresh = m.deployment(m.template(m.container(image="registry.test/langgraph:v3")))
    fresh["status"]["observedGeneration"] = 3
    assert await _numbers(FakeCluster(m.replica_set(2, m.template())), m.workload(fresh)) == [(2, False)]
    # Seen by the controller and still not equal: a newer API server filled in defaults.
    fresh["status"]["observedGeneration"] = 4
    assert await _numbers(FakeCluster(m.replica_set(2, m.template())), m.workload(fresh)) == [(2, True)]


async def test_stateful_sets_and_daemon_sets_keep_controller_revisions() -> None:
    cluster = FakeCluster(
        m.controller_revision(2, m.template()),
        m.controller_revision(1, _V1),
        m.controller_revision(9, _V1, owner="somebody-else"),
    )
    assert await _numbers(cluster, m.workload(m.stateful_set())) == [(2, True), (1, False)]


def _event(name: str, about: str, time: str) -> Obj:
    return {
        "kind": "Event",
        "metadata": {"name": name, "namespace": m.NAMESPACE, "resourceVersion": "1"},
        "regarding": {"kind": "Pod", "name": about},
        "reason": name,
        "note": "n",
        "eventTime": time,
    }


async def test_events_are_filtered_by_name_newest_first_and_bounded() -> None:
    times = [f"2026-03-04T02:0{n}:00.000000Z" for n in range(5)]
    cluster = FakeCluster(*(_event(f"e{n}", "a" if n != 3 else "other", t) for n, t in enumerate(times)))
    assert [e.reason for e in await read.events_about(cluster, m.NAMESPACE, ["a", "b"])] == [
        "e4",
        "e2",
        "e1",
        "e0",
    ]
    assert [e.reason for e in await read.events_about(cluster, m.NAMESPACE, {"a"}, 2)] == ["e4", "e2"]


def _config(kind: str, name: str, **fields: Any) -> Obj:
    return {"kind": kind, "metadata": {"name": name, "namespace": m.NAMESPACE}, **fields}


async def test_memory_rules_and_quota_room_are_read_in_bytes() -> None:
    limits = [
        {"type": "Container", "max": {"memory": "2Gi"}, "maxLimitRequestRatio": {"memory": "1500m"}},
        {"type": "Pod", "max": {"memory": "4Gi"}},
        {"type": "Container", "default": {"memory": "1Gi"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Ti"}},
    ]
    hard = {"limits.memory": "8Gi", "memory": "4Gi", "pods": "10"}
    used = {"limits.memory": "9Gi", "memory": "1Gi", "pods": "3"}
    cluster = FakeCluster(
        _config("LimitRange", "range", spec={"limits": limits}),
        _config("ResourceQuota", "all", spec={"hard": hard}, status={"hard": hard, "used": used}),
        _config("ResourceQuota", "jobs", spec={"hard": hard, "scopes": ["Terminating"]}),
    )
    rules = await read.limit_ranges(cluster, m.NAMESPACE)
    assert [(r.per, r.maximum, r.ratio) for r in rules] == [
        ("Container", 2 * m.GIB, 1.5),
        ("Pod", 4 * m.GIB, None),
    ]
    defaults = await read.default_limits(cluster, m.NAMESPACE)
    assert [(r.name, r.per, r.default) for r in defaults] == [("range", "Container", m.GIB)]
    rooms = await read.quota_headroom(cluster, m.NAMESPACE)
    assert [(r.name, r.resource, r.left) for r in rooms] == [
        ("all", "limits.memory", -m.GIB),
        ("all", "requests.memory", 3 * m.GIB),
    ]


async def test_only_budgets_that_select_the_pods_count() -> None:
    def budget(name: str, **labels: str) -> Obj:
        status = {"disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2}
        meta = {"metadata": {"name": name, "namespace": m.NAMESPACE}}
        return {
            "kind": "PodDisruptionBudget",
            **meta,
            "spec": {"selector": {"matchLabels": labels}},
            "status": status,
        }

    cluster = FakeCluster(budget("mine", app="langgraph"), budget("other", app="redis"))
    (found,) = await read.pdbs_for(cluster, m.workload())
    assert (found.ref.name, found.allowed, found.healthy, found.wanted) == ("mine", 1, 3, 2)


def _resolving() -> FakeCluster:
    job = m.pod("nightly-1", owner=m.owned_by("Job", "nightly", "job-uid"))
    rollout = m.pod("canary-1", owner=m.owned_by("Rollout", "canary", "ro-uid"))
    single = m.replica_set(5, m.template())
    single["metadata"] |= {"name": "alone", "ownerReferences": []}
    twin = m.daemon_set()
    twin["metadata"]["name"] = "twin"
    other = m.deployment()
    other["metadata"]["name"] = "twin"
    left = m.replica_set(6, m.template())
    left["metadata"]["name"] = "web-7c9f8b6d5"
    return FakeCluster(
        left,
        m.deployment(),
        m.replica_set(2, m.template()),
        m.pod(),
        m.stateful_set(),
        m.daemon_set(),
        m.pod("postgres-0", owner=m.owned_by("StatefulSet", "postgres", "sts-uid")),
        m.pod("agent-x", owner=m.owned_by("DaemonSet", "agent", "ds-uid")),
        m.hpa(),
        *(job, rollout, single, twin, other, m.pod("bare", owner={})),
    )


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [
        ("Deployment", "langgraph", "rag7/Deployment/langgraph"),
        ("statefulset", "postgres", "rag7/StatefulSet/postgres"),
        ("Pod", "langgraph-hash2-abcde", "rag7/Deployment/langgraph"),
        ("Pod", "postgres-0", "rag7/StatefulSet/postgres"),
        ("Pod", "agent-x", "rag7/DaemonSet/agent"),
        ("Pod", "langgraph", "rag7/Deployment/langgraph"),
        ("Pod", "langgraph-7c9f8b6d5-x2x4z", "rag7/Deployment/langgraph"),
        ("Pod", "postgres-7", "rag7/StatefulSet/postgres"),
        ("ReplicaSet", "langgraph-hash2", "rag7/Deployment/langgraph"),
        ("HorizontalPodAutoscaler", "langgraph-hpa", "rag7/Deployment/langgraph"),
    ],
)
async def test_a_hint_is_followed_to_its_workload(kind: str, name: str, key: str) -> None:
    assert (await resolve(_resolving(), m.NAMESPACE, kind, name)).key == key


@pytest.mark.parametrize(
    ("owner", "why"),
    [
        (
            ("Deployment", "langgraph", "1111"),
            "Pod x belongs to another Deployment langgraph than is there",
        ),
        (("StatefulSet", "postgres", "dep-uid"), "Pod x belongs to another StatefulSet postgres than"),
        (
            ("ReplicaSet", "langgraph-hash2", "1111"),
            "Pod x belongs to another ReplicaSet langgraph-hash2 than",
        ),
        (("ReplicaSet", "web-7c9f8b6d5", "stale"), "Pod x belongs to another ReplicaSet web-7c9f8b6d5 than"),
        (
            ("ReplicaSet", "orphan", "orphan-uid"),
            "Pod x belongs to another Deployment langgraph than is there: the uid differs",
        ),
    ],
)
async def test_an_owner_is_known_by_its_uid_and_not_by_its_name(
    owner: tuple[str, str, str], why: str
) -> None:
    """Whoever may make a pod writes whatever owner into it; and a workload that was made anew is another one."""
    cluster = _resolving()
    orphan = m.replica_set(7, m.template(), owner="earlier-uid")
    orphan["metadata"] |= {"name": "orphan", "uid": "orphan-uid"}
    cluster.put(orphan)
    cluster.put(m.pod("x", owner=m.owned_by(*owner)))
    with pytest.raises(ObjectMissing, match=why) as raised:
        await resolve(cluster, m.NAMESPACE, "Pod", "x")
    assert raised.value.code == "no_workload"


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("Deployment", "nothing", "not found"),
        ("Pod", "nightly-1", "belongs to a Job: Job nightly is gone. A run to completion"),
        ("Pod", "canary-1", r"belongs to Rollout canary \(Argo Rollouts\), which is not changed here"),
        ("Pod", "bare", "Pod bare has no controller"),
        ("Pod", "nobody-7c9f8b6d5-x2x4z", "no workload is named nobody-7c9f8b6d5-x2x4z or nobody"),
        ("Pod", "twin", "pod twin is gone, and it may be of Deployment twin or DaemonSet twin"),
        ("ReplicaSet", "alone", "ReplicaSet alone makes its pods again, which no Deployment owns"),
        ("Job", "nightly", "Job nightly is not a workload"),
        ("Node", "node-1", "Node node-1 is not a workload"),
        ("", "x", "is not a workload"),
    ],
)
async def test_what_is_no_workload_is_told_and_never_guessed(kind: str, name: str, why: str) -> None:
    with pytest.raises(ObjectMissing, match=why):
        await resolve(_resolving(), m.NAMESPACE, kind, name)


@pytest.mark.parametrize(
    ("name", "key", "how"),
    [
        (
            "langgraph-7c9f8b6d5-x2x4z",
            "rag7/Deployment/langgraph",
            "Pod langgraph-7c9f8b6d5-x2x4z is gone; by its name it was one of Deployment langgraph",
        ),
        (
            "web-7c9f8b6d5-x2x4z",
            "rag7/Deployment/langgraph",
            "Pod web-7c9f8b6d5-x2x4z is gone; its ReplicaSet belongs to Deployment langgraph",
        ),
        (
            "postgres-7",
            "rag7/StatefulSet/postgres",
            "Pod postgres-7 is gone; by its name it was one of StatefulSet postgres",
        ),
        (
            "agent-x2x4z",
            "rag7/DaemonSet/agent",
            "Pod agent-x2x4z is gone; by its name it was one of DaemonSet agent",
        ),
        ("langgraph", "rag7/Deployment/langgraph", "No pod is named langgraph, but a Deployment is"),
        ("postgres-0", "rag7/StatefulSet/postgres", ""),
    ],
)
async def test_a_pod_that_is_gone_is_of_the_workload_its_name_tells_and_that_is_said(
    name: str, key: str, how: str
) -> None:
    cluster = _resolving()
    found = await find(cluster, m.NAMESPACE, "Pod", name)
    assert (found.target.key, found.how) == (key, how)


@pytest.mark.parametrize(
    "name", ["postgres-7c9f8b6d5-x2x4z", "langgraph-0", "langgraph-x2x4z", "postgres-07"]
)
async def test_a_name_that_the_workload_of_that_name_would_not_make_is_no_hint_at_it(name: str) -> None:
    with pytest.raises(ObjectMissing, match="is gone, and no workload is named"):
        await find(_resolving(), m.NAMESPACE, "Pod", name)


@pytest.mark.parametrize(
    ("name", "there", "why"),
    [
        ("langgraph-29724567-x2x4z", (), "no workload is named"),
        ("langgraph-29724567-x2x4z", (("Job", "langgraph-29724567"),), "it may be of Job langgraph-29724567"),
        (
            "langgraph-7c9f8b6d5-x2x4z",
            (("Job", "langgraph-7c9f8b6d5"),),
            "Deployment langgraph or Job langgraph-7c9f8b6d5",
        ),
        (
            "langgraph-7c9f8b6d5-x2x4z",
            (("Rollout", "langgraph"),),
            "Deployment langgraph or Rollout langgraph",
        ),
        ("agent-x2x4z", (("Job", "agent"),), "DaemonSet agent or Job agent"),
        ("langgraph", (("Job", "langgraph"),), "Deployment langgraph or Job langgraph"),
    ],
)
async def test_a_gone_pod_that_a_job_or_a_rollout_can_have_run_is_of_no_workload(
    name: str, there: tuple[tuple[str, str], ...], why: str
) -> None:
    cluster = _resolving()
    for kind, other in there:
        cluster.put({"kind": kind, "metadata": {"name": other, "namespace": m.NAMESPACE}})
    with pytest.raises(ObjectMissing, match=f"is gone, and .*{why}"):
        await find(cluster, m.NAMESPACE, "Pod", name)
