"""Journal: what a run has carried out, and what of it is or may be in place, told from its own journal.

Called by the rooms of a run: `verify`, `undo`, `temporary`, `ending`. Reads the store only: what stands in the cluster by now is for
others to look at. Never writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from app.domain import half_way
from app.domain.json import JsonValue
from app.domain.outcome import RunState, UndoResult
from app.domain.plan import Action
from app.domain.verification import READINGS
from app.flow.running.life import Cause, Life
from app.flow.verifying import standing
from app.policy.model import Otherwise
from app.store import runs
from app.store.runs import JournalEntry, Run

_DONE = frozenset({UndoResult.UNDONE.value, UndoResult.NOTHING.value})


def carried_out(conn: Connection, run_id: str) -> list[JournalEntry]:
    """The actions of a run that were applied, oldest first."""
    return [entry for entry in _by_place(runs.entries(conn, run_id)) if was_applied(entry)]


def _by_place(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """In the order of steps and actions: the clock may have been set back in between."""
    places = ("step_index", "action_index")
    return sorted(entries, key=lambda entry: tuple(int(entry.intent.get(name, 0)) for name in places))


def changed(conn: Connection, run_id: str) -> list[JournalEntry]:
    """The actions of a run that changed something: applied, or a long one that stopped before its end."""
    return [
        entry
        for entry in _by_place(runs.entries(conn, run_id))
        if was_applied(entry) or standing.was_partly(entry)
    ]


def was_applied(entry: JournalEntry) -> bool:
    """The entry is an action that is, or was, in place."""
    return entry.intent.get("entry") == "action" and (entry.outcome or {}).get("result") == "applied"


def in_place(conn: Connection, run_id: str) -> list[JournalEntry]:
    """The actions of a run that are, or may be, in place, oldest first: applied, or sent without a clear outcome, and not taken
    back. What somebody else had changed when it was to be taken back may be ours again by now."""
    return still_in_place(runs.entries(conn, run_id))


def still_in_place(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """The same of all `entries` of a run."""
    back = {
        entry.intent.get("of")
        for entry in entries
        if entry.intent.get("entry") == "undo" and (entry.outcome or {}).get("result") in _DONE
    }
    return [entry for entry in _by_place(entries) if _may_be_there(entry) and entry.name not in back]


def _may_be_there(entry: JournalEntry) -> bool:
    result = (entry.outcome or {}).get("result", "unclear")
    return entry.intent.get("entry") == "action" and result in ("applied", "unclear")


def actions(entries: Iterable[JournalEntry]) -> list[Action]:
    """What these entries of actions carried out."""
    return [Action.from_json(entry.intent["action"]) for entry in entries]


def of_this_order(entries: Sequence[JournalEntry], run: Run) -> list[JournalEntry]:
    """What the undo that stands has written so far."""
    number = life_of(run).undos
    return [
        entry
        for entry in entries
        if entry.intent.get("entry") == "undo" and entry.intent.get("number", 1) == number
    ]


THEIRS = "theirs"
"""In the row: whoever has the incident is why nothing more is done."""
SILENCED = "silenced"
"""In the row: its alert is silenced, or taken at its source, which is why nothing more is done."""
OWED = "owed"
"""In the row of a run that ended under a silence: the call that its end would have made, as JSON."""
UNSENT = "unsent"
"""What the row of a run calls the entry of which it is known that nothing was sent so far."""


def begun(entries: Sequence[JournalEntry], run: Run) -> bool:
    """Something of the undo that stands was sent, or may have been: an intent alone is no write."""
    return any(_may_be_sent(entry, run) for entry in of_this_order(entries, run))


def open_undos(entries: Sequence[JournalEntry], run: Run) -> list[JournalEntry]:
    """What the undo that stands has announced, and what has no end yet."""
    return [entry for entry in of_this_order(entries, run) if entry.outcome is None]


def _may_be_sent(entry: JournalEntry, run: Run) -> bool:
    if entry.outcome is None:
        return entry.name != run.life.get(UNSENT)
    return entry.outcome.get("result") in (UndoResult.UNDONE.value, UndoResult.FAILED.value)


def is_whole(entries: Sequence[JournalEntry], acted: JournalEntry) -> bool:
    """The step of this action was carried out to its end: it was verified."""
    done = {e.intent["step_index"] for e in entries if e.intent.get("entry") == "verified" and e.outcome}
    return acted.intent["step_index"] in done


def took_back(conn: Connection, run: Run) -> bool:
    """The undo that stands has taken something back."""
    mine = of_this_order(runs.entries(conn, run.id), run)
    return any((entry.outcome or {}).get("result") == UndoResult.UNDONE.value for entry in mine)


_LOAN = ("until", "extended")


def loan(run: Run) -> dict[str, JsonValue]:
    """What the row keeps of a temporary change, which an undo that is not done leaves as it was."""
    return {name: run.life[name] for name in _LOAN if name in run.life}


def life_of(run: Run, otherwise: tuple[Otherwise, ...] = ()) -> Life:
    """The run's life as its row tells it: why it undoes, and how often it began to. Without what the rule says `otherwise` that is all."""
    data = run.life
    outcome = data.get("outcome")
    return Life(
        state=run.state,
        actions=len(run.step.actions),
        otherwise=otherwise,
        action=int(data.get("action", 0)),
        rest=tuple(Otherwise(word) for word in data.get("rest", ())),
        outcome=RunState(outcome) if outcome else None,
        reason=str(data.get("reason", "")),
        cause=Cause(data.get("cause", "")),
        undos=int(data.get("undos", 0)),
        despite=tuple(data.get("despite", ())),
        until=str(data.get("ordered_until", "")),
        former=tuple(data.get("former", ())),
        late=bool(data.get("late")),
    )


