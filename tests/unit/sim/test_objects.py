"""The object store: metadata, generations, ownership of fields, validation. (The rest is in the contract.)"""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.errors import ObjectChanged, ObjectInvalid, ObjectMissing
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.naming import Names
from app.sim.objects import Key, ObjectStore, key_of, make_key
from tests.unit.sim.worlds import IMAGE, SPACE, config_map, memory, workload


class Shop:
    """A store and its time."""

    def __init__(self) -> None:
        self.now = 1_772_593_200.0
        self.store = ObjectStore(Names("test"), lambda: self.now)

    def change(self, kind: Kind, name: str, patch: list[dict[str, Any]], manager: str) -> Obj:
        return self.store.patch(Key(kind, SPACE, name), patch, manager)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def _managers(obj: Obj) -> dict[tuple[str, str], Obj]:
    return {(e["manager"], e.get("subresource", "")): e for e in obj["metadata"]["managedFields"]}


def test_a_new_object_gets_the_servers_metadata(shop: Shop) -> None:
    made = shop.store.create(workload(), "kubectl-create")
    metadata = made["metadata"]
    assert metadata["creationTimestamp"] == "2026-03-04T03:00:00Z"
    assert metadata["generation"] == 1
    assert metadata["resourceVersion"] == "1001"
    assert len(metadata["uid"]) == 36
    assert list(_managers(made)) == [("kubectl-create", "")]


def test_the_callers_manifest_is_not_touched(shop: Shop) -> None:
    manifest = workload()
    shop.store.create(manifest, "kubectl-create")
    assert manifest == workload()


def test_a_name_is_taken_once(shop: Shop) -> None:
    shop.store.create(config_map("a"), "x")
    with pytest.raises(ObjectChanged, match="already exists"):
        shop.store.create(config_map("a"), "x")


def test_generated_names_never_meet(shop: Shop) -> None:
    made = []
    for _ in range(300):
        manifest = config_map("")
        manifest["metadata"] = {"generateName": "cm-", "namespace": SPACE}
        made.append(shop.store.create(manifest, "x")["metadata"]["name"])
    assert len(set(made)) == 300


def test_resource_versions_only_grow(shop: Shop) -> None:
    versions = [int(shop.store.create(config_map(n), "x")["metadata"]["resourceVersion"]) for n in "abc"]
    shop.store.delete(Key(Kind.CONFIG_MAP, SPACE, "a"))
    versions.append(int(shop.store.create(config_map("a"), "x")["metadata"]["resourceVersion"]))
    assert versions == sorted(set(versions))


def test_a_dry_run_creates_nothing(shop: Shop) -> None:
    shop.store.create(config_map("a"), "x", dry_run=True)
    assert shop.store.find(Key(Kind.CONFIG_MAP, SPACE, "a")) is None
    assert shop.store.count() == 0


def test_status_is_written_apart_and_makes_no_generation(shop: Shop) -> None:
    made = shop.store.create(workload(), "kubectl-create")
    shop.now += 60
    after = shop.store.update(
        {**made, "status": {"replicas": 2}, "spec": {}}, "controller", subresource="status"
    )
    assert after["status"] == {"replicas": 2}
    assert after["spec"] == made["spec"]
    assert after["metadata"]["generation"] == 1
    entry = _managers(after)["controller", "status"]
    assert entry["fieldsV1"] == {"f:status": {"f:replicas": {}}}
    assert entry["time"] == "2026-03-04T03:01:00Z"


def test_a_field_belongs_to_whoever_changed_it_last(shop: Shop) -> None:
    shop.store.create(workload(), "helm")
    shop.now += 60
    shop.change(
        Kind.DEPLOYMENT, "web", [{"op": "replace", "path": IMAGE, "value": "web:2"}], "alert-remediator"
    )
    shop.now += 60
    after = shop.change(
        Kind.DEPLOYMENT, "web", [{"op": "replace", "path": IMAGE, "value": "web:3"}], "kubectl-edit"
    )
    managers = _managers(after)
    assert ("alert-remediator", "") not in managers, "what owns nothing any more is gone"
    container = 'k:{"name":"main"}'
    mine = managers["kubectl-edit", ""]
    assert mine["time"] == "2026-03-04T03:02:00Z"
    assert mine["fieldsV1"] == {
        "f:spec": {"f:template": {"f:spec": {"f:containers": {container: {"f:image": {}}}}}}
    }
    helm = managers["helm", ""]
    owned = helm["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"][container]
    assert "f:image" not in owned
    assert "f:name" in owned
    assert helm["time"] == "2026-03-04T03:00:00Z"


