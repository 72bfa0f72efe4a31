"""Backup Procedure, Configuration Backup: a Job that reads a namespace's configuration, encrypts it to recipients, and stores what it verified.

Implements the runbook's section of that name. An order or a schedule starts it. The service reads none of the objects and holds no key that
could decrypt a backup; the Job's account may list them, and Secrets only where the rule includes them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from app.backup.configuration.job import configuration_job
from app.backup.configuration.order import NAMED, RECIPIENT, Order
from app.backup.order import new_name
from app.domain.errors import ObjectMissing, RemediatorError
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.plan import ActionKind, Step
from app.domain.procedure import Procedure
from app.domain.remediation import Remediation, Scene
from app.domain.target import Kind
from app.kube.job_actuator import create_job
from remediations.backups import (
    KEEP,
    STORE,
    KeepParams,
    StoreParams,
    job_named,
    obstacle,
    running,
    store_login,
)
from remediations.evidence.usage import count, joined
from remediations.shared import act, refuse

SAVE = "save"
ACCOUNT = "backup.account"
_Recipient = Annotated[str, Field(pattern=RECIPIENT)]


class ConfigurationBackupParams(KeepParams, StoreParams):
    """`recipients`: public keys of age; whoever holds one of the identities can read the backup, and nobody else. `secrets`: with the
    namespace's Secrets."""

    needed: ClassVar[tuple[str, ...]] = ("to", "uploader", "account", "recipients")

    recipients: tuple[_Recipient, ...] = Field(
        default=(), max_length=20, description="Public keys of age (age1...) that it is encrypted to"
    )
    secrets: bool = Field(default=False, description="Includes the namespace's Secrets")


class ConfigurationBackup(Remediation[ConfigurationBackupParams]):
    """The handler."""

    name = "configuration-backup"
    runbook = "Backup Procedure (Configuration)"
    steps: tuple[str, ...] = (SAVE,)
    params: type[ConfigurationBackupParams] = ConfigurationBackupParams
    actions: frozenset[ActionKind] = frozenset({ActionKind.CREATE_JOB})
    secret_params: tuple[str, ...] = ("store_secret",)
    fixed_params: frozenset[str] = STORE | KEEP | {"recipients", "secrets"}
    procedure = Procedure(
        settle=timedelta(seconds=10), timeout=timedelta(minutes=30), poll=timedelta(seconds=10)
    )

    async def diagnose(self, scene: Scene, params: ConfigurationBackupParams) -> Diagnosis:
        """The account, the store's login, and whether a backup is under way."""
        findings = (
            await _account(scene, params),
            await store_login(scene, params),
            await running(scene, ConfigurationBackup.name),
        )
        return Diagnosis(joined([f.text for f in findings]), findings)

    async def ladder(
        self, scene: Scene, params: ConfigurationBackupParams, diagnosis: Diagnosis
    ) -> Sequence[Step]:
        """One step."""
        if why := params.missing:
            advice = "say where backups go, which image stores them, as which account, and to whom they are encrypted"
            return (refuse(SAVE, why, f"{why}: {advice}"),)
        for finding in diagnosis.findings:
            if finding.certainty is Certainty.UNKNOWN or finding.data.get("obstacle"):
                return (refuse(SAVE, finding.text, str(finding.data.get("advice", ""))),)
        return (_save(scene, params),)


async def _account(scene: Scene, params: ConfigurationBackupParams) -> Finding:
    """Whether the pod's account is there; what it may read the pod says itself."""
    namespace = scene.workload.target.namespace
    if not params.account:
        return Finding(ACCOUNT, "The rule names no account for the pod")
    try:
        await scene.cluster.get(Kind.SERVICE_ACCOUNT, namespace, params.account)
    except ObjectMissing:
        return obstacle(ACCOUNT, f"There is no service account {params.account} in {namespace}")
    except RemediatorError as error:
        text = f"Service account {params.account} could not be read: {error.message}"
        return Finding(ACCOUNT, text, Certainty.UNKNOWN)
    return Finding(ACCOUNT, f"The pod runs as {params.account}")


def _save(scene: Scene, params: ConfigurationBackupParams) -> Step:
    target, ref = scene.workload.target, scene.workload.ref
    name = new_name(NAMED, scene.now, ref.uid)
    order = Order(name, target.namespace, params.place(), params.keep(), params.recipients, params.secrets)
    job_name = re.sub(r"[^a-z0-9-]", "-", job_named("configuration", target.namespace, name))
    job = configuration_job(
        order, params.pod(params.uploader, scene.workload.manifest), job_name, ConfigurationBackup.name
    )
    with_secrets = "with" if params.secrets else "without"
    who = count(len(params.recipients), "recipient")
    summary = f"Back up the configuration of {target.namespace} ({with_secrets} Secrets), encrypted for {who}, to {params.to}"
    undo = f"nothing to undo: it only reads; {params.ends_by_itself()}"
    return act(SAVE, "it was ordered", create_job(ref, target, job, summary, undo))
