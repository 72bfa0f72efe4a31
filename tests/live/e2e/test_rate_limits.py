"""A key that met its limit is rotated by one patch of the Secret and one of the Deployment, and an undo brings the old value back."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from app.domain.json import Obj
from app.domain.secret import encoded, text_of
from tests.live.e2e.scene import Scene, Script
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live

OLD, NEW = "sk-live-scene-old-0123456789", "sk-live-scene-new-0123456789"
LIMITED = (
    "ERROR openai.RateLimitError: Error code: 429 - {'error': {'message': 'You exceeded your current quota, please check your plan and"
    " billing details.', 'code': 'insufficient_quota'}}"
)


def _secret(s: Scene) -> Obj:
    return s.shop.get(f"/api/v1/namespaces/{s.shop.namespace}/secrets/api-keys")


def _prepare(s: Scene) -> None:
    """A Secret with two keys, and pods that take the active one."""
    data = {"OPENAI_API_KEY": OLD, "FIRST": OLD, "SECOND": NEW}
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "api-keys"},
        "data": {name: encoded(value) for name, value in data.items()},
    }
    s.tools.plane.create(f"/api/v1/namespaces/{s.shop.namespace}/secrets", manifest)
    ref = {"secretKeyRef": {"name": "api-keys", "key": "OPENAI_API_KEY"}}
    container = {"name": "main", "env": [{"name": "OPENAI_API_KEY", "valueFrom": ref}]}
    s.shop.edit({"spec": {"template": {"spec": {"containers": [container]}}}})
    s.place.extra = {**s.place.extra, "ENCRYPTION_KEY": Fernet.generate_key().decode()}


def _everything(s: Scene) -> dict[str, str]:
    """What the service keeps, logs and has told."""
    files = [p for p in s.place.folder.rglob("*") if p.is_file() and p.name != "kubeconfig"]
    found = {str(p): p.read_bytes().decode("latin-1") for p in files}
    return {**found, "slack": s.parent + s.thread, "log": s.service.log.read_text("utf-8")}


@scene()
def test_a_key_is_rotated_by_two_patches_and_put_back_by_two(s: Scene) -> Script:
    s.shop.begin()
    _prepare(s)
    yield s.shop.settled
    for service in s.services:
        service.fork(("tests.live.e2e.command", "serve"))
    yield s.service.serves
    s.tools.plane.set_logs(s.shop.namespace, "app=web", "main", ["INFO started", *[LIMITED] * 20])
    s.fire("APIRateLimiting")
    # Resolved between the two writes it would be looked at again right before the second one, and taken back.
    yield from s.fixed(
        lambda: text_of(_secret(s), "OPENAI_API_KEY") == NEW and len(s.written) == 2, "APIRateLimiting"
    )
    assert s.run["state"] == "contained"
    assert [(m.verb, m.target, m.name) for m in s.written] == [
        ("patch", "secrets", "api-keys"),
        ("patch", "deployments", "web"),
    ]
    yield s.shop.settled
    run = str(s.run["id"])
    code, text = yield from s.ask("undo", run)
    assert (code, f"run {run} undone" in text) == (0, True), text
    yield s.ended("undone")
    assert text_of(_secret(s), "OPENAI_API_KEY") == OLD
    assert [m.target for m in s.written] == ["secrets", "deployments"] * 2
    yield s.last("*Undone*")
    words = [w for key in (OLD, NEW) for w in (key, encoded(key))]
    assert {place: w for place, text in _everything(s).items() for w in words if w in text} == {}
    audited = s.tools.plane.mutations(namespace=s.shop.namespace, include_dry_run=True)
    assert not [m for m in audited if m.resource == "secrets" and m.request_object], (
        "its values are in no audit log"
    )
