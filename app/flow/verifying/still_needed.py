"""Still needed: whether what a run lent is needed by now, so that its temporary change stays for another while, and whether a step that
did not help is no better by now as well.

Called by `temporary` when the time is over, and by `undo` before what it writes and when what held it is gone. Reads the store, the alerts'
sources and the cluster; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from app.domain.alert_report import Reported, silence, takers
from app.domain.cluster import PodUsage, measured_lately
from app.domain.errors import ObjectMissing, RemediatorError
from app.domain.plan import Action, Step
from app.domain.target import Target
from app.domain.units import say_memory
from app.domain.workload import Workload
from app.flow.deciding import facts as reported
from app.flow.deciding.decide import firing_alerts
from app.flow.running import journal
from app.flow.running.life import Cause
from app.flow.services import Services
from app.flow.verifying import standing, verify
from app.kube import manifest, read
from app.store import facts, incidents, runs
from app.store.runs import JournalEntry, Run

BLIND = "whether it is still needed cannot be told"
"""How the word begins that nobody can tell."""
_ROOM = 0.8
"""A smaller size has to carry today's load with this share of its limits."""


def sizes(conn: Connection, run_id: str) -> list[Action]:
    """What the run lent: its changes of a size."""
    return [
        Action.from_json(entry.intent["action"]) for entry in standing.lent(journal.carried_out(conn, run_id))
    ]


async def needed(services: Services, run: Run) -> str | None:
    """Why the run's temporary change is still needed, or that nobody can tell; None when the size before would carry today's
    load and no alert fires on the target, or nothing of the change stands."""
    firing, actions = await services.store.read(lambda conn: (_firing(conn, run), sizes(conn, run.id)))
    try:
        stands = [action for action in actions if await _stands(services, action)]
    except RemediatorError as error:
        return f"{BLIND}: {error.message}"
    if not stands:
        return None  # its end finds that out for people: nothing is taken back from whose it is by now
    return f"{', '.join(firing)} fires on the target" if firing else await _used(services, run, actions)


async def not_known_to_be_no_better(services: Services, run: Run, acted: JournalEntry) -> str:
    """Why the step of this action may have helped by now, or that it cannot be told; empty when it is measured to be no better once more. What
    was left half done was never for anything by itself, and an undo that has begun goes on."""
    index = int(acted.intent["step_index"])
    entries = await services.store.read(lambda conn: runs.entries(conn, run.id))
    if index not in standing.verified(entries) or journal.of_this_order(entries, run):
        return ""
    former = run.settings.get("steps", {}).get(str(index))
    if index != run.step_index and former is not None:
        run = replace(run, step=Step.from_json(former["step"]), step_index=index)
    return await verify.no_better_now(services, run)


async def silenced(services: Services, run: Run, acted: JournalEntry) -> str:
    """Who silenced the alert or has it at its source, where the rule undoes what stands whole."""
    if journal.life_of(run).cause is not Cause.OTHERWISE:
        return ""
    alerts, whole = await services.store.read(
        lambda conn: (
            firing_alerts(conn, run.incident_id),
            journal.is_whole(runs.entries(conn, run.id), acted),
        )
    )
    if not whole:
        return ""
    reports = await reported.reports(services, alerts)
    return takers((alert.source for alert in alerts), reports).of_any or silence(reports)


async def gone(services: Services, run: Run, acted: JournalEntry) -> bool:
    """The alerts of the run's incident are known to be gone, and what was left half done is not what helped."""
    incident, alerts, whole = await services.store.read(
        lambda conn: (
            incidents.get(conn, run.incident_id),
            firing_alerts(conn, run.incident_id),
            journal.is_whole(runs.entries(conn, run.id), acted),
        )
    )
    if incident.manual is not None or not whole:
        return False
    return all(report.state is Reported.GONE for report in await reported.reports(services, alerts))


async def _stands(services: Services, action: Action) -> bool:
    """Is anything of it still as we set it? Not where the object is gone, made anew, or set otherwise by somebody. Raises the port's read errors."""
    ref = action.object
    try:
        found = await services.cluster.get(ref.kind, ref.namespace, ref.name)
    except ObjectMissing:
        return False
    ours = (manifest.same(c.path, manifest.value_at(found, c.path), c.after) for c in action.changes)
    return found["metadata"].get("uid") == ref.uid and any(ours)


def _firing(conn: Connection, run: Run) -> list[str]:
    """Alerts on the target. The run's own incident, open because a person was called for the end of the change, is no alert."""
    own = "" if incidents.firing_count(conn, run.incident_id) else run.incident_id
    return facts.firing_on(conn, run.target_key, but=own)


async def _used(services: Services, run: Run, actions: Sequence[Action]) -> str | None:
    target = Target.parse(run.target_key)
    try:
        workload = await read.read_workload(services.cluster, target)
        usage = await services.cluster.pod_usage(target.namespace, workload.selector)
    except RemediatorError as error:
        return f"{BLIND}: {error.message}"
    if not usage or len(measured_lately(usage, services.clock.now())) < len(usage):
        return f"{BLIND}: no usage {'of the last minutes ' if usage else ''}is known"
    for action in actions:
        too_small = _memory(action, usage) or _load(action, workload, usage)
        if too_small is not None:
            return too_small
    return None


def _memory(action: Action, usage: Sequence[PodUsage]) -> str | None:
    """The memory limit as it was, against what the fullest container uses now."""
    most = max((max(pod.memory.values(), default=0) for pod in usage), default=0)
    before = [
        manifest.parse_memory(str(c.before))
        for c in action.changes
        if c.before and c.path.endswith("/limits/memory")
    ]
    if before and most > _ROOM * min(before):
        return f"{say_memory(most)} are in use, and the limit before was {say_memory(min(before))}"
    return None


def _load(action: Action, workload: Workload, usage: Sequence[PodUsage]) -> str | None:
    """Today's CPU time on as many pods as there were before. Memory says nothing: most of it is there without any load."""
    before = [int(c.before) for c in action.changes if isinstance(c.before, int) and c.before > 0]
    sizes = [c.cpu_limit or c.cpu_request or 0 for c in workload.containers if not c.first]
    if not before:
        return None
    if not sizes or not all(sizes):
        return f"{BLIND}: its containers have no CPU limit or request to hold the load against"
    room = min(before) * sum(sizes)
    used = sum(sum(pod.cpu.values()) for pod in usage)
    if used > _ROOM * room:
        return (
            f"{min(before)} pods would use {round(100 * used / room)} % of their CPU limit for today's load"
        )
    return None