def row_of(life: Life) -> dict[str, JsonValue]:
    """What the row keeps of a life; the rest of it is derived from the run."""
    return {
        "action": life.action,
        "rest": [word.value for word in life.rest],
        "outcome": life.outcome.value if life.outcome else None,
        "reason": life.reason,
        "cause": life.cause.value,
        "undos": life.undos,
        "despite": list(life.despite),
        "ordered_until": life.until,
        "former": list(life.former),
        "late": life.late,
    }


def reverts(run: Run) -> bool:
    """Whether the run is at the end of its temporary change: it takes back what it lent."""
    return run.state is RunState.UNDOING and life_of(run).cause is Cause.REVERT


def entry_name(action_id: str, number: int) -> str:
    """The journal entry of the `number`-th undo of an action."""
    return f"{action_id}/undo" if number <= 1 else f"{action_id}/undo.{number}"


def wrote_to(entry: JournalEntry, entries: Sequence[JournalEntry], object_: str) -> bool:
    """The entry is an action on that object, or the undo of one, that was carried out."""
    if entry.intent.get("entry") != "undo":
        return was_applied(entry) and entry.intent.get("object") == object_
    of = next((e for e in entries if e.name == entry.intent.get("of")), None)
    done = (entry.outcome or {}).get("result") == UndoResult.UNDONE.value
    return done and of is not None and of.intent.get("object") == object_


def with_size(entries: Sequence[JournalEntry], stop: Action) -> Action:
    """This stop, to be taken back to the size that its object had when an undo stopped it, where one did so last."""
    if not (half_way.goes_by_what_it_finds(stop) and half_way.stops(stop)):
        return stop
    objects = {entry.name: entry.intent.get("object") for entry in entries}
    found = [
        e.intent["size"]
        for e in entries
        if isinstance(e.intent.get("size"), int) and objects.get(e.intent["of"]) == str(stop.object)
    ]
    return half_way.from_size(stop, int(found[-1])) if found else stop


def standing_of(conn: Connection, run: Run, *, held: bool = False) -> standing.Standing:
    """What the run has left in place, for people."""
    return standing.of(run, runs.entries(conn, run.id), in_place(conn, run.id), held=held)


def looks(run: Run) -> dict[str, JsonValue]:
    """What the row keeps of the looks of its verifications, over all its states, for whoever reads it afterwards."""
    return {READINGS: run.life[READINGS]} if READINGS in run.life else {}
