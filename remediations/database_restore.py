"""Recovery Procedures, Data Corruption and Disaster Recovery: a PostgreSQL database back from a backup.

Implements the runbook's two sections of that name. An order starts it, and two people approve its plan. The backup is restored into a copy
beside and validated there, then the application is stopped, and the copy takes the database's place by its name; what it replaces is kept, so
that all of it can be taken back. Where there is no database yet, the copy becomes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from app.backup.job import backup_job, restore_job
from app.backup.order import Form, Keep, Order, Place, folder_of, new_name
from app.backup.restore_order import Phase, RestoreOrder
from app.database.exchanging import exchange_database
from app.domain import half_way
from app.domain.backups import Shelf
from app.domain.copies import Exchange
from app.domain.database import APPLICATION
from app.domain.errors import RemediatorError
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import Obj, digest
from app.domain.plan import Action, ActionKind, FieldChange, Step
from app.domain.procedure import Consent, Procedure
from app.domain.remediation import Remediation, Scene
from app.domain.target import Kind, Target
from app.domain.units import say_memory
from app.domain.workload import Workload
from app.kube.actions.scale import resized
from app.kube.read import read_workload
from app.kube.run_job_actuator import run_job
from app.kube.stopped_actuator import confirm_stopped
from remediations.backup_pods import (
    CLIENT,
    PLACE,
    PodParams,
    client_finding,
    running_finding,
    secrets_finding,
)
from remediations.backups import obstacle
from remediations.database_backup import DatabaseBackup
from remediations.evidence.pods import pods_finding, pods_of
from remediations.evidence.restores import (
    BACKUP,
    SCALER,
    SERVER,
    SPACE,
    backup_finding,
    rights_obstacle,
    scaler_findings,
    server_finding,
    space_finding,
    versions_finding,
)
from remediations.evidence.usage import joined
from remediations.shared import ObjectName, act, refuse

RESTORE = "restore"
IMAGE, RIGHTS = "restore.image", "restore.rights"
_CHECK_SECONDS = 60
_OPTIONAL = frozenset({CLIENT, SPACE})


class DatabaseRestoreParams(PodParams):
    """`backup`: the key of the one that is restored; empty for the newest. `server`: the StatefulSet of the database, whose image has
    pg_restore. `entry`: a database of the server that is always there. `checks`: queries that have to answer true in the restored
    copy. `origin`: the namespace and server that a backup may be of, where those are others. `privileges`: grants are restored too. `superuser`: the login may be one. `without_safety_backup`: the present state is not
    backed up first. `replicas`: of the application afterwards. `factor`: bytes on disk for a byte of a dump whose
    manifest does not tell."""

    backup: str = Field(
        default="", max_length=900, pattern=r"^[A-Za-z0-9._/-]*$", description="Its key; empty: the newest"
    )
    server: ObjectName = Field(
        default="postgres", description="StatefulSet of the database; only a rule sets it"
    )
    entry: str = Field(
        default="postgres", min_length=1, max_length=63, description="A database of the server that stays"
    )
    checks: tuple[Annotated[str, Field(min_length=1, max_length=2_000)], ...] = Field(
        default=(), max_length=20, description="Queries that have to answer true in the copy"
    )
    origin: str = Field(
        default="",
        max_length=300,
        description="namespace/server that the backup may be of, if it is another one",
    )
    privileges: bool = Field(default=True, description="Restore grants too")
    superuser: bool = Field(default=False, description="The login may be a superuser")
    without_safety_backup: bool = Field(
        default=False, description="Says that the present state is not backed up first"
    )
    replicas: int | None = Field(
        default=None, ge=0, le=1_000, description="Pods of the application afterwards; null: as before"
    )
    factor: float = Field(default=8.0, gt=0, le=1_000, description="Bytes on disk for a byte of an old dump")


class DatabaseRestore(Remediation[DatabaseRestoreParams]):
    """The handler. Its target is the application that uses the database."""

    name = "database-restore"
    runbook = "Recovery Procedures"
    steps: tuple[str, ...] = (RESTORE,)
    params: type[DatabaseRestoreParams] = DatabaseRestoreParams
    actions: frozenset[ActionKind] = frozenset(
        {ActionKind.RUN_JOB, ActionKind.SCALE, ActionKind.CONFIRM_STOPPED, ActionKind.EXCHANGE_DATABASE}
    )
    secret_params: tuple[str, ...] = ("secret", "store_secret")
    fixed_params: frozenset[str] = PLACE | {
        "server",
        "entry",
        "checks",
        "origin",
        "privileges",
        "superuser",
        "factor",
    }
    procedure = Procedure(
        Consent.TWO,
        settle=timedelta(seconds=30),
        timeout=timedelta(minutes=30),
        poll=timedelta(seconds=10),
    )

    async def diagnose(self, scene: Scene, params: DatabaseRestoreParams) -> Diagnosis:
        """The rehearsal as far as it needs no Job: everything that can be checked before the first change."""
        findings = tuple(await _rehearsed(scene, params))
        return Diagnosis(joined([f.text for f in findings]), findings)

    async def ladder(
        self, scene: Scene, params: DatabaseRestoreParams, diagnosis: Diagnosis
    ) -> Sequence[Step]:
        """One step, all in all or not at all."""
        if why := params.missing:
            return (refuse(RESTORE, why, why),)
        for finding in diagnosis.findings:
            unknown = finding.certainty is Certainty.UNKNOWN and finding.code not in _OPTIONAL
            if unknown or finding.data.get("obstacle"):
                return (refuse(RESTORE, finding.text, str(finding.data.get("advice", ""))),)
        found = {f.code: f for f in diagnosis.findings}
        if not params.without_safety_backup and (no := _nothing_to_save(found[SERVER])):
            why = f"{no}, so its present state cannot be backed up"
            return (refuse(RESTORE, why, f"{why}: without_safety_backup=true says that this is known"),)
        server = await _server_workload(scene, params)
        return (_Plan(scene, params, found, server or scene.workload).step(),)


def _nothing_to_save(server: Finding) -> str:
    """Why no backup can be made of the database as it is now; empty when one can."""
    database, closed = server.data["database"], server.data["closed"]
    if not server.data["there"]:
        return f"there is no database {database}"
    return f"{database} takes no connections, somebody has closed it ({closed})" if closed else ""


async def _rehearsed(scene: Scene, params: DatabaseRestoreParams) -> list[Finding]:
    """In the order in which people ask."""
    namespace = scene.workload.target.namespace
    pods = await pods_of(scene.cluster, scene.workload)
    findings = [pods if isinstance(pods, Finding) else pods_finding(scene.workload, pods, ())]
    findings += await scaler_findings(scene, params.replicas)
    findings += [await secrets_finding(scene, params), await running_finding(scene)]
    of_server = await _server_workload(scene, params)
    image = params.image or (of_server.containers[0].image if of_server else "")
    if not image:
        text = f"StatefulSet {params.server} cannot be read, and the rule names no image with pg_restore"
        return [*findings, obstacle(IMAGE, text)]
    client = client_finding(image, params.tls)
    seen, server = await server_finding(scene, params.address(namespace), params.entry)
    findings += [client, seen]
    if server is None:
        return findings
    if server.database == params.entry:
        why = f"entry is {params.entry}, the database that is replaced: name another one of the server in the rule"
        findings.append(obstacle(RIGHTS, why))
    elif why := rights_obstacle(server, superuser=params.superuser):
        findings.append(obstacle(RIGHTS, why))
    at = params.address(namespace)
    shelf = Shelf(
        params.to, params.endpoint, params.region, namespace, params.store_secret, folder_of(namespace, server.database),
        params.origin.partition("/")[2] or str(replace(at, database="")),
    )  # fmt: skip
    of = (server.database, at, params.origin)
    told, stored = await backup_finding(scene, shelf, params.backup, of)
    findings.append(told)
    if stored is not None:
        findings.append(versions_finding(stored, server, client))
        findings.append(
            await space_finding(scene, stored, params.server if of_server else "", params.factor, server.wal)
        )
    return findings


async def _server_workload(scene: Scene, params: DatabaseRestoreParams) -> Workload | None:
    """The database's StatefulSet; None where it stands outside of the cluster, or cannot be read."""
    if not params.server:
        return None
    try:
        namespace = scene.workload.target.namespace
        return await read_workload(scene.cluster, Target(namespace, Kind.STATEFUL_SET, params.server))
    except RemediatorError:
        return None


