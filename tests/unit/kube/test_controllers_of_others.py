"""Others who own the object: every controller is found with its name, and with where to change what it owns."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.errors import ClusterUnavailable
from app.domain.json import Obj
from app.domain.owner import Owners, Relation
from app.domain.target import Kind
from app.kube.owners import owners_of
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


async def test_an_owner_that_only_wants_it_deleted_with_it_is_one_as_well() -> None:
    """Many operators set no controller and write the object all the same."""
    found = await _found(ownerReferences=[{**_owner("Widget", "example.com/v1"), "controller": False}])
    assert [str(o) for o in found.found] == ["Widget web"]


def _writer(manager: str, **more: str) -> Obj:
    return {
        "managedFields": [
            {"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}, **more}
        ]
    }


TOOLS: list[tuple[Obj, str, str]] = [
    ({"annotations": {"objectset.rio.cattle.io/id": "default-web"}}, "Rancher Fleet", "declares"),
    (_writer("fleetagent"), "Rancher Fleet", "declares"),
    ({"annotations": {"objectset.rio.cattle.io/owner-gvk": "k3s.cattle.io/v1, Kind=Addon"}}, "K3s or RKE2", "declares"),
    ({"annotations": {"configmanagement.gke.io/managed": "enabled"}}, "Config Sync", "declares"),
    ({"labels": {"app.kubernetes.io/managed-by": "configmanagement.gke.io"}}, "Config Sync", "declares"),
    ({"annotations": {"config.k8s.io/owning-inventory": "x"}}, "kpt", "declares"),
    ({"labels": {"kapp.k14s.io/app": "1"}}, "kapp", "declares"),
    ({"labels": {"olm.owner": "web.v1"}}, "Operator Lifecycle Manager", "declares"),
    ({"labels": {"operators.coreos.com/web": ""}}, "Operator Lifecycle Manager", "declares"),
    ({"labels": {"addonmanager.kubernetes.io/mode": "Reconcile"}}, "addon-manager", "declares"),
    ({"labels": {"crossplane.io/claim-name": "web"}}, "Crossplane", "declares"),
    (_writer("apiextensions.crossplane.io/composed-1"), "Crossplane", "declares"),
    ({"labels": {"app.oam.dev/name": "web"}}, "KubeVela", "declares"),
    ({"labels": {"work.karmada.io/name": "web"}}, "Karmada", "declares"),
    (_writer("work-agent"), "Open Cluster Management", "declares"),
    ({"annotations": {"release.openshift.io/version": "4"}}, "OpenShift's version operator", "declares"),
    ({"labels": {"karmada.io/managed": "true"}}, "Karmada", "declares"),
    ({"labels": {"app.kubernetes.io/managed-by": "argocd"}}, "Argo CD", "declares"),
    ({"labels": {"app.kubernetes.io/managed-by": "flux"}}, "Flux", "declares"),
    ({"labels": {"deploy.razee.io/Reconcile": "true"}}, "Razee", "declares"),
    ({"labels": {"configmanagement.gke.io/system": "true"}}, "Config Sync", "declares"),
    (_writer("shop-operator"), "shop-operator", "declares"),
    ({"labels": {"app.kubernetes.io/managed-by": "shop-controller"}}, "shop-controller", "declares"),
    (_writer("Terraform"), "Terraform", "deploys"),
    (_writer("pulumi-kubernetes"), "Pulumi", "deploys"),
    ({"labels": {"app.kubernetes.io/managed-by": "spinnaker"}}, "Spinnaker", "deploys"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("meta", "tool", "relation"), TOOLS, ids=[f"{r[1]} {n}" for n, r in enumerate(TOOLS)]
)
async def test_tools_that_write_it_from_elsewhere_are_known_by_their_marks(
    meta: Obj, tool: str, relation: str
) -> None:
    (owner,) = (await _found(**meta)).found
    assert (str(owner), owner.relation) == (tool, relation)


@pytest.mark.parametrize(
    "meta",
    [
        {"annotations": {"configmanagement.gke.io/managed": "disabled"}},
        {"labels": {"addonmanager.kubernetes.io/mode": "EnsureExists"}},
        {
            "labels": {
                "app.kubernetes.io/managed-by": "kustomize",
                "app.kubernetes.io/part-of": "shop-operator",
            }
        },
        _writer("kubectl-edit"),
        _writer("kube-controller-manager"),
    ],
)
async def test_what_is_like_a_mark_is_none(meta: Obj) -> None:
    assert (await _found(**meta)).found == ()


def _scaled(kind: str | None = None, **annotations: str) -> Obj:
    reference = {"name": "langgraph"} if kind is None else {"name": "langgraph", "kind": kind}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "spec": {"scaleTargetRef": reference},
            "metadata": {"name": "web", "namespace": "rag7", "annotations": annotations}}  # fmt: skip


async def test_keda_s_own_object_is_found_where_no_autoscaler_leads_to_it() -> None:
    (owner,) = (await _found(_scaled(**{"autoscaling.keda.sh/paused-replicas": "0"}))).found
    assert (str(owner), owner.relation) == ("ScaledObject web (KEDA)", "scales")
    assert (
        owner.note,
        owner.held,
    ) == ("paused by autoscaling.keda.sh/paused-replicas: 0", "autoscaling.keda.sh/paused-replicas: 0")
    assert (await _found(_scaled("StatefulSet"))).found == ()


_FAILS = {"type": "Ready", "status": "False", "reason": "TriggerError", "message": "connection refused"}
_FALLS_BACK = {"type": "Fallback", "status": "True", "reason": "FallbackExists"}
_WELL = [{"type": "Ready", "status": "True"}, {"type": "Fallback", "status": "False"}]


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ([_FAILS], "Ready is False, TriggerError: connection refused"),
        ([_WELL[0], _FALLS_BACK], "Fallback is True, FallbackExists"),
        (_WELL, ""),
    ],
)
@pytest.mark.parametrize("made", [True, False], ids=["with its autoscaler", "without one"])
async def test_what_a_scaled_object_says_of_itself_is_told(
    conditions: list[Obj], told: str, made: bool
) -> None:
    scaler = m.hpa()
    scaler["metadata"]["labels"] = {"scaledobject.keda.sh/name": "web"}
    found = await _found(
        {**_scaled(), "status": {"conditions": conditions}}, autoscaler=scaler if made else None
    )
    assert [(str(o), o.note) for o in found.found] == [("ScaledObject web (KEDA)", told)]


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


@pytest.mark.parametrize(
    ("meta", "tools"),
    [
        ({"labels": {"common.k8s.elastic.co/type": "kibana", "kibana.k8s.elastic.co/name": "web"}}, ["Elastic operator"]),
        ({"labels": {"vcluster.loft.sh/managed-by": "vc1"}, "annotations": {"vcluster.loft.sh/object-name": "web"}}, ["vcluster"]),
        ({"annotations": {"vcluster.loft.sh/object-name": "web"}}, ["vcluster"]),
        ({"labels": {"cassandra.datastax.com/cluster": "c"}}, ["cass-operator"]),
        ({"labels": {"mysql.oracle.com/cluster": "c"}}, ["MySQL operator"]),
        ({"labels": {"gateway.networking.k8s.io/gateway-name": "g"}}, ["Gateway API"]),
        ({"labels": {"apps.emqx.io/managed-by": "x"}}, ["apps.emqx.io"]),
        ({"labels": {"gateway.envoyproxy.io/owning-gateway-name": "g"}}, ["gateway.envoyproxy.io"]),
        ({"annotations": {"operator.tigera.io/tier": "x"}}, ["operator.tigera.io"]),
        ({"annotations": {"postgres-operator.example.com/x": "y"}}, ["postgres-operator.example.com"]),
        ({"labels": {"app.kubernetes.io/created-by": "widget-operator"}}, ["widget-operator"]),
        ({"labels": {"app.kubernetes.io/managed-by": "me", "app.kubernetes.io/created-by": "me"}}, []),
        ({"annotations": {"alert-remediator.io/owner": "x", "backstage.io/managed-by": "x", "team.example.com/contact": "y"}}, []),
        ({"annotations": {"cooperators.example.com/x": "y"}}, []),
    ],
)  # fmt: skip
async def test_what_an_operator_marks_as_its_own_is_owned_without_a_reference(
    meta: Obj, tools: list[str]
) -> None:
    assert [str(o) for o in (await _found(**meta)).found] == tools


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


@pytest.mark.parametrize(
    ("its", "workloads", "told"),
    [
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, {}, [("Helm", "deploys")]),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:x"}}, {}, [("Argo CD", "declares")]),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, {}, [("Flux", "declares")]),
        # Who writes the workload, too, is told of that: one tool is one doubt.
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, {"labels": {"app.kubernetes.io/managed-by": "Helm"}}, []),
    ],
)  # fmt: skip
async def test_who_declares_an_autoscaler_is_told_where_the_workload_is_nobody_s(
    its: Obj, workloads: Obj, told: list[tuple[str, str]]
) -> None:
    scaler = m.hpa()
    scaler["metadata"] |= its
    found = (await _found(autoscaler=scaler, **workloads)).found
    assert [(str(o), o.relation.value) for o in found if o.of is Kind.HPA] == told


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
        ("Initial", True),  # a new template makes new pods, and those it sizes
        ("InPlace", True),
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


async def test_a_vertical_autoscaler_that_sizes_new_pods_only_says_so() -> None:
    (owner,) = (await _found(_vpa("Initial"))).found
    assert owner.note == "when a pod is made"


_CPU, _REQUESTS = {"controlledResources": ["cpu"]}, {"controlledValues": "RequestsOnly"}


@pytest.mark.parametrize(
    ("policies", "sized"),
    [
        ([], ["app"]),
        ([{"containerName": "app", "mode": "Off"}], []),
        ([{"containerName": "*", "mode": "Off"}], []),
        ([{"containerName": "*", "mode": "Off"}, {"containerName": "app", "mode": "Auto"}], ["app"]),
        ([{"containerName": "*", **_CPU}], []),
        ([{"containerName": "*", **_CPU}, {"containerName": "app"}], ["app"]),
        ([{"containerName": "app", **_REQUESTS}], []),
        ([{"containerName": "sidecar", "mode": "Off"}], ["app"]),
    ],
)  # fmt: skip
async def test_a_vertical_autoscaler_owns_the_memory_limits_that_it_sets_and_no_others(
    policies: list[Obj], sized: list[str]
) -> None:
    vpa = _vpa("Recreate")
    vpa["spec"]["resourcePolicy"] = {"containerPolicies": policies}
    found = (await _found(vpa)).found
    assert [list(o.parts) for o in found] == ([sized] if sized else [])


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


@pytest.mark.parametrize("kind", [Kind.ROLLOUT, Kind.VPA, Kind.SCALED_OBJECT])
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


def _wrote(manager: str, *, scale: bool = True, time: str = "", fields: Obj | None = None) -> Obj:
    """An entry of managedFields; one of the subresource scale has no time."""
    entry: Obj = {
        "manager": manager,
        "operation": "Update",
        "fieldsV1": {"f:spec": fields or {"f:replicas": {}}},
    }
    return entry | ({"subresource": "scale"} if scale else {}) | ({"time": time} if time else {})


DEPLOYED = _wrote(
    "deploy-bot", scale=False, time="2026-03-01T00:00:00Z", fields={"f:replicas": {}, "f:template": {}}
)
RESIZED = [
    ([DEPLOYED, _wrote("cron-scaler")], ["cron-scaler: time not told"]),
    (
        [DEPLOYED, _wrote("night-shift", scale=False, time="2026-03-02T20:00:00Z")],
        ["night-shift: at 2026-03-02 20:00:00 UTC"],
    ),
    ([DEPLOYED, _wrote("shop-operator")], ["shop-operator: time not told"]),
    ([DEPLOYED], []),
    ([_wrote("terraform", scale=False)], []),
    ([DEPLOYED, _wrote("kubectl")], []),
    ([DEPLOYED, _wrote("kubectl-scale")], []),
    ([DEPLOYED, _wrote("k9s")], []),
    ([DEPLOYED, _wrote("alert-remediator")], []),
    ([DEPLOYED, _wrote("kube-controller-manager")], []),
]


@pytest.mark.parametrize(("fields", "told"), RESIZED)
async def test_whoever_sets_the_replicas_by_a_script_is_named(fields: list[Obj], told: list[str]) -> None:
    found = (await _found(managedFields=fields)).found
    assert [f"{o}: {o.note}" for o in found if o.relation is Relation.RESIZES] == told


async def test_what_an_autoscaler_sizes_is_told_by_the_autoscaler_alone() -> None:
    found = await _found(managedFields=[_wrote("cron-scaler")], autoscaler=m.hpa())
    assert [o for o in found.found if o.relation is Relation.RESIZES] == []
