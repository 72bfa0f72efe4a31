"""A template that keeps its own pods apart: no place is left for one more, or for the one that surges."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.new_pods import Finding, Part
from app.domain.plan import Action
from app.domain.target import Kind
from app.kube.actions import rollout_restart, scale
from app.kube.newpods.crowding import Crowd, crowding_checks
from app.kube.newpods.goal import Goal
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster
from tests.unit.kube.newpods import NOW, faults, looked, named, node, world

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
OWN = {"labelSelector": {"matchLabels": {"app": "langgraph"}}, "topologyKey": HOST}
APART = "the template's {} lets one pod on each of the {}: {} wanted, {} free beside 3 present pods"
AFFINITY, PORT = "required pod anti-affinity", "host port 8080"
SURGE: Obj = {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}
ROOM: Obj = {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}


def affine(**term: Any) -> dict[str, Any]:
    terms = [{**OWN, **term}]
    return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


def hosting(**port: Any) -> dict[str, Any]:
    return {"containers": [m.container(ports=[{"containerPort": 8080, "hostPort": 8080, **port}])]}


def claim(mode: str) -> Obj:
    return named("PersistentVolumeClaim", "data", spec={"accessModes": [mode]}, status={"phase": "Bound"})


SHARED = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}


def spread(spec: Obj, *more: Obj, nodes: int = 3, **fields: Any) -> FakeCluster:
    """Three pods, one on each of the first three nodes, in two zones."""
    template = m.template()
    template["spec"].update(copy.deepcopy(spec))
    cluster = world(*more, deployment=m.deployment(template, **fields))
    del cluster.objects["Node", "", "node-1"]
    for i in range(nodes):
        cluster.put(node(f"node-{i}", labels={HOST: f"node-{i}", ZONE: f"zone-{i % 2}"}))
    for i in range(3):
        cluster.objects["Pod", m.NAMESPACE, f"langgraph-hash2-{i}"]["spec"]["nodeName"] = f"node-{i}"
    return cluster


def scaled(cluster: FakeCluster, replicas: int) -> Sequence[Action]:
    action = scale(m.workload(cluster.objects["Deployment", m.NAMESPACE, "langgraph"]), replicas)
    assert isinstance(action, Action)
    return (action,)


OUT: list[tuple[str, dict[str, Any], int, str]] = [
    ("by node", affine(), 3, APART.format(AFFINITY, "nodes", "5 new pods", "0 places")),
    ("two nodes more", affine(), 5, APART.format(AFFINITY, "nodes", "5 new pods", "2 places")),
    ("enough nodes", affine(), 8, ""),
    ("by zone", affine(topologyKey=ZONE), 8, APART.format(AFFINITY, f"values of {ZONE}", "5 new pods", "0 places")),
    ("by an expression", affine(labelSelector={"matchExpressions": [{"key": "app", "operator": "In", "values": ["langgraph"]}]}), 3,
     APART.format(AFFINITY, "nodes", "5 new pods", "0 places")),
    ("of one revision", affine(matchLabelKeys=["pod-template-hash"]), 3, APART.format(AFFINITY, "nodes", "5 new pods", "0 places")),
    ("from others' pods", affine(labelSelector={"matchLabels": {"app": "redis"}}), 3, ""),
    ("without a selector", affine(labelSelector=None), 3, ""),
    ("in another namespace", affine(namespaces=["data"]), 3, ""),
    ("in all namespaces", affine(namespaceSelector={}), 3, APART.format(AFFINITY, "nodes", "5 new pods", "0 places")),
    ("by a label that no node has", affine(topologyKey="rack"), 3, ""),
    ("preferred only", {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": OWN}]}}}, 3, ""),
    ("host port", hosting(), 3, APART.format(PORT, "nodes", "5 new pods", "0 places")),
    ("host port, enough nodes", hosting(), 8, ""),
    ("host's network", {**hosting(), "hostNetwork": True}, 4, APART.format(PORT, "nodes", "5 new pods", "1 place")),
    ("a port of the pod only", {"containers": [m.container(ports=[{"containerPort": 8080}])]}, 3, ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spec", "nodes", "text"), OUT, ids=[row[0] for row in OUT])
async def test_a_scale_out_finds_a_place_for_each_new_pod(
    name: str, spec: dict[str, Any], nodes: int, text: str
) -> None:
    cluster = spread(spec, nodes=nodes)
    found = await looked(cluster, actions=scaled(cluster, 8))
    assert faults(found) == ({Part.NODES: text} if text else {}), name
    assert [c.finding for c in found.checks if c.part is Part.NODES] == [
        Finding.MISSING if text else Finding.OK
    ]


@pytest.mark.parametrize(
    ("mode", "replicas", "text"),
    [
        ("ReadWriteOncePod", 8, "PersistentVolumeClaim data (ReadWriteOncePod) lets one pod use it"),
        ("ReadWriteOnce", 8, ""),
        ("ReadWriteMany", 8, ""),
    ],
)
async def test_a_claim_for_one_pod_lets_no_second_one_start(mode: str, replicas: int, text: str) -> None:
    cluster = spread(SHARED, claim(mode))
    cluster.denied.add(("list", Kind.NODE))  # the claim tells it without the nodes
    assert faults(await looked(cluster, actions=scaled(cluster, replicas))) == (
        {Part.VOLUMES: text} if text else {}
    )


ROLLS: list[tuple[str, dict[str, Any], dict[str, Any], int, dict[Part, str]]] = [
    ("surges", affine(), SURGE, 3, {Part.NODES: APART.format(AFFINITY, "nodes", "1 new pod", "0 places")}),
    ("takes one down first", affine(), ROOM, 3, {}),
    ("surges to a node more", affine(), SURGE, 4, {}),
    ("keeps only one revision apart", affine(matchLabelKeys=["pod-template-hash"]), SURGE, 3, {}),
    ("surges with a host port", hosting(), SURGE, 3, {Part.NODES: APART.format(PORT, "nodes", "1 new pod", "0 places")}),
    ("all down first", hosting(), {"strategy": {"type": "Recreate"}}, 3, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spec", "fields", "nodes", "found"), ROLLS, ids=[row[0] for row in ROLLS])
async def test_a_restart_finds_a_place_for_the_pod_that_surges(
    name: str, spec: dict[str, Any], fields: dict[str, Any], nodes: int, found: dict[Part, str]
) -> None:
    cluster = spread(spec, nodes=nodes, **fields)
    restart = rollout_restart(m.workload(cluster.objects["Deployment", m.NAMESPACE, "langgraph"]), NOW)
    assert isinstance(restart, Action)
    assert faults(await looked(cluster, actions=(restart,))) == found, name


def test_a_rollback_to_pods_that_are_still_there_needs_no_place() -> None:
    """The release's pod found no node, or crashes on the only free one; the three of before run on."""
    old = m.template(m.container(image="registry.test/langgraph:v1"), **affine())
    new = m.template(**affine())
    workload = m.workload(m.deployment(new, **SURGE))
    sets = [m.replica_set(1, old), m.replica_set(2, new)]
    pods = []
    for i in range(3):
        pod = m.pod(f"langgraph-hash1-{i}", owner=m.owned_by("ReplicaSet", "langgraph-hash1", "r1"))
        pods.append({**pod, "spec": {**old["spec"], "nodeName": f"node-{i}"}})
    nodes = [node(f"node-{i}", labels={HOST: f"node-{i}"}) for i in range(3)]
    goal = Goal(workload, old, 3, rolls=True, surge=1, another=True)

    assert crowding_checks(goal, Crowd(pods, sets, nodes, {})) == []
    (fault,) = crowding_checks(goal, Crowd(pods, sets[1:], nodes, {}))
    assert fault.text == APART.format(AFFINITY, "nodes", "1 new pod", "0 places")
