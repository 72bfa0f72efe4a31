"""Admission beyond the contract: accounts with their pull Secrets, and the level baseline."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.errors import ObjectInvalid
from app.domain.json import Obj
from app.domain.target import Kind
from tests.unit.sim.worlds import SPACE, World, workload


def _pod(**spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-"},
        "spec": {"containers": [{"name": "m", "image": "m:1"}], **spec},
    }


async def test_a_pod_s_account_has_to_be_there_and_gives_it_its_pull_secrets() -> None:
    world = World()
    world.create(workload())
    found = await world.cluster.dry_run_pod(SPACE, _pod())
    assert found["spec"]["serviceAccountName"] == "default"
    with pytest.raises(ObjectInvalid, match='serviceaccount "agent" not found'):
        await world.cluster.dry_run_pod(SPACE, _pod(serviceAccountName="agent"))
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "agent", "namespace": SPACE},
    }
    world.create({**account, "imagePullSecrets": [{"name": "registry"}]})
    found = await world.cluster.dry_run_pod(SPACE, _pod(serviceAccountName="agent"))
    assert found["spec"]["imagePullSecrets"] == [{"name": "registry"}]


async def test_a_workload_whose_account_is_gone_gets_no_more_pods_and_says_so() -> None:
    world = World()
    world.create(workload())
    world.wait(15)
    world.cluster.delete(Kind.SERVICE_ACCOUNT, SPACE, "default")
    world.cluster.edit(
        Kind.DEPLOYMENT, SPACE, "web", [{"op": "replace", "path": "/spec/replicas", "value": 3}]
    )
    world.wait(15)
    assert len(await world.pods()) == 2
    notes = [
        e["note"]
        for e in await world.cluster.list_objects(Kind.EVENT, SPACE)
        if e["reason"] == "FailedCreate"
    ]
    assert any('serviceaccount "default" not found' in n for n in notes)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"hostNetwork": True}, "host namespaces"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
        (
            {"containers": [{"name": "m", "image": "m:1", "securityContext": {"privileged": True}}]},
            'privileged (container "m" must not set securityContext.privileged=true)',
        ),
    ],
)
async def test_the_level_baseline_refuses_what_reaches_the_node(spec: Obj, told: str) -> None:
    world = World()
    world.create(workload())
    path = "/metadata/labels/pod-security.kubernetes.io~1enforce"
    world.cluster.edit(Kind.NAMESPACE, "", SPACE, [{"op": "add", "path": path, "value": "baseline"}])
    with pytest.raises(ObjectInvalid) as refused:
        await world.cluster.dry_run_pod(SPACE, _pod(**spec))
    assert told in refused.value.message
    await world.cluster.dry_run_pod(SPACE, _pod())
