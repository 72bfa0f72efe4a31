"""Foreseen: what a later action, or the undo of an earlier one, could never do, asked before anything is stopped for it; and what an action may
not do any more, because of what happened since its step was begun.

Called by `act` and `undo` right before a write. An approved step that nobody was at for as long as an approval is good is not gone on with, and
no database is replaced whose application somebody had started since it was stopped: what it wrote then would be lost. Only an exchange of databases is known beforehand to be in vain: its database was replaced, or
the one to go back to was dropped. What cannot be looked at is not known to be possible: nothing is stopped for it until it can be. Once
the application stands still by our doing, waiting would only prolong that: the action looks itself. Never writes.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.domain import half_way
from app.domain.cluster import FIELD_MANAGER
from app.domain.errors import ObjectMissing, RemediatorError, TryLater
from app.domain.plan import Action
from app.domain.units import utc
from app.flow.actuators import never_done, never_undone
from app.flow.ids import action_id
from app.flow.running.progress import left_alone
from app.flow.services import Services
from app.kube.look import generation_of
from app.kube.owners import who_changed
from app.store import runs
from app.store.runs import JournalEntry, Run


async def against_step(services: Services, run: Run, index: int, *, begun: bool) -> str:
    """Why action `index` is not carried out any more in a step that was `begun`, or the step is in vain by what comes after it; empty when it
    can be done. Raises TryLater when that cannot be looked at and the step has still to stop something."""
    actions = run.step.actions
    if begun and (why := await _not_any_more(services, run, index)):
        return why
    stops_yet = any(half_way.stops(action) for action in actions[index:])
    for action in actions[index + 1 :]:
        try:
            if never := await never_done(services.clients, action):
                return never
        except RemediatorError as error:
            if not stops_yet:
                return ""
            raise TryLater(f"nothing is stopped before {_unread(action, error)}", code=error.code) from error
    return ""


async def _not_any_more(services: Services, run: Run, index: int) -> str:
    """What happened since the step was begun that those who approved it did not know of. To finish what is done for good, and to start what
    was stopped, they agreed to whatever happens."""
    actions = run.step.actions
    if half_way.brings_back(actions, index) or any(a.kind in half_way.KEPT for a in actions[:index]):
        return ""
    if gone := left_alone(run, services.clock.now()):
        return f"{gone}: people have to be asked anew"
    number = next((i for i, a in enumerate(actions[:index]) if half_way.stops(a)), None)
    if actions[index].kind not in half_way.KEPT or number is None:
        return ""
    name = action_id(run.id, run.step_index, number)
    entry = await services.store.read(lambda conn: runs.entry(conn, run.id, name))
    stop = Action.from_json(entry.intent["action"]) if entry else actions[number]
    ref = stop.object
    try:
        manifest = await services.cluster.get(ref.kind, ref.namespace, ref.name)
    except ObjectMissing:
        return ""  # its own check says so
    # What stood at 0 already is theirs: that nobody has started it since is told by how often the server counts its spec changed.
    ours = bool(stop.changes)
    untouched = entry is not None and generation_of(manifest) == entry.generation
    if untouched and not ours:
        return ""
    writers = who_changed(manifest, actions[number].changes[0].path, exact=True)
    theirs = [(who, at) for who, at in writers if who != FIELD_MANAGER]
    if not theirs and ours and (writers or untouched):  # else somebody took off who wrote it
        return ""
    who, at = theirs[0] if theirs else ("somebody", None)
    when = f" at {utc(at)}" if at else ""
    return (
        f"{who} has set the replicas of {ref}{when}, since it was stopped: what it wrote meanwhile would be lost, so people have to"
        " be asked anew"
    )


async def against_undo(services: Services, entries: Sequence[JournalEntry]) -> str:
    """Why these actions, which are in place, cannot be taken back, before the first of them is; empty when they can. Raises TryLater when
    that cannot be looked at."""
    actions = [Action.from_json(entry.intent["action"]) for entry in entries]
    for number, action in enumerate(actions):
        stops = any(half_way.starts(later) and later.object == action.object for later in actions[number:])
        try:
            if never := await never_undone(services.clients, action, stops=stops):
                return f"{never}; nothing was stopped for it"
        except RemediatorError as error:
            raise TryLater(
                f"nothing is taken back before {_unread(action, error)}", code=error.code
            ) from error
    return ""


def _unread(action: Action, error: RemediatorError) -> str:
    return f"it can be looked at whether all of it can be done ({action.summary}): {error}"
