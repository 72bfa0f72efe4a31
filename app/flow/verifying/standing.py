"""Standing: what a run has left in place, what it has not done, and the commands that change it, for people who have to look.

Called where a run is handed to a person (`ending`), where its undo waits (`undo`), and where somebody asks to take back what loses
something. Reads the journal only: what it tells is what was done, not what stands in the cluster by now, and says so. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain import half_way
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import ACCUSING, SIZES, Action, Step
from app.domain.target import ObjectRef
from app.domain.units import utc
from app.domain.verification import Worth
from app.flow.ids import action_id
from app.store.runs import JournalEntry, Run


@dataclass(frozen=True, slots=True)
class Standing:
    """`in_place` says how things stand, `done` and `not_done` are actions, `commands` what a person can type, each with what it does;
    `starts` are those of them that start something. `stopped`: an application stands at 0 by our doing."""

    in_place: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    not_done: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    stopped: bool = False


def of(
    run: Run, entries: Sequence[JournalEntry], in_place: Sequence[JournalEntry], *, held: bool
) -> Standing:
    """How the run stands by all of its `entries`. `in_place` are those of actions that are, or may be, in place, oldest first. `held`: an
    undo waits, so that only a person's word lets it go on. What somebody else has changed since is theirs: no size of it is told."""
    actions = [_action(entry) for entry in in_place]
    sizes, theirs = half_way.sizes(actions), _theirs(entries, in_place)
    left = [size for size in sizes if size.object not in theirs]
    known = {e.name for e in entries if (e.outcome or {}).get("result") == ActionResult.APPLIED.value}
    known |= {entry.name for entry in in_place}
    ids = [action_id(run.id, run.step_index, index) for index in range(len(run.step.actions))]
    some = {e.name: (e.outcome or {})["answer"] for e in entries if was_partly(e)}
    missing = [a for a, name in zip(run.step.actions, ids, strict=True) if name not in known]
    undo = [f"take back what is in place: {w}" for w in (way_back(run, in_place, held=held),) if w]
    others = _at_0(entries)
    starts = tuple(
        _start(size, half_way.wanted(missing, size))
        for size in (*left, *others)
        if not size.now and size.before
    )
    return Standing(
        in_place=(
            *(size.text for size in left),
            *(
                f"{s.name}: somebody else has changed it since"
                for s in sizes
                if s.object in theirs and s.object not in {size.object for size in others}
            ),
            *(f"{size.text}{why}" for size, why in others.items()),
            *_outcomes(run, entries, in_place),
        ),
        done=(
            *(_done(entry, action) for entry, action in zip(in_place, actions, strict=True)),
            *(str(answer["done"]) for answer in some.values()),
        ),
        not_done=tuple(
            _left(action, some.get(name))
            for action, name in zip(run.step.actions, ids, strict=True)
            if name not in known
        ),
        commands=(*starts, *undo, *_left_beside(run, entries, in_place)),
        starts=starts,
        stopped=any(size.stopped for size in left),
    )


def _theirs(entries: Sequence[JournalEntry], in_place: Sequence[JournalEntry]) -> set[ObjectRef]:
    """What somebody else has given another size than ours, as the undo found."""
    found = {
        str(entry.intent["of"])
        for entry in entries
        if entry.intent.get("entry") == "undo"
        and (entry.outcome or {}).get("result") == UndoResult.CONFLICT.value
    }
    changed = [_action(entry) for entry in in_place if entry.name in found]
    return {size.object for action in changed for size in half_way.sizes([action])}


def _at_0(entries: Sequence[JournalEntry]) -> dict[half_way.Size, str]:
    """What we stopped and cannot start again, because it is somebody else's by now or another object, and stood at 0 when the undo looked; with
    why it stays so, in words."""
    acted = {entry.name: _action(entry) for entry in entries if entry.intent.get("entry") == "action"}
    found = dict[half_way.Size, str]()
    newest = {str(entry.intent["of"]): entry for entry in entries if entry.intent.get("entry") == "undo"}
    for of, entry in newest.items():
        outcome = entry.outcome or {}
        if outcome.get("replicas") != 0:
            continue
        for size in half_way.sizes([acted[of]]):
            theirs = outcome["result"] == UndoResult.CONFLICT.value
            why = "somebody else has changed it since" if theirs else "it was created anew since"
            found[size] = f": {why}, so it is not started by itself"
    return found


