"""Labels that disagree name nothing, an alert of another cluster is none of ours, and what stands beside a workload has to be its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.domain.decision import Mode
from app.domain.json import Obj
from app.domain.target import Kind, Target
from app.flow.deciding.investigate import Subject, at_one
from app.flow.deciding.marks import named_beside
from app.kube.owners import Found
from app.kube.read import View
from app.policy.match import Hint, NoHint, beside, could_be_its, target_hint
from app.store.incidents import Incident
from tests.unit.causes.cluster import NOW
from tests.unit.causes.world import SPACE, WEB, World
from tests.unit.policy.cases import policy_of

POLICY = policy_of()


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (
            {"deployment": "web", "statefulset": "db"},
            'label "deployment" names web and label "statefulset" names db',
        ),
        ({"deployment": "web", "daemonset": "agent"}, 'label "daemonset" names agent'),
        (
            {"deployment": "web", "workload": "db", "workload_type": "statefulset"},
            'label "statefulset" names db',
        ),
        ({"deployment": "web", "cronjob": "report"}, 'label "cronjob" names report'),
        ({"deployment": "web", "workload": "db"}, 'label "workload" names db'),
        ({"deployment": "web", "workload": "web", "workload_type": "rollout"}, 'label "workload" names web'),
        (
            {"deployment": "web", "owner_name": "db", "owner_kind": "Deployment"},
            'label "owner_name" names db',
        ),
        (
            {"deployment": "web", "created_by_name": "db", "created_by_kind": "StatefulSet"},
            'label "statefulset" names db',
        ),
        (
            {"deployment": "web", "scaletargetref_name": "db", "scaletargetref_kind": "Deployment"},
            'label "scaletargetref_name" names db',
        ),
        ({"deployment": "web", "destination_workload": "db"}, 'label "destination_workload" names db'),
        ({"deployment": "web", "k8s.deployment.name": "db"}, 'label "k8s.deployment.name" names db'),
        ({"deployment": "web", "k8s_deployment_name": "db"}, 'label "k8s_deployment_name" names db'),
        ({"deployment": "web", "kube_deployment": "db"}, 'label "kube_deployment" names db'),
        ({"deployment": "web", "kubernetes_deployment": "db"}, 'label "kubernetes_deployment" names db'),
        ({"deployment": "web", "kubernetes.statefulset.name": "db"}, 'label "statefulset" names db'),
        ({"deployment": "web", "kube_daemonset": "db"}, 'label "daemonset" names db'),
        ({"statefulset": "db", "kube_statefulset": "web"}, 'label "kube_statefulset" names web'),
        ({"workload": "web", "destination_workload": "db"}, "db"),
        ({"pod": "web-0", "k8s.pod.name": "db-0"}, 'label "k8s.pod.name" names db-0'),
        ({"pod": "web-0", "kubernetes_pod_name": "kube-state-metrics-0"}, ""),
        ({"deployment": "web", "k8s.deployment.name": "kube-state-metrics"}, ""),
        ({"deployment": "web", "kube_deployment": "web", "k8s.deployment.name": "web"}, ""),
        ({"deployment": "web", "owner_name": "<none>", "owner_kind": "<none>"}, ""),
        ({"deployment": "web", "replicaset": "web-5d9c7b8f6d", "pod": "web-5d9c7b8f6d-x2x4z"}, ""),
        ({"deployment": "web", "horizontalpodautoscaler": "frontend"}, ""),
        ({"deployment": "web", "exported_workload": "db"}, 'label "exported_workload" names db'),
        ({"deployment": "web", "workload_name": "db"}, 'label "workload_name" names db'),
        ({"deployment": "web", "Deployment": "db"}, 'label "Deployment" names db'),
        ({"deployment": "web", "dst_stateful_set_name": "web"}, 'label "dst_stateful_set_name" names web'),
        ({"deployment": "web", "argo_rollout": "db", "controller_pod": "proxy-0"}, ""),  # nobody knows whose
        ({"deployment": "web", "rollout": "db"}, 'label "rollout" names db'),
        (
            {"deployment": "web", "exported_owner_name": "db", "exported_owner_kind": "StatefulSet"},
            "names db",
        ),
        ({"deployment": "web", "scaleTargetRef_name": "db"}, 'label "scaleTargetRef_name" names db'),
        ({"deployment": "web", "destination_workload": "unknown"}, ""),
        ({"deployment": "web", "destination_app": "db"}, 'label "destination_app" names db'),
        ({"deployment": "web", "destination_canonical_service": "db"}, "names db"),
        (
            {"deployment": "web", "destination_service": "db.rag7.svc.cluster.local"},
            'label "destination_service" names db',
        ),
        ({"deployment": "web", "scaledobject": "db"}, 'label "scaledobject" names db'),
        ({"deployment": "web-v2", "destination_canonical_service": "web", "destination_app": "unknown"}, ""),
        ({"deployment": "web", "scaledObject": "web-scaler", "source_app": "db"}, ""),
        ({"deployment": "web", "owner": "team-db", "service": "db", "job": "db"}, ""),
        ({"deployment": "web", "statefulset": ""}, ""),
        ({"deployment": "web", "workload": "web", "workload_type": "deployment"}, ""),
    ],
)
def test_labels_that_name_two_workloads_name_none(labels: dict[str, str], why: str) -> None:
    found = target_hint(POLICY.rules[0], labels)
    assert (found.why if isinstance(found, NoHint) else "").endswith(why)
    assert isinstance(found, NoHint) is bool(why)


@pytest.mark.parametrize(
    ("labels", "other"),
    [
        ({"destination_namespace": "pay"}, "destination_namespace"),
        ({"destination_service_namespace": "pay"}, "destination_service_namespace"),
        ({"pod_namespace": "pay"}, "pod_namespace"),
        (
            {"container_label_io_kubernetes_pod_namespace": "pay"},
            "container_label_io_kubernetes_pod_namespace",
        ),
        ({"k8s_namespace_name": "pay"}, "k8s_namespace_name"),
        ({"destination_service_namespace": "unknown", "source_namespace": "pay"}, ""),
        ({"controller_namespace": "ingress-nginx", "namespace_kind": "pay"}, ""),
        ({"pod_namespace": "shop"}, ""),
    ],
)
def test_labels_that_name_two_namespaces_name_none(labels: dict[str, str], other: str) -> None:
    rule = policy_of(rule="target: {name: {label: deployment}, namespace: {label: namespace}}\n").rules[0]
    found = target_hint(rule, {"namespace": "shop", "deployment": "web", **labels})
    why = f'label "namespace" names shop and label "{other}" pay' if other else ""
    assert (found.why if isinstance(found, NoHint) else "") == why


@pytest.mark.parametrize(
    ("labels", "by"),
    [
        ({"namespace": "payments"}, "namespace"),
        ({"kube_namespace": "payments"}, "kube_namespace"),
        ({"exported_namespace": "payments"}, "exported_namespace"),
        ({"namespace": "rag7", "exported_namespace": "payments"}, "exported_namespace"),
        ({"destination_workload_namespace": "payments"}, "destination_workload_namespace"),
        ({"namespace": "rag7", "pod_namespace": "payments"}, "pod_namespace"),
        ({"pod_namespace": "payments"}, "pod_namespace"),
        ({"instance": "http://web.payments.svc:8080"}, "instance"),
        ({"unread_labels": "custom_details"}, "custom_details"),
        ({}, ""),
        ({"namespace": "rag7"}, ""),
        ({"namespace": "monitoring", "exported_namespace": "rag7"}, ""),  # the exporter's own
        ({"source_namespace": "payments"}, ""),
    ],
)
@pytest.mark.parametrize("name", ["{label: deployment}", "{label: deployment, default: web}"])
def test_a_constant_namespace_never_overrules_what_the_alert_says(
    labels: dict[str, str], by: str, name: str
) -> None:
    rule = policy_of(rule=f"target: {{name: {name}, namespace: {{default: rag7}}}}\n").rules[0]
    found = target_hint(rule, {"deployment": "web", **labels})
    if by:
        assert isinstance(found, NoHint)
        assert by in found.why
    else:
        assert isinstance(found, Hint)
        assert (found.namespace, found.name) == ("rag7", "web")


def test_nor_does_that_of_a_rule_for_one_workload() -> None:
    rule = policy_of(rule="target: {name: {default: web}, namespace: {default: rag7}}\n").rules[0]
    found = target_hint(rule, {"namespace": "payments"})
    assert isinstance(found, NoHint)
    assert found.why == 'label "namespace" names payments, and the rule is for rag7 alone'
    assert isinstance(target_hint(rule, {"namespace": "rag7"}), Hint)
    assert isinstance(target_hint(rule, {"unread_labels": "custom_details"}), Hint)


@pytest.mark.parametrize("asked", ["namespace", "exported_namespace"])
def test_the_namespace_that_the_rule_itself_asks_for_is_meant(asked: str) -> None:
    target = "target: {name: {label: deployment}, namespace: {default: rag7}}"
    rule = policy_of(rule=f'when: {asked}="blackbox"\n{target}\n').rules[0]
    found = target_hint(rule, {"deployment": "web", "exported_namespace": "blackbox"})
    assert isinstance(found, Hint)
    assert found.namespace == "rag7"
    assert isinstance(target_hint(rule, {"deployment": "web", "namespace": "payments"}), NoHint)


OURS = policy_of("labels: {our_cluster: eu-1}\n")


@pytest.mark.parametrize(
    ("labels", "ours"),
    [
        ({}, True),
        ({"cluster": "eu-1"}, True),
        ({"cluster": "eu-2"}, False),
        ({"kube_cluster_name": "eu-2"}, False),
        ({"k8s.cluster.name": "eu-2"}, False),
        ({"cluster": "eu-1", "exported_cluster": "eu-2"}, False),
        ({"cluster": "eu-1", "k8s_cluster": "eu-2"}, False),
        ({"cluster": "eu-1", "cluster_id": "eu-2"}, False),
        ({"clusterName": "eu-2"}, False),
        ({"cluster_name": "eu-2"}, False),
        ({"destination_cluster": "eu-2"}, False),
        ({"eks_cluster_name": "eu-2"}, False),
        ({"cluster": "eu-1", "cluster_uuid": "eu-2"}, False),
        ({"cluster": "eu-1", "member_cluster": "eu-2"}, False),
        ({"cluster": "eu-1", "workloadCluster": "eu-2"}, False),
        ({"cluster": "eu-1", "prometheus_cluster": "eu-2"}, False),
        ({"cluster": "eu-1", "clusterName": "eu-1", "k8s_cluster_name": "eu-1"}, True),
        ({"source_cluster": "eu-2", "redis_cluster": "cache", "cluster_role": "admin"}, True),
    ],
)
def test_an_alert_of_another_cluster_is_none_of_ours(labels: dict[str, str], *, ours: bool) -> None:
    """One Alertmanager for several clusters with equal names: where the policy says what ours is called."""
    found = target_hint(OURS.rules[0], {"deployment": "web", **labels})
    assert isinstance(found, Hint) is ours
    assert ours or "another cluster" in getattr(found, "why", "")
    assert isinstance(target_hint(POLICY.rules[0], {"deployment": "web", **labels}), Hint)


def test_a_cluster_may_have_several_names() -> None:
    policy = policy_of("labels: {our_cluster: [eu-1, 7f3c]}\n")
    labels = {"deployment": "web", "cluster": "eu-1", "cluster_id": "7f3c"}
    assert isinstance(target_hint(policy.rules[0], labels), Hint)
    found = target_hint(policy.rules[0], {**labels, "cluster_id": "81aa"})
    assert isinstance(found, NoHint)
    assert found.why.endswith('label "cluster_id" names 81aa, and this one is eu-1 or 7f3c')


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"deployment": "web"}, ()),
        ({"pod": "web-0", "k8s.pod.name": "web-0"}, ()),
        ({"deployment": "web", "pod": "db-0"}, (("pod", "Pod", "db-0"),)),
        ({"deployment": "web", "k8s.pod.name": "db-0"}, (("pod", "Pod", "db-0"),)),
        ({"deployment": "web", "pod": "web-0", "pod_name": "db-0"}, (("pod", "Pod", "web-0"), ("pod_name", "Pod", "db-0"))),
        ({"deployment": "web", "hpa": "db"}, (("horizontalpodautoscaler", "HorizontalPodAutoscaler", "db"),)),
        ({"deployment": "web", "created_by_name": "db-x", "created_by_kind": "ReplicaSet"}, (("replicaset", "ReplicaSet", "db-x"),)),
    ],
)  # fmt: skip
def test_what_stands_beside_a_workload_is_told_for_the_cluster_to_say_whose_it_is(
    labels: dict[str, str], found: tuple[tuple[str, str, str], ...]
) -> None:
    assert beside(POLICY.rules[0], labels) == found


_LONG = "a" * 50


@pytest.mark.parametrize(
    ("kind", "name", "pod", "could"),
    [
        ("Deployment", "web", "web-5d9c7b8f6d-x2x4z", True),
        ("Deployment", "web", "web-worker-0", False),
        ("Deployment", "web", "web-0", False),
        ("Deployment", "web", "web-x2x4z", False),
        ("Deployment", "web", "web-api-5d9c7b8f6d-x2x4z", False),
        ("Deployment", "web", "web-28562245-x2x4z", False),  # a CronJob's
        ("Deployment", "web", "web", False),
        ("Deployment", _LONG, f"{_LONG}-5d9c7b8x2x4z", True),  # cut before the suffix
        ("Deployment", _LONG, f"{_LONG}-worker-x2x4z", False),
        ("StatefulSet", "web", "web-0", True),
        ("StatefulSet", "web", "web-worker-0", False),
        ("StatefulSet", "web", "web-5d9c7b8f6d-x2x4z", False),
        ("DaemonSet", "web", "web-x2x4z", True),
        ("DaemonSet", "web", "web-worker-x2x4z", False),
        ("DaemonSet", "web", "web-5d9c7b8f6d-x2x4z", False),
    ],
)
def test_only_a_name_of_the_form_that_the_cluster_gives_is_a_pod_of_a_workload(
    kind: str, name: str, pod: str, *, could: bool
) -> None:
    assert could_be_its(Target("shop", Kind(kind), name), Kind.POD, pod) is could


@pytest.mark.parametrize(
    ("kind", "name", "could"),
    [
        (Kind.REPLICA_SET, "web-5d9c7b8f6d", True),
        (Kind.REPLICA_SET, "web-api-5d9c7b8f6d", False),
        (Kind.HPA, "web", True),
        (Kind.HPA, "keda-hpa-web", True),
        (Kind.HPA, "web-api", False),
    ],
)
def test_so_it_is_for_replica_sets_and_autoscalers(kind: Kind, name: str, *, could: bool) -> None:
    assert could_be_its(Target("shop", Kind.DEPLOYMENT, "web"), kind, name) is could


FRONTS = ("app", "service", "k8s_app", "app_kubernetes_io_name", "service_name", "exported_service", "kubernetes_name", "backend",
          "upstream", "label_app", "application", "kube_service")  # fmt: skip
GROUPS = ("job", "release")
APPS = (*FRONTS, *GROUPS)


def of_checkout() -> list[Obj]:
    """Another Deployment with its ReplicaSet, pod and autoscaler."""

    def owned(kind: str, name: str, owner: tuple[str, str] | None = None) -> Obj:
        by = [{"kind": owner[0], "name": owner[1], "uid": owner[1], "controller": True}] if owner else []
        meta = {"name": name, "namespace": SPACE, "uid": name, "labels": {}, "ownerReferences": by}
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": {}, "status": {}}

    scaler = owned("HorizontalPodAutoscaler", "front")
    scaler["spec"] = {"scaleTargetRef": {"kind": "Deployment", "name": "checkout"}}
    return [
        owned("StatefulSet", "web-edge"),
        owned("Deployment", "checkout"),
        owned("ReplicaSet", "checkout-7c9d5f6b48", ("Deployment", "checkout")),
        owned("Pod", "checkout-7c9d5f6b48-x2x4z", ("ReplicaSet", "checkout-7c9d5f6b48")),
        scaler,
    ]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({}, ""),
        ({"pod": "new-0"}, ""),
        ({"pod": "web-7c9d5f6b48-x2x4z"}, ""),  # gone, and of the form
        ({"pod": "checkout-7c9d5f6b48-x2x4z"}, 'label "pod" checkout-7c9d5f6b48-x2x4z, which is of Deployment checkout'),
        ({"pod": "web-worker-0"}, 'label "pod" web-worker-0, which is none of web\'s, by its name'),
        ({"pod": "new-0", "k8s.pod.name": "web-worker-0"}, 'label "k8s.pod.name" web-worker-0, which is none of web\'s, by its name'),
        ({"replicaset": "checkout-7c9d5f6b48"}, 'label "replicaset" checkout-7c9d5f6b48, which is of Deployment checkout'),
        ({"replicaset": "web-r2"}, ""),
        ({"horizontalpodautoscaler": "front"}, 'label "horizontalpodautoscaler" front, which is of Deployment checkout'),
        ({"hpa": "gone"}, 'label "horizontalpodautoscaler" gone, which is none of web\'s, by its name'),
        *(({label: "checkout"}, f'label "{label}" checkout, and there is a Deployment checkout beside it') for label in APPS),
        *(({label: value}, "") for label in APPS for value in ("web", "web-metrics", "kube-state-metrics", "redis-exporter", "10.0.0.1:9187")),
        *(({label: "of-none"}, "") for label in (*GROUPS, "cluster", "component", "app_kubernetes_io_instance", "source_app")),
        *(({label: "of-none"}, f'label "{label}" of-none, and nothing says that this is web') for label in FRONTS if "service" not in label),
        *(({label: name}, "") for label in FRONTS if "service" in label for name in ("of-none", "ksm", "http", "prometheus")),  # no Service here
        *(({label: "checkout"}, "") for label in ("upstream_service", "upstream_service_name")),  # what it calls
        ({"service": "front-door"}, ""),  # it chooses the pods
        ({"service": "web-canary"}, 'label "service" web-canary, a Service that chooses no pod of web'),
        ({"job": "web-canary"}, 'label "job" web-canary, a Service that chooses no pod of web'),
        ({"app": "web-edge"}, 'label "app" web-edge, and there is a StatefulSet web-edge beside it'),
        ({"app_kubernetes_io_name": "storefront"}, ""),  # as the Deployment's own label says
        ({"upstream": "shop-web-8080"}, ""),
        ({"service": "by-hand"}, 'label "service" by-hand, and nothing says that this is web'),  # no selector
        ({"service": "checkout.shop.svc"}, 'label "service" checkout, and there is a Deployment checkout beside it'),
        ({"service": "ingress", "exported_service": "front-door"}, ""),  # the plain one is of the exporter
        ({"service": "ingress", "exported_namespace": SPACE}, ""),
    ],
)  # fmt: skip
async def test_what_belongs_to_another_workload_beside_the_name_makes_it_a_question(
    labels: dict[str, str], told: str
) -> None:
    world = World().rolling().crash("new-0")
    world.put("Service", "front-door", spec={"selector": {"app": WEB}})
    world.put("Service", "web-canary", spec={"selector": {"app": WEB, "track": "canary"}})
    world.put("Service", "by-hand", spec={"ports": []})
    await world.scene()
    web = world.cluster.objects[Kind.DEPLOYMENT, SPACE, WEB]
    web["metadata"]["labels"] = {"app.kubernetes.io/name": "storefront"}
    for manifest in of_checkout():
        world.cluster.put(manifest)
    rule = policy_of(
        rule="mode: auto\ntarget: {name: {label: deployment}, namespace: {label: namespace}}\n"
    ).rules[0]
    named = {"namespace": SPACE, "deployment": WEB, **labels}
    incident = cast("Incident", SimpleNamespace(manual=None))
    remediation, params = cast("tuple[Any, Any]", (None, None))
    subject = Subject(incident, rule.labels.names.read(named), NOW, rule, remediation, params)

    judged, found = await at_one(world.cluster, subject, Found(Target(SPACE, Kind.DEPLOYMENT, WEB)))

    assert judged.rule.mode is (Mode.APPROVE if told else Mode.AUTO)
    assert judged.doubt == found.how
    assert found.how == (f"a label names Deployment web, and {told}" if told else "")


async def test_a_label_that_the_rule_itself_asks_for_is_known_to_it_and_a_pod_alone_is_no_doubt() -> None:
    world = World()
    await world.scene()
    target = Target(SPACE, Kind.DEPLOYMENT, WEB)
    found = "target: {name: {label: deployment}, namespace: {label: namespace}, pod: {label: pod}}\n"
    asked = policy_of(rule=f'when: app="of-none"\n{found}').rules[0]
    any_of = policy_of(rule=found).rules[0]
    named = {"alertname": "HighErrorRate", "namespace": SPACE, "deployment": WEB, "app": "of-none"}
    pod = {"alertname": "HighErrorRate", "namespace": SPACE, "pod": "new-0", "app": "of-none"}

    assert await named_beside(world.cluster, asked, named, target) == ""
    assert await named_beside(world.cluster, any_of, named, target) != ""
    assert await named_beside(world.cluster, any_of, pod, target) == ""


async def test_an_alert_that_names_many_apps_is_asked_about_and_the_cluster_is_not() -> None:
    """Whoever sends it chooses how many there are."""
    world = World().rolling().crash("new-0")
    await world.scene()
    rule = policy_of(
        rule="mode: auto\ntarget: {name: {label: deployment}, namespace: {label: namespace}}\n"
    ).rules[0]
    words = ("app", "service", "svc", "application", "backend", "upstream", "job", "release", "k8s_app")
    labels = {
        "namespace": SPACE,
        "deployment": WEB,
        **{word: f"other-{word.replace('_', '-')}" for word in words},
    }
    asked: list[str] = []

    class Counting(View):
        async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
            asked.append(name)
            return await super().get(kind, namespace, name)

    told = await named_beside(Counting(world.cluster), rule, labels, Target(SPACE, Kind.DEPLOYMENT, WEB))
    assert told == "a label names Deployment web, and others 9 apps or services"
    assert asked == []
