"""Standing: what a run has left in place, what it has not done, and the commands that change it, for people who have to look.

Called where a run is handed to a person (`ending`), where its undo waits (`undo`), and where somebody asks to take back what loses
something. Reads the journal only: what it tells is what was done, not what stands in the cluster by now. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain import half_way
from app.domain.copies import Exchange
from app.domain.outcome import ActionResult
from app.domain.plan import Action, ActionKind
from app.domain.units import utc
from app.flow.ids import action_id
from app.store.runs import JournalEntry, Run


@dataclass(frozen=True, slots=True)
class Standing:
    """`in_place` says how things stand, `done` and `not_done` are actions, `commands` what a person can type, each with what it does.
    `stopped`: an application stands at 0 by our doing."""

    in_place: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    not_done: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    stopped: bool = False


def of(run: Run, in_place: Sequence[JournalEntry], done: Sequence[JournalEntry], *, held: bool) -> Standing:
    """How the run stands. `in_place` are the entries of actions that are, or may be, in place; `done` all of its actions that were
    applied, taken back or not. `held`: an undo waits, so that only a person's word lets it go on."""
    actions = [_action(entry) for entry in in_place]
    left = half_way.sizes(actions)
    known = {entry.name for entry in (*in_place, *done)}
    ids = [action_id(run.id, run.step_index, index) for index in range(len(run.step.actions))]
    missing = [a for a, name in zip(run.step.actions, ids, strict=True) if name not in known]
    undo = (_undo(run, in_place, held=held),) if any(a.reversible for a in actions) else ()
    return Standing(
        in_place=(*(size.text for size in left), *_live(run.step.actions, in_place)),
        done=tuple(_done(entry, action) for entry, action in zip(in_place, actions, strict=True)),
        not_done=tuple(action.summary for action in missing),
        commands=(*(_start(size, missing) for size in left if size.stopped), *undo),
        stopped=any(size.stopped for size in left),
    )


def loss(in_place: Sequence[JournalEntry]) -> str:
    """What is lost when these actions are taken back; empty for nothing."""
    lost = []
    for entry in in_place:
        action = _action(entry)
        if action.kind not in half_way.KEPT or not action.reversible:
            continue
        names = Exchange.from_json(action.part)
        lost.append(
            f"what was written to {names.live}{_since(entry)} is not in it afterwards: it stays in {names.copy}, closed"
        )
    return "; ".join(lost)


def _since(entry: JournalEntry) -> str:
    at = ((entry.outcome or {}).get("answer") or {}).get("at")
    return f" since {utc(datetime.fromisoformat(at))}" if at else " since then"


def _action(entry: JournalEntry) -> Action:
    return Action.from_json(entry.intent["action"])


def _clear(entry: JournalEntry) -> bool:
    return (entry.outcome or {}).get("result") == ActionResult.APPLIED.value


def _done(entry: JournalEntry, action: Action) -> str:
    return action.summary if _clear(entry) else f"perhaps, nobody knows: {action.summary}"


def _live(planned: Sequence[Action], in_place: Sequence[JournalEntry]) -> list[str]:
    """Which database is live, where the step is to change that."""
    told = []
    for action in planned:
        if action.kind is not ActionKind.EXCHANGE_DATABASE:
            continue
        names = Exchange.from_json(action.part)
        mine = [entry for entry in in_place if _action(entry).kind is action.kind]
        if not mine:
            told.append(f"{names.live} is the database that it was before: no name is exchanged")
        elif _clear(mine[-1]):
            kept = f"; the former one is {names.kept}, closed" if names.kept else ""
            told.append(f"{names.live} is the restored copy{kept}")
        else:
            told.append(f"whether {names.live} is the restored copy or the former database is not known")
    return told


def _start(size: half_way.Size, missing: Sequence[Action]) -> str:
    """As many as the plan wants in the end, or as it had."""
    to = [a.params.get("to") for a in missing if a.kind is ActionKind.SCALE and a.object == size.object]
    wanted = [number for number in to if isinstance(number, int) and number > 0]
    return f"start it again as it is: {size.command(wanted[-1] if wanted else size.before)}"


def _undo(run: Run, in_place: Sequence[JournalEntry], *, held: bool) -> str:
    lost = loss(in_place)
    despite = " --despite" if held or lost else ""
    return f"take back what is in place: remediator undo {run.id}{despite}" + (f" ({lost})" if lost else "")