def loss(in_place: Sequence[JournalEntry]) -> str:
    """What is lost when these actions are taken back; empty for nothing."""
    found = (half_way.lost_by_undo(_action(entry), _since(entry)) for entry in in_place)
    return "; ".join(text for text in found if text)


@dataclass(frozen=True, slots=True)
class ByItself:
    """Of what is in place: what an undo without a person's word takes back, oldest first, and why the rest stays, in words."""

    back: tuple[JournalEntry, ...] = ()
    kept: str = ""


def by_itself(entries: Sequence[JournalEntry], in_place: Sequence[JournalEntry]) -> ByItself:
    """The one rule of what is taken back without a person's word, step by step: what is no better than before that step, as its verification
    measured. What a person has left in place stays. What helped stays, with all that was there when it was seen to help; so does a rollback of which anything came up, what its handler
    wants kept (an older version may not work any more), and a step of which nobody knows whether it helped, with all that was there before it. What was left half done goes, as it was never verified."""
    if lost := lost_by_itself(in_place):
        return ByItself((), lost)
    told = verified(entries)
    spared = {
        of: e.intent["by"] for e in entries if e.intent.get("entry") == "spared" for of in e.intent["of"]
    }
    worth = {step: Worth.of(told[step]) for step in map(_step, in_place) if step in told}
    newest = max((step for step, known in worth.items() if known is not Worth.NO_BETTER), default=-1)
    back, kept = list[JournalEntry](), dict[str, None]()
    for entry in in_place:
        found = told.get(_step(entry))
        if by := spared.get(entry.name):
            kept[f"{by} took back the order to undo {entry.intent['step']}"] = None
        elif _step(entry) <= newest:
            kept[_stays(entry.intent["step"], _step(entry), worth)] = None
        elif found is None:
            back.append(entry)
        elif accusing := _accusing(_step(entry), found, in_place):
            kept[accusing] = None
        elif speaks := str(found.get("kept") or ""):
            kept[speaks] = None
        else:
            back.append(entry)
    return ByItself(tuple(back), "; ".join(kept))


def _stays(name: str, step: int, worth: Mapping[int, Worth]) -> str:
    """Why a step stays that is not known to be no better, or that was there when such a one was measured."""
    if worth.get(step) is Worth.BETTER:
        return f"{name} helped"
    if any(later > step and known is Worth.BETTER for later, known in worth.items()):
        return f"{name} was there when a later step helped"
    if worth.get(step) is Worth.UNKNOWN:
        return f"whether {name} helped is not known"
    return f"{name} was there before a later step of which it is not known whether it helped"


def tasks(run: Run, entries: Sequence[JournalEntry]) -> tuple[str, ...]:
    """What a person has still to do after the run's earlier steps that helped and did not repair, each as a sentence."""
    told = verified(entries)
    former = {int(i): Step.from_json(kept["step"]) for i, kept in run.settings.get("steps", {}).items()}
    return tuple(
        f"Still to do after {step.name}: {step.open_task}"
        for index, step in sorted(former.items())
        if index != run.step_index and step.open_task and Worth.of(told.get(index, {})) is Worth.BETTER
    )


def _step(entry: JournalEntry) -> int:
    return int(entry.intent["step_index"])


def verified(entries: Sequence[JournalEntry]) -> dict[int, Mapping[str, Any]]:
    """What the last verification of each step found. A step that was stopped half way has none."""
    return {_step(e): e.outcome for e in entries if e.intent.get("entry") == "verified" and e.outcome}


def _accusing(step: int, found: Mapping[str, Any], in_place: Sequence[JournalEntry]) -> str:
    """Why a rollback among the actions of this step is not taken back without a person's word: it would bring back what was rolled back for
    its own trouble, and some of what is there by now came up, or nobody can tell. Empty where none came up, or all of it and it does not do
    what it is for: then it does worse."""
    whole, serving = found.get("rolled_out"), found.get("serving", 0)
    if found.get("effect") is False if whole else serving == 0:
        return ""
    actions = [_action(e) for e in in_place if _step(e) == step]
    told = (
        f"to {a.undo} would bring back what was rolled back for its trouble"
        for a in actions
        if a.kind in ACCUSING
    )
    return "; ".join(f"{text}, and nothing shows that what runs now does worse" for text in told)


