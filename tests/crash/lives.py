"""Living through a case, with as many deaths as told, and what must hold at its end whatever happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from app.domain.events import EventKind
from app.domain.json import Obj
from app.domain.outcome import IncidentState, RunState
from app.domain.plan import ActionKind
from app.domain.target import Kind, Target
from app.policy.match import BudgetScope, scopes_for
from app.sim.faults import Mutation
from app.store import audit, incidents, outbox, runs, trail
from app.store.audit import AuditEvent
from app.store.schema import ledger as ledger_rows
from tests.crash.cases import Case
from tests.scenario.rig import Died, Reaper, Rig

LIMIT = 2_400.0
"""Virtual seconds in which every case has ended, whatever happened to it."""

_RESTING = frozenset(
    {
        IncidentState.FIXED,
        IncidentState.CONTAINED,
        IncidentState.ESCALATED,
        IncidentState.STUCK,
        IncidentState.RESOLVED,
    }
)


@dataclass(frozen=True, slots=True)
class Ending:
    """What is compared between lives: ids and times are left out, as a rebirth may change them."""

    incidents: tuple[str, ...]
    runs: tuple[tuple[str, str], ...]
    writes: tuple[str, ...]
    spent: int
    messages: tuple[str, ...]
    target: str


async def live(case: Case, path: Path, *deaths: int, **changes: Any) -> tuple[Ending, Rig]:
    """Run the case to its end, dying at each of the boundaries `deaths`, the second counted from the rebirth on."""
    left = list(deaths)
    rig = case.rig(path, **changes)
    rig.reaper = Reaper(left.pop(0) if left else None)
    while True:
        try:
            await rig.born()
            await rig.until(lambda: calm(rig, case), LIMIT)
        except Died:
            assert rig.reaper.dead
        if not rig.reaper.dead:
            break
        await rig.die()
        rig.reaper = Reaper(left.pop(0) if left else None)
    await invariants(rig)
    return await ending_of(rig), rig


_UNDISTURBED: dict[str, tuple[Ending, list[str]]] = {}


async def undisturbed(case: Case, folder: Path) -> tuple[Ending, list[str]]:
    """How the case ends undisturbed, and across which boundaries: lived once for all tests of a process."""
    if str(case) not in _UNDISTURBED:
        ending, rig = await live(case, folder / "undisturbed.sqlite")
        await rig.close()
        _UNDISTURBED[str(case)] = ending, rig.reaper.names
    return _UNDISTURBED[str(case)]


async def calm(rig: Rig, case: Case) -> bool:
    """People do their part; then: has everything come to rest?"""
    await case.hand(rig)

    def look(conn: Connection) -> bool:
        found = incidents.page(conn, None, 50)
        resting = bool(found) and all(i.state in _RESTING for i in found)
        return resting and not runs.live_targets(conn) and not outbox.depth(conn)

    return await rig.store.read(look)


async def invariants(rig: Rig) -> None:
    """What holds at the end of any life: the promises, as far as the store, the cluster and the messages show them."""
    writes = [m for m in rig.cluster.mutations if not m.dry_run]
    markers = [m.marker for m in writes if m.verb == "patch"]
    assert len(markers) == len(set(markers)), f"a mutation reached the cluster twice: {markers}"
    assert all(markers), "a write without a marker cannot be read back"
    removed = [(m.verb, m.name) for m in writes if m.verb in ("delete", "evict", "terminate")]
    assert len(removed) == len(set(removed)), f"a pod or session was removed twice: {removed}"
    made = [(m.kind, m.name) for m in writes if m.verb == "create"]
    assert len(made) == len(set(made)), f"an event or a Job was made twice: {made}"
    tags = [tag for _, tag, _ in rig.notebook.posts]
    assert len(tags) == len(set(tags)), f"a message was posted twice: {tags}"
    assert len(rig.notebook.parents) == len(await rig.store.read(lambda c: incidents.page(c, None, 50)))
    report = await rig.store.read(trail.verify)
    assert report.ok, report.problem
    assert not await rig.store.read(runs.live_targets), "a run is still live"
    assert rig.engine.live == [], "a story is still told"
    await never_over_budget(rig)
    await one_run_a_target(rig)
    await allowed_before_written(rig)


async def never_over_budget(rig: Rig) -> None:
    """In no window of any limit did more steps write than it allows. Counted is what reached the cluster, not the ledger."""
    trail = await rig.store.read(lambda conn: audit.page(conn, 0, 100_000))
    ran = {run.id: run for run in await rig.store.read(lambda conn: runs.page(conn, None, 200))}
    steps: dict[tuple[str, str], datetime] = {}
    for mutation in rig.cluster.mutations:
        if mutation.dry_run or mutation.kind is Kind.EVENT or "/undo" in mutation.marker:
            continue
        (intent,) = intents_of(trail, mutation)
        steps.setdefault((intent.run_id, str(intent.data["action"]).rpartition(".")[0]), mutation.at)
    spent: dict[BudgetScope, list[datetime]] = {}
    for (run_id, _), at in steps.items():
        run = ran[run_id]
        rule = rig.policy.rule(run.rule)
        for scope in scopes_for(rig.policy, rule, Target.parse(run.target_key)) if rule else ():
            spent.setdefault(scope, []).append(at)
    for scope, times in spent.items():
        for end in times:
            inside = [at for at in times if end - scope.limit.window < at <= end]
            assert len(inside) <= scope.limit.count, f"{scope.key}: {len(inside)} of {scope.limit}"


async def one_run_a_target(rig: Rig) -> None:
    """While a run is live on a target no other one is, whatever raced: told by the trail, not by the table's own index."""
    trail = await rig.store.read(lambda conn: audit.page(conn, 0, 100_000))
    target_of: dict[str, str] = {}
    live_on: dict[str, str] = {}
    for record in trail:
        if record.kind is EventKind.RUN_REQUESTED and "target" in record.data:
            target_of[record.run_id] = str(record.data["target"])
        if record.kind not in (EventKind.RUN_REQUESTED, EventKind.RUN_MOVED):
            continue
        target = target_of[record.run_id]
        if record.kind is EventKind.RUN_MOVED and RunState(record.data["to"]).ended:
            live_on.pop(target, None)
        else:
            assert live_on.setdefault(target, record.run_id) == record.run_id, f"{target}: two runs at once"


