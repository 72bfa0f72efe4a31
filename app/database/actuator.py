"""The actuator of sessions: ends those of a database that an action names, each by process id and start.

Called by the flow through `app.domain.actuator`. A session is its own mark: gone means that it happened, so a second try after a
crash does nothing, and a process id that was used again is never hit. Nothing is undone: a client connects again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.domain.actuator import Applied, CheckResult, Clients, Effect, Means, Permission
from app.domain.database import EXHAUSTED, Activity, Condition, DatabaseAddress, Session, SessionId, Why
from app.domain.errors import ObjectChanged, OutcomeUnclear, ProbeUnavailable, TryLater
from app.domain.inside import NothingToUndo, another_workload, inside
from app.domain.outcome import ActionResult
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, ObjectRef, Target
from app.domain.units import counted, duration

_LOOKS: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds before each look whether the sessions are gone: a process ends within milliseconds, unless it is stuck."""
UNDO: Final = "nothing to undo: the client connects again, and what it had not committed is rolled back"


@dataclass(frozen=True, slots=True)
class Ending:
    """What an action of this kind says in its part. `crowded` is the share of usable connections from which there are too many."""

    at: DatabaseAddress
    sessions: tuple[SessionId, ...]
    condition: Condition
    crowded: float

    @classmethod
    def of(cls, action: Action) -> Ending:
        """Of the action's part."""
        part: Any = action.part
        sessions = tuple(SessionId.from_json(s) for s in part["sessions"])
        condition = Condition.from_json(part["condition"])
        return cls(DatabaseAddress.from_json(part["database"]), sessions, condition, float(part["crowded"]))

    def action(self, ref: ObjectRef, target: Target, summary: str) -> Action:
        """The action, which touches no pod."""
        return inside(
            ActionKind.TERMINATE_SESSIONS,
            (ref, target),
            (summary, UNDO),
            params={"sessions": len(self.sessions), "database": str(self.at)},
            part={
                "database": self.at.to_json(),
                "sessions": [s.to_json() for s in self.sessions],
                "condition": self.condition.to_json(),
                "crowded": self.crowded,
            },
        )


@dataclass(frozen=True, slots=True)
class SessionActuator(NothingToUndo):
    """See the port."""

    kinds: frozenset[ActionKind] = frozenset({ActionKind.TERMINATE_SESSIONS})

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:  # noqa: ARG002 - the port's
        """Nothing of the cluster is written. The one Secret that is read is named by the rule (`Remediation.secrets`)."""
        return ()

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:  # noqa: ARG002
        """The workload is the same, and at least one of the sessions is there and fulfils the condition."""
        if (changed := await another_workload(clients, action)) is not None:
            return changed
        ending = Ending.of(action)
        activity = await clients.databases.activity(clients.cluster, ending.at)
        wanted = _to_end(ending, activity)
        if not wanted:
            why = _against(ending, activity)[0]
            return CheckResult(None, f"none of the sessions is to be ended: {why}", ObjectChanged.code)
        text = f"{len(wanted)} of {counted(len(ending.sessions), 'session')} as decided"
        return CheckResult(action.object, text, seen=activity)

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str:  # noqa: ARG002
        """Some of the sessions are gone, and of the others none is to be ended any more."""
        ending = Ending.of(action)
        seen = await clients.databases.activity(clients.cluster, ending.at)
        gone = len(ending.sessions) - len(_left(ending.sessions, seen))
        return f"{action.summary}: {_gone(ending, gone)}" if gone and not _to_end(ending, seen) else ""

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:  # noqa: ARG002
        """Whether the login has the right to end them, from the look of the check."""
        ending = Ending.of(action)
        seen: Activity = found.seen or await clients.databases.activity(clients.cluster, ending.at)
        denied = sorted({s.user for s in _to_end(ending, seen) if not s.endable})
        if denied:
            return f"the login may not end sessions of {', '.join(denied)} (grant it pg_signal_backend)"
        return ""

    async def apply(self, means: Means, action: Action, action_id: str, found: CheckResult) -> Applied:  # noqa: ARG002
        """One statement, then looks until they are gone."""
        ending, clients = Ending.of(action), means.clients
        try:
            told = await clients.databases.terminate(
                clients.cluster, ending.at, ending.sessions, ending.condition, means.ask
            )
        except OutcomeUnclear as lost:
            return await _read_back(means, action, ending, lost)
        if not told:
            return await _none_told(means, action, ending)
        try:
            left = await _until_gone(means, ending, told)
        except TryLater as error:
            text = (
                f"{action.summary}: {len(told)} told to end; whether they did is not known ({error.message})"
            )
            return Applied(ActionResult.APPLIED, text)
        stuck = f"; {len(left)} of them still there" if left else ""
        return Applied(
            ActionResult.APPLIED, f"{action.summary}: {counted(len(told), 'session')} ended{stuck}"
        )

    async def effect(self, clients: Clients, action: Action) -> Effect | None:
        """Connections counted again; of a blocker, whether somebody of the database still waits as long."""
        ending = Ending.of(action)
        try:
            seen = await clients.databases.activity(clients.cluster, ending.at)
        except ProbeUnavailable as error:
            return Effect(False if error.code == EXHAUSTED else None, f"{ending.at}: {error.message}")
        text = f"{seen.used} of {seen.usable} connections in use"
        if ending.condition.why is Why.BLOCKS:
            longest = seen.longest_held_up()
            waited = f"{text}; {f'somebody waits for a lock for {duration(longest)}' if longest else 'nobody waits for a lock'}"
            return Effect(longest is None or longest.total_seconds() < ending.condition.seconds, waited)
        return Effect(seen.share < ending.crowded, text)