class _Plan:
    """The actions of a restore whose rehearsal found nothing against it."""

    def __init__(
        self,
        scene: Scene,
        params: DatabaseRestoreParams,
        found: Mapping[str, Finding],
        server: Workload,
    ) -> None:
        self.scene, self.params, self.found = scene, params, found
        self.workload, self.at = scene.workload, params.address(scene.workload.target.namespace)
        backup: Any = found[BACKUP].data
        self.key, self.sha256, self.bytes = backup["key"], backup["sha256"], backup["bytes"]
        self.there = bool(found[SERVER].data["there"])
        self.pod = params.pod(params.image or server.containers[0].image, server.manifest)
        seen: Any = found[SERVER].data
        live = str(seen["database"])
        self.mark = digest([self.workload.ref.uid, scene.now.isoformat()])[
            :6
        ]  # of this plan alone, not of this second
        stamp = f"{scene.now:%Y%m%dt%H%M%S}_{self.mark}"
        short = live.encode()[:31].decode(errors="ignore")
        copy = f"{short}_restored_{stamp}"
        self.exchange = Exchange(
            self.at,
            params.entry,
            live,
            copy,
            f"{short}_before_{stamp}" if self.there else "",
            # What is restored could know all but the last word, and write the mark of a validated copy itself.
            f"{APPLICATION}: {copy} of {self.key}, {scene.draw()}",
            seen["id"],
            was_closed=not seen["open"],
        )
        self.kept_back = tuple(seen["kept_back"])
        self.closed = str(seen["closed"])
        self.left_behind = "; ".join(seen["left_behind"])

    def step(self) -> Step:
        """All of it, in its order."""
        safety = () if self.params.without_safety_backup else (self._safety(),)
        built = (
            self._job(Phase.REHEARSE),
            self._job(Phase.RESTORE),  # a copy beside: what it cannot restore stops nothing
            *safety,  # as late as what fails in it stops nothing
            *self._stopped(),
            self._exchange(),
            *self._started(),
        )
        where, live = self.found[SERVER].text, self.exchange.live
        kept = f", and what {live} is now is kept as {self.exchange.kept}" if self.there else ""
        why = (
            f"{self.found[BACKUP].text} is restored as {live}; {where}. Until its name is exchanged nothing of the database is "
            f"changed{kept}"
        )
        step = act(RESTORE, why, built[0], built[1:])
        told = list(self._at_0())
        told += [
            f"no safety backup of the present state of {live} is made"
        ] * self.params.without_safety_backup
        if self.closed:
            told.append(
                f"{live} takes no connections ({self.closed}), and the restored one does until an undo"
            )
        if self.kept_back:
            told.append(
                f"{live} may be without {', '.join(self.kept_back)} afterwards: only a superuser sets that"
            )
        if self.left_behind:
            told.append(
                f"with the former {live} stays {self.left_behind}: the restored one is without, until somebody makes it anew"
            )
        return replace(step, asks="; ".join(told)) if told else step

    def _at_0(self) -> Iterator[str]:
        """What somebody has stopped before is theirs to start."""
        target = self.workload.target
        if (scaler := self.found.get(SCALER)) and (resume := scaler.data.get("resume")):
            yield f"{target} is not started afterwards: {resume} lets KEDA start it"
            return
        if not self.workload.desired and not self.params.replicas:
            yield f"{target} stands at 0 and is not started afterwards: the param replicas says with how many pods it is"

    def _job(self, phase: Phase) -> Action:
        params, exchange = self.params, self.exchange
        place = Place(params.to, params.endpoint, params.region)
        order = RestoreOrder(
            phase, self.key, self.sha256, self.bytes, self.at, place, exchange.entry, exchange.live, exchange.copy,
            exchange.mark, params.checks, params.privileges, _CHECK_SECONDS, params.superuser,
        )  # fmt: skip
        size = say_memory(self.bytes)
        if phase is Phase.REHEARSE:
            summary = f"Rehearse: read all of {self.key} ({size}, sha256 {self.sha256[:16]}), change nothing"
            undo = "nothing to undo: it only reads"
        else:
            summary = f"Restore {self.key} into {exchange.copy} beside, and validate it there"
            undo = f"nothing to undo: {exchange.copy} stays beside until somebody drops it"
        job = restore_job(order, self.pod, f"{phase.value}-{self._suffix()}", DatabaseRestore.name)
        return self._run(job, summary, undo)

    def _safety(self) -> Action:
        params, live = self.params, self.exchange.live
        name = new_name(live, self.scene.now, self.workload.ref.uid)
        place = Place(params.to, params.endpoint, params.region)
        order = Order(name, self.at, Form.CUSTOM, place, Keep(0, 0, 0), safety=True)
        job = backup_job(order, self.pod, f"safety-{self._suffix()}", DatabaseBackup.name)
        undo = "nothing to undo: it changes nothing of the database"
        return self._run(job, f"Safety backup of {live} as it is now, to {params.to}", undo)

    def _run(self, job: Obj, summary: str, undo: str) -> Action:
        return run_job(self.workload.ref, self.workload.target, job, summary, undo)

    def _suffix(self) -> str:
        """Of the names of its Jobs: they are of this plan alone."""
        target = self.workload.target
        return f"{target.name.replace('.', '-')[:25].strip('-')}-{self.scene.now:%Y%m%dt%H%M%Sz}-{self.mark}"

    def _stopped(self) -> tuple[Action, ...]:
        if not self.workload.desired:
            return (confirm_stopped(self.workload),)
        stop = replace(resized(self.workload, 0), part=half_way.AS_FOUND)
        return (stop, confirm_stopped(self.workload))

    def _exchange(self) -> Action:
        exchange = self.exchange
        kept = f", keep the former one as {exchange.kept}, closed" if self.there else ""
        summary = f"Point of no return: {exchange.copy} becomes {exchange.live}{kept}; what is written from then on is written to it"
        ref, target = self.workload.ref, self.workload.target
        return exchange_database(ref, target, exchange, self.workload.selector, summary, self.closed)

    def _started(self) -> tuple[Action, ...]:
        wanted = self.workload.desired if self.params.replicas is None else self.params.replicas
        if not wanted:
            return ()
        target, as_before = self.workload.target, self.params.replicas is None
        start = replace(
            resized(self.workload, wanted),
            changes=(FieldChange("/spec/replicas", 0, wanted),),
            part=half_way.AS_FOUND if as_before else half_way.AS_GIVEN,
            summary=f"Start {target} again with {wanted} replicas{', or as many as it had when it was stopped' * as_before}",
            pods_affected=0,
            undo="scale to 0 again",
            params={"from": 0, "to": wanted},
        )
        return (start,)
