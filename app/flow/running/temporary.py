"""Lease: a change on loan. After a fix, scale and memory changes of a rule with `lease` are taken back at its end, field by
field and only while they are still in place, unless somebody keeps them.

A story of its own, because it may last days: it begins when the run ends as fixed, survives restarts, and ends by an
undo or by `keep`. It shows the patch that makes the change permanent, for objects whose truth lives in Git.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.domain.errors import Refused
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.plan import Action, ActionKind
from app.engine.context import RunContext
from app.flow.ids import KEEP, LEASE_PREFIX, LEASE_STEP, undo_story
from app.flow.notifying.gitops_patch import gitops_patch
from app.flow.notifying.record import announce
from app.flow.running import undo
from app.flow.services import Services
from app.notify.timeline import Lease, Topic, fact_to_json
from app.policy.model import Rule
from app.store import runs
from app.store.database import Tx
from app.store.runs import Run

LEASABLE = frozenset({ActionKind.SCALE, ActionKind.RAISE_MIN_REPLICAS, ActionKind.RAISE_MEMORY_LIMIT})
"""Kinds that a lease takes back: they change a size. A rollback or restart is no loan."""

_NAP = 3600.0  # seconds; the longest single wait
_AGAIN = 600.0  # seconds, when another run holds the target at the end
_RUNNING = "running"
_LATER = "later"


def grant(tx: Tx, run: Run, rule: Rule) -> bool:
    """In the transaction that ends a run as fixed: put its changes on loan. False when the rule or the run has none."""
    actions = _on_loan(tx, run)
    if rule.lease is None or not actions:
        return False
    until = tx.now + rule.lease.lasts
    runs.begin_entry(tx, run.id, LEASE_STEP, {"entry": "lease", "until": until.isoformat()})
    fact = Lease(run.id, "granted", until, tuple(a.summary for a in actions), gitops_patch(actions))
    _tell(tx, run, EventKind.LEASED, fact)
    return True


def _on_loan(tx: Tx, run: Run) -> list[Action]:
    done = [s for s in runs.entries(tx.conn, run.id) if undo.was_applied(s)]
    actions = [Action.from_json(s.intent["action"]) for s in done]
    return [a for a in actions if a.kind in LEASABLE]


async def tell(ctx: RunContext, services: Services, run_id: str) -> None:
    """The story of one lease."""
    number = 0
    while True:
        look = await ctx.step(f"lease:{number}", lambda: _look(services, run_id))
        if look["word"] == "due":
            look = await ctx.step(f"take back:{number}", lambda: _take_back(services, run_id))
        if look["word"] not in (_RUNNING, _LATER):
            return
        await ctx.wait_for(KEEP, min(look["seconds"], _NAP))
        number += 1


async def _look(services: Services, run_id: str) -> dict[str, Any]:
    """`running` with the seconds left, `due`, or `over` when it was kept, undone or taken back already."""
    step, run = await services.store.read(
        lambda conn: (runs.entry(conn, run_id, LEASE_STEP), runs.get(conn, run_id))
    )
    if step is None or step.outcome is not None or run.state is not RunState.FIXED:
        return {"word": "over"}
    left = (datetime.fromisoformat(step.intent["until"]) - services.clock.now()).total_seconds()
    return {"word": _RUNNING, "seconds": left} if left > 0 else {"word": "due"}


async def _take_back(services: Services, run_id: str) -> dict[str, Any]:
    def end(tx: Tx) -> bool:
        step = runs.entry(tx.conn, run_id, LEASE_STEP)
        if step is None or step.outcome is not None:
            return False
        run = runs.get(tx.conn, run_id)
        undo.order(tx, run, "lease")
        runs.end_entry(tx, run_id, LEASE_STEP, {"word": "ended"})
        _tell(tx, run, EventKind.LEASE_ENDED, Lease(run_id, "ended", tx.now, ()))
        return True

    try:
        ended = await services.store.write(end)
    except Refused as error:  # another run holds the target now: it looks at the object as it is
        return {"word": _LATER, "seconds": _AGAIN, "text": str(error)}
    if ended:
        await services.engine().start(undo_story(run_id))
    services.deliver_nudge()
    return {"word": "ended" if ended else "over"}


async def keep(services: Services, run_id: str, by: str) -> dict[str, Any]:
    """A person keeps the change. Raises Refused when there is no running lease."""

    def write(tx: Tx) -> None:
        run = runs.get(tx.conn, run_id)
        step = runs.entry(tx.conn, run_id, LEASE_STEP)
        if step is None or step.outcome is not None:
            raise Refused("the run has no running lease", code="no_lease", where=run_id)
        runs.end_entry(tx, run_id, LEASE_STEP, {"word": "kept", "by": by})
        until = datetime.fromisoformat(step.intent["until"])
        _tell(tx, run, EventKind.LEASE_KEPT, Lease(run_id, "kept", until, (), by=by), actor=by)

    await services.store.write(write)
    await services.engine().signal(LEASE_PREFIX + run_id, KEEP)
    services.deliver_nudge()
    return {"run": run_id, "kept": True, "by": by}


def _tell(tx: Tx, run: Run, kind: EventKind, fact: Lease, actor: str = "service") -> None:
    data = fact_to_json(Topic.LEASE, fact)
    tx.audit(kind, incident_id=run.incident_id, run_id=run.id, actor=actor, data=data)
    announce(tx, Topic.LEASE, incident_id=run.incident_id, once=f"{run.id}:{fact.word}", fact=fact)
