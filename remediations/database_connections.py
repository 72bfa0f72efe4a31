"""Database Connection Issues: a real connection test, connections against the limit, who holds them, and who blocks whom.

Implements the runbook's section of that name for PostgreSQL. Called by the flow. It ends sessions that hold a transaction open for
too long, then one that others have waited for; both only of the database that the rule names. A restart is of the run's own target
alone, so that the gates have judged it, and always asked about: the client that holds most connections, or the server. A full
disk and a server that an operator manages are told to a person.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from app.database.actuator import Ending
from app.domain.database import ABSENT, CLOSED, EXHAUSTED, LIMITED, Condition, SessionId, Why
from app.domain.evidence import Certainty, Diagnosis, Finding, Trouble
from app.domain.plan import ActionKind, Step
from app.domain.remediation import Remediation, Scene
from app.kube.actions import delete_pod, rollout_restart
from remediations.causes import FirstCause, first_findings, investigate
from remediations.database_params import WHERE, DatabaseParams
from remediations.evidence.database_locks import LOCKS
from remediations.evidence.database_pods import (
    CLIENT_WORKLOAD,
    DISK,
    client_workload,
    disk_finding,
    is_server,
    operator_of,
)
from remediations.evidence.databases import (
    CLIENTS,
    CONNECTION,
    IDLERS,
    REPLICATION,
    Limits,
    database_findings,
)
from remediations.evidence.logs import errors_finding, read_errors
from remediations.evidence.pods import pods_finding, pods_of, troubles, unread_pods
from remediations.evidence.usage import count, joined, measured, percent, span
from remediations.shared import Seconds, Share, act, errors_counted, pods_counted, refuse, share_counted

END_IDLE, END_BLOCKER = "terminate-idle-in-transaction", "terminate-blocker"
RESTART_CLIENT, RESTART_SERVER, BY_HAND = "restart-client", "restart-postgres", "fix-by-hand"
_MARGIN = 1.0
"""Seconds by which it is looked again later than a session may be ended: the server's clock and ours are not one."""
_OUT = {
    EXHAUSTED: (
        "find out who holds the connections of {at} with a login that may use the reserved ones "
        "(pg_use_reserved_connections from PostgreSQL 16 on, or a superuser), or restart the client that leaks them"
    ),
    LIMITED: (
        "find out who holds the connections of {at}, with another login or from another database; where the limit is too low or no "
        "longer meant, raise it (ALTER ROLE ... CONNECTION LIMIT, ALTER DATABASE ... CONNECTION LIMIT, or that of the pooler): "
        "a restart of the server does not"
    ),
    ABSENT: (
        "look at the name in {at} and at the databases of the server: one that was renamed gets its name back (ALTER DATABASE ... RENAME), one "
        "that was dropped comes back from a backup (docs/recovery.md)"
    ),
    CLOSED: (
        "find out who closed the database of {at} and why; ALTER DATABASE ... ALLOW_CONNECTIONS true, from another database, opens it"
    ),
}
"""What a person does about what the server itself said of a connection, by code."""
_FULL = re.compile(r"no space left on device|could not extend file|disk full", re.IGNORECASE)


class DatabaseConnectionsParams(DatabaseParams):
    """`idle_in_transaction`: how long a session may be; `most` of them are ended at once. `lock`: how long others may wait.
    `crowded`: share of the usable connections from which on they are short; `client_share`: share of those in use from which on
    one client has too many; `full`: share of a volume of the server from which on its disk is told as full."""

    idle_in_transaction: Seconds = 600
    most: int = Field(default=10, ge=1, le=100)
    lock: Seconds = 300
    crowded: Share = 0.8
    client_share: Share = 0.5
    full: Share = 0.95
    logs: Seconds = 300

    @property
    def limits(self) -> Limits:
        """From when on something is wrong."""
        return Limits(self.idle_in_transaction, self.lock, self.crowded, self.most)


