"""What a configuration backup leaves out of a namespace and of each object, and in which order the rest is restored."""

from __future__ import annotations

import pytest

from app.backup.configuration.cleaning import (
    ADDRESSES,
    ELECTION,
    KINDS_LEFT_OUT,
    OWNED,
    cleaned,
    left_out,
    rank,
)
from app.domain.json import Obj
from tests.unit.test_configuration_backup import CANARY, thing


@pytest.mark.parametrize(
    ("resource", "spec", "kept"),
    [
        ("services", {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"]}, {}),
        (
            "services",
            {"clusterIP": "None", "clusterIPs": ["None"]},
            {"clusterIP": "None", "clusterIPs": ["None"]},
        ),
        (
            "services",
            {"ports": [{"nodePort": 30_080}], "healthCheckNodePort": 3},
            {"ports": [{"nodePort": 30_080}]},
        ),
        (
            "persistentvolumeclaims",
            {"volumeName": "pv-1", "storageClassName": "s"},
            {"storageClassName": "s"},
        ),
        (
            "statefulsets.apps",
            {"volumeClaimTemplates": [{"metadata": {"name": "d", "creationTimestamp": None}, "status": {}}]},
            {"volumeClaimTemplates": [{"metadata": {"name": "d"}}]},
        ),
        ("deployments.apps", {"replicas": 3}, {"replicas": 3}),
        (
            "pods",
            {
                "nodeName": "node-1",
                "priority": 0,
                "volumes": [{"name": "kube-api-access-x", "projected": {}}, {"name": "data", "emptyDir": {}}],
                "containers": [
                    {"name": "a", "volumeMounts": [{"name": "data"}, {"name": "kube-api-access-x"}]},
                    {"name": "b", "volumeMounts": [{"name": "kube-api-access-x"}]},
                ],
            },
            {
                "volumes": [{"name": "data", "emptyDir": {}}],
                "containers": [{"name": "a", "volumeMounts": [{"name": "data"}]}, {"name": "b"}],
            },
        ),
    ],
)
def test_what_the_cluster_has_set_goes_and_what_a_person_wrote_stays(
    resource: str, spec: Obj, kept: Obj
) -> None:
    found = thing("x", spec=spec, status={"y": 1})
    found["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": CANARY,
        "team": "rag",
    }
    assert cleaned(resource, found) == {
        "metadata": {"name": "x", "namespace": "rag7", "annotations": {"team": "rag"}},
        "spec": kept,
    }


@pytest.mark.parametrize(
    ("resource", "fields", "why"),
    [
        ("secrets", {"type": "kubernetes.io/service-account-token"}, "the token of a service account"),
        ("secrets", {"type": "helm.sh/release.v1"}, "the history of a Helm release"),
        ("secrets", {"type": "Opaque"}, ""),
        ("configmaps", {}, ""),
    ],
)
def test_what_others_make_is_left_out(resource: str, fields: Obj, why: str) -> None:
    assert left_out(resource, thing("x", **fields)) == why
    owned = thing("x", **fields)
    owned["metadata"]["ownerReferences"] = [{"kind": "CronJob"}]
    assert left_out(resource, owned) == OWNED


CONTROLLER: Obj = {"managedFields": [{"manager": "kube-controller-manager", "operation": "Update"}]}
BY: Obj = {"managedFields": [{"manager": "kubectl-client-side-apply", "operation": "Update"}]}
SLICES = "endpointslices.discovery.k8s.io"


@pytest.mark.parametrize(
    ("resource", "meta", "why"),
    [
        ("endpoints", CONTROLLER, ADDRESSES),
        ("endpoints", BY, ""),
        ("endpoints", {}, ""),
        ("endpoints", {"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}, ELECTION),
        ("endpoints", {**BY, "annotations": {"leader": "pg-0", "ttl": "30"}}, ELECTION),
        (SLICES, {"labels": {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}}, ADDRESSES),
        (SLICES, {"labels": {"endpointslice.kubernetes.io/managed-by": "staff"}}, ""),
        (SLICES, {"ownerReferences": [{"kind": "Endpoints"}]}, OWNED),
    ],
)  # fmt: skip
def test_addresses_that_somebody_wrote_by_hand_are_kept(resource: str, meta: Obj, why: str) -> None:
    found = thing("db")
    found["metadata"] |= meta
    assert left_out(resource, found) == why
    assert resource not in KINDS_LEFT_OUT


def test_what_others_refer_to_comes_first_and_custom_resources_last() -> None:
    kinds = [
        "gadgets.example.test",
        "ingresses.networking.k8s.io",
        "deployments.apps",
        "secrets",
        "serviceaccounts",
    ]
    assert sorted(kinds, key=rank) == kinds[::-1]
    assert "jobs.batch" in KINDS_LEFT_OUT
