"""Others who own the object: every controller is found with its name, and with where to change what it owns."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.errors import ClusterUnavailable
from app.domain.json import Obj
from app.domain.owner import Owners
from app.domain.target import Kind
from app.kube.controllers import owners_of
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster
from tests.unit.kube.newpods import named


def _owner(kind: str, api: str, name: str = "web") -> Obj:
    return {"apiVersion": api, "kind": kind, "name": name, "uid": "u", "controller": True}


async def _found(*more: Obj, autoscaler: Obj | None = None, **meta: Any) -> Owners:
    manifest = m.deployment()
    manifest["metadata"] |= meta
    cluster = FakeCluster(manifest, *more, *([autoscaler] if autoscaler else []))
    scaler = m.autoscaler() if autoscaler else None
    return await owners_of(cluster, m.workload(manifest, autoscaler=scaler))


REFERENCES = [
    (_owner("Widget", "example.com/v1"), "Widget web", "kubectl edit widget.example.com/web -n rag7"),
    (
        _owner("Cluster", "postgresql.cnpg.io/v1", "pg"),
        "Cluster pg (CloudNativePG)",
        "kubectl edit cluster.postgresql.cnpg.io/pg -n rag7",
    ),
    (
        _owner("PostgresCluster", "postgres-operator.crunchydata.com/v1beta1"),
        "PostgresCluster web (Crunchy Postgres operator)",
        "kubectl edit postgrescluster.postgres-operator.crunchydata.com/web -n rag7",
    ),
    (
        _owner("Elasticsearch", "elasticsearch.k8s.elastic.co/v1"),
        "Elasticsearch web (Elastic operator)",
        "kubectl edit elasticsearch.elasticsearch.k8s.elastic.co/web -n rag7",
    ),
    (
        _owner("Prometheus", "monitoring.coreos.com/v1"),
        "Prometheus web (Prometheus Operator)",
        "kubectl edit prometheus.monitoring.coreos.com/web -n rag7",
    ),
    (_owner("ConfigMap", "v1"), "ConfigMap web", "kubectl edit configmap/web -n rag7"),
]


@pytest.mark.parametrize(("reference", "text", "edit"), REFERENCES, ids=[r[1] for r in REFERENCES])
async def test_any_controller_reference_is_an_owner(reference: Obj, text: str, edit: str) -> None:
    (owner,) = (await _found(ownerReferences=[reference])).found
    assert (str(owner), owner.edit, owner.of) == (text, edit, Kind.DEPLOYMENT)


async def test_an_owner_that_is_no_controller_owns_nothing() -> None:
    assert (
        await _found(ownerReferences=[{**_owner("Widget", "example.com/v1"), "controller": False}])
    ).found == ()


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (
            {"application": "spilo", "cluster-name": "acid-pg"},
            "postgresql acid-pg (Zalando Postgres operator)",
        ),
        ({"cnpg.io/cluster": "pg"}, "Cluster pg (CloudNativePG)"),
        ({"strimzi.io/cluster": "events"}, "Kafka events (Strimzi)"),
    ],
)
async def test_operators_that_set_no_reference_are_known_by_their_labels(labels: Obj, text: str) -> None:
    assert [str(o) for o in (await _found(labels=labels)).found] == [text]


async def test_an_operator_with_label_and_reference_is_one_owner() -> None:
    reference = _owner("Cluster", "postgresql.cnpg.io/v1", "pg")
    assert len((await _found(ownerReferences=[reference], labels={"cnpg.io/cluster": "pg"})).found) == 1


@pytest.mark.parametrize(
    "meta",
    [
        {"ownerReferences": [_owner("ScaledObject", "keda.sh/v1alpha1")]},
        {"labels": {"scaledobject.keda.sh/name": "web"}},
    ],
)
async def test_keda_s_autoscaler_is_its_own(meta: Obj) -> None:
    scaler = m.hpa()
    scaler["metadata"] |= meta
    (owner,) = (await _found(autoscaler=scaler)).found
    assert (str(owner), owner.of) == ("ScaledObject web (KEDA)", Kind.HPA)


def _rollout(name: str, template: str) -> Obj:
    return named("Rollout", name, spec={"workloadRef": {"kind": "Deployment", "name": template}})


async def test_a_deployment_that_is_only_a_rollout_s_template_names_the_rollout() -> None:
    found = await _found(
        _rollout("web", "langgraph"), _rollout("other", "others"), named("Rollout", "own", spec={})
    )
    assert [(str(o), o.relation) for o in found.found] == [("Rollout web (Argo Rollouts)", "template")]


def _vpa(mode: str | None, **status: Any) -> Obj:
    spec: Obj = {"targetRef": {"kind": "Deployment", "name": "langgraph"}}
    if mode:
        spec["updatePolicy"] = {"updateMode": mode}
    return named("VerticalPodAutoscaler", "sizes", spec=spec, status=status)


@pytest.mark.parametrize(
    ("mode", "writes"),
    [
        ("Off", False),
        ("Initial", False),
        ("Recreate", True),
        ("Auto", True),
        ("InPlaceOrRecreate", True),
        (None, True),
    ],
)
async def test_a_vertical_autoscaler_writes_sizes_unless_it_only_recommends(
    mode: str | None, writes: bool
) -> None:
    found = await _found(_vpa(mode))
    assert [o.kind for o in found.found] == (["VerticalPodAutoscaler"] if writes else [])


async def test_its_recommendation_and_its_bound_are_told() -> None:
    status = {
        "recommendation": {
            "containerRecommendations": [{"containerName": "app", "target": {"memory": "768Mi"}}]
        }
    }
    vpa = _vpa("Auto", **status)
    vpa["spec"]["resourcePolicy"] = {
        "containerPolicies": [{"containerName": "app", "maxAllowed": {"memory": "512Mi"}}]
    }
    (owner,) = (await _found(vpa)).found
    assert owner.note == "recommends app 768 MiB; app at most 512 MiB"


@pytest.mark.parametrize("kind", [Kind.ROLLOUT, Kind.VPA])
async def test_what_may_not_be_listed_is_told(kind: Kind) -> None:
    cluster = FakeCluster(m.deployment())
    cluster.denied.add(("list", kind))
    assert (await owners_of(cluster, m.workload())).untold == (kind.value,)


async def test_promise_4_a_read_that_failed_in_passing_is_the_caller_s_to_hear_of() -> None:
    cluster = FakeCluster(m.deployment(), m.hpa())

    def away() -> None:
        raise ClusterUnavailable("no answer")

    cluster.on_get.append(away)
    with pytest.raises(ClusterUnavailable):
        await owners_of(cluster, m.workload(autoscaler=m.autoscaler()))