def _against(ending: Ending, activity: Activity) -> list[str]:
    """Why sessions are not ended, one sentence for each of those."""
    found = []
    for wanted in ending.sessions:
        session = activity.find(wanted)
        why = f"{wanted} is gone" if session is None else ending.condition.against(activity, session)
        if why:
            found.append(why if session is None else f"{wanted}: {why}")
    return found


def _to_end(ending: Ending, activity: Activity) -> list[Session]:
    """Those that are there and fulfil the condition."""
    there = (activity.find(wanted) for wanted in ending.sessions)
    return [s for s in there if s is not None and not ending.condition.against(activity, s)]


def _left(sessions: Sequence[SessionId], activity: Activity) -> list[SessionId]:
    return [s for s in sessions if activity.find(s) is not None]


def _gone(ending: Ending, gone: int) -> str:
    if gone < len(ending.sessions):
        return (
            f"{gone} of {len(ending.sessions)} sessions are gone, and the others are not to be ended any more"
        )
    return "the session is gone" if gone == 1 else f"all {gone} sessions are gone"


async def _until_gone(means: Means, ending: Ending, told: Sequence[SessionId]) -> list[SessionId]:
    left = list(told)
    for pause in _LOOKS:
        await means.sleep(pause)
        left = _left(told, await means.clients.databases.activity(means.clients.cluster, ending.at))
        if not left:
            break
    return left


async def _none_told(means: Means, action: Action, ending: Ending) -> Applied:
    """Between the check and the statement they went, or went on."""
    seen = await means.clients.databases.activity(means.clients.cluster, ending.at)
    if not _left(ending.sessions, seen):
        return Applied(ActionResult.APPLIED, f"{action.summary}: {_gone(ending, len(ending.sessions))}")
    against = _against(ending, seen) or ["the server ended none of them"]
    return Applied(ActionResult.REFUSED, against[-1], code=ObjectChanged.code)


async def _read_back(means: Means, action: Action, ending: Ending, lost: OutcomeUnclear) -> Applied:
    """Gone is certain, and so is still there: to be told to end twice does no more than once."""
    try:
        left = await _until_gone(means, ending, ending.sessions)
    except TryLater as error:
        text = f"sent without an answer ({lost.message}), and it cannot be read back: {error.message}"
        return Applied(ActionResult.UNCLEAR, text, code=lost.code)
    gone = len(ending.sessions) - len(left)
    if left:
        text = f"the answer was lost ({lost.message}); {len(left)} of {len(ending.sessions)} are still there"
        raise ProbeUnavailable(text, code="not_applied", where=str(ending.at))
    return Applied(ActionResult.APPLIED, f"{action.summary}: {_gone(ending, gone)}; the answer was lost")
