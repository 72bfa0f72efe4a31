"""The manifest of the Job of a backup or a restore: two containers that share three pipes, and nothing else.

`dump` has the database's own image, so that client and server fit, and no Secret; `upload` has ours and the two Secrets, each by
references to single keys. Both run as nobody in particular, without a service account's token, on a read-only file system. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.backup import order as names
from app.backup.order import Order
from app.backup.pipes import SCRIPT
from app.backup.restore_order import RestoreOrder
from app.domain.cluster import MARKER
from app.domain.copies import RESTORE
from app.domain.database import DatabaseAddress
from app.domain.json import Obj

LABEL: Final = "alert-remediator.io/procedure"
"""Label of the Job and its pod, for a NetworkPolicy to choose it by."""
_USER: Final = 10001
_WORK, _LOGIN = "/backup/work", "/backup/login"
_RESTRICTED: Final[Obj] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


@dataclass(frozen=True, slots=True)
class Pod:
    """What the pod is made of. `image` is the database's, `uploader` ours; `store_secret` holds the store's login, empty where the
    pod's `account` is known to the store. `deadline` in seconds, `memory` as Kubernetes writes it. `pull` are pull Secrets."""

    image: str
    uploader: str
    store_secret: str
    account: str
    deadline: int
    ttl: int
    memory: str
    pull: Sequence[str] = ()


def backup_job(order: Order, pod: Pod, name: str, procedure: str) -> Obj:
    """The Job that makes a backup, without namespace and mark."""
    return _job((names.ORDER, order.to_text()), order.database, pod, (name, procedure))


def restore_job(order: RestoreOrder, pod: Pod, name: str, procedure: str) -> Obj:
    """The Job that rehearses or restores, in a pod of the same kind; without namespace and mark."""
    return _job((RESTORE, order.to_text()), order.database, pod, (name, procedure))


def _job(told: tuple[str, str], at: DatabaseAddress, pod: Pod, called: tuple[str, str]) -> Obj:
    name, procedure = called
    labels = {LABEL: procedure, "app.kubernetes.io/managed-by": "alert-remediator"}
    spec: Obj = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_upload(told, at, pod), _dump(pod)],
        "volumes": [
            {"name": "work", "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "login", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        ],
    }
    if pod.account:
        spec["serviceAccountName"] = pod.account
    if pod.pull:
        spec["imagePullSecrets"] = [{"name": one} for one in pod.pull]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": pod.deadline,
            "ttlSecondsAfterFinished": pod.ttl,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _upload(told: tuple[str, str], at: DatabaseAddress, pod: Pod) -> Obj:
    keys = (
        {names.URL: at.url_key} if at.url_key else {names.USER: at.user_key, names.PASSWORD: at.password_key}
    )
    if at.ca_key:
        keys[names.AUTHORITY] = at.ca_key
    env = [
        _value(*told),
        _value(names.WORK, _WORK),
        _value(names.LOGIN, _LOGIN),
        _value(names.LAST_WORDS, "/dev/termination-log"),
        {
            "name": names.ASKED_BY,
            "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{MARKER}']"}},
        },
        *(_secret(variable, at.secret, key) for variable, key in keys.items()),
    ]
    if pod.store_secret:
        env += [_secret(key, pod.store_secret, key, optional=True) for key in names.STORE_KEYS]
    return _container("upload", pod.uploader, pod, {"command": ["python", "-m", "app.backup"], "env": env})


def _dump(pod: Pod) -> Obj:
    env = [
        _value(names.WORK, _WORK),
        _value("PGSERVICEFILE", f"{_LOGIN}/services"),
        _value("HOME", _WORK),
    ]
    return _container("dump", pod.image, pod, {"command": ["/bin/sh", "-c", SCRIPT], "env": env})


def _container(name: str, image: str, pod: Pod, more: Mapping[str, Any]) -> Obj:
    resources = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": pod.memory}}
    mounts = [
        {"name": "work", "mountPath": _WORK},
        {"name": "login", "mountPath": _LOGIN, **({"readOnly": True} if name == "dump" else {})},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
    ]
    return {
        "name": name,
        "image": image,
        **more,
        "resources": resources,
        "volumeMounts": mounts,
        "securityContext": _RESTRICTED,
    }


def _value(name: str, value: str) -> Obj:
    return {"name": name, "value": value}


def _secret(variable: str, secret: str, key: str, *, optional: bool = False) -> Obj:
    reference: Obj = {"name": secret, "key": key, **({"optional": True} if optional else {})}
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}
