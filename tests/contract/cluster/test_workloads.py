"""The contract of the port `Cluster`, what stands around a Deployment: budgets, quotas, autoscalers; the other workloads."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.errors import DisruptionBlocked, ObjectChanged
from app.domain.json import Obj
from app.domain.target import Kind
from tests.contract.cluster.looks import IMAGE, condition_of, listed, patch_web, pods_of, replace
from tests.contract.cluster.sides import BAD_IMAGE, Side, gone, settled, template, workload


def _budget(name: str = "web", **spec: Any) -> Obj:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


async def _counted(side: Side, name: str, allowed: int) -> Obj:
    found: Obj = {}

    async def done() -> bool:
        nonlocal found
        found = await side.cluster.get(Kind.PDB, side.namespace, name)
        status = found.get("status", {})
        return (status.get("disruptionsAllowed"), status.get("currentHealthy")) == (allowed, 2)

    await side.until(done, f"{allowed} allowed disruptions")
    return found


async def test_a_disruption_budget_stops_evictions_but_not_deletions(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.create(_budget(minAvailable=2))
    budget = await _counted(side, "web", 0)
    assert (budget["status"]["desiredHealthy"], budget["status"]["expectedPods"]) == (2, 2)
    pod = (await pods_of(side))[0]["metadata"]
    for dry_run in (True, False):
        with pytest.raises(DisruptionBlocked):
            await side.cluster.evict_pod(side.namespace, pod["name"], pod["uid"], dry_run=dry_run)
    await side.cluster.delete_pod(side.namespace, pod["name"], pod["uid"])


async def test_an_eviction_within_the_budget_removes_the_pod(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.create(_budget(maxUnavailable="50%"))
    await _counted(side, "web", 1)
    pod = (await pods_of(side))[0]["metadata"]
    await side.cluster.evict_pod(side.namespace, pod["name"], pod["uid"], dry_run=True)
    await side.cluster.evict_pod(side.namespace, pod["name"], pod["uid"])
    await gone(side, Kind.POD, pod["name"], pod["uid"])


async def test_an_eviction_for_another_uid_is_refused_and_still_costs_the_budget(side: Side) -> None:
    """The trap: the API server charges the budget before it compares the uid."""
    side.create(workload())
    await settled(side)
    side.create(_budget(maxUnavailable=1))
    await _counted(side, "web", 1)
    pod = (await pods_of(side))[0]["metadata"]
    with pytest.raises(ObjectChanged):
        await side.cluster.evict_pod(side.namespace, pod["name"], "11111111-2222-4333-8444-555555555555")
    with pytest.raises(DisruptionBlocked):
        await side.cluster.evict_pod(side.namespace, pod["name"], pod["uid"])


async def test_a_pod_under_two_budgets_cannot_be_evicted(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.create(_budget("one", maxUnavailable=1))
    side.create(_budget("two", maxUnavailable=1))
    await _counted(side, "one", 1)
    await _counted(side, "two", 1)
    pod = (await pods_of(side))[0]["metadata"]
    with pytest.raises(DisruptionBlocked):
        await side.cluster.evict_pod(side.namespace, pod["name"], pod["uid"])


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "ResourceQuota", "spec": {"hard": {"limits.memory": "1Gi", "pods": "3"}}},
        {"kind": "LimitRange", "spec": {"limits": [{"type": "Container", "max": {"memory": "600Mi"}}]}},
    ],
    ids=lambda rule: rule["kind"],
)
async def test_quotas_and_limit_ranges_refuse_pods_and_not_the_template(side: Side, rule: Obj) -> None:
    side.create({"apiVersion": "v1", "metadata": {"name": "rule"}, **rule})
    side.create(workload())
    await settled(side)
    limit = "/spec/template/spec/containers/0/resources/limits/memory"
    await patch_web(side, replace(limit, "1Gi"))

    async def refused() -> bool:
        web = await side.cluster.get(Kind.DEPLOYMENT, side.namespace, "web")
        return condition_of(web, "ReplicaFailure") == ("True", "FailedCreate")

    await side.until(refused, "the refusal of the pod")

    async def told() -> bool:
        events = [e for e in await listed(side, Kind.EVENT) if e["reason"] == "FailedCreate"]
        return bool(events) and all("forbidden" in e["note"] for e in events)

    await side.until(told, "the event")
    assert len(await pods_of(side)) == 2


async def test_a_quota_counts_what_is_used(side: Side) -> None:
    rule = {"hard": {"limits.memory": "2Gi", "requests.cpu": "1", "pods": "5"}}
    side.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "rule"}, "spec": rule})
    side.create(workload())
    await settled(side)

    async def counted() -> bool:
        quota = await side.cluster.get(Kind.RESOURCE_QUOTA, side.namespace, "rule")
        used = quota.get("status", {}).get("used", {})
        return bool(used == {"limits.memory": "1Gi", "requests.cpu": "200m", "pods": "2"})

    await side.until(counted, "the quota's numbers")


async def test_a_stateful_set_numbers_its_pods_and_keeps_controller_revisions(side: Side) -> None:
    side.create(workload("StatefulSet"))
    web = await settled(side, Kind.STATEFUL_SET)
    assert web["status"]["currentRevision"] == web["status"]["updateRevision"]
    pods = await pods_of(side)
    assert [p["metadata"]["name"] for p in pods] == ["web-0", "web-1"]
    labels = pods[1]["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "web-1"
    assert labels["apps.kubernetes.io/pod-index"] == "1"
    assert labels["controller-revision-hash"] == web["status"]["updateRevision"]
    await patch_web(side, replace(IMAGE, "registry.test/web:2"), kind=Kind.STATEFUL_SET)
    web = await settled(side, Kind.STATEFUL_SET)
    revisions = {r["revision"]: r for r in await listed(side, Kind.CONTROLLER_REVISION)}
    assert sorted(revisions) == [1, 2]
    assert revisions[2]["metadata"]["name"] == web["status"]["updateRevision"]
    held = revisions[1]["data"]["spec"]["template"]
    assert held["$patch"] == "replace"
    assert held["spec"]["containers"][0]["image"] == "registry.test/web:1"
    (owner,) = revisions[1]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("StatefulSet", web["metadata"]["uid"])


async def test_an_ordered_stateful_set_stays_stuck_until_its_bad_pod_is_deleted(side: Side) -> None:
    side.create(workload("StatefulSet"))
    old = (await settled(side, Kind.STATEFUL_SET))["spec"]["template"]
    await patch_web(side, replace("/spec/template", template(BAD_IMAGE)), kind=Kind.STATEFUL_SET)

    async def bad() -> bool:
        pods = {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in await pods_of(side)}
        return pods.get("web-1") == BAD_IMAGE

    await side.until(bad, "the bad pod")
    await patch_web(side, replace("/spec/template", old), kind=Kind.STATEFUL_SET)
    for _ in range(20):
        await side.pause()
    assert await bad()
    pod = (await side.cluster.get(Kind.POD, side.namespace, "web-1"))["metadata"]
    await side.cluster.delete_pod(side.namespace, "web-1", pod["uid"])
    await gone(side, Kind.POD, "web-1", pod["uid"])
    await settled(side, Kind.STATEFUL_SET)
    assert not await bad()


async def test_a_daemon_set_has_a_pod_on_each_node_and_controller_revisions(side: Side) -> None:
    side.create(workload("DaemonSet"))
    web = await settled(side, Kind.DAEMON_SET)
    nodes = {n["metadata"]["name"] for n in await listed(side, Kind.NODE)}
    pods = await pods_of(side)
    assert {p["spec"]["nodeName"] for p in pods} == nodes
    assert web["status"]["desiredNumberScheduled"] == web["status"]["numberReady"] == len(nodes)
    await patch_web(side, replace(IMAGE, "registry.test/web:2"), kind=Kind.DAEMON_SET)
    await settled(side, Kind.DAEMON_SET)
    revisions = {r["revision"]: r for r in await listed(side, Kind.CONTROLLER_REVISION)}
    assert sorted(revisions) == [1, 2]
    code = revisions[2]["metadata"]["labels"]["controller-revision-hash"]
    assert revisions[2]["metadata"]["name"] == f"web-{code}"
    assert {p["metadata"]["labels"]["controller-revision-hash"] for p in await pods_of(side)} == {code}


async def test_an_autoscaler_reverts_a_scale_outside_its_limits(side: Side) -> None:
    side.create(workload())
    await settled(side)
    side.create(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 3,
                "maxReplicas": 5,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 80},
                        },
                    }
                ],
            },
        }
    )

    async def size(wanted: int) -> bool:
        web = await side.cluster.get(Kind.DEPLOYMENT, side.namespace, "web")
        return bool(web["spec"]["replicas"] == wanted)

    await side.until(lambda: size(3), "the minimum")
    await patch_web(side, replace("/spec/replicas", 8))
    await side.until(lambda: size(5), "the maximum")

    async def told() -> bool:
        autoscaler = await side.cluster.get(Kind.HPA, side.namespace, "web")
        return bool(autoscaler["status"]["desiredReplicas"] == 5)

    # The status is written after the scale: who reads in between sees the wish of before.
    await side.until(told, "the wish in the status")
