"""The contract of the port `Cluster` about new pods: a dry run is judged as a pod is, and stored never.

Left out is the admission plugin ServiceAccount, which the live control plane runs without; `tests/unit/sim/test_admission.py` has it.
"""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.errors import ObjectInvalid, ObjectMissing
from app.domain.json import Obj
from app.domain.target import Kind
from tests.contract.cluster.looks import condition_of, listed
from tests.contract.cluster.sides import Side, settled, template, workload


def _pod(**spec: Any) -> Obj:
    found = template()
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-", "labels": {"app": "web"}},
        "spec": {**found["spec"], **spec},
    }


def _object(kind: str, name: str, **fields: Any) -> Obj:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}


async def test_a_pod_that_could_be_made_is_given_as_it_would_be_stored_and_is_not_there(side: Side) -> None:
    found = await side.cluster.dry_run_pod(side.namespace, _pod())
    assert found["spec"]["restartPolicy"] == "Always"
    assert found["metadata"]["name"].startswith("web-")
    assert await listed(side, Kind.POD) == []


QUOTA = _object("ResourceQuota", "small", spec={"hard": {"limits.memory": "256Mi"}})
BOUNDS = {"limits": [{"type": "Container", "max": {"memory": "256Mi"}}]}
REFUSALS: list[tuple[str, list[Obj], dict[str, Any], str]] = [
    ("a quota", [QUOTA], {}, "exceeded quota: small"),
    (
        "a quota of another scope",
        [_object("ResourceQuota", "small", spec={"hard": {"pods": "0"}, "scopes": ["BestEffort"]})],
        {},
        "",
    ),
    (
        "a LimitRange",
        [_object("LimitRange", "bounds", spec=BOUNDS)],
        {},
        "maximum memory usage per Container is 256Mi",
    ),
    ("a priority that is not there", [], {"priorityClassName": "gone"}, "no PriorityClass with name gone"),
    ("a pull Secret that is not there is the kubelet's", [], {"imagePullSecrets": [{"name": "gone"}]}, ""),
]


@pytest.mark.parametrize(("there", "spec", "text"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
async def test_admission_judges_the_dry_run_as_it_judges_a_pod(
    side: Side, there: list[Obj], spec: dict[str, Any], text: str
) -> None:
    for manifest in there:
        side.create(manifest)
    if not text:
        await side.cluster.dry_run_pod(side.namespace, _pod(**spec))
        return
    with pytest.raises(ObjectInvalid) as refused:
        await side.cluster.dry_run_pod(side.namespace, _pod(**spec))
    assert refused.value.code == "admission_denied"
    assert text in refused.value.message


async def test_pod_security_refuses_pods_and_lets_workloads_in(side: Side) -> None:
    path = "/metadata/labels/pod-security.kubernetes.io~1enforce"
    await side.cluster.patch(
        Kind.NAMESPACE, "", side.namespace, [{"op": "add", "path": path, "value": "restricted"}]
    )
    with pytest.raises(ObjectInvalid) as refused:
        await side.cluster.dry_run_pod(side.namespace, _pod())
    assert refused.value.code == "admission_denied"
    assert 'violates PodSecurity "restricted:latest"' in refused.value.message
    side.create(workload())

    async def failed() -> bool:
        web = await side.cluster.get(Kind.DEPLOYMENT, side.namespace, "web")
        return condition_of(web, "ReplicaFailure") == ("True", "FailedCreate") if "status" in web else False

    await side.until(failed, "the Deployment to tell that its pods are refused")


@pytest.mark.parametrize("kind", [Kind.ROLLOUT, Kind.VPA, Kind.SCALED_OBJECT])
async def test_a_kind_that_nobody_has_installed_is_missing(side: Side, kind: Kind) -> None:
    with pytest.raises(ObjectMissing):
        await side.cluster.list_objects(kind, side.namespace)


async def test_each_namespace_has_its_default_account(side: Side) -> None:
    async def there() -> bool:
        try:
            await side.cluster.get(Kind.SERVICE_ACCOUNT, side.namespace, "default")
        except ObjectMissing:
            return False
        return True

    await side.until(there, "the account default")


async def test_claims_priorities_and_jobs_are_served(side: Side) -> None:
    with pytest.raises(ObjectMissing):
        await side.cluster.get(Kind.PVC, side.namespace, "data")
    with pytest.raises(ObjectMissing):
        await side.cluster.get(Kind.PRIORITY_CLASS, "", "gone")
    with pytest.raises(ObjectMissing):
        await side.cluster.get(Kind.JOB, side.namespace, "backup")
    with pytest.raises(ObjectMissing):
        await side.cluster.get(Kind.CRON_JOB, side.namespace, "backup")
    nodes = await side.cluster.list_objects(Kind.NODE, "")
    assert all(n["status"]["allocatable"]["memory"] for n in nodes)
    side.create(workload())
    await settled(side)
