"""The manifests of Jobs of backups and restores. Of a database: two containers that share three pipes, and nothing else.

`dump` has the database's own image, so that client and server fit, and no Secret; `upload` has ours and the two Secrets, each by
references to single keys. Both run as nobody in particular, without a service account's token, on a read-only file system. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.backup import order as names
from app.backup.order import Order
from app.backup.over import WORK
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
TMP: Final[Obj] = {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}
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


def _job(order: tuple[str, str], at: DatabaseAddress, pod: Pod, called: tuple[str, str]) -> Obj:
    spec: Obj = {
        "automountServiceAccountToken": False,
        "containers": [_upload(order, at, pod), _dump(pod)],
        "volumes": [
            {"name": "work", "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "login", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            TMP,
        ],
    }
    return job_of(pod, *called, spec)


def job_of(pod: Pod, name: str, procedure: str, spec: Obj) -> Obj:
    """A Job that runs once, as nobody in particular. `spec` has the pod's containers, volumes, and whether it gets a token."""
    labels = {LABEL: procedure, "app.kubernetes.io/managed-by": "alert-remediator"}
    whole: Obj = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **spec,
    }
    if pod.account:
        whole["serviceAccountName"] = pod.account
    if pod.pull:
        whole["imagePullSecrets"] = [{"name": one} for one in pod.pull]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": pod.deadline,
            "ttlSecondsAfterFinished": pod.ttl,
            "template": {"metadata": {"labels": labels}, "spec": whole},
        },
    }


def told(variable: str, value: str) -> Obj:
    """A variable of a container."""
    return {"name": variable, "value": value}


def asked_by() -> Obj:
    """The variable with the action's id, from the pod's mark."""
    place = {"fieldRef": {"fieldPath": f"metadata.annotations['{MARKER}']"}}
    return {"name": names.ASKED_BY, "valueFrom": place}


def store_login(pod: Pod) -> list[Obj]:
    """The store's login, key by key, as far as the Secret has them."""
    if not pod.store_secret:
        return []
    return [_secret(key, pod.store_secret, key, optional=True) for key in names.STORE_KEYS]


def _upload(order: tuple[str, str], at: DatabaseAddress, pod: Pod) -> Obj:
    keys = (
        {names.URL: at.url_key} if at.url_key else {names.USER: at.user_key, names.PASSWORD: at.password_key}
    )
    if at.ca_key:
        keys[names.AUTHORITY] = at.ca_key
    env = [
        told(*order),
        told(WORK, _WORK),
        told(names.LOGIN, _LOGIN),
        told(names.LAST_WORDS, "/dev/termination-log"),
        asked_by(),
        *(_secret(variable, at.secret, key) for variable, key in keys.items()),
        *store_login(pod),
    ]
    return _container("upload", pod.uploader, pod, {"command": ["python", "-m", "app.backup"], "env": env})


def _dump(pod: Pod) -> Obj:
    env = [
        told(WORK, _WORK),
        told("PGSERVICEFILE", f"{_LOGIN}/services"),
        told("HOME", _WORK),
    ]
    return _container("dump", pod.image, pod, {"command": ["/bin/sh", "-c", SCRIPT], "env": env})


def _container(name: str, image: str, pod: Pod, more: Mapping[str, Any]) -> Obj:
    login: Obj = {"name": "login", "mountPath": _LOGIN, **({"readOnly": True} if name == "dump" else {})}
    mounts = [{"name": "work", "mountPath": _WORK}, login]
    return container(name, image, pod, more, mounts)


def container(name: str, image: str, pod: Pod, more: Mapping[str, Any], mounts: Sequence[Obj]) -> Obj:
    """One container: restricted, with its limits, and with a /tmp of memory beside the mounts."""
    resources = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": pod.memory}}
    return {
        "name": name,
        "image": image,
        **more,
        "resources": resources,
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
        "securityContext": _RESTRICTED,
    }


def _secret(variable: str, secret: str, key: str, *, optional: bool = False) -> Obj:
    reference: Obj = {"name": secret, "key": key, **({"optional": True} if optional else {})}
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}
