"""A configuration backup on the real API server: saved by an account that may only list, an object is lost and another changed, and both come back."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from app.backup.configuration.order import Order
from app.backup.configuration.sealed import fresh
from app.backup.configuration.upload import Parts, back_up
from app.backup.failure import BackupFailed
from app.backup.order import Keep, Place
from app.cli.configuration import app as commands
from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.client import KubeCluster
from app.kube.paths import RESOURCES
from app.observe.system import SystemClock
from tests.live.stack import ControlPlane
from tests.unit.docs.fences import blocks

pytestmark = pytest.mark.live
CANARY = "canary-91ce-of-a-password"
NAME = "cluster_configuration-20260304T030000Z-abcdef"


def _furnish(plane: ControlPlane, namespace: str) -> None:
    labels = {"app": "web"}
    template: Obj = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": "registry.test/web:1"}]},
    }
    objects: list[tuple[Kind, Obj]] = [
        (Kind.CONFIG_MAP, {"metadata": {"name": "settings"}, "data": {"LOG": "INFO"}}),
        (
            Kind.SECRET,
            {"metadata": {"name": "login"}, "data": {"password": base64.b64encode(CANARY.encode()).decode()}},
        ),
        (Kind.SERVICE, {"metadata": {"name": "web"}, "spec": {"selector": labels, "ports": [{"port": 80}]}}),
        (
            Kind.DEPLOYMENT,
            {
                "metadata": {"name": "web", "annotations": {"team": "rag"}},
                "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
            },
        ),
        (
            Kind.JOB,
            {
                "metadata": {"name": "once"},
                "spec": {"template": {"spec": {**template["spec"], "restartPolicy": "Never"}}},
            },
        ),
    ]
    for kind, body in objects:
        resource = RESOURCES[kind]
        manifest = {"apiVersion": resource.api_version, "kind": kind.value, **body}
        plane.create(resource.path(namespace), manifest)


def _delete(plane: ControlPlane, namespace: str, kind: Kind, name: str) -> None:
    plane.client().delete(RESOURCES[kind].path(namespace, name)).raise_for_status()


def _read(plane: ControlPlane, namespace: str, kind: Kind, name: str) -> Any:
    return plane.client().get(RESOURCES[kind].path(namespace, name)).raise_for_status().json()


def _run(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, Any, str]:
    # the library reads KUBECONFIG when it is imported
    place = "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
    monkeypatch.setattr(place, str(plane.kubeconfig()))
    ended = CliRunner().invoke(commands, [*words, "--json"])
    return ended.exit_code, json.loads(ended.stdout) if ended.stdout else None, ended.output


def _documented() -> list[Obj]:
    """The rights that the guide gives to the pod's account."""
    (block,) = (b for b in blocks("yaml") if b.title == "configuration-reader.yaml")
    (role,) = (d for d in yaml.safe_load_all(block.text) if d["kind"] == "Role")
    rules: list[Obj] = role["rules"]
    return rules


def _saved(plane: ControlPlane, namespace: str, folder: Path, recipient: str) -> tuple[str, Obj]:
    """A backup with Secrets by an account that may list, and nothing while it may not; the file, and its manifest."""
    order = Order(NAME, namespace, Place(f"file://{folder}"), Keep(), (recipient,), secrets=True)

    async def connect() -> KubeCluster:
        return await KubeCluster.from_kubeconfig(str(plane.kubeconfig("outsider")))

    parts = Parts(order, {}, SystemClock(), connect)
    with pytest.raises(BackupFailed, match="may not list"):
        back_up(parts)
    assert not [p for p in folder.rglob("*") if p.is_file()]
    plane.grant(
        "outsider",
        [*_documented(), {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}],
        namespace,
    )
    words = back_up(parts)
    assert "with Secrets" in words
    stored = [p for p in folder.rglob("*") if p.is_file()]
    assert len(stored) == 2
    for text in [words.encode(), *(p.read_bytes() for p in stored)]:
        assert CANARY.encode() not in text
        assert base64.b64encode(CANARY.encode()) not in text
    manifest: Obj = json.loads(next(p for p in stored if p.name.endswith(".json")).read_text())
    return str(next(p for p in stored if p.name.endswith(".age"))), manifest


