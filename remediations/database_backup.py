"""Backup Procedure, Database Backup: a Job that dumps a PostgreSQL database, stores it, and verifies what was stored.

Implements the runbook's section of that name. An order or a schedule starts it. The dump is made by the image that the server runs, so that
client and server fit; the Job needs the Secrets that the rule names and nothing of this service. It changes nothing of the database.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from app.backup.job import backup_job
from app.backup.order import Form, Order, Place, new_name
from app.domain.database import Activity
from app.domain.errors import ProbeUnavailable
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue
from app.domain.plan import ActionKind, Step
from app.domain.procedure import Procedure
from app.domain.remediation import Remediation, Scene
from app.domain.units import duration
from app.kube.job_actuator import create_job
from remediations.backup_pods import (
    CLIENT,
    PLACE,
    PodParams,
    client_finding,
    running_finding,
    secrets_finding,
)
from remediations.backups import KEEP, KeepParams, job_named
from remediations.evidence.pods import pods_finding, pods_of
from remediations.evidence.usage import joined, memory
from remediations.shared import act, refuse

BACK_UP = "back-up"
SERVER = "backup.server"
_MAJOR = re.compile(r"\d+")


class DatabaseBackupParams(KeepParams, PodParams):
    """`form`: custom, or plain for SQL with gzip. `scratch`: restore it beside and compare."""

    form: Literal["custom", "plain"] = Field(default="custom", description="plain: SQL with gzip")
    scratch: bool = Field(default=False, description="Restore it beside and compare the rows")


class DatabaseBackup(Remediation[DatabaseBackupParams]):
    """The handler."""

    name = "database-backup"
    runbook = "Backup Procedure"
    steps: tuple[str, ...] = (BACK_UP,)
    params: type[DatabaseBackupParams] = DatabaseBackupParams
    actions: frozenset[ActionKind] = frozenset({ActionKind.CREATE_JOB})
    secret_params: tuple[str, ...] = ("secret", "store_secret")
    fixed_params: frozenset[str] = PLACE | KEEP
    procedure = Procedure(
        settle=timedelta(seconds=10), timeout=timedelta(hours=2, minutes=30), poll=timedelta(seconds=10)
    )

    async def diagnose(self, scene: Scene, params: DatabaseBackupParams) -> Diagnosis:
        """The target's pods, the server's version and size, the client's version, the Secrets' keys, and whether a backup is under way."""
        pods = await pods_of(scene.cluster, scene.workload)
        state = pods if isinstance(pods, Finding) else pods_finding(scene.workload, pods, ())
        findings = (
            state,
            await _server(scene, params),
            client_finding(params.image or scene.workload.containers[0].image, params.tls),
            await secrets_finding(scene, params),
            await running_finding(scene),
        )
        return Diagnosis(joined([f.text for f in findings]), findings)

    async def ladder(
        self, scene: Scene, params: DatabaseBackupParams, diagnosis: Diagnosis
    ) -> Sequence[Step]:
        """One step."""
        if why := params.missing:
            return (refuse(BACK_UP, why, f"{why}: say where backups go, and which image stores them"),)
        if params.scratch and params.form != "custom":
            why = "only the form custom can be restored beside and compared (scratch)"
            return (refuse(BACK_UP, why, why),)
        for finding in diagnosis.findings:
            unknown = finding.certainty is Certainty.UNKNOWN and finding.code != CLIENT
            if unknown or finding.data.get("obstacle"):
                return (refuse(BACK_UP, finding.text, str(finding.data.get("advice", ""))),)
        server, client = (diagnosis.finding(code) for code in (SERVER, CLIENT))
        older = _older(server, client)
        if older:
            return (refuse(BACK_UP, older, f"{older}; name one that is as new in the rule's param image"),)
        return (_back_up(scene, params, server),)


def _back_up(scene: Scene, params: DatabaseBackupParams, server: Finding | None) -> Step:
    target, ref = scene.workload.target, scene.workload.ref
    found: Any = server.data if server else {}
    name = new_name(str(found.get("database") or params.database or target.name), scene.now, ref.uid)
    order = Order(
        name,
        params.address(target.namespace),
        Form(params.form),
        Place(params.to, params.endpoint, params.region),
        params.keep(),
        params.scratch,
    )
    pod = params.pod(params.image or scene.workload.containers[0].image, scene.workload.manifest)
    job_name = job_named("backup", target.name, name)
    job = backup_job(order, pod, job_name, DatabaseBackup.name)
    undo = (
        "nothing to undo: it changes nothing of the database; the Job ends by itself within "
        f"{_span(params.deadline)} and is removed {_span(params.keep_job)} after its end"
    )
    compared = ", restored beside and compared" if params.scratch else ""
    what = found.get("database") or order.database.database
    summary = (
        f"Back up {what} at {order.database} ({_size(found)}) to {params.to}, form {params.form}{compared}"
    )
    why = server.text if server else "it was ordered"
    return act(BACK_UP, why, create_job(ref, target, job, summary, undo))


async def _server(scene: Scene, params: DatabaseBackupParams) -> Finding:
    at = params.address(scene.workload.target.namespace)
    if scene.databases is None:
        return Finding(SERVER, f"{at} was not looked at: no database can be asked", Certainty.UNKNOWN)
    try:
        seen: Activity = await scene.databases.activity(scene.cluster, at)
    except ProbeUnavailable as error:
        text = f"{at} could not be looked at: {error.message}"
        told = {"advice": f"make the check of {at} work", "code": error.code}
        return Finding(SERVER, text, Certainty.UNKNOWN, told)
    major = _MAJOR.match(seen.version)
    size = "" if seen.size is None else f", {memory(seen.size)}"
    data: dict[str, JsonValue] = {
        "database": seen.database,
        "version": seen.version,
        "major": int(major[0]) if major else 0,
        "size": seen.size,
    }
    return Finding(SERVER, f"{seen.database} on PostgreSQL {seen.version}{size}", data=data)


def _older(server: Finding | None, client: Finding | None) -> str:
    ours, theirs = (f.data.get("major") if f else None for f in (client, server))
    if not isinstance(ours, int) or not isinstance(theirs, int) or ours >= theirs:
        return ""
    version = server.data["version"] if server else ""
    return f"the image's pg_dump {ours} is older than the server, which is PostgreSQL {version}: it cannot dump it"


def _size(found: Any) -> str:
    size = found.get("size")
    return memory(size) if isinstance(size, int) else "size not known"


def _span(seconds: float) -> str:
    return duration(timedelta(seconds=seconds))
