"""Temporary changes: after a run that helped, scale and memory changes of a rule with `temporary` are taken back when their time is over,
unless somebody keeps them or they are still needed.

The time is a due date in the row of the run. When it comes, the reason for the change is looked at first: as long as it is
there, or cannot be told to be gone, the change stays for another while and the thread says why. Taking it back is an ordinary
undo: held by pauses, ceilings and freezes, field by field, never over somebody's later change.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.cluster import PodUsage
from app.domain.errors import Refused, RemediatorError
from app.domain.events import EventKind
from app.domain.json import JsonValue
from app.domain.outcome import HELPED, RunState
from app.domain.plan import SIZES, Action
from app.domain.target import Target
from app.domain.units import say_memory
from app.domain.workload import Workload
from app.flow.ids import TEMPORARY_ENTRY
from app.flow.notifying.gitops_patch import gitops_patch
from app.flow.notifying.record import announce
from app.flow.running import holding, undo
from app.flow.running.life import Event, Found, Life, Look
from app.flow.services import Services
from app.kube import quantity, read
from app.notify.timeline import TemporaryChange, Topic, fact_to_json
from app.policy.model import Rule
from app.store import approvals, driving, facts, runs
from app.store.approvals import NO_PRESS, Press
from app.store.database import Tx
from app.store.driving import Changes
from app.store.runs import Run

WAITS = "the end of its temporary change"
"""What a run with a temporary change waits for, in words."""

_UNKNOWN = timedelta(
    hours=1
)  # until it is looked at again whether the reason is gone, when that could not be told
_HELD = 60.0  # seconds between looks at what holds it
_ROOM = 0.8
"""A smaller size has to carry today's load with this share of its limits."""


def grant(tx: Tx, run: Run) -> datetime | None:
    """In the transaction that ends a run that helped: when its changes are taken back. None when the rule or the run has none."""
    rule = Rule.from_json(run.settings["rule"])
    actions = _sizes(tx.conn, run.id)
    if rule.temporary is None or not actions:
        return None
    until = tx.now + rule.temporary.revert_after
    entry = {"entry": "temporary", "until": until.isoformat()}
    if runs.begin_entry(tx, run.id, TEMPORARY_ENTRY, entry).resumed:
        return None
    fact = TemporaryChange(run.id, "granted", until, tuple(a.summary for a in actions), gitops_patch(actions))
    _notify(tx, run, EventKind.TEMPORARY_GRANTED, fact)
    return until


def _sizes(conn: Any, run_id: str) -> list[Action]:
    actions = [Action.from_json(entry.intent["action"]) for entry in undo.carried_out(conn, run_id)]
    return [action for action in actions if action.kind in SIZES]


async def look(services: Services, run: Run) -> Look:
    """A fixed run whose temporary change may be over. What a person said or set while this looked wins."""
    found = await _look(services, run)

    def unless_settled(tx: Tx, now: Run) -> Found:
        entry = runs.entry(tx.conn, now.id, TEMPORARY_ENTRY)
        if entry is None or entry.outcome is not None:
            return Found(over=True)
        if found.event is not None and (why := _waits(tx.conn, services, now)):
            return Found(seconds=_HELD, waits_for=why)
        return found

    return unless_settled


def _waits(conn: Connection, services: Services, run: Run) -> str:
    """What the end of a temporary change waits for once its time is over; empty when it may be taken back."""
    if hold := holding.held(conn, services, run):
        return f"its temporary change is over, but {hold}"
    if later := facts.later_temporary(conn, run.target_key, run.id, TEMPORARY_ENTRY):
        # Taken back first, so that each goes back to what it found.
        return f"the temporary change of {later}, which came after it"
    if busy := facts.busy_with(conn, run.target_key, excluding=run.id):
        return f"{busy}, which is at work on the target"
    return ""


async def _look(services: Services, run: Run) -> Found:
    entry, actions, waits = await services.store.read(
        lambda conn: (
            runs.entry(conn, run.id, TEMPORARY_ENTRY),
            _sizes(conn, run.id),
            _waits(conn, services, run),
        )
    )
    if entry is None or entry.outcome is not None:
        return Found(over=True)
    left = (
        datetime.fromisoformat(run.life.get("until") or entry.intent["until"]) - services.clock.now()
    ).total_seconds()
    if left > 0:
        return Found(seconds=left, waits_for=WAITS)
    if waits:
        return Found(seconds=_HELD, waits_for=waits)
    why = await needed(services, run)
    if why is None:
        return Found(Event.REVERT_DUE, "the time of its temporary change is over", also=_over)
    return _extended(services, run, actions, why)


_BLIND = "whether it is still needed cannot be told"


def _span(run: Run) -> timedelta:
    temporary = Rule.from_json(run.settings["rule"]).temporary
    return temporary.revert_after if temporary else _UNKNOWN


def _extended(services: Services, run: Run, actions: Sequence[Action], why: str) -> Found:
    span = _span(run)
    until = services.clock.now() + span
    number = int(run.life.get("extended", 0)) + 1

    def also(tx: Tx, held: Run) -> None:
        fact = TemporaryChange(run.id, "extended", until, tuple(a.summary for a in actions), why=why)
        # The first, second, fourth, eighth time: a rush of days is not told every hour.
        of = None if number & (number - 1) else str(number)
        _notify(tx, held, EventKind.TEMPORARY_EXTENDED, fact, of=of)

    keeps: dict[str, JsonValue] = {"until": until.isoformat(), "extended": number}
    return Found(seconds=span.total_seconds(), waits_for=WAITS, keeps=keeps, also=also)


