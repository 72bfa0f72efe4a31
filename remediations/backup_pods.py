"""What procedures share that make a pod with the database's own image and with this service's: their params, and what has to be there.

Used by the handlers of backups and restores. Of a Secret only the names of its keys are looked at.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field

from app.backup.job import LABEL, Pod
from app.backup.order import STORE_KEYS
from app.domain.errors import RemediatorError
from app.domain.evidence import Certainty, Finding
from app.domain.json import Obj
from app.domain.remediation import Scene
from app.domain.target import Kind
from remediations.database_params import WHERE, DatabaseParams
from remediations.params import Bytes, ObjectName, Seconds

CLIENT, SECRETS, RUNNING = "backup.client", "backup.secrets", "backup.running"
_OF_IMAGE = re.compile(r"(?:^|pg)(\d{1,2})(?:[.\-]|$)")
_URL = r"^((s3|gs|az)://[A-Za-z0-9._/-]+)?$"
_ENDPOINT = r"^(https?://[A-Za-z0-9.:\[\]_-]+/?)?$"
_Image = Annotated[str, Field(max_length=500, pattern=r"^[A-Za-z0-9._:/@-]*$")]


class PodParams(DatabaseParams):
    """`to`: bucket and folder, as `s3://bucket/folder` (also gs, az). `endpoint`, `region`: of a store of one's own.
    `store_secret`: the existing Secret with the store's login, under the names that its tools use (AWS_ACCESS_KEY_ID and so on);
    empty where the pod's `account` is known to the store. `uploader`: the image of this service. `image`: the one with pg_dump; empty
    for the one that the server's first container runs. `deadline`: how long a Job may run. `memory`: limit of each container.
    `keep_job`: how long the ended Job stays."""

    to: str = Field(
        default="", max_length=500, pattern=_URL, description="Bucket and folder: s3://bucket/folder"
    )
    endpoint: str = Field(
        default="", max_length=500, pattern=_ENDPOINT, description="URL of an S3 store of one's own"
    )
    region: str = Field(
        default="", max_length=50, pattern=r"^[A-Za-z0-9-]*$", description="The store's region"
    )
    store_secret: ObjectName = Field(default="", description="Existing Secret with the store's login")
    account: ObjectName = Field(default="", description="Service account that the store knows")
    uploader: _Image = Field(default="", description="Image of this service")
    image: _Image = Field(default="", description="Image with pg_dump; empty: the server's first container's")
    deadline: Seconds = Field(default=7_200, description="Seconds that the Job may run")
    memory: Bytes = Field(default=512 * 1024**2, description="Memory limit of each container, in bytes")
    keep_job: Seconds = Field(default=86_400, description="Seconds that the ended Job stays")

    @property
    def missing(self) -> str:
        """What the rule has to name and does not; empty when it does."""
        names = [name for name in ("to", "uploader") if not getattr(self, name)]
        return f"the rule's params name no {' and '.join(names)}" if names else ""

    def pod(self, image: str, manifest: Obj) -> Pod:
        """The pod, with this image of the database and the pull Secrets of a workload."""
        listed = manifest["spec"]["template"]["spec"].get("imagePullSecrets") or ()
        return Pod(
            image=image,
            uploader=self.uploader,
            store_secret=self.store_secret,
            account=self.account,
            deadline=int(self.deadline),
            ttl=int(self.keep_job),
            memory=str(self.memory),
            pull=tuple(str(one["name"]) for one in listed),
        )


PLACE: Final = WHERE | {"to", "endpoint", "region", "store_secret", "account", "uploader", "image"}
"""Params that no order may change: else it could send a dump or a login elsewhere."""


def client_finding(image: str) -> Finding:
    """What the image says of its pg_dump by its tag; the pod asks it itself before anything starts."""
    name, _, tag = image.rpartition("/")[2].partition("@")[0].partition(":")
    found = _OF_IMAGE.search(tag) if re.search(r"postgres|pg", name) else None
    if found is None:
        text = f"The tag of {image} does not tell the version of its pg_dump; the Job asks it first"
        return Finding(CLIENT, text, Certainty.UNKNOWN)
    return Finding(CLIENT, f"{image} has pg_dump {found[1]}", data={"major": int(found[1])})


async def secrets_finding(scene: Scene, params: PodParams) -> Finding:
    """Whether the keys that the pod refers to are there; of the values nothing is looked at."""
    keys = [params.url_key] if params.url_key else [params.user_key, params.password_key]
    needed = [*keys, *([params.ca_key] if params.ca_key else [])]
    there = await _keys(scene, params.secret)
    if isinstance(there, Finding):
        return there
    if missing := [key for key in needed if key not in there]:
        return obstacle(SECRETS, f"Secret {params.secret} has no key {missing[0]}")
    if not params.store_secret:
        return Finding(
            SECRETS, f"Secret {params.secret} has the keys of the login; the store knows the pod's account"
        )
    there = await _keys(scene, params.store_secret)
    if isinstance(there, Finding):
        return there
    if not there & set(STORE_KEYS):
        return obstacle(SECRETS, f"Secret {params.store_secret} has none of the keys {', '.join(STORE_KEYS)}")
    return Finding(SECRETS, f"Secrets {params.secret} and {params.store_secret} have the keys of both logins")


async def _keys(scene: Scene, name: str) -> set[str] | Finding:
    try:
        secret = await scene.cluster.get(Kind.SECRET, scene.workload.target.namespace, name)
    except RemediatorError as error:
        return obstacle(SECRETS, f"Secret {name} cannot be read ({error.code})")
    return set(secret.get("data") or {})


def obstacle(code: str, text: str, advice: str = "") -> Finding:
    """A finding that speaks against the step."""
    return Finding(code, text, data={"obstacle": True, "advice": advice or text})


async def running_finding(scene: Scene) -> Finding:
    """A Job of an earlier backup or restore that has not ended."""
    try:
        jobs = await scene.cluster.list_objects(Kind.JOB, scene.workload.target.namespace, LABEL)
    except RemediatorError as error:
        text = f"Whether a backup or restore is under way is not known: {error.message}"
        return Finding(RUNNING, text, Certainty.UNKNOWN)
    active = [job["metadata"]["name"] for job in jobs if not _ended(job)]
    if active:
        return obstacle(
            RUNNING, f"Job {active[0]} is still at work", f"wait for Job {active[0]} to end, or delete it"
        )
    return Finding(RUNNING, "No backup or restore is under way")


def _ended(job: Obj) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True" for c in conditions)
