"""StatefulSets, DaemonSets and single pods on a real API server: the same actions, by other controllers."""

from __future__ import annotations

import datetime as dt

import pytest

from app.domain.cluster import MARKER
from app.domain.outcome import ActionResult, UndoResult
from app.domain.target import Kind
from app.domain.workload import RolloutState
from app.kube import actions, apply, read
from app.kube.client import KubeCluster
from app.kube.rollout import rollout_status
from tests.live.stack import wait_until
from tests.live.workload import KINDS, Shop, action_of, carry_out, put_back, workload_of

pytestmark = pytest.mark.live

NOW = dt.datetime(2026, 3, 4, 3, 0, tzinfo=dt.UTC)
PLURALS: dict[Kind, str] = {kind: plural for plural, kind in KINDS.items() if kind is not Kind.DEPLOYMENT}


def _create(shop: Shop, kind: Kind) -> None:
    more = {"serviceName": "web"} if kind is Kind.STATEFUL_SET else {}
    shop.create(PLURALS[kind], **more)


async def _rolled(cluster: KubeCluster, shop: Shop, kind: Kind, image: str) -> None:
    """The rollout ends, and the service sees it as complete with this image."""
    shop.settle(PLURALS[kind])
    after = await workload_of(cluster, shop, kind)
    assert after.containers[0].image == image
    assert rollout_status(after).state is RolloutState.COMPLETE, rollout_status(after)


@pytest.mark.parametrize("kind", PLURALS)
async def test_a_restart_replaces_every_pod_once(cluster: KubeCluster, shop: Shop, kind: Kind) -> None:
    _create(shop, kind)
    before = shop.pods()
    workload = await workload_of(cluster, shop, kind)
    assert len(before) == workload.desired
    action = action_of(actions.rollout_restart(workload, NOW))
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    again = await apply.apply(cluster, action, "run_1/0.0", action.object)
    assert (again.result, "applied already" in again.text) == (ActionResult.APPLIED, True)
    await _rolled(cluster, shop, kind, "registry.test/web:1")
    after = shop.pods()
    assert len(after) == len(before)
    assert not set(before.values()) & set(after.values())
    assert (await put_back(cluster, action)).result is UndoResult.NOTHING
    patches = [
        m for m in shop.plane.mutations(namespace=shop.namespace) if (m.verb, m.name) == ("patch", "web")
    ]
    assert len(patches) == 1


@pytest.mark.parametrize("kind", PLURALS)
async def test_a_rollback_takes_the_older_template_and_can_be_undone(
    cluster: KubeCluster, shop: Shop, kind: Kind
) -> None:
    """Their revisions are ControllerRevisions, whose numbers move when an old template comes back."""
    _create(shop, kind)
    shop.image("registry.test/web:2", PLURALS[kind])
    await _rolled(cluster, shop, kind, "registry.test/web:2")
    workload = await workload_of(cluster, shop, kind)
    action = action_of(actions.roll_back(workload, await read.revisions(cluster, workload)))
    assert (action.params["from_revision"], action.params["to_revision"]) == (2, 1)
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    assert shop.get(PLURALS[kind])["metadata"]["annotations"][MARKER] == "run_1/0.0"
    await _rolled(cluster, shop, kind, "registry.test/web:1")
    after = await workload_of(cluster, shop, kind)
    left = frozenset({str(action.params["left"])})
    second = actions.roll_back(after, await read.revisions(cluster, after), left)
    assert isinstance(second, actions.Impossible), second
    undone = await put_back(cluster, action)
    assert undone.result is UndoResult.UNDONE, undone
    await _rolled(cluster, shop, kind, "registry.test/web:2")


async def test_a_stateful_set_is_scaled_and_scaled_back(cluster: KubeCluster, shop: Shop) -> None:
    _create(shop, Kind.STATEFUL_SET)
    kept = shop.pods()
    action = action_of(actions.scale(await workload_of(cluster, shop, Kind.STATEFUL_SET), 3))
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    shop.settle("statefulsets")
    assert sorted(shop.pods()) == ["web-0", "web-1", "web-2"]
    undone = await put_back(cluster, action)
    assert undone.result is UndoResult.UNDONE, undone
    wait_until(lambda: shop.pods() == kept, what="the third pod to go, and no other")


async def test_a_daemon_set_has_no_replicas(cluster: KubeCluster, shop: Shop) -> None:
    _create(shop, Kind.DAEMON_SET)
    no = actions.scale(await workload_of(cluster, shop, Kind.DAEMON_SET), 3)
    assert isinstance(no, actions.Impossible)
    assert "one pod a node" in no.why


async def test_a_memory_limit_of_a_stateful_set_is_raised_and_put_back(
    cluster: KubeCluster, shop: Shop
) -> None:
    _create(shop, Kind.STATEFUL_SET)
    workload = await workload_of(cluster, shop, Kind.STATEFUL_SET)
    action = action_of(actions.raise_memory(workload, ["main"], 2.0, 4 * 1024**3))
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    await _rolled(cluster, shop, Kind.STATEFUL_SET, "registry.test/web:1")
    assert (await workload_of(cluster, shop, Kind.STATEFUL_SET)).containers[0].memory_limit == 1024**3
    assert (await put_back(cluster, action)).result is UndoResult.UNDONE
    assert (await workload_of(cluster, shop, Kind.STATEFUL_SET)).containers[0].memory_limit == 512 * 1024**2


@pytest.mark.parametrize("way", ["delete_pod", "evict_pod"])
async def test_a_removed_pod_of_a_stateful_set_is_removed_once_though_its_name_comes_back(
    cluster: KubeCluster, shop: Shop, way: str
) -> None:
    """The new pod is web-0 too: only its uid tells that it is not the one that was meant."""
    _create(shop, Kind.STATEFUL_SET)
    before = shop.pods()
    workload = await workload_of(cluster, shop, Kind.STATEFUL_SET)
    pod = next(p for p in await read.read_pods(cluster, workload) if p.name == "web-0")
    build = actions.delete_pod if way == "delete_pod" else actions.evict_pod
    action = action_of(build(pod, workload))
    assert await apply.dry_run(cluster, action, "run_1/0.0", pod.ref) == "the dry run was accepted"
    assert shop.pods() == before
    assert (await apply.apply(cluster, action, "run_1/0.0", pod.ref)).result is ActionResult.APPLIED
    wait_until(lambda: shop.pods().get("web-0") not in (None, before["web-0"]), what="the new web-0")
    came = shop.pods()
    assert "gone or terminating" in await apply.in_place(cluster, action, "run_1/0.0")
    again = await apply.apply(cluster, action, "run_1/0.0", pod.ref)
    assert (again.result, shop.pods()) == (ActionResult.APPLIED, came)
    assert came["web-1"] == before["web-1"]
    found = await put_back(cluster, action)
    assert (found.result, "makes a new pod" in found.text) == (UndoResult.NOTHING, True)


async def test_a_pod_without_a_controller_is_left_alone(cluster: KubeCluster, shop: Shop) -> None:
    """The same label, and nothing would bring it back."""
    _create(shop, Kind.STATEFUL_SET)
    workload = await workload_of(cluster, shop, Kind.STATEFUL_SET)
    container = {"name": "main", "image": "registry.test/web:1"}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "alone", "labels": {"app": "web"}},
        "spec": {"containers": [container]},
    }
    shop.plane.create(f"/api/v1/namespaces/{shop.namespace}/pods", manifest)
    assert sorted(p.name for p in await read.read_pods(cluster, workload)) == ["web-0", "web-1"]
