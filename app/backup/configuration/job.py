"""The manifest of a configuration backup's Job: one container with this service's image and the account that may read the namespace.

The account is the only one here that may list Secrets, and only where the rule includes them. What is written to the pod's disk is encrypted
already. Pure.
"""

from __future__ import annotations

from typing import Final

from app.backup.configuration.order import ORDER, Order
from app.backup.job import TMP, Pod, asked_by, container, job_of, store_login, told
from app.backup.order import LAST_WORDS
from app.domain.json import Obj

_WORK: Final = "/backup/work"


def configuration_job(order: Order, pod: Pod, name: str, procedure: str) -> Obj:
    """The Job, without namespace and mark."""
    env = [
        told(ORDER, order.to_text()),
        told("TMPDIR", _WORK),
        told(LAST_WORDS, "/dev/termination-log"),
        asked_by(),
        *store_login(pod),
    ]
    more = {"command": ["python", "-m", "app.backup.configuration"], "env": env}
    mounts = [{"name": "work", "mountPath": _WORK}]
    spec = {
        "automountServiceAccountToken": True,
        "containers": [container("upload", pod.uploader, pod, more, mounts)],
        "volumes": [{"name": "work", "emptyDir": {"sizeLimit": "2Gi"}}, TMP],
    }
    return job_of(pod, name, procedure, spec)