def test_a_removed_field_belongs_to_nobody(shop: Shop) -> None:
    shop.store.create(config_map("a", one="1", two="2"), "kubectl-create")
    after = shop.change(Kind.CONFIG_MAP, "a", [{"op": "remove", "path": "/data/one"}], "kubectl-edit")
    assert _managers(after)["kubectl-create", ""]["fieldsV1"] == {"f:data": {"f:two": {}}}
    assert ("kubectl-edit", "") not in _managers(after)


def test_an_added_container_is_owned_as_an_item(shop: Shop) -> None:
    shop.store.create(workload(), "helm")
    side = {"name": "side", "image": "side:1"}
    path = "/spec/template/spec/containers/-"
    after = shop.change(Kind.DEPLOYMENT, "web", [{"op": "add", "path": path, "value": side}], "kubectl-edit")
    owned = _managers(after)["kubectl-edit", ""]["fieldsV1"]["f:spec"]["f:template"]["f:spec"]
    item = owned["f:containers"]['k:{"name":"side"}']
    assert {".", "f:name", "f:image"} <= item.keys()


def test_nothing_changed_means_nothing_written(shop: Shop) -> None:
    seen: list[Key] = []
    made = shop.store.create(workload(), "helm")
    shop.store.listeners.append(lambda key, _old, _new: seen.append(key))
    again = shop.change(
        Kind.DEPLOYMENT, "web", [{"op": "replace", "path": IMAGE, "value": "web:1"}], "kubectl-edit"
    )
    assert again is made
    assert seen == []


def test_what_the_server_owns_cannot_be_patched(shop: Shop) -> None:
    made = shop.store.create(workload(), "helm")["metadata"]
    patch: list[dict[str, Any]] = [
        {"op": "replace", "path": "/metadata/generation", "value": 99},
        {"op": "replace", "path": "/metadata/creationTimestamp", "value": "2020-01-01T00:00:00Z"},
        {"op": "add", "path": "/metadata/labels/x", "value": "y"},
    ]
    after = shop.change(Kind.DEPLOYMENT, "web", patch, "kubectl-edit")["metadata"]
    assert (after["generation"], after["creationTimestamp"]) == (1, made["creationTimestamp"])
    with pytest.raises(ObjectChanged, match="UID"):
        shop.change(Kind.DEPLOYMENT, "web", [{"op": "replace", "path": "/metadata/uid", "value": "x"}], "e")
    with pytest.raises(ObjectInvalid, match="cannot change"):
        shop.change(Kind.DEPLOYMENT, "web", [{"op": "replace", "path": "/metadata/name", "value": "x"}], "e")


def test_owned_objects_go_with_their_owner(shop: Shop) -> None:
    owner = shop.store.create(workload(), "helm")
    reference = {"kind": "Deployment", "name": "web", "uid": owner["metadata"]["uid"]}
    child = config_map("child")
    child["metadata"]["ownerReferences"] = [reference]
    shop.store.create(child, "x")
    assert [o["metadata"]["name"] for o in shop.store.owned(reference["uid"], Kind.CONFIG_MAP)] == ["child"]
    shop.store.delete(Key(Kind.DEPLOYMENT, SPACE, "web"))
    assert shop.store.count() == 0
    assert shop.store.owned(reference["uid"], Kind.CONFIG_MAP) == []


def test_lists_are_ordered_and_kept_apart_by_namespace(shop: Shop) -> None:
    for space, name in (("b", "two"), ("a", "one"), ("b", "one")):
        shop.store.create({**config_map(name), "metadata": {"name": name, "namespace": space}}, "x")

    def names(space: str) -> list[str]:
        found = shop.store.all(Kind.CONFIG_MAP, space)
        return [f"{o['metadata']['namespace']}/{o['metadata']['name']}" for o in found]

    assert names("b") == ["b/one", "b/two"]
    assert names("") == ["a/one", "b/one", "b/two"]
    assert names("c") == []


