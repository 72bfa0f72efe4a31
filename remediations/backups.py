"""What backups of all kinds have in common: where they go and how many stay, the pod that makes them, and what stands in their way.

Used by the handlers of backups. No order changes where a backup goes. Reads only; of a Secret the names of its keys alone.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Final

from pydantic import Field

from app.backup.job import LABEL, Pod
from app.backup.order import STORE_KEYS, Keep, Place
from app.domain.errors import RemediatorError
from app.domain.evidence import Certainty, Finding
from app.domain.json import Obj
from app.domain.remediation import Params, Scene
from app.domain.target import Kind
from app.domain.units import duration
from remediations.shared import Bytes, ObjectName, Seconds

SECRETS, RUNNING = "backup.secrets", "backup.running"
_URL: Final = r"^((s3|gs|az)://[A-Za-z0-9._/-]+)?$"
_ENDPOINT: Final = r"^(https?://[A-Za-z0-9.:\[\]_-]+/?)?$"
Image = Annotated[str, Field(max_length=500, pattern=r"^[A-Za-z0-9._:/@-]*$")]


class StoreParams(Params):
    """`to`: bucket and folder, as `s3://bucket/folder` (also gs, az). `endpoint`, `region`: of a store of one's own.
    `store_secret`: the existing Secret with the store's login, under the names that its tools use (AWS_ACCESS_KEY_ID and so on);
    empty where the pod's `account` is known to the store. `uploader`: the image of this service.
    `deadline`: how long the Job may run. `memory`: limit of each container. `keep_job`: how long the ended Job stays, an hour at
    least: a Job that is gone tells no result, also to a run that was held meanwhile."""

    needed: ClassVar[tuple[str, ...]] = ("to", "uploader")

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
    account: ObjectName = Field(default="", description="Service account of the pod")
    uploader: Image = Field(default="", description="Image of this service")
    deadline: Seconds = Field(default=7_200, ge=60, description="Seconds that the Job may run")
    memory: Bytes = Field(
        default=512 * 1024**2, ge=64 * 1024**2, description="Memory limit of each container, in bytes"
    )
    keep_job: Seconds = Field(
        default=86_400,
        ge=3_600,
        description="Seconds that the ended Job stays, for its result is read from it",
    )

    def place(self) -> Place:
        """Where it goes."""
        return Place(self.to, self.endpoint, self.region)

    @property
    def missing(self) -> str:
        """What the rule has to name and does not; empty when it does."""
        names = [name for name in self.needed if not getattr(self, name)]
        return f"the rule's params name no {' and no '.join(names)}" if names else ""

    def pod(self, image: str, manifest: Obj) -> Pod:
        """The pod, with this image in the container that is not ours, and the pull Secrets of a workload."""
        return Pod(
            image=image,
            uploader=self.uploader,
            store_secret=self.store_secret,
            account=self.account,
            deadline=int(self.deadline),
            ttl=int(self.keep_job),
            memory=str(self.memory),
            pull=pull_secrets(manifest),
        )

    def ends_by_itself(self) -> str:
        """Why there is nothing to undo."""
        return f"the Job ends by itself within {lasting(self.deadline)} and is removed {lasting(self.keep_job)} after its end"


class KeepParams(Params):
    """How many backups stay."""

    daily: int = Field(default=7, ge=0, le=400, description="How many days keep a backup")
    weekly: int = Field(default=4, ge=0, le=400, description="How many weeks do")
    monthly: int = Field(default=12, ge=0, le=400, description="How many months do")

    recent: int = Field(default=48, ge=0, le=8_760, description="Hours in which every backup stays")

    def keep(self) -> Keep:
        """As the pod is told."""
        return Keep(self.daily, self.weekly, self.monthly, self.recent)


STORE: Final = frozenset(StoreParams.model_fields) - {"deadline", "memory", "keep_job"}
KEEP: Final = frozenset(KeepParams.model_fields)
"""Names of what only a rule says: where it goes, and how many stay."""


async def store_login(scene: Scene, params: StoreParams) -> Finding:
    """Whether the keys of the store's login are there; of the values nothing is looked at."""
    if not params.store_secret:
        return Finding(SECRETS, "The store knows the pod's account")
    there = await keys_of(scene, params.store_secret)
    if isinstance(there, Finding):
        return there
    if not there & set(STORE_KEYS):
        return obstacle(SECRETS, f"Secret {params.store_secret} has none of the keys {', '.join(STORE_KEYS)}")
    return Finding(SECRETS, f"Secret {params.store_secret} has the keys of the store's login")


async def keys_of(scene: Scene, name: str) -> set[str] | Finding:
    """The names of a Secret's keys, or the finding that they cannot be read."""
    try:
        secret = await scene.cluster.get(Kind.SECRET, scene.workload.target.namespace, name)
    except RemediatorError as error:
        return obstacle(SECRETS, f"Secret {name} cannot be read ({error.code})")
    return set(secret.get("data") or {})


def obstacle(code: str, text: str, advice: str = "") -> Finding:
    """A finding for which there is no backup."""
    return Finding(code, text, data={"obstacle": True, "advice": advice or text})


async def running(scene: Scene, *procedures: str) -> Finding:
    """A Job of an earlier order of one of these procedures that has not ended."""
    try:
        jobs = await scene.cluster.list_objects(Kind.JOB, scene.workload.target.namespace, LABEL)
    except RemediatorError as error:
        text = f"Whether a backup or restore is under way is not known: {error.message}"
        return Finding(RUNNING, text, Certainty.UNKNOWN)
    jobs = [job for job in jobs if job["metadata"]["labels"][LABEL] in procedures]
    active = [job["metadata"]["name"] for job in jobs if not _ended(job)]
    if active:
        return obstacle(
            RUNNING, f"Job {active[0]} is still at work", f"wait for Job {active[0]} to end, or delete it"
        )
    return Finding(RUNNING, "No backup or restore is under way")


def _ended(job: Obj) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True" for c in conditions)


def pull_secrets(manifest: Obj) -> tuple[str, ...]:
    """The pull Secrets of a workload's pods."""
    listed = manifest["spec"]["template"]["spec"].get("imagePullSecrets") or ()
    return tuple(str(one["name"]) for one in listed)


def job_named(what: str, of: str, backup: str) -> str:
    """The name of a Job: of this backup alone, within the length that names of pods leave."""
    stamp = backup.rsplit("-", 2)
    return f"{what}-{of.replace('.', '-')[:30].strip('-')}-{stamp[1].lower()}-{stamp[2]}"


def lasting(seconds: float) -> str:
    """A length of time as people write it."""
    return duration(timedelta(seconds=seconds))