class DatabaseConnections(Remediation[DatabaseConnectionsParams]):
    """The handler."""

    name = "database-connections"
    runbook = "Database Connection Issues"
    reads_config = True
    outside = True
    steps: tuple[str, ...] = (END_IDLE, END_BLOCKER, RESTART_CLIENT, RESTART_SERVER, BY_HAND)
    params: type[DatabaseConnectionsParams] = DatabaseConnectionsParams
    actions: frozenset[ActionKind] = frozenset(
        {ActionKind.TERMINATE_SESSIONS, ActionKind.ROLLOUT_RESTART, ActionKind.DELETE_POD}
    )
    secret_params: tuple[str, ...] = ("secret",)
    ordered_params: frozenset[str] = frozenset({"most"})
    fixed_params: frozenset[str] = WHERE

    async def diagnose(self, scene: Scene, params: DatabaseConnectionsParams) -> Diagnosis:
        """Connections and locks by the server's own word; pods, their cause, and grouped errors of the target."""
        at = params.address(scene.workload.target.namespace)
        database, disk, workload = await asyncio.gather(
            database_findings(scene.databases, scene.cluster, at, params.limits),
            disk_finding(scene, params.service, params.full),
            _workload(scene, params),
        )
        findings = (*database, *([disk] if disk else []), *await _clients(scene, database), *workload)
        told = [f.text for f in findings if f.code in (CONNECTION, IDLERS, LOCKS)]
        rest = await _stopped(scene, params, Diagnosis("", findings))
        return Diagnosis(rest or joined(told), findings, rest, _counted(findings, params.crowded))

    async def ladder(
        self, scene: Scene, params: DatabaseConnectionsParams, diagnosis: Diagnosis
    ) -> Sequence[Step]:
        """End what idles, end a blocker, restart who leaks, restart the server, or a person's turn."""
        return (
            _end_idle(scene, params, diagnosis),
            _end_blocker(scene, params, diagnosis),
            _restart_client(scene, params, diagnosis),
            await _restart_server(scene, params, diagnosis),
            _by_hand(scene, params, diagnosis),
        )


async def _stopped(scene: Scene, params: DatabaseConnectionsParams, found: Diagnosis) -> str:
    """That the server is meant to have no pods, so that nobody can connect to it; empty otherwise."""
    connection, by_design = found.finding(CONNECTION), FirstCause(found).by_design
    answers = connection is not None and connection.certainty is Certainty.KNOWN
    if not by_design or answers or await is_server(scene.cluster, scene.workload, params.service):
        return ""
    return by_design


def _counted(findings: Sequence[Finding], crowded: float) -> tuple[Trouble, ...]:
    """Connections, sessions that wait for a lock, errors and pods, as far as they were read."""
    found = Diagnosis("", tuple(findings))
    used, waiting = measured(found, CONNECTION, "share"), measured(found, LOCKS, "waiting")
    return (
        *share_counted("share of the connections in use", used, crowded),
        *share_counted("sessions that wait for a lock", waiting, 0),
        *errors_counted(found.finding("errors.grouped")),
        *pods_counted(found.finding("pods.state")),
    )


async def _workload(scene: Scene, params: DatabaseConnectionsParams) -> list[Finding]:
    found = await investigate(scene)
    if why := found.seen.unread.get("pods"):
        return [unread_pods(why)]
    pods = found.seen.pods
    log = await read_errors(scene.cluster, pods, scene.now, scene.window(params.logs))
    state = pods_finding(scene.workload, pods, troubles(pods, scene.fired_at))
    return [state, *first_findings(found), errors_finding(log)]


async def _clients(scene: Scene, database: Sequence[Finding]) -> list[Finding]:
    """Whose pods the client with most connections is; not asked while connections are not short."""
    found = Diagnosis("", tuple(database))
    connection, clients = found.finding(CONNECTION), found.finding(CLIENTS)
    if connection is None or clients is None or connection.data["crowded"] is not True:
        return []
    addresses: Any = clients.data["addresses"]
    return [await client_workload(scene.cluster, scene.workload.target.namespace, addresses)]


def _unseen(diagnosis: Diagnosis) -> Finding | None:
    """The finding that says why nobody could look at the sessions; None when somebody could."""
    finding = diagnosis.finding(CONNECTION)
    if finding is None or not finding.data.get("code"):
        return None
    return finding


def _end_idle(scene: Scene, params: DatabaseConnectionsParams, diagnosis: Diagnosis) -> Step:
    if unseen := _unseen(diagnosis):
        return refuse(END_IDLE, unseen.text)
    connection, idlers = diagnosis.finding(CONNECTION), diagnosis.finding(IDLERS)
    if connection is None or idlers is None:
        return refuse(END_IDLE, "the sessions were not looked at")
    sessions = _ids(idlers.data["sessions"])
    if not sessions:
        return refuse(END_IDLE, *_none_idle(connection, idlers), later=_later(scene, diagnosis, idlers))
    least = span(params.idle_in_transaction)
    able: Any = idlers.data["able"]
    more = f", the oldest of {able}" if able > len(sessions) else ""
    summary = (
        f"End {count(len(sessions), 'session')}{more} idle in a transaction for {least} or longer at {{at}}"
    )
    why = f"{connection.text}; {idlers.text}; {idlers.data['reason']}"
    task = "find out why the client leaves its transactions open"
    return _ending(scene, params, (END_IDLE, why, summary, task), (sessions, Why.IDLE))