def _over(tx: Tx, run: Run) -> None:
    _notify(tx, run, EventKind.TEMPORARY_ENDED, TemporaryChange(run.id, "ended", tx.now, ()))


def go_on(tx: Tx, run: Run, life: Life) -> dict[str, JsonValue]:
    """The change was to be taken back, was held, and is needed again: it lasts for another while. What the row keeps of it."""
    until = tx.now + _span(run)
    actions = _sizes(tx.conn, run.id)
    fact = TemporaryChange(run.id, "extended", until, tuple(a.summary for a in actions), why=life.reason)
    _notify(tx, run, EventKind.TEMPORARY_EXTENDED, fact, of=f"undo {life.undos}")
    return {"until": until.isoformat()}


def close(tx: Tx, run: Run, state: RunState) -> None:
    """The run has ended so that nothing of its temporary change is left to be taken back by itself."""
    entry = runs.entry(tx.conn, run.id, TEMPORARY_ENTRY)
    if entry is not None and entry.outcome is None:
        runs.end_entry(tx, run.id, TEMPORARY_ENTRY, {"result": state.value})


async def needed(services: Services, run: Run) -> str | None:
    """Why the run's temporary change is still needed, or that nobody can tell; None when the size before would carry today's
    load and no alert fires on the target."""
    firing, actions = await services.store.read(
        lambda conn: (facts.firing_on(conn, run.target_key), _sizes(conn, run.id))
    )
    return f"{', '.join(firing)} fires on the target" if firing else await _used(services, run, actions)


async def _used(services: Services, run: Run, actions: Sequence[Action]) -> str | None:
    target = Target.parse(run.target_key)
    try:
        workload = await read.read_workload(services.cluster, target)
        usage = await services.cluster.pod_usage(target.namespace, workload.selector)
    except RemediatorError as error:
        return f"{_BLIND}: {error.message}"
    if not usage:
        return f"{_BLIND}: no usage is known"
    for action in actions:
        too_small = _memory(action, usage) or _load(action, workload, usage)
        if too_small is not None:
            return too_small
    return None


def _memory(action: Action, usage: Sequence[PodUsage]) -> str | None:
    """The memory limit as it was, against what the fullest container uses now."""
    most = max((max(pod.memory.values(), default=0) for pod in usage), default=0)
    before = [
        quantity.parse_memory(str(c.before))
        for c in action.changes
        if c.before and c.path.endswith("/limits/memory")
    ]
    if before and most > _ROOM * min(before):
        return f"{say_memory(most)} are in use, and the limit before was {say_memory(min(before))}"
    return None


def _load(action: Action, workload: Workload, usage: Sequence[PodUsage]) -> str | None:
    """Today's CPU time on as many pods as there were before. Memory says nothing: most of it is there without any load."""
    before = [int(c.before) for c in action.changes if isinstance(c.before, int) and c.before > 0]
    sizes = [c.cpu_limit or c.cpu_request or 0 for c in workload.containers if not c.init]
    if not before:
        return None
    if not sizes or not all(sizes):
        return f"{_BLIND}: its containers have no CPU limit or request to hold the load against"
    room = min(before) * sum(sizes)
    used = sum(sum(pod.cpu.values()) for pod in usage)
    if used > _ROOM * room:
        return (
            f"{min(before)} pods would use {round(100 * used / room)} % of their CPU limit for today's load"
        )
    return None


async def keep(services: Services, run_id: str, by: str, press: Press = NO_PRESS) -> dict[str, Any]:
    """A person keeps the change. Raises Refused when there is no temporary change, and Repeated for a press that was taken
    before."""

    def write(tx: Tx) -> None:
        approvals.take(tx, press.key)
        run = runs.hold(tx, run_id)
        entry = runs.entry(tx.conn, run_id, TEMPORARY_ENTRY)
        if entry is None or entry.outcome is not None or run.state not in HELPED:
            raise Refused("the run has no temporary change", code="no_temporary_change", where=run_id)
        runs.end_entry(tx, run_id, TEMPORARY_ENTRY, {"result": "kept", "by": by})
        driving.keep(tx, run_id, Changes(None, life=run.life))
        until = datetime.fromisoformat(run.life.get("until") or entry.intent["until"])
        kept = TemporaryChange(run_id, "kept", until, (), by=by, why=press.reason)
        _notify(tx, run, EventKind.TEMPORARY_KEPT, kept, actor=by)

    await services.store.write(write)
    services.deliver_nudge()
    return {"run": run_id, "kept": True, "by": by}


def _notify(
    tx: Tx, run: Run, kind: EventKind, fact: TemporaryChange, *, actor: str = "service", of: str | None = ""
) -> None:
    """`of` tells several facts of one kind apart; None: it is recorded, and not worth a message."""
    data = fact_to_json(Topic.TEMPORARY, fact)
    tx.audit(kind, incident_id=run.incident_id, run_id=run.id, actor=actor, data=data)
    if of is not None:
        once = f"{run.id}:{fact.change}" + (f":{of}" if of else "")
        announce(tx, Topic.TEMPORARY, incident_id=run.incident_id, once=once, fact=fact)
