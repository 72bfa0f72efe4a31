"""A namespace of the real cluster with what procedures on a database need: the logins of the database and of the store, and a StatefulSet."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from app.domain.target import Kind
from app.kube.paths import RESOURCES
from tests.live.objectstore import ObjectStore
from tests.live.stack import ControlPlane


def furnish(plane: ControlPlane, prefix: str, dsn: str, store: ObjectStore) -> str:
    """The namespace, with Secrets `db` and `store`, and a StatefulSet postgres whose pods do nothing."""
    namespace = plane.create_namespace(prefix)
    login = {"AWS_ACCESS_KEY_ID": store.access, "AWS_SECRET_ACCESS_KEY": store.secret}
    for name, data in (("db", {"DATABASE_URL": dsn}), ("store", login)):
        put_secret(plane, namespace, name, data)
    workload(plane, namespace, Kind.STATEFUL_SET, "postgres", "postgres:17", 1)
    return namespace


def put_secret(plane: ControlPlane, namespace: str, name: str, data: Mapping[str, str]) -> None:
    """A Secret with these values."""
    coded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": coded}
    plane.create(RESOURCES[Kind.SECRET].path(namespace), secret)


def workload(plane: ControlPlane, namespace: str, kind: Kind, name: str, image: str, replicas: int) -> None:
    """A workload of one container."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": image}]}}
    spec: dict[str, Any] = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": template,
        **({"serviceName": name} if kind is Kind.STATEFUL_SET else {}),
    }
    manifest = {"apiVersion": "apps/v1", "kind": kind.value, "metadata": {"name": name}, "spec": spec}
    plane.create(RESOURCES[kind].path(namespace), manifest)