def _none_idle(connection: Finding, idlers: Finding) -> tuple[str, str]:
    """Why there is nothing to end, and what a person does about it."""
    if idlers.data["denied"]:
        users = ", ".join(map(str, idlers.data["denied"]))  # type: ignore[arg-type]
        grant = f"grant the login pg_signal_backend, or use the login of {users}"
        return f"{idlers.text}; the login may not end sessions of {users}", grant
    if idlers.data["vain"]:
        return f"connections are not short, and {idlers.data['vain']}: {connection.text}; {idlers.text}", ""
    if idlers.data["old"]:
        return f"connections are not short, and it holds nobody up: {connection.text}; {idlers.text}", ""
    return idlers.text, ""


def _end_blocker(scene: Scene, params: DatabaseConnectionsParams, diagnosis: Diagnosis) -> Step:
    if unseen := _unseen(diagnosis):
        return refuse(END_BLOCKER, unseen.text)
    locks = diagnosis.finding(LOCKS)
    if locks is None:
        return refuse(END_BLOCKER, "the locks were not looked at")
    if locks.data.get("denied"):
        user = locks.data["denied"]
        grant = f"grant the login pg_signal_backend, or use the login of {user}"
        return refuse(END_BLOCKER, f"{locks.text}; the login may not end sessions of {user}", grant)
    if locks.data["session"] is None:
        against = locks.data.get("against")
        why = f"{locks.text}; {against}" if against else locks.text
        return refuse(END_BLOCKER, why, later=_later(scene, diagnosis, locks))
    sessions = _ids([locks.data["session"]])
    summary = f"End the session of {locks.data['who']} that others wait for, {sessions[0]} at {{at}}"
    why = f"{locks.text}, {span(params.lock)} or longer"
    task = "find out why the transaction held its lock for so long"
    return _ending(scene, params, (END_BLOCKER, why, summary, task), (sessions, Why.BLOCKS))


def _later(scene: Scene, diagnosis: Diagnosis, finding: Finding) -> datetime | None:
    """When the first session may be ended that may not yet. No session that ends makes room on a disk that is full."""
    due: Any = finding.data["due"]
    return None if due is None or _disk_full(diagnosis) else scene.now + timedelta(seconds=due + _MARGIN)


def _ids(data: Any) -> tuple[SessionId, ...]:
    return tuple(SessionId.from_json(one) for one in data)


def _ending(
    scene: Scene,
    params: DatabaseConnectionsParams,
    told: tuple[str, str, str, str],
    chosen: tuple[tuple[SessionId, ...], Why],
) -> Step:
    """The step: name, reason, summary and open task; sessions and the condition that they fulfil."""
    (name, why, summary, task), (sessions, reason) = told, chosen
    at = params.address(scene.workload.target.namespace)
    least = params.idle_in_transaction if reason is Why.IDLE else params.lock
    ending = Ending(at, sessions, Condition(reason, least), params.crowded)
    action = ending.action(scene.workload.ref, scene.workload.target, summary.format(at=at))
    return act(name, why, action, open_task=task)


def _restart_client(scene: Scene, params: DatabaseConnectionsParams, diagnosis: Diagnosis) -> Step:
    if unseen := _unseen(diagnosis):
        return refuse(RESTART_CLIENT, unseen.text)
    connection, clients = diagnosis.finding(CONNECTION), diagnosis.finding(CLIENTS)
    if connection is None or clients is None or connection.data["crowded"] is not True:
        return refuse(RESTART_CLIENT, f"connections are not short: {connection.text if connection else ''}")
    share: Any = clients.data["share"]
    if share < params.client_share:
        text = f"no client has {percent(params.client_share)} of the connections or more: {clients.text}"
        return refuse(RESTART_CLIENT, text)
    behind = diagnosis.finding(CLIENT_WORKLOAD)
    if behind is None or not behind.data["target"]:
        return refuse(RESTART_CLIENT, f"{clients.text}; {behind.text if behind else ''}")
    target = str(behind.data["target"])
    if target != scene.workload.target.key:
        advice = f"look at it from there: remediator trigger {DatabaseConnections.name} --target {target} --reason '...'"
        return refuse(RESTART_CLIENT, f"{clients.text}; it is {target}, which this run is not about", advice)
    why = joined([connection.text, clients.text, behind.text])
    task = f"find out why {target} leaks connections"
    step = act(RESTART_CLIENT, why, rollout_restart(scene.workload, scene.now), open_task=task)
    # More pods hold more connections, and so may another version or configuration: a restart changes none of these.
    changes = diagnosis.finding("changes.recent")
    found = (changes.data.get(which) for which in ("released", "lately")) if changes is not None else ()
    brought = [
        f"what changed {change} may have brought it, and stays after a restart" for change in found if change
    ]
    asks = joined(["a restart ends what its pods have in hand", *brought])
    return replace(step, asks=asks) if step.applies else step