def intents_of(trail: Sequence[AuditEvent], mutation: Mutation) -> list[AuditEvent]:
    """The intents that announced this write, undos apart from actions. An undo of a key that restarts pods has one for both writes."""
    if mutation.verb == "rename":  # the names of databases stand in several plans of one step
        planned = [r for r in trail if r.kind is EventKind.ACTION_INTENDED]
        return [r for r in planned if r.data["plan"]["kind"] == ActionKind.EXCHANGE_DATABASE]
    marker = mutation.marker.removesuffix("/restart")
    wanted = EventKind.UNDO_INTENDED if marker.endswith("/undo") else EventKind.ACTION_INTENDED
    return [
        r
        for r in trail
        if r.kind is wanted and (r.data["action"] == marker if marker else mutation.name in str(r.data))
    ]


async def allowed_before_written(rig: Rig) -> None:
    """Each mutation has an intent in the audit trail, and before it a decision and a second look that allowed it."""
    trail = await rig.store.read(lambda conn: audit.page(conn, 0, 10_000))
    for mutation in rig.cluster.mutations:
        if mutation.dry_run or mutation.kind is Kind.EVENT:
            continue
        undo = "/undo" in mutation.marker
        intents = intents_of(trail, mutation)
        assert len(intents) == 1, f"{mutation.marker or mutation.name}: {len(intents)} intents"
        assert intents[0].at <= mutation.at
        if not undo:
            looks = [r for r in trail if r.kind is EventKind.RECHECKED and r.seq < intents[0].seq]
            assert any(
                r.data["action"] == intents[0].data["action"] and r.data["verdict"] == "allow" for r in looks
            )
        run_id = intents[0].run_id
        requested = [r for r in trail if r.kind is EventKind.RUN_REQUESTED and r.run_id == run_id]
        assert requested[0].seq < intents[0].seq


async def ending_of(rig: Rig) -> Ending:
    def look(conn: Connection) -> Ending:
        found = incidents.page(conn, None, 50)
        ran = runs.page(conn, None, 50)
        spent = select(func.count()).where(ledger_rows.c.scope == "cluster", ledger_rows.c.spent.is_(True))
        return Ending(
            incidents=tuple(sorted(i.state.value for i in found)),
            runs=tuple(sorted((r.step.name, r.state.value) for r in ran)),
            writes=tuple(
                f"{m.verb} {m.kind} {m.name if m.verb == 'patch' else ''}{' (undo)' * m.marker.endswith('/undo')}"
                for m in rig.cluster.mutations
                if not m.dry_run
            ),
            spent=int(conn.execute(spent).scalar() or 0),
            messages=tuple(sorted(_topic(tag) for _, tag, _ in rig.notebook.posts)),
            target=_spec(rig, ran[0].target_key) if ran else "",
        )

    return await rig.store.read(look)


def _topic(tag: str) -> str:
    """`inc_1:acted:run_1/0.0` told without the incident."""
    return tag.split(":")[1]


def _spec(rig: Rig, target_key: str) -> str:
    target = Target.parse(target_key)
    found = rig.cluster.peek(target.kind, target.namespace, target.name)
    spec: Obj = (found or {}).get("spec", {})
    notes = spec.get("template", {}).get("metadata", {}).get("annotations", {})
    for key in [k for k in notes if "restartedAt" in k]:
        notes[key] = "some time"
    return str(spec)


__all__ = [
    "LIMIT",
    "Ending",
    "calm",
    "ending_of",
    "invariants",
    "live",
    "never_over_budget",
    "one_run_a_target",
]