def test_what_was_lost_or_changed_comes_back_from_an_encrypted_backup(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = control_plane.create_namespace("configuration")
    _furnish(control_plane, namespace)
    identity, recipient = fresh()
    key = tmp_path / "identity.txt"
    key.write_text(f"{identity}\n")
    key.chmod(0o600)
    file, manifest = _saved(control_plane, namespace, tmp_path / "store", recipient)
    assert manifest["objects"]["deployments.apps"] == manifest["objects"]["services"] == 1
    assert "jobs.batch: a Job that is made anew runs again" in manifest["left_out"]
    where = ("--identity", str(key))

    code, found, _ = _run(control_plane, monkeypatch, "diff", file, *where)
    assert (code, {o["word"] for o in found["objects"]}) == (0, {"same"}), found
    before = _read(control_plane, namespace, Kind.DEPLOYMENT, "web")["spec"]
    _delete(control_plane, namespace, Kind.SECRET, "login")
    _delete(control_plane, namespace, Kind.SERVICE, "web")
    control_plane.client().patch(
        RESOURCES[Kind.DEPLOYMENT].path(namespace, "web"),
        json=[{"op": "replace", "path": "/spec/replicas", "value": 7}],
        headers={"Content-Type": "application/json-patch+json"},
    ).raise_for_status()
    code, found, told = _run(control_plane, monkeypatch, "diff", file, *where)
    words_of = {o["object"]: (o["word"], o["paths"]) for o in found["objects"] if o["word"] != "same"}
    assert words_of == {
        "secrets login": ("create", []),
        "services web": ("create", []),
        "deployments.apps web": ("change", ["/spec/replicas: 7 -> 2"]),
    }
    code, done, restored = _run(control_plane, monkeypatch, "restore", file, *where, "--yes")
    assert code == 0, restored
    assert [o["object"] for o in done["objects"]] == ["secrets login", "services web", "deployments.apps web"]
    assert CANARY not in told + restored
    secret = _read(control_plane, namespace, Kind.SECRET, "login")
    assert base64.b64decode(secret["data"]["password"]).decode() == CANARY
    assert _read(control_plane, namespace, Kind.DEPLOYMENT, "web")["spec"] == before
    code, found, _ = _run(control_plane, monkeypatch, "diff", file, *where)
    assert {o["word"] for o in found["objects"]} == {"same"}, found


_PODS: Obj = {"replicas": 1, "selector": {"matchLabels": {"app": "twice"}}}
_TWICE: dict[str, Obj] = {
    "variable": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
    "port": {"ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 8080}]},
    "variable-and-port": {
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 8080}],
    },
}
"""What the API server takes and server-side apply cannot express."""


def _deployment(name: str, container: Obj) -> Obj:
    pod = {"containers": [{"name": "main", "image": "registry.test/web:1", **container}]}
    template = {"metadata": {"labels": {"app": "twice"}}, "spec": pod}
    return {"metadata": {"name": name}, "spec": {**_PODS, "template": template}}


def test_what_apply_cannot_express_comes_back_and_so_does_an_address_that_somebody_wrote(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = control_plane.create_namespace("twice")
    core = f"/api/v1/namespaces/{namespace}"
    deployments = RESOURCES[Kind.DEPLOYMENT].path(namespace)
    outside = {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 5432}]}]}
    client = control_plane.client()
    for name, container in _TWICE.items():
        client.post(deployments, json=_deployment(name, container)).raise_for_status()
    client.post(
        f"{core}/services", json={"metadata": {"name": "outside"}, "spec": {"ports": [{"port": 5432}]}}
    ).raise_for_status()
    client.post(f"{core}/endpoints", json={"metadata": {"name": "outside"}, **outside}).raise_for_status()
    identity, recipient = fresh()
    key = tmp_path / "identity.txt"
    key.write_text(f"{identity}\n")
    key.chmod(0o600)
    file, manifest = _saved(control_plane, namespace, tmp_path / "store", recipient)
    assert manifest["objects"]["endpoints"] == 1
    where = ("--identity", str(key))
    code, found, _ = _run(control_plane, monkeypatch, "diff", file, *where)
    assert (code, {o["word"] for o in found["objects"]}) == (0, {"same"}), found
    before = {name: _read(control_plane, namespace, Kind.DEPLOYMENT, name)["spec"] for name in _TWICE}
    client.patch(
        f"{deployments}/port",
        json=[{"op": "replace", "path": "/spec/replicas", "value": 7}],
        headers={"Content-Type": "application/json-patch+json"},
    ).raise_for_status()
    for path in (
        f"{deployments}/variable",
        f"{deployments}/variable-and-port",
        f"{core}/services/outside",
    ):
        client.delete(path).raise_for_status()
    client.delete(f"{core}/endpoints/outside")  # the service's controller may have been there first
    code, _, told = _run(control_plane, monkeypatch, "restore", file, *where, "--yes")
    assert code == 0, told
    assert {name: _read(control_plane, namespace, Kind.DEPLOYMENT, name)["spec"] for name in _TWICE} == before
    endpoints = client.get(f"{core}/endpoints/outside").raise_for_status().json()
    assert endpoints["subsets"][0]["addresses"] == [{"ip": "10.1.2.3"}]