async def _restart_server(scene: Scene, params: DatabaseConnectionsParams, diagnosis: Diagnosis) -> Step:
    """For a server in whose sessions nobody can look because no connection is free, and for no other reason: a restart ends
    everybody's work, a server that does not answer may be reached by others, and a limit of role or database outlives it."""
    connection, workload = diagnosis.finding(CONNECTION), scene.workload
    if connection is None or connection.data.get("code") != EXHAUSTED:
        return refuse(
            RESTART_SERVER,
            f"sessions can be ended one by one, or nobody can tell: {connection.text if connection else ''}",
        )
    if full := _disk_full(diagnosis):
        return refuse(RESTART_SERVER, f"the disk is full, and a server may not come back from that: {full}")
    if no := await is_server(scene.cluster, workload, params.service):
        return refuse(RESTART_SERVER, no)
    if operator := await operator_of(scene.cluster, workload):
        return refuse(
            RESTART_SERVER,
            f"it is managed by {operator}",
            f"restart it with its operator's own means: {operator}",
        )
    pods = await pods_of(scene.cluster, workload)
    if isinstance(pods, Finding):
        return refuse(RESTART_SERVER, pods.text)
    if workload.desired != 1 or len(pods) != 1:
        return refuse(
            RESTART_SERVER,
            f"it has {count(len(pods), 'pod')}, and which one the clients write to is not known",
        )
    task = "find out who leaks connections"
    step = act(RESTART_SERVER, connection.text, delete_pod(pods[0], workload), open_task=task)
    asks = "a restart of the database ends every session, and what is not committed is lost"
    return replace(step, asks=asks) if step.applies else step


def _by_hand(scene: Scene, params: DatabaseConnectionsParams, diagnosis: Diagnosis) -> Step:
    """Never acts: says what is left for a person."""
    connection, cause = diagnosis.finding(CONNECTION), FirstCause(diagnosis)
    at, target = params.address(scene.workload.target.namespace), scene.workload.target
    if full := _disk_full(diagnosis):
        advice = f"make room or grow the volume of {at}: no session that ends gives disk space back"
        replication = diagnosis.finding(REPLICATION)
        held: Any = replication.data["held"] if replication else []
        if held:
            advice += f"; {joined(held)}: drop it (pg_drop_replication_slot) if who read it is gone for good"
        return refuse(BY_HAND, f"the disk is full: {full}", advice)
    if connection is None or connection.certainty is Certainty.UNKNOWN:
        text = connection.text if connection else "the database was not looked at"
        look = (
            f"look at {target} first: {cause.text}"
            if cause.sure
            else f"make the check of {at} work, and look at {target}"
        )
        return refuse(BY_HAND, text, look)
    if way := _OUT.get(str(connection.data["code"])):
        return refuse(BY_HAND, connection.text, way.format(at=at))
    if connection.data["crowded"] is True:
        clients = diagnosis.finding(CLIENTS)
        who = clients.text if clients else ""
        rows = f" ({'; '.join(clients.details[:3])})" if clients and clients.details else ""
        return refuse(
            BY_HAND, f"{connection.text}; {who}", f"find the client that leaks connections: {who}{rows}"
        )
    locks = diagnosis.finding(LOCKS)
    waits = locks.text if locks is not None and locks.data["waiting"] else ""
    text = joined([connection.text, waits])
    return refuse(BY_HAND, f"nothing that can be ended holds the database up: {text}", cause.advice)


def _disk_full(diagnosis: Diagnosis) -> str:
    """The words that say so, of the server, of its volumes or of the target's errors; empty when nobody does."""
    connection, errors = diagnosis.finding(CONNECTION), diagnosis.finding("errors.grouped")
    if connection is not None and connection.data.get("code") == "disk_full":
        return connection.text
    disk = diagnosis.finding(DISK)
    if disk is not None and disk.data["full"]:
        return joined([disk.text, *disk.details])
    rows = errors.details if errors is not None else ()
    return next((row for row in rows if _FULL.search(row)), "")
