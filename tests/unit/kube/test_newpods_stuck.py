"""Promise 11, a new pod could start: a rollout that stands still holds room of its own, which going back from it frees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.domain.errors import ObjectInvalid
from app.domain.json import Obj
from app.domain.new_pods import Finding, Part
from app.domain.plan import Action
from app.domain.target import Kind
from app.kube.actions import roll_back, rollout_restart
from app.kube.parse import parse_replica_set
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster, raising
from tests.unit.kube.newpods import NOW, faults, looked, named, node, quota

FULL_PODS: dict[str, Any] = {"hard": {"pods": "4"}, "used": {"pods": "4"}}
FULL_MEMORY: dict[str, Any] = {"hard": {"limits.memory": "2Gi"}, "used": {"limits.memory": "2Gi"}}
REFUSED = "exceeded quota: team, requested: pods=1, used: pods=4, limited: pods=4"


def _pod(revision: int, number: int, template: Obj, *, ready: bool) -> Obj:
    owner = m.owned_by("ReplicaSet", f"langgraph-hash{revision}", f"langgraph-hash{revision}-uid")
    made = m.pod(f"langgraph-hash{revision}-{number}", owner=owner, ready=ready)
    made["spec"] = {"nodeName": "node-1", **template["spec"]}
    return made


def _stuck(*more: Obj, old: int = 3, new: int = 1, was: Obj | None = None) -> FakeCluster:
    """Revision 2 crashes beside `old` ready pods of revision 1; three are wanted and one may surge."""
    before = m.template(was or m.container(image="registry.test/langgraph:v1"))
    deployment = m.deployment()
    after = deployment["spec"]["template"]
    sets = [m.replica_set(1, before), m.replica_set(2, after)]
    for made, wanted in zip(sets, (old, new), strict=True):
        made["spec"]["replicas"], made["status"] = wanted, {"replicas": wanted}
    pods = [_pod(1, n, before, ready=True) for n in range(old)]
    pods += [_pod(2, n, after, ready=False) for n in range(new)]
    return FakeCluster(deployment, *sets, *pods, named("ServiceAccount", "default"), node(), *more)


async def _back(cluster: FakeCluster) -> dict[Part, str]:
    return faults(await looked(cluster, None, (_roll_back(cluster),)))


def _roll_back(cluster: FakeCluster) -> Action:
    workload = m.workload(cluster.of(Kind.DEPLOYMENT, "langgraph"))
    kept = [parse_replica_set(cluster.of(Kind.REPLICA_SET, f"langgraph-hash{n}")) for n in (2, 1)]
    action = roll_back(workload, [replace(kept[0], current=True), kept[1]])
    assert isinstance(action, Action)
    return action


@pytest.mark.parametrize("full", [FULL_PODS, FULL_MEMORY], ids=["pods", "memory"])
@pytest.mark.parametrize(("old", "new"), [(3, 1), (2, 2)], ids=["all old ones stay", "one went"])
async def test_a_quota_that_the_stuck_release_fills_is_no_word_against_going_back(
    full: dict[str, Any], old: int, new: int
) -> None:
    cluster = _stuck(quota(**full), old=old, new=new)
    cluster.on_dry_run.append(raising(ObjectInvalid(REFUSED, code="admission_denied")))
    assert await _back(cluster) == {}


async def test_where_the_pods_that_it_goes_back_to_run_none_is_made_and_nothing_is_needed_for_one() -> None:
    """Their ConfigMap is gone, and no node takes a pod: they run all the same."""
    was = m.container(image="v1", envFrom=[{"configMapRef": {"name": "gone"}}])
    assert await _back(_stuck(was=was)) == {}
    assert "ConfigMap gone, which does not exist" in (await _back(_stuck(was=was, old=2)))[Part.CONFIGURATION]


async def test_a_pod_that_goes_away_is_none_that_stays() -> None:
    was = m.container(image="v1", envFrom=[{"configMapRef": {"name": "gone"}}])
    cluster = _stuck(was=was)
    cluster.of(Kind.POD, "langgraph-hash1-0")["metadata"]["deletionTimestamp"] = m.TIMES[1]
    assert Part.CONFIGURATION in await _back(cluster)


async def test_a_restart_of_pods_that_run_makes_new_ones() -> None:
    cluster = _stuck(quota(**FULL_PODS), new=0, old=3)
    cluster.of(Kind.REPLICA_SET, "langgraph-hash1")["spec"]["template"] = cluster.of(
        Kind.DEPLOYMENT, "langgraph"
    )["spec"]["template"]
    restart = rollout_restart(m.workload(cluster.of(Kind.DEPLOYMENT, "langgraph")), NOW)
    assert isinstance(restart, Action)
    cluster.on_dry_run.append(raising(ObjectInvalid(REFUSED, code="admission_denied")))
    assert set(faults(await looked(cluster, None, (restart,)))) == {Part.QUOTA, Part.ADMISSION}


async def test_a_release_that_made_its_pods_smaller_gives_back_only_what_they_hold() -> None:
    """A pod of 1 GiB comes in the place of one of 512 MiB, and a fourth of that size is there till it runs."""
    big = m.container(image="v1", resources={"limits": {"memory": "1Gi"}})
    full = quota(hard={"limits.memory": "3Gi"}, used={"limits.memory": "3Gi"})
    assert (
        "they need 512 MiB more limits.memory"
        in (await _back(_stuck(full, old=2, new=2, was=big)))[Part.QUOTA]
    )


async def test_pods_on_their_way_out_are_no_surge_that_the_release_holds() -> None:
    cluster = _stuck(quota(**FULL_PODS), old=2, new=2)
    cluster.of(Kind.POD, "langgraph-hash2-1")["metadata"]["deletionTimestamp"] = m.TIMES[1]
    assert Part.QUOTA in await _back(cluster)


async def test_another_word_of_admission_stays_a_refusal() -> None:
    cluster = _stuck(quota(**FULL_PODS), old=2, new=2)
    cluster.on_dry_run.append(raising(ObjectInvalid("violates PodSecurity", code="admission_denied")))
    assert set(await _back(cluster)) == {Part.ADMISSION}


async def test_a_refusal_for_a_quota_that_may_not_be_read_stays_one() -> None:
    cluster = _stuck(old=2, new=2)
    cluster.denied.add(("list", Kind.RESOURCE_QUOTA))
    cluster.on_dry_run.append(raising(ObjectInvalid(REFUSED, code="admission_denied")))
    found = await looked(cluster, None, (_roll_back(cluster),))
    assert [c.part for c in found.found(Finding.MISSING)] == [Part.ADMISSION]
