"""The actuator that vacuums tables of a database, one after the other, each in a session of its own.

Called by the flow through `app.domain.actuator`. It begins a vacuum and gives its progress; whoever looks next finds the session by
its name, also after the process has died, and the server's time of the last vacuum says that it is done. So a death costs
nothing, and goes on with the next table. To vacuum twice does no harm, and nothing is undone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from app.domain.actuator import Applied, CheckResult, Clients, Effect, Means, Partly, Permission, Progress
from app.domain.database import NO_ROOM, DatabaseAddress
from app.domain.errors import ObjectChanged, ProbeUnavailable
from app.domain.inside import NothingToUndo, another_workload, inside
from app.domain.json import JsonValue
from app.domain.outcome import ActionResult
from app.domain.plan import Action, ActionKind
from app.domain.tables import Look, TableId
from app.domain.target import Kind, ObjectRef, Target
from app.domain.units import counted, duration

_LOOKS: Final = (0.1, 0.3, 0.6, 1.0, 2.0, 3.0)
"""Seconds before each look whether the vacuum that was begun is over, before its progress is told."""
_EVERY: Final = 10.0
"""Seconds between two looks at one that runs for longer."""
_TRIES: Final = 3
"""How often a vacuum of one table is begun that nobody knows the end of."""
_NAMED: Final = 5
UNDO: Final = "nothing to undo: a vacuum only frees what nobody can see any more"


@dataclass(frozen=True, slots=True)
class Vacuuming:
    """What an action of this kind says. A table is done when it was vacuumed after `since`, the server's time of the plan, by whom
    ever. `longest` is for one table, `held`: nothing is begun while somebody has held the horizon for longer."""

    at: DatabaseAddress
    tables: tuple[TableId, ...]
    since: datetime
    longest: timedelta
    held: timedelta

    @classmethod
    def of(cls, action: Action) -> Vacuuming:
        """Of the action's part and params."""
        part: Any = action.part
        params: Any = action.params
        return cls(
            DatabaseAddress.from_json(part["database"]),
            tuple(TableId.from_json(one) for one in part["tables"]),
            datetime.fromisoformat(params["since"]),
            timedelta(seconds=part["longest"]),
            timedelta(seconds=part["held"]),
        )

    def action(self, ref: ObjectRef, target: Target, summary: str) -> Action:
        """The action, which touches no pod."""
        return inside(
            ActionKind.VACUUM,
            (ref, target),
            (summary, UNDO),
            params={"database": str(self.at), "since": self.since.isoformat()},
            part={
                "database": self.at.to_json(),
                "tables": [table.to_json() for table in self.tables],
                "longest": self.longest.total_seconds(),
                "held": self.held.total_seconds(),
            },
        )

    def left(self, seen: Look) -> list[TableId]:
        """The tables that are there and not done."""
        found = [(wanted, seen.find(wanted)) for wanted in self.tables]
        return [id_ for id_, t in found if t is not None and (t.last is None or t.last <= self.since)]

    def done(self, seen: Look) -> str:
        """How many are done, in words."""
        there = sum(seen.find(wanted) is not None for wanted in self.tables)
        gone = f"; {len(self.tables) - there} are gone" if there < len(self.tables) else ""
        return f"{there - len(self.left(seen))} of {counted(len(self.tables), 'table')} vacuumed{gone}"


def held_against(seen: Look, limit: timedelta) -> str:
    """Who keeps a vacuum from freeing anything, and for how long; empty when nobody does for longer than the limit."""
    held = seen.held_for()
    if seen.holder is None or held is None or held < limit:
        return ""
    return f"{seen.holder.who} has held its transaction for {duration(held)}, so that nothing deleted since could be freed"


@dataclass(frozen=True, slots=True)
class _SoFar:
    """The table that was begun last and how often, and those that are set aside with the reason: one that somebody holds keeps none of the
    others from their turn."""

    table: str = ""
    times: int = 0
    aside: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Mapping[str, JsonValue]) -> _SoFar:
        """Rebuild from `to_json`."""
        kept: Any = state
        return cls(str(kept.get("table", "")), int(kept.get("times", 0)), dict(kept.get("aside") or {}))

    def to_json(self) -> dict[str, JsonValue]:
        """For the journal."""
        return {"table": self.table, "times": self.times, "aside": dict(self.aside)}

    def after(self, seen: Look, left: Sequence[TableId], fault: str) -> _SoFar:
        """With the table that was begun set aside where it failed, or its end was not known too often."""
        begun = next((t for t in left if str(t) == self.table), None)
        why = fault or (f"begun {_TRIES} times, and its end is not known" if self.times >= _TRIES else "")
        if begun is None or not why or seen.vacuum_of(begun) is not None:
            return self
        return _SoFar(aside={**self.aside, self.table: why})

    def begun(self, table: TableId) -> _SoFar:
        """With this one begun, once more or for the first time."""
        return replace(self, table=str(table), times=self.times + 1 if self.table == str(table) else 1)


