"""Foreseen: what a later action, or the undo of an earlier one, could never do, asked before anything is stopped for it.

Called by `act` and `undo` right before a write. Only an exchange of databases is known beforehand to be in vain: its database was replaced, or
the one to go back to was dropped. What cannot be looked at is not known to be possible: nothing is stopped for it until it can be. Once
the application stands still by our doing, waiting would only prolong that: the action looks itself. Never writes.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.domain import half_way
from app.domain.errors import RemediatorError, TryLater
from app.domain.plan import Action
from app.flow.actuators import never_done, never_undone
from app.flow.services import Services
from app.store.runs import JournalEntry, Run


async def against_step(services: Services, run: Run, index: int) -> str:
    """Why the step of this run is in vain by what comes after action `index`; empty when it can be done. Raises TryLater when that cannot
    be looked at and the step has still to stop something."""
    actions = run.step.actions
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


async def against_undo(services: Services, entries: Sequence[JournalEntry]) -> str:
    """Why these actions, which are in place, cannot be taken back, before the first of them is; empty when they can. Raises TryLater when
    that cannot be looked at."""
    for entry in entries:
        action = Action.from_json(entry.intent["action"])
        try:
            if never := await never_undone(services.clients, action):
                return f"{never}; nothing was stopped for it"
        except RemediatorError as error:
            raise TryLater(
                f"nothing is taken back before {_unread(action, error)}", code=error.code
            ) from error
    return ""


def _unread(action: Action, error: RemediatorError) -> str:
    return f"it can be looked at whether all of it can be done ({action.summary}): {error}"
