"""The real client and the actions on a real API server: each written once, read back, and undone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.cluster import MARKER, LogQuery
from app.domain.errors import (
    AccessDenied,
    DisruptionBlocked,
    ObjectChanged,
    ObjectInvalid,
    ObjectMissing,
    OutcomeUnclear,
)
from app.domain.json import Obj
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import ActionKind
from app.domain.target import Kind
from app.domain.workload import RolloutState
from app.kube import actions, apply, read
from app.kube.client import KubeCluster
from app.kube.event import event_for
from app.kube.owners import resolve
from app.kube.rollout import rollout_status
from tests.live.stack import ControlPlane, wait_until
from tests.live.workload import Shop, action_of, carry_out, put_back, workload_of

pytestmark = pytest.mark.live

NOW = dt.datetime(2026, 3, 4, 3, 0, tzinfo=dt.UTC)


async def test_scaling_is_written_once_marked_and_undone(cluster: KubeCluster, shop: Shop) -> None:
    shop.create()
    action = action_of(actions.scale(await workload_of(cluster, shop), 4))
    first = await carry_out(cluster, action)
    assert first.result is ActionResult.APPLIED, first.text
    ref = action.object
    again = await apply.apply(cluster, action, "run_1/0.0", ref)
    assert (again.result, shop.get()["spec"]["replicas"]) == (ActionResult.APPLIED, 4)
    assert shop.get()["metadata"]["annotations"][MARKER] == "run_1/0.0"
    assert len([m for m in shop.plane.mutations(namespace=shop.namespace) if m.verb == "patch"]) == 1
    undone = await put_back(cluster, action)
    assert (undone.result, shop.get()["spec"]["replicas"]) == (UndoResult.UNDONE, 2), undone.text
    assert (await put_back(cluster, action)).result is UndoResult.UNDONE


async def test_an_edit_in_between_is_named_with_its_author(cluster: KubeCluster, shop: Shop) -> None:
    shop.create()
    action = action_of(actions.scale(await workload_of(cluster, shop), 4))
    shop.edit({"spec": {"replicas": 3}})
    found = await apply.check(cluster, action)
    assert found.ref is None
    assert "/spec/replicas is 3, not 2 (last set by kubectl-edit at" in found.text


async def test_rolling_back_skips_restarts_and_can_be_undone(cluster: KubeCluster, shop: Shop) -> None:
    shop.create()
    shop.image("registry.test/web:2")
    shop.settle()
    restart = action_of(actions.rollout_restart(await workload_of(cluster, shop), NOW))
    assert (await carry_out(cluster, restart, "run_0/0.0")).result is ActionResult.APPLIED
    shop.settle()
    workload = await workload_of(cluster, shop)
    revisions = await read.revisions(cluster, workload)
    assert [(r.number, r.images[0][-1], r.current) for r in revisions] == [
        (3, "2", True),
        (2, "2", False),
        (1, "1", False),
    ]
    action = action_of(actions.roll_back(workload, revisions))
    assert action.params["to_revision"] == 1
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    shop.settle()
    after = await workload_of(cluster, shop)
    assert after.containers[0].image == "registry.test/web:1"
    assert rollout_status(after).state is RolloutState.COMPLETE
    left = frozenset({str(action.params["left"])})
    second = actions.roll_back(after, await read.revisions(cluster, after), left)
    assert isinstance(second, actions.Impossible), second
    undone = await put_back(cluster, action)
    assert undone.result is UndoResult.UNDONE, undone
    assert (await workload_of(cluster, shop)).containers[0].image == "registry.test/web:2"


async def test_undo_leaves_a_template_alone_that_somebody_changed(cluster: KubeCluster, shop: Shop) -> None:
    shop.create()
    shop.image("registry.test/web:2")
    shop.settle()
    workload = await workload_of(cluster, shop)
    action = action_of(actions.roll_back(workload, await read.revisions(cluster, workload)))
    await carry_out(cluster, action)
    shop.image("registry.test/web:3")
    undone = await put_back(cluster, action)
    assert undone.result is UndoResult.CONFLICT
    assert "kubectl-edit" in undone.text
    assert "registry.test/web:3" in undone.text
    assert (await workload_of(cluster, shop)).containers[0].image == "registry.test/web:3"


async def test_raising_memory_keeps_the_request_equal_and_is_undone(cluster: KubeCluster, shop: Shop) -> None:
    shop.create()
    workload = await workload_of(cluster, shop)
    action = action_of(actions.raise_memory(workload, ["main"], 2.0, 4 * 1024**3))
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    resources = shop.get()["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert (resources["limits"]["memory"], resources["requests"]["memory"]) == ("1Gi", "1Gi")
    assert (await put_back(cluster, action)).result is UndoResult.UNDONE
    assert (await workload_of(cluster, shop)).containers[0].memory_limit == 512 * 1024**2


async def test_an_autoscaled_workload_gets_a_higher_minimum(cluster: KubeCluster, shop: Shop) -> None:
    shop.create()
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 2,
        "maxReplicas": 4,
    }
    kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    body = {**kind, "metadata": {"name": "web-hpa"}, "spec": spec}
    shop.plane.create(f"/apis/autoscaling/v2/namespaces/{shop.namespace}/horizontalpodautoscalers", body)
    action = action_of(actions.scale(await workload_of(cluster, shop), 5))
    assert (action.kind, action.object.name) == (ActionKind.RAISE_MIN_REPLICAS, "web-hpa")
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    hpa = await cluster.get(Kind.HPA, shop.namespace, "web-hpa")
    assert hpa["spec"]["minReplicas"] == 4
    assert (await put_back(cluster, action)).result is UndoResult.UNDONE


async def test_a_stateful_set_stuck_on_a_bad_pod_gets_going_again(cluster: KubeCluster, shop: Shop) -> None:
    shop.create("statefulsets", serviceName="web")
    shop.image("registry.test/web:2", "statefulsets", **{"kwok.test/fault": "crash"})

    def stuck() -> bool:
        listed = shop.plane.client().get(f"/api/v1/namespaces/{shop.namespace}/pods").json()["items"]
        return any(
            p["spec"]["containers"][0]["image"].endswith(":2")
            and not p.get("status", {}).get("containerStatuses", [{"ready": True}])[0]["ready"]
            for p in listed
        )

    wait_until(stuck, 60.0, what="a crashing pod")
    workload = await workload_of(cluster, shop, Kind.STATEFUL_SET)
    back = action_of(actions.roll_back(workload, await read.revisions(cluster, workload)))
    deletions = actions.unstick(workload, await read.read_pods(cluster, workload))
    assert len(deletions) == 1
    for number, action in enumerate((back, *deletions)):
        assert (await carry_out(cluster, action, f"run_1/0.{number}")).result is ActionResult.APPLIED
    shop.settle("statefulsets")


async def test_an_eviction_that_a_budget_forbids_is_refused(cluster: KubeCluster, shop: Shop) -> None:
    shop.create()
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
    budgets = f"/apis/policy/v1/namespaces/{shop.namespace}/poddisruptionbudgets"
    shop.plane.create(budgets, {**_PDB, "metadata": {"name": "one"}, "spec": spec})
    workload = await workload_of(cluster, shop)
    pod = (await read.read_pods(cluster, workload))[0]
    action = action_of(actions.evict_pod(pod, workload))
    refused = await apply.apply(cluster, action, "run_1/0.0", pod.ref)
    assert (refused.result, refused.code) == (ActionResult.REFUSED, "disruption_blocked")
    assert [b.ref.name for b in await read.pdbs_for(cluster, workload)] == ["one"]
    shop.plane.create(budgets, {**_PDB, "metadata": {"name": "two"}, "spec": spec})
    with pytest.raises(DisruptionBlocked, match="more than one PodDisruptionBudget"):
        await cluster.evict_pod(shop.namespace, pod.name, pod.ref.uid)
    for name in ("one", "two"):
        shop.plane.client().delete(f"{budgets}/{name}").raise_for_status()
    await cluster.evict_pod(shop.namespace, pod.name, pod.ref.uid, dry_run=True)
    assert [p.name for p in await read.read_pods(cluster, workload)].count(pod.name) == 1
    assert (await apply.apply(cluster, action, "run_1/0.0", pod.ref)).result is ActionResult.APPLIED
    assert (await apply.apply(cluster, action, "run_1/0.0", pod.ref)).result is ActionResult.APPLIED


_PDB = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}


async def test_faults_of_the_real_api_server_become_ours(cluster: KubeCluster, shop: Shop) -> None:
    shop.create()
    target = (Kind.DEPLOYMENT, shop.namespace, "web")
    with pytest.raises(ObjectMissing):
        await cluster.get(Kind.DEPLOYMENT, shop.namespace, "nothing")
    stale = [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}]
    with pytest.raises(ObjectChanged):
        await cluster.patch(*target, [*stale, {"op": "replace", "path": "/spec/replicas", "value": 9}])
    with pytest.raises(ObjectChanged):
        await cluster.patch(*target, [{"op": "test", "path": "/spec/replicas", "value": 7}])
    with pytest.raises(ObjectChanged):
        await cluster.patch(*target, [{"op": "remove", "path": "/spec/template/metadata/annotations/a"}])
    with pytest.raises(ObjectInvalid, match=r"spec\.replicas") as invalid:
        await cluster.patch(*target, [{"op": "replace", "path": "/spec/replicas", "value": -987654}])
    assert "987654" not in str(invalid.value)
    with pytest.raises(ObjectInvalid):
        await cluster.patch(*target, [{"op": "add", "path": "/spec/nonsense", "value": 1}])
    pods = await cluster.list_objects(Kind.POD, shop.namespace)
    with pytest.raises(ObjectChanged):
        await cluster.delete_pod(shop.namespace, pods[0]["metadata"]["name"], "another-uid")


async def test_missing_permissions_are_named(control_plane: ControlPlane, shop: Shop) -> None:
    shop.create()
    outsider = await KubeCluster.from_kubeconfig(str(control_plane.kubeconfig("outsider")))
    with pytest.raises(AccessDenied, match=r"the verb get on deployments.apps in namespace test-\w+ is not"):
        await outsider.get(Kind.DEPLOYMENT, shop.namespace, "web")
    assert not await outsider.can_i("patch", Kind.DEPLOYMENT, shop.namespace)
    assert not await outsider.can_i("create", Kind.POD, shop.namespace, "eviction")
    await outsider.close()


async def test_a_quota_in_the_way_is_no_missing_permission(cluster: KubeCluster, shop: Shop) -> None:
    shop.create()
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    hard = {"limits.memory": "1Gi", "requests.memory": "1Gi"}
    shop.plane.create(
        f"/api/v1/namespaces/{shop.namespace}/resourcequotas", {**quota, "spec": {"hard": hard}}
    )

    def counted() -> Any:
        path = f"/api/v1/namespaces/{shop.namespace}/resourcequotas/small"
        return shop.plane.client().get(path).json().get("status", {}).get("used", {}).get("limits.memory")

    wait_until(lambda: counted() == "1Gi", 30.0, what="the quota's usage")
    workload = await workload_of(cluster, shop)
    rooms = await read.quota_headroom(cluster, shop.namespace)
    no = actions.raise_memory(workload, ["main"], 2.0, 4 * 1024**3, (), rooms)
    assert isinstance(no, actions.Impossible)
    assert "quota small has 0 MiB of 1 GiB left" in no.why


async def test_events_logs_and_paging_work(
    cluster: KubeCluster, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.create()
    workload = await workload_of(cluster, shop)
    action = action_of(actions.scale(workload, 3))
    event = event_for(action, "run_1/0.0", "Remediated", "x" * 3000, NOW)
    for _ in range(2):
        await cluster.create_event(event)
    about = await read.events_about(cluster, shop.namespace, ["web"])
    assert "Remediated" in [e.reason for e in about]
    monkeypatch.setattr("app.kube.client._PAGE", 1)
    pods = await read.read_pods(cluster, workload)
    assert len(pods) == 2
    shop.plane.set_logs(shop.namespace, pods[0].name, "main", ["one", "two"])
    assert "two" in await cluster.logs(LogQuery(shop.namespace, pods[0].name, "main"))
    assert await cluster.logs(LogQuery(shop.namespace, pods[0].name, "main", previous=True)) == ""
    assert await resolve(cluster, shop.namespace, "Pod", pods[0].name) == workload.target


@pytest.mark.parametrize("lost", [True, False])
async def test_a_lost_answer_is_read_back(
    cluster: KubeCluster, shop: Shop, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.create()
    action = action_of(actions.scale(await workload_of(cluster, shop), 4))
    real: Callable[..., Any] = cluster.patch

    async def patch(*args: Any, **options: Any) -> Obj:
        if lost:
            await real(*args, **options)
        raise OutcomeUnclear("timed out")

    async def sleep(_: float) -> None: ...

    monkeypatch.setattr(cluster, "patch", patch)
    if lost:
        done = await apply.apply(cluster, action, "run_1/0.0", action.object, sleep=sleep)
        assert (done.result, shop.get()["spec"]["replicas"]) == (ActionResult.APPLIED, 4)
    else:
        with pytest.raises(Exception, match="nothing was written"):
            await apply.apply(cluster, action, "run_1/0.0", action.object, sleep=sleep)
        assert shop.get()["spec"]["replicas"] == 2
