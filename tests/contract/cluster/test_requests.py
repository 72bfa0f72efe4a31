"""The contract of the port `Cluster`, single requests: the simulated cluster answers like a real API server."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from app.domain.cluster import FIELD_MANAGER, MARKER, LogQuery
from app.domain.errors import ObjectChanged, ObjectInvalid, ObjectMissing, ProbeUnavailable
from app.domain.json import Obj
from app.domain.target import Kind
from tests.contract.cluster.sides import Side, gone, settled, workload

IMAGE = "/spec/template/spec/containers/0/image"
LIMIT = "/spec/template/spec/containers/0/resources/limits/memory"


def _replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


async def _web(side: Side) -> Obj:
    return await side.cluster.get(Kind.DEPLOYMENT, side.namespace, "web")


async def _patch(side: Side, *patch: dict[str, Any], dry_run: bool = False) -> Obj:
    return await side.cluster.patch(Kind.DEPLOYMENT, side.namespace, "web", patch, dry_run=dry_run)


async def test_a_stored_deployment_has_the_servers_metadata_and_defaults(side: Side) -> None:
    side.create(workload())
    found = await _web(side)
    assert found["apiVersion"] == "apps/v1"
    assert found["kind"] == "Deployment"
    metadata = found["metadata"]
    assert metadata["generation"] == 1
    assert metadata["uid"]
    assert metadata["resourceVersion"].isdigit()
    assert metadata["creationTimestamp"].endswith("Z")
    assert found["spec"] == {
        "progressDeadlineSeconds": 600,
        "replicas": 2,
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
        },
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "registry.test/web:1",
                        "imagePullPolicy": "IfNotPresent",
                        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                        "resources": {
                            "limits": {"memory": "512Mi"},
                            "requests": {"cpu": "100m", "memory": "256Mi"},
                        },
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File",
                    }
                ],
                "dnsPolicy": "ClusterFirst",
                "restartPolicy": "Always",
                "schedulerName": "default-scheduler",
                "securityContext": {},
                "terminationGracePeriodSeconds": 30,
            },
        },
    }


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_the_other_workloads_have_the_servers_defaults(side: Side, kind: str) -> None:
    side.create(workload(kind))
    spec = (await side.cluster.get(Kind(kind), side.namespace, "web"))["spec"]
    for known in ("template", "selector", "replicas", "serviceName"):
        spec.pop(known, None)
    assert (
        spec
        == {
            "StatefulSet": {
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                "podManagementPolicy": "OrderedReady",
                "revisionHistoryLimit": 10,
                "updateStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"partition": 0, "maxUnavailable": 1},
                },
            },
            "DaemonSet": {
                "revisionHistoryLimit": 10,
                "updateStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
                },
            },
        }[kind]
    )


async def test_what_is_not_there_is_missing(side: Side) -> None:
    with pytest.raises(ObjectMissing):
        await _web(side)
    with pytest.raises(ObjectMissing):
        await _patch(side, _replace("/spec/replicas", 3))
    with pytest.raises(ObjectMissing):
        await side.cluster.delete_pod(side.namespace, "web", "no-uid")
    assert await side.cluster.list_objects(Kind.DEPLOYMENT, side.namespace) == []


async def test_lists_choose_by_labels_and_fields_in_one_namespace(side: Side) -> None:
    for name, labels in (("a", {"app": "x", "tier": "one"}), ("b", {"app": "x"}), ("c", {"app": "y"})):
        side.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "labels": labels},
                "data": {},
            }
        )

    async def names(selector: str = "", fields: str = "") -> list[str]:
        found = await side.cluster.list_objects(Kind.CONFIG_MAP, side.namespace, selector, fields)
        return [o["metadata"]["name"] for o in found if o["metadata"]["name"] != "kube-root-ca.crt"]

    assert await names() == ["a", "b", "c"]
    assert await names("app=x") == ["a", "b"]
    assert await names("app in (x,y),!tier") == ["b", "c"]
    assert await names("app!=x") == ["c"]
    assert await names("tier") == ["a"]
    assert await names(fields="metadata.name=b") == ["b"]
    assert await names("app=x", "metadata.name!=b") == ["a"]


async def test_items_of_a_list_come_without_kind(side: Side) -> None:
    """The trap for whoever reads `kind` from a listed object."""
    side.create(workload(paused=True))
    (found,) = await side.cluster.list_objects(Kind.DEPLOYMENT, side.namespace)
    assert sorted(found.keys() - {"status"}) == ["metadata", "spec"]
    assert {"apiVersion", "kind"} <= (await _web(side)).keys()


async def test_a_patch_changes_one_object_and_signs_for_it(side: Side) -> None:
    before = side.create(workload())
    after = await _patch(
        side,
        _replace(IMAGE, "registry.test/web:2"),
        {"op": "add", "path": "/metadata/annotations", "value": {MARKER: "run_1/0.0"}},
    )
    assert after["metadata"]["annotations"][MARKER] == "run_1/0.0"
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    assert after["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.test/web:2"
    (entry,) = (e for e in after["metadata"]["managedFields"] if e["manager"] == FIELD_MANAGER)
    assert (entry["operation"], entry["apiVersion"], entry["fieldsType"]) == ("Update", "apps/v1", "FieldsV1")
    owned = entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert owned == {'k:{"name":"main"}': {"f:image": {}}}
    assert f"f:{MARKER}" in entry["fieldsV1"]["f:metadata"]["f:annotations"]
    others = [e for e in after["metadata"]["managedFields"] if e is not entry]
    assert all("'f:image':" not in str(e) for e in others)


@pytest.mark.parametrize(("kind", "counts"), [("Deployment", True), ("StatefulSet", False)])
async def test_an_annotation_makes_a_new_generation_of_deployments_only(
    side: Side, kind: str, counts: bool
) -> None:
    side.create(workload(kind))
    await settled(side, Kind(kind))
    before = await side.cluster.get(Kind(kind), side.namespace, "web")
    notes = before["metadata"].get("annotations", {})
    patch = [{"op": "add", "path": "/metadata/annotations", "value": {**notes, MARKER: "run_1/0.0"}}]
    after = await side.cluster.patch(Kind(kind), side.namespace, "web", patch)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + counts


async def test_a_label_makes_no_new_generation(side: Side) -> None:
    side.create(workload())
    after = await _patch(side, {"op": "add", "path": "/metadata/labels/edited", "value": "yes"})
    assert after["metadata"]["generation"] == 1


async def test_a_patch_that_changes_nothing_moves_no_resource_version(side: Side) -> None:
    side.create(workload(paused=True))
    await settled_paused(side)
    before = await _web(side)
    after = await _patch(side, _replace("/spec/replicas", 2))
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def settled_paused(side: Side) -> None:
    """Wait until the controllers have said their last word on a paused Deployment."""

    async def quiet() -> bool:
        found = await _web(side)
        return bool(found.get("status", {}).get("observedGeneration"))

    await side.until(quiet, "the status of a paused deployment")
    for _ in range(5):
        await side.pause()


async def test_a_patch_for_another_resource_version_is_refused_and_applies_nothing(side: Side) -> None:
    side.create(workload(paused=True))
    await settled_paused(side)
    before = await _web(side)
    stale = {**before["metadata"]}["resourceVersion"]
    side.edit(Kind.DEPLOYMENT, "web", [{"op": "add", "path": "/metadata/labels/edited", "value": "yes"}])
    with pytest.raises(ObjectChanged):
        await _patch(side, _replace("/metadata/resourceVersion", stale), _replace("/spec/replicas", 5))
    found = await _web(side)
    assert found["spec"]["replicas"] == 2
    current = found["metadata"]["resourceVersion"]
    after = await _patch(side, _replace("/metadata/resourceVersion", current), _replace("/spec/replicas", 5))
    assert after["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": IMAGE, "value": "registry.test/other:1"},
        {"op": "test", "path": "/metadata/annotations", "value": {"a": "b"}},
        {"op": "replace", "path": "/spec/template/spec/containers/1/image", "value": "x"},
        {"op": "replace", "path": "/metadata/annotations/none", "value": "x"},
        {"op": "remove", "path": "/spec/template/metadata/annotations"},
        {"op": "add", "path": "/metadata/annotations/key", "value": "x"},
    ],
    ids=lambda o: f"{o['op']} {o['path']}",
)
async def test_a_patch_that_does_not_fit_the_object_finds_it_changed(side: Side, operation: Obj) -> None:
    side.create(workload(paused=True))
    with pytest.raises(ObjectChanged):
        await _patch(side, operation, _replace("/spec/replicas", 7))
    assert (await _web(side))["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    "operation",
    [
        _replace("/spec/replicas", -1),
        _replace("/spec/replicas", "five"),
        _replace("/spec/selector/matchLabels/app", "other"),
        _replace("/spec/template/metadata/labels/app", "other"),
        _replace(IMAGE, ""),
        _replace(LIMIT, "128Mi"),
        _replace(LIMIT, "lots"),
        {"op": "add", "path": "/spec/replica", "value": 3},
        {"op": "add", "path": "/spec/template/spec/containers/0/resources/limit", "value": {"memory": "1Gi"}},
        {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "main", "image": "x:1"}},
    ],
    ids=lambda o: f"{o['path']}={o['value']}",
)
@pytest.mark.parametrize("dry_run", [False, True], ids=["for real", "dry run"])
async def test_an_invalid_object_is_refused_also_as_a_dry_run(
    side: Side, operation: Obj, dry_run: bool
) -> None:
    side.create(workload(paused=True))
    with pytest.raises(ObjectInvalid):
        await _patch(side, operation, dry_run=dry_run)


async def test_a_dry_run_answers_like_the_patch_and_stores_nothing(side: Side) -> None:
    side.create(workload(paused=True))
    await settled_paused(side)
    before = await _web(side)
    answer = await _patch(side, _replace(IMAGE, "registry.test/web:2"), dry_run=True)
    assert answer["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.test/web:2"
    assert answer["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert answer["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert await _web(side) == before


async def test_status_is_not_changed_through_the_object_itself(side: Side) -> None:
    side.create(workload())
    await settled(side)
    after = await _patch(side, _replace("/status/readyReplicas", 99))
    assert after["status"]["readyReplicas"] == 2


async def test_an_answer_is_a_copy(side: Side) -> None:
    side.create(workload(paused=True))
    await settled_paused(side)
    first = await _web(side)
    kept = copy.deepcopy(first)
    first["spec"]["template"]["spec"]["containers"].clear()
    assert await _web(side) == kept


async def test_a_namesake_has_another_uid(side: Side) -> None:
    old = side.create(workload())
    side.delete(Kind.DEPLOYMENT, "web")
    await gone(side, Kind.DEPLOYMENT, "web", old["metadata"]["uid"])
    side.create(workload())
    found = await _web(side)
    assert found["metadata"]["uid"] != old["metadata"]["uid"]
    assert found["metadata"]["generation"] == 1
    assert int(found["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])


async def test_cluster_scoped_kinds_ignore_the_namespace(side: Side) -> None:
    found = await side.cluster.get(Kind.NAMESPACE, "somewhere", side.namespace)
    assert found["metadata"]["name"] == side.namespace
    assert found["metadata"]["labels"]["kubernetes.io/metadata.name"] == side.namespace
    nodes = await side.cluster.list_objects(Kind.NODE, side.namespace)
    assert nodes
    conditions = {c["type"]: c["status"] for c in nodes[0]["status"]["conditions"]}
    assert conditions["Ready"] == "True"


def _event(namespace: str, **changes: Any) -> Obj:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "web.run-1", "namespace": namespace},
        "eventTime": "2026-03-04T03:00:00.000000Z",
        "reportingController": "alert-remediator.io/remediator",
        "reportingInstance": "remediator-0",
        "action": "RolloutRestart",
        "reason": "Remediated",
        "type": "Normal",
        "note": "Restarted",
        "regarding": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "web",
            "namespace": namespace,
        },
        **changes,
    }


async def test_an_event_is_created_once_by_its_name(side: Side) -> None:
    await side.cluster.create_event(_event(side.namespace))
    await side.cluster.create_event(_event(side.namespace, note="said again"))
    (found,) = await side.cluster.list_objects(Kind.EVENT, side.namespace)
    assert found["note"] == "Restarted"
    assert found["regarding"]["name"] == "web"


@pytest.mark.parametrize(
    "change",
    [
        {"note": "x" * 1025},
        {"reason": "x" * 129},
        {"type": "Bad"},
        {"action": ""},
        {"reportingInstance": ""},
        {"eventTime": "2026-03-04T03:00:00Z"},
    ],
    ids=lambda c: next(iter(c)),
)
async def test_a_malformed_event_is_refused(side: Side, change: Obj) -> None:
    with pytest.raises(ObjectInvalid):
        await side.cluster.create_event(_event(side.namespace, **change))


async def test_logs_of_a_pod_that_is_not_there_are_missing(side: Side) -> None:
    with pytest.raises(ObjectMissing):
        await side.cluster.logs(LogQuery(side.namespace, "web-0", "main"))


async def test_a_container_that_never_ended_has_no_previous_log(side: Side) -> None:
    side.create(workload())
    await settled(side)
    pods = await side.cluster.list_objects(Kind.POD, side.namespace)
    name = pods[0]["metadata"]["name"]
    assert await side.cluster.logs(LogQuery(side.namespace, name, "main", previous=True)) == ""
    with pytest.raises(ObjectInvalid):
        await side.cluster.logs(LogQuery(side.namespace, name, "no-such-container"))


async def test_without_the_metrics_api_usage_is_unavailable(side: Side) -> None:
    with pytest.raises(ProbeUnavailable):
        await side.cluster.pod_usage(side.namespace, "app=web")


async def test_an_administrator_may_patch(side: Side) -> None:
    assert await side.cluster.can_i("patch", Kind.DEPLOYMENT, side.namespace)
    assert await side.cluster.can_i("create", Kind.POD, side.namespace, "eviction")
