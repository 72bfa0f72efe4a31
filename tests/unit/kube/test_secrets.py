"""Whose a Secret is: what keeps it, what writes it anew, and what closes it."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.change import DigestKey, FieldChange, Replaced, hidden, may_show, shown
from app.kube.secrets import closed, kept_by, written_from


def secret(**meta: Any) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": "keys", "namespace": "rag7", **meta}, "data": {}}


@pytest.mark.parametrize(
    ("meta", "keeper"),
    [
        ({}, ""),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, ""),
        ({"ownerReferences": [{"kind": "ExternalSecret", "name": "keys"}]}, "ExternalSecret keys"),
        ({"ownerReferences": [{"kind": "VaultStaticSecret", "name": "v"}]}, "VaultStaticSecret v"),
        ({"labels": {"reconcile.external-secrets.io/managed": "true"}}, "External Secrets"),
        ({"annotations": {"reconcile.external-secrets.io/data-hash": "a"}}, "External Secrets"),
        ({"annotations": {"sealedsecrets.bitnami.com/managed": "true"}}, "Sealed Secrets"),
        ({"labels": {"app.kubernetes.io/managed-by": "hashicorp-vso"}}, "the Vault Secrets Operator"),
        ({"labels": {"secrets-store.csi.k8s.io/managed": "true"}}, "the Secrets Store CSI driver"),
        ({"annotations": {"cert-manager.io/certificate-name": "x"}}, "cert-manager"),
        ({"managedFields": [{"manager": "external-secrets", "operation": "Apply"}]}, "External Secrets"),
        ({"managedFields": [{"manager": "argocd-controller"}]}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "Flux"),
    ],
)
def test_who_would_set_a_change_back(meta: dict[str, Any], keeper: str) -> None:
    assert kept_by(secret(**meta)) == keeper
    assert (f"kept by {keeper}" in closed(secret(**meta))) is bool(keeper)


def test_an_immutable_secret_is_closed_whoever_wrote_it() -> None:
    assert "is immutable" in closed({**secret(), "immutable": True})


@pytest.mark.parametrize(
    ("meta", "tool"),
    [
        ({}, ""),
        ({"annotations": {"meta.helm.sh/release-name": "agent"}}, "helm upgrade"),
        ({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}, "kubectl apply"),
    ],
)
def test_what_writes_it_anew(meta: dict[str, Any], tool: str) -> None:
    assert written_from(secret(**meta)) == tool


@pytest.mark.parametrize(
    "name", ["image", "limits", "requests", "name", "secretName", "kubectl.kubernetes.io~1restartedAt"]
)
@pytest.mark.parametrize("part", ["data", "stringData", "binaryData"])
def test_promise_12_no_value_of_a_secret_is_shown_whatever_its_key_is_called(part: str, name: str) -> None:
    """Values under these names are shown elsewhere, when they look harmless, as a short key in lower case does."""
    path, value = f"/{part}/{name}", "2026-03-04T03:00:00Z" if "restarted" in name else "c2ltdw"
    assert not may_show(path, value)
    assert not may_show(path, 4711)
    (change,), _ = shown([FieldChange(path, value, "b3RoZXI")], DigestKey(b"key"))
    assert value not in str(change)
    assert change.before != change.after


def test_equal_values_are_told_by_digests_under_the_same_key_alone() -> None:
    from datetime import UTC, datetime

    at = datetime(2026, 3, 4, tzinfo=UTC)
    key, path = DigestKey(b"one"), "/data/KEY"
    left = Replaced(key, {hidden(path, "djE=", key): at})
    assert left.at(path, "djE=") == at
    assert left.at(path, "djI=") is None
    assert left.at("/data/OTHER", "djE=") is None
    assert Replaced(DigestKey(b"two"), left.times).at(path, "djE=") is None