def lost_by_itself(in_place: Sequence[JournalEntry]) -> str:
    """What would be lost if these actions were taken back without a person's word; empty for nothing, as while the application still
    stands at 0 by our doing and so has written nothing since."""
    stopped = any(size.stopped for size in half_way.sizes(_action(entry) for entry in in_place))
    return "" if stopped else loss(in_place)


def lent(in_place: Sequence[JournalEntry]) -> list[JournalEntry]:
    """Of these actions, oldest first, those that a rule with `temporary` lends: changes of a size. Whatever else the run did stays. To
    stop something and to start it again is no loan either: to take that back would stop it once more."""
    actions = [_action(entry) for entry in in_place]
    stopped = {action.object for action in actions if half_way.stops(action)}
    pairs = zip(in_place, actions, strict=True)
    return [entry for entry, a in pairs if a.kind in SIZES and a.object not in stopped]


def _since(entry: JournalEntry) -> str:
    at = ((entry.outcome or {}).get("answer") or {}).get("at") if _clear(entry) else None
    return f"since {utc(datetime.fromisoformat(at))}" if at else "since then"


def _action(entry: JournalEntry) -> Action:
    return Action.from_json(entry.intent["action"])


def _clear(entry: JournalEntry) -> bool:
    return (entry.outcome or {}).get("result") == ActionResult.APPLIED.value


def _done(entry: JournalEntry, action: Action) -> str:
    return action.summary if _clear(entry) else f"{action.summary} (nobody knows whether it was)"


def was_partly(entry: JournalEntry) -> bool:
    """The entry is a long action that stopped before its end."""
    return (entry.outcome or {}).get("result") == ActionResult.PARTLY.value


def _left(action: Action, answer: Mapping[str, Any] | None) -> str:
    """What is not done of an action, all of it or what a long one has left."""
    left = f": {answer['left']}" if answer and answer["left"] else ""
    return f"{'the rest of: ' if answer else ''}{action.summary}{left}"


def _outcomes(run: Run, entries: Sequence[JournalEntry], in_place: Sequence[JournalEntry]) -> list[str]:
    """How stands what the step is for."""
    known = {entry.name: _clear(entry) or None for entry in in_place}
    back = {entry.name for entry in entries if _clear(entry)} - set(known)
    at = {str(e.intent.get("of", e.name)): utc(e.ended_at) for e in entries if e.ended_at}
    ids = [action_id(run.id, run.step_index, index) for index in range(len(run.step.actions))]
    told = (
        half_way.outcome(action, known.get(name, False), at.get(name, ""), taken_back=name in back)
        for action, name in zip(run.step.actions, ids, strict=True)
    )
    return [text for text in told if text]


def _left_beside(run: Run, entries: Sequence[JournalEntry], in_place: Sequence[JournalEntry]) -> list[str]:
    """What a person can type to remove what the step has left beside. A Job has nothing to take back, so that its undo leaves what it made."""
    known = {entry.name: _clear(entry) or None for entry in in_place}
    ids = [action_id(run.id, run.step_index, index) for index in range(len(run.step.actions))]
    made = {entry.name for entry in entries if _clear(entry)}
    there = [a for a, name in zip(run.step.actions, ids, strict=True) if name in made]
    told = (
        half_way.leaves(action, there, known.get(name, False))
        for action, name in zip(run.step.actions, ids, strict=True)
    )
    return [text for text in told if text]


def _start(size: half_way.Size, replicas: int) -> str:
    return f"start it again as it is: {size.command(replicas)}"


def way_back(run: Run, in_place: Sequence[JournalEntry], *, held: bool = False) -> str:
    """What a person can type to take back what is in place, and what that loses; empty where none of it can be."""
    if not any(_action(entry).reversible for entry in in_place):
        return ""
    lost = loss(in_place)
    despite = " --despite" if held or lost else ""
    return f"remediator undo {run.id}{despite}" + (f" ({lost})" if lost else "")