def test_keys_read_like_addresses() -> None:
    assert str(make_key(Kind.POD, "shop", "web-1")) == "shop/Pod/web-1"
    assert str(make_key(Kind.NODE, "ignored", "n1")) == "Node/n1"
    with pytest.raises(ObjectInvalid, match="unknown kind"):
        key_of({"kind": "Widget", "metadata": {"name": "x"}})


def test_what_is_missing_is_named(shop: Shop) -> None:
    with pytest.raises(ObjectMissing, match='deployments "web" not found'):
        shop.store.get(Key(Kind.DEPLOYMENT, SPACE, "web"))
    with pytest.raises(ObjectMissing):
        shop.store.delete(Key(Kind.DEPLOYMENT, SPACE, "web"))


def _broken(**changes: Any) -> Obj:
    return {**workload(), **changes}


@pytest.mark.parametrize(
    ("manifest", "where"),
    [
        (_broken(apiVersion="apps/v2"), "kind"),
        ({**workload(), "metadata": {"name": "Web", "namespace": SPACE}}, "metadata.name"),
        (
            {**workload(), "metadata": {"name": "w", "namespace": SPACE, "labels": {"a": 1}}},
            "metadata.labels",
        ),
        (
            {**workload(), "metadata": {"name": "w", "namespace": SPACE, "labels": {"a": "-"}}},
            "metadata.labels",
        ),
        (workload(replicas=True), "spec.replicas"),
        (workload(replicas=-1), "spec.replicas"),
        (workload(template={"spec": 1}), "spec.template"),
        (workload(selector={"matchLabels": {"app": "x"}}), "spec.template.metadata.labels"),
        (workload(image=""), "spec.template.spec.containers[0].image"),
        (workload(container={"name": ""}), "spec.template.spec.containers[0].name"),
        (workload(container=memory("1x")), "spec.template.spec.containers[0].resources.limits"),
        (
            workload(container=memory("64Mi", "65Mi")),
            "spec.template.spec.containers[0].resources.requests",
        ),
        (workload(container={"imge": "x"}), "spec.template.spec.containers[0].imge"),
        (
            workload(container={"resources": {"limit": {}}}),
            "spec.template.spec.containers[0].resources.limit",
        ),
        (workload(replica=1), "spec.replica"),
        (workload("DaemonSet", replicas=1), "spec.replicas"),
        (_broken(extra=1), "extra"),
        (_broken(spec="text"), "spec"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_an_invalid_manifest_is_refused_with_its_place(shop: Shop, manifest: Obj, where: str) -> None:
    with pytest.raises(ObjectInvalid) as caught:
        shop.store.create(manifest, "x")
    assert caught.value.where == where
    assert shop.store.count() == 0


def test_an_autoscaler_keeps_its_limits_in_order(shop: Shop) -> None:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 3, "maxReplicas": 2}
    manifest = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": SPACE},
        "spec": spec,
    }
    with pytest.raises(ObjectInvalid, match="minReplicas"):
        shop.store.create(manifest, "x")


def test_of_a_pod_only_images_change(shop: Shop) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": SPACE},
        "spec": {"containers": [{"name": "main", "image": "a:1", **memory("1Gi")}]},
    }
    made = shop.store.create(pod, "x")
    assert made["spec"]["containers"][0]["resources"]["requests"] == {"memory": "64Mi", "cpu": "100m"}
    shop.change(Kind.POD, "p", [{"op": "replace", "path": "/spec/containers/0/image", "value": "a:2"}], "x")
    limit = "/spec/containers/0/resources/limits/memory"
    with pytest.raises(ObjectInvalid, match="may not change"):
        shop.change(Kind.POD, "p", [{"op": "replace", "path": limit, "value": "2Gi"}], "x")


def test_a_pods_missing_request_is_its_limit(shop: Shop) -> None:
    spec = {"containers": [{"name": "main", "image": "a:1", "resources": {"limits": {"memory": "1Gi"}}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": SPACE}, "spec": spec}
    made = shop.store.create(pod, "x")
    assert made["spec"]["containers"][0]["resources"]["requests"] == {"memory": "1Gi"}
