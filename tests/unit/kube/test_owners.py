"""Who else writes an object, and who last set a field."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.owner import Owner
from app.domain.target import Kind
from app.domain.workload import Manager
from app.kube.jobs import of_another
from app.kube.owners import _of_object, managers_of, who_changed
from tests.unit.kube.manifests import deployment


def _with(**meta: Any) -> Obj:
    manifest = deployment()
    manifest["metadata"] |= meta
    return manifest


def _writer(name: str, fields: Obj, time: str = "2026-03-04T02:00:00Z", subresource: str = "") -> Obj:
    return {
        "manager": name,
        "operation": "Update",
        "time": time,
        "fieldsV1": fields,
        "subresource": subresource,
    }


@pytest.mark.parametrize(
    ("meta", "autoscaled", "managers"),
    [
        ({}, False, []),
        ({}, True, [Manager.HPA]),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:rag7/langgraph"}},
            False,
            [Manager.ARGO_CD],
        ),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, False, [Manager.ARGO_CD]),
        ({"labels": {"app.kubernetes.io/instance": "shop"}}, False, []),
        (
            {
                "labels": {"app.kubernetes.io/instance": "shop"},
                "managedFields": [_writer("argocd-controller", {})],
            },
            False,
            [Manager.ARGO_CD],
        ),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, False, [Manager.FLUX]),
        ({"managedFields": [_writer("kustomize-controller", {})]}, False, [Manager.FLUX]),
        (
            {"labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "shop"}},
            False,
            [Manager.HELM],
        ),
        (
            {
                "labels": {"helm.toolkit.fluxcd.io/name": "shop"},
                "annotations": {"meta.helm.sh/release-name": "shop"},
            },
            True,
            [Manager.FLUX, Manager.HELM, Manager.HPA],
        ),
        ({"managedFields": [_writer("kubectl-edit", {})]}, False, []),
    ],
)
def test_whoever_would_fight_our_change_is_found(
    meta: Obj, autoscaled: bool, managers: list[Manager]
) -> None:
    assert list(managers_of(_with(**meta), autoscaled=autoscaled)) == managers


_REPLICAS: Obj = {"f:spec": {"f:replicas": {}}}
_IMAGE: Obj = {
    "f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"app"}': {".": {}, "f:image": {}}}}}}
}


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/spec/replicas", ["scaler"]),
        ("/spec/template", ["kubectl-set"]),
        ("/spec/template/spec/containers/[name=app]/image", ["kubectl-set"]),
        ("/spec/template/spec/containers/[name=side]/image", []),
        ("/spec/paused", []),
    ],
)
def test_the_writer_of_a_field_is_found_by_path(path: str, names: list[str]) -> None:
    manifest = _with(managedFields=[_writer("scaler", _REPLICAS), _writer("kubectl-set", _IMAGE)])
    assert [who for who, _ in who_changed(manifest, path)] == names


def test_the_newest_writer_comes_first_and_status_writers_do_not_count() -> None:
    manifest = _with(
        managedFields=[
            _writer("old", _REPLICAS, "2026-03-04T01:00:00Z"),
            _writer("new", _REPLICAS, "2026-03-04T02:30:00Z"),
            _writer("old", _REPLICAS, "2026-03-04T01:30:00Z"),
            _writer("controller", _REPLICAS, "2026-03-04T02:59:00Z", "status"),
        ]
    )
    assert who_changed(manifest, "/spec/replicas") == [
        ("new", datetime(2026, 3, 4, 2, 30, tzinfo=UTC)),
        ("old", datetime(2026, 3, 4, 1, 30, tzinfo=UTC)),
    ]


def test_owning_a_whole_value_is_owning_what_is_in_it() -> None:
    manifest = _with(managedFields=[_writer("kubectl", {"f:metadata": {"f:annotations": {}}})])
    assert [who for who, _ in who_changed(manifest, "/metadata/annotations/team")] == ["kubectl"]


def test_without_managed_fields_nobody_is_blamed() -> None:
    assert who_changed(deployment(), "/spec/replicas") == []


def test_an_owners_kind_and_name_are_one_line_without_secrets_and_no_words_of_a_shell() -> None:
    """The API server checks neither."""
    owner = {
        "apiVersion": "x.io/v1",
        "kind": "Thing\nok",
        "name": "a; rm -rf / password=sunflower-4777\n" + "x" * 5_000,
        "uid": "1",
    }
    manifest = _with(ownerReferences=[owner])
    for told in (
        next(_of_object(Kind.DEPLOYMENT, manifest)),
        of_another("rag7", owner, "Pod web-1 belongs to"),
    ):
        text = f"{told} {told.edit}" if isinstance(told, Owner) else f"{told} {told.look_at}"
        assert "sunflower" not in text
        assert len(text.splitlines()) == 1
        assert len(text) < 1_200
        command = shlex.split(told.edit if isinstance(told, Owner) else told.look_at)
        assert len(command) == 5