@dataclass(frozen=True, slots=True)
class VacuumActuator(NothingToUndo):
    """See the port."""

    kinds: frozenset[ActionKind] = frozenset({ActionKind.VACUUM})

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:  # noqa: ARG002 - the port's
        """Nothing of the cluster is written. The one Secret that is read is named by the rule (`Remediation.secrets`)."""
        return ()

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:  # noqa: ARG002
        """The workload is the same, a table is left to be vacuumed, and it would free something."""
        if (changed := await another_workload(clients, action)) is not None:
            return changed
        job = Vacuuming.of(action)
        seen = await clients.databases.tables.look(clients.cluster, job.at)
        if not job.left(seen):
            return CheckResult(None, f"nothing is left to vacuum: {job.done(seen)}", ObjectChanged.code)
        if held := held_against(seen, job.held):
            return CheckResult(None, held, "horizon_held")
        return CheckResult(action.object, f"{len(job.left(seen))} left to vacuum", seen=seen)

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str | Progress:
        """Done when every table that is left was vacuumed since the plan; under way while our session is there."""
        job = Vacuuming.of(action)
        seen = await clients.databases.tables.look(clients.cluster, job.at)
        if _ours(seen, action_id) is not None:
            return Progress(_told(job, seen, action_id), seconds=_EVERY)
        return "" if job.left(seen) else f"{action.summary}: {job.done(seen)}"

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:  # noqa: ARG002
        """Whether the login has the right to vacuum them, from the look of the check."""
        seen: Look = found.seen
        tables = [seen.find(wanted) for wanted in Vacuuming.of(action).left(seen)]
        denied = sorted(str(t.id) for t in tables if t is not None and not t.allowed)
        return f"the login may not vacuum {', '.join(denied)}" if denied else ""

    async def apply(
        self, means: Means, action: Action, action_id: str, found: CheckResult
    ) -> Applied | Progress:
        """Begin the next table's, and look for some seconds whether it is over."""
        job, name, seen = Vacuuming.of(action), session_name(action_id), found.seen
        tables, state = means.clients.databases.tables, _SoFar.of(means.so_far)
        state = state.after(seen, job.left(seen), tables.fault(name) if state.table else "")
        left = [table for table in job.left(seen) if str(table) not in state.aside]
        if not left or NO_ROOM in state.aside.values():
            return _ended(job, seen, state.aside)
        free = [table for table in left if seen.vacuum_of(table) is None]
        if not free:
            text = f"{job.done(seen)}; {left[0]} is vacuumed by somebody else"
            return Progress(text, state.to_json(), _EVERY)
        table = next((table for table in free if str(table) == state.table), free[0])
        state = state.begun(table)
        await tables.vacuum((means.clients.cluster, job.at), table, name, job.longest, means.ask)
        for pause in _LOOKS:
            await means.sleep(pause)
            seen = await tables.look(means.clients.cluster, job.at)
            if _ours(seen, action_id) is None:
                break
        if not job.left(seen):
            return Applied(ActionResult.APPLIED, f"{action.summary}: {job.done(seen)}")
        return Progress(_told(job, seen, action_id), state.to_json())

    async def partly(
        self,
        clients: Clients,
        action: Action,
        action_id: str,
        state: Mapping[str, JsonValue],  # noqa: ARG002 - the port's
    ) -> Partly | None:
        """The tables that are done, looked at afresh. One that the server is at goes on by itself."""
        job = Vacuuming.of(action)
        seen = await clients.databases.tables.look(clients.cluster, job.at)
        left, now = job.left(seen), _ours(seen, action_id)
        if now is None and len(left) == sum(seen.find(wanted) is not None for wanted in job.tables):
            return None
        goes_on = f"; {now} is vacuumed to its end by the server" if now is not None else ""
        names = ", ".join(str(table) for table in left if table != now)
        return Partly(f"{job.done(seen)}{goes_on}", names)

    async def effect(self, clients: Clients, action: Action) -> Effect | None:
        """Every table that is there was vacuumed since the plan, and how many dead rows are left."""
        job = Vacuuming.of(action)
        try:
            seen = await clients.databases.tables.look(clients.cluster, job.at)
        except ProbeUnavailable as error:
            return Effect(None, f"{job.at}: {error.message}")
        dead = sum(t.dead for wanted in job.tables if (t := seen.find(wanted)) is not None)
        return Effect(not job.left(seen), f"{job.done(seen)}, {counted(dead, 'dead row')} left in them")


def session_name(action_id: str) -> str:
    """By which the session of an action's vacuum is known; 12 hex digits, as the server cuts longer names."""
    return sha256(action_id.encode()).hexdigest()[:12]


def _ours(seen: Look, action_id: str) -> TableId | None:
    """The table that this action vacuums now."""
    name = session_name(action_id)
    oid = next((v.oid for v in seen.vacuums if v.ours == name), None)
    if oid is None:
        return None
    return next((t.id for t in seen.tables if t.id.oid == oid), TableId(oid, "", "a table"))


def _told(job: Vacuuming, seen: Look, action_id: str) -> str:
    """How far it is: tables done, and the phase and share of the present one."""
    table = _ours(seen, action_id)
    if table is None:
        return job.done(seen)
    vacuum = next(v for v in seen.vacuums if v.ours == session_name(action_id))
    share = (
        f", {100 * vacuum.scanned // vacuum.blocks} % of {vacuum.blocks:,} blocks" if vacuum.blocks else ""
    )
    return f"{job.done(seen)}; {table}: {vacuum.phase}{share}"


def _ended(job: Vacuuming, seen: Look, aside: Mapping[str, str]) -> Applied:
    """Nothing more is begun. What is done is done, and counts as such when it is something."""
    some = len(job.left(seen)) < sum(seen.find(wanted) is not None for wanted in job.tables)
    result = ActionResult.APPLIED if some else ActionResult.REFUSED
    told = [f"not {table}: {why}" for table, why in list(aside.items())[:_NAMED]]
    more = [f"nor {counted(len(aside) - _NAMED, 'more table')}"] if len(aside) > _NAMED else []
    return Applied(result, "; ".join([job.done(seen), *told, *more]), code="" if some else "vacuum_failed")
