"""Sending: whether anything of an undo that stands was sent, or may have been. An intent alone is no write.

Called by `undo` before each look. Owns how it is known: by the requests that went out, and, where a process died in between, by reading
back whether our action still stands. What is known to be not sent stands in the row of the run (`journal.UNSENT`), for whoever withdraws
the order or asks anew who wants it. And what was announced and not sent ends with its run. Writes to the store only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from app.domain.actuator import Means
from app.domain.errors import RemediatorError, TryLater
from app.domain.outcome import RunState, UndoResult
from app.domain.plan import Action
from app.flow.actuators import ACTUATORS
from app.flow.notifying.record import tell as record
from app.flow.running import journal
from app.flow.running.life import Cause, Life
from app.flow.services import Services
from app.notify.timeline import Topic, UndoDone
from app.store import driving, runs
from app.store.runs import JournalEntry, Run
from app.store.tx import PreImageUnreadable, Tx


async def begun(services: Services, run: Run, entries: Sequence[JournalEntry]) -> bool:
    """Whether anything was sent, or may have been, by all `entries` of the run. An intent of which that is not known is read back. Raises
    TryLater."""
    sent = [one for one in journal.of_this_order(entries, run) if journal.begun([one], run)]
    unknown = journal.open_undos(sent, run)
    if not sent or len(sent) > len(unknown):
        return bool(sent)
    for one in unknown:
        acted = next(entry for entry in entries if entry.name == one.intent["of"])
        if not await _stands(services, acted):
            return True
    await services.store.write(lambda tx: not_sent(tx, run.id, unknown[-1].name))
    return False


async def _stands(services: Services, acted: JournalEntry) -> bool:
    """Our action is there as it was carried out, so that nothing of its undo was. Raises TryLater."""
    action = Action.from_json(acted.intent["action"])
    if not action.reversible:
        return True
    try:
        real = await services.store.read(lambda conn: whole(conn, services, acted, action))
        return bool(await ACTUATORS[action.kind].in_place(services.clients, real, acted.name))
    except TryLater:
        raise
    except (PreImageUnreadable, RemediatorError):
        return False


def whole(conn: Connection, services: Services, acted: JournalEntry, action: Action) -> Action:
    """The action with the values it had when it was carried out. Raises PreImageUnreadable."""
    place = (int(acted.intent["step_index"]), int(acted.intent.get("action_index", 0)))
    found = services.store.vault.whole(conn, acted.run_id, place, action)
    return journal.with_size(runs.entries(conn, acted.run_id), found)


def not_sent(tx: Tx, run_id: str, name: str) -> None:
    """Write down that nothing of this entry was sent so far; the empty name: that something may be from now on."""
    run = runs.hold(tx, run_id)
    if run.life.get(journal.UNSENT, "") != name:
        driving.change(tx, run_id, {**run.life, journal.UNSENT: name})


class Counted:
    """Counts the requests of one attempt that nothing held."""

    def __init__(self, means: Means) -> None:
        self._asked, self._let = means.ask, 0
        self.means = replace(means, ask=self._ask)

    async def _ask(self) -> None:
        await self._asked()
        self._let += 1

    def nothing_sent(self, error: RemediatorError) -> bool:
        """Whether it is known by this end of the attempt that it changed nothing: no request went out, or the only one did nothing."""
        return self._let <= (1 if isinstance(error, TryLater) else 0)


def leave(tx: Tx, services: Services, run: Run, life: Life) -> None:
    """The run stops to undo: what was announced and has no end ends here, so that each has one, in the journal and in the trail."""
    stuck = (
        life.state is RunState.STUCK and life.cause is not Cause.NONE
    )  # an order that is over leaves all as it was
    result = UndoResult.FAILED if stuck else UndoResult.NOT_DONE
    entries = runs.entries(tx.conn, run.id)
    for entry in journal.of_this_order(entries, run):
        if entry.outcome is not None:
            continue
        acted = next(one for one in entries if one.name == entry.intent["of"])
        action = Action.from_json(acted.intent["action"])
        services.metrics.undos.labels(action.kind.value, result.value).inc()
        runs.end_entry(tx, run.id, entry.name, {"result": result.value, "text": life.reason})
        fact = UndoDone(acted.name, action.summary, result, life.reason)
        record(tx, Topic.UNDO, fact, incident_id=run.incident_id, once=entry.name, run_id=run.id)


__all__ = ["Counted", "begun", "leave", "not_sent", "whole"]
