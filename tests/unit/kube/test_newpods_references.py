"""Promise 11, a new pod could start: what its template refers to by name is there."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.errors import ClusterUnavailable
from app.domain.json import Obj
from app.domain.new_pods import Finding, Part
from app.domain.plan import Action
from app.domain.target import Kind
from app.kube.actions import rollout_restart
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import raising
from tests.unit.kube.newpods import NOW, faults, looked, named, node, world


def _with(**fields: Any) -> Obj:
    """A Deployment whose container or pod has these fields."""
    of_container = {k: fields.pop(k) for k in ("env", "envFrom", "volumeMounts") if k in fields}
    return m.deployment(m.template(m.container(**of_container), **fields))


def _volume(**source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "v", **source}]}


KEY = {"name": "URL", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}
CONFIG, PULL, ACCOUNT, CLAIM, PRIORITY = (
    Part.CONFIGURATION,
    Part.PULL_SECRETS,
    Part.SERVICE_ACCOUNT,
    Part.VOLUMES,
    Part.PRIORITY,
)
ROWS: list[tuple[dict[str, Any], tuple[Obj, ...], Part, str]] = [
    (
        {"envFrom": [{"configMapRef": {"name": "cfg-1"}}]},
        (),
        CONFIG,
        "container app needs ConfigMap cfg-1, which does not exist",
    ),
    ({"env": [KEY]}, (), CONFIG, "container app needs Secret db, which does not exist"),
    (
        {"env": [KEY]},
        (named("Secret", "db", data={"password": "eA=="}),),
        CONFIG,
        "container app needs key url of Secret db, which does not have it",
    ),
    (
        _volume(projected={"sources": [{"configMap": {"name": "ca", "items": [{"key": "ca.crt"}]}}]}),
        (named("ConfigMap", "ca", data={}),),
        CONFIG,
        "container app needs key ca.crt of ConfigMap ca, which does not have it",
    ),
    (
        {"imagePullSecrets": [{"name": "registry"}]},
        (),
        PULL,
        "imagePullSecrets needs Secret registry, which does not exist",
    ),
    (
        {"serviceAccountName": "agent"},
        (named("ServiceAccount", "agent", imagePullSecrets=[{"name": "registry"}]),),
        PULL,
        "ServiceAccount agent needs Secret registry, which does not exist",
    ),
    (
        {"serviceAccountName": "agent"},
        (),
        ACCOUNT,
        "the pod needs ServiceAccount agent, which does not exist",
    ),
    (
        _volume(persistentVolumeClaim={"claimName": "data"}),
        (),
        CLAIM,
        "volume v needs PersistentVolumeClaim data, which does not exist",
    ),
    (
        _volume(persistentVolumeClaim={"claimName": "data"}),
        (named("PersistentVolumeClaim", "data", status={"phase": "Lost"}),),
        CLAIM,
        "volume v needs PersistentVolumeClaim data, which has lost its volume",
    ),
    (
        {"priorityClassName": "high"},
        (),
        PRIORITY,
        "the pod needs PriorityClass high, which does not exist",
    ),
]


@pytest.mark.parametrize(("fields", "there", "part", "text"), ROWS, ids=[r[3] for r in ROWS])
async def test_what_the_template_names_and_is_not_there_is_named(
    fields: dict[str, Any], there: tuple[Obj, ...], part: Part, text: str
) -> None:
    found = await looked(world(*there, deployment=_with(**fields)))
    assert faults(found) == {part: text}
    (check,) = found.found(Finding.MISSING)
    assert check.remedy


FINE: list[tuple[dict[str, Any], tuple[Obj, ...]]] = [
    ({"envFrom": [{"configMapRef": {"name": "gone", "optional": True}}]}, ()),
    ({"env": [KEY]}, (named("Secret", "db", data={"url": "eA=="}),)),
    ({"imagePullSecrets": [{"name": "registry"}]}, (named("Secret", "registry", data={}),)),
    (
        _volume(persistentVolumeClaim={"claimName": "data"}),
        (named("PersistentVolumeClaim", "data", status={"phase": "Pending"}),),
    ),
    ({"priorityClassName": "system-node-critical"}, ()),
]


@pytest.mark.parametrize(("fields", "there"), FINE)
async def test_what_is_there_optional_or_built_in_stands_in_nobody_s_way(
    fields: dict[str, Any], there: tuple[Obj, ...]
) -> None:
    assert faults(await looked(world(*there, deployment=_with(**fields)))) == {}


RIGHTS: list[tuple[dict[str, Any], Kind, Part, Finding]] = [
    ({"env": [KEY]}, Kind.SECRET, CONFIG, Finding.UNKNOWN),
    ({"imagePullSecrets": [{"name": "registry"}]}, Kind.SECRET, PULL, Finding.UNKNOWN),
    ({"serviceAccountName": "agent"}, Kind.SERVICE_ACCOUNT, ACCOUNT, Finding.UNKNOWN),
    ({}, Kind.SERVICE_ACCOUNT, ACCOUNT, Finding.UNTOLD),
    ({"priorityClassName": "high"}, Kind.PRIORITY_CLASS, PRIORITY, Finding.UNTOLD),
]


@pytest.mark.parametrize(("fields", "kind", "part", "finding"), RIGHTS)
async def test_what_may_not_be_read_is_not_missing_but_unknown(
    fields: dict[str, Any], kind: Kind, part: Part, finding: Finding
) -> None:
    cluster = world(deployment=_with(**fields))
    cluster.denied.add(("get", kind))
    found = await looked(cluster)
    assert faults(found) == {}
    assert [(c.finding, bool(c.text)) for c in found.checks if c.part is part] == [(finding, True)]


async def test_a_read_that_failed_in_passing_proves_nothing() -> None:
    """Promise 4: it is not taken for there, and not for missing either."""
    cluster = world(deployment=_with(env=[KEY]))
    cluster.on_get.append(raising(ClusterUnavailable("no answer")))
    with pytest.raises(ClusterUnavailable):
        await looked(cluster)


async def test_no_value_of_a_secret_is_kept() -> None:
    secret = named("Secret", "db", data={"password": "aHVudGVyMg=="})
    assert "aHVudGVyMg" not in repr(await looked(world(secret, deployment=_with(env=[KEY]))))


NODES: list[tuple[dict[str, Any], list[Obj], str]] = [
    ({}, [node(ready=False)], "none of 1 node could take a new pod: 1 not ready"),
    (
        {},
        [node("a", unschedulable=True), node("b", taints=[{"key": "gpu", "effect": "NoSchedule"}])],
        "none of 2 nodes could take a new pod: 1 cordoned, 1 with the taint gpu:NoSchedule",
    ),
    (
        {"nodeSelector": {"kubernetes.io/arch": "arm64"}},
        [node()],
        "none of 1 node could take a new pod: 1 without the label kubernetes.io/arch=arm64",
    ),
    (
        {},
        [node(allocatable={"memory": "128Mi"})],
        "none of 1 node could take a new pod: 1 too small (memory)",
    ),
    ({}, [node(ready=False), node("b")], ""),
    (
        {"tolerations": [{"key": "gpu", "operator": "Exists"}]},
        [node(taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])],
        "",
    ),
]


@pytest.mark.parametrize(("spec", "nodes", "text"), NODES)
async def test_some_node_could_take_the_pod_as_far_as_its_object_tells(
    spec: dict[str, Any], nodes: list[Obj], text: str
) -> None:
    cluster = world(deployment=_with(**spec))
    del cluster.objects["Node", "", "node-1"]
    for one in nodes:
        cluster.put(one)
    assert faults(await looked(cluster)) == ({Part.NODES: text} if text else {})


async def test_without_the_optional_right_nodes_are_not_known_and_close_nothing() -> None:
    cluster = world()
    cluster.denied.add(("list", Kind.NODE))
    found = await looked(cluster)
    assert [c.text for c in found.found(Finding.UNTOLD)] == ["nodes may not be listed"]
    assert found.found(Finding.MISSING, Finding.UNKNOWN) == ()


DAEMONS: list[tuple[Obj, Finding, str]] = [
    (node(), Finding.OK, ""),
    (node(ready=False), Finding.MISSING, "not ready, so that no new pod starts there: node node-1"),
    (node(unschedulable=True), Finding.UNKNOWN, "cordoned, so somebody takes it out of service: node node-1"),
]


@pytest.mark.parametrize(("where", "finding", "text"), DAEMONS)
async def test_a_daemon_set_s_pods_go_to_the_nodes_they_are_on(
    where: Obj, finding: Finding, text: str
) -> None:
    """A cordoned node is in somebody's hands: it asks."""
    manifest = m.daemon_set()
    pod = m.pod("agent-x", owner=m.owned_by("DaemonSet", "agent", "ds-uid"))
    cluster = world(manifest, pod)
    cluster.put(where)
    workload = m.workload(manifest)
    restart = rollout_restart(workload, NOW)
    assert isinstance(restart, Action)
    found = await looked(cluster, workload, (restart,))
    assert [(c.finding, c.text) for c in found.checks if c.part is Part.NODES] == [(finding, text)]
