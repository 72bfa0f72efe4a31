"""Half way: what a step of several actions leaves when it stops between two of them, and what of it is meant to be so.

Owns three rules. An action that brings back what its own step stopped is told from any other one. After an action of `KEPT` a stopped
step is no half change any more: whether it is taken back is the rule's or a person's word. And what is in place is told object by
object, as it was before the first and after the last action. Never reads or writes anything. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from app.domain.copies import Exchange, drop_command
from app.domain.json import JsonValue
from app.domain.plan import Action, ActionKind
from app.domain.target import ObjectRef

KEPT = frozenset({ActionKind.EXCHANGE_DATABASE})
"""Kinds after which the step has reached what it is for, and what is left only finishes it. To take one back loses what was
written since."""
CONFIRMING = timedelta(minutes=10)
"""The longest that a confirmation waits for pods to end."""
_JOBS = frozenset({ActionKind.RUN_JOB})
_SIZE, _MEANT, _COUNTED = "size", "meant", "generation"
AS_FOUND, AS_GIVEN = {_SIZE: "as found"}, {_SIZE: "as given"}
"""The `part` of an action that stops what has any size by then, and of one that starts it: with as many as it had when it was stopped, or
with what the rule says. What somebody set before the stop is no hand against either."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many pods an object is set to: `before` our first action that is in place, and `now`."""

    object: ObjectRef
    before: int
    now: int

    @property
    def stopped(self) -> bool:
        """We stopped it, and it is still stopped."""
        return self.now == 0 and self.before > 0

    @property
    def name(self) -> str:
        """For people: `Deployment rag7/web`."""
        return f"{self.object.kind.value} {self.object.namespace}/{self.object.name}"

    @property
    def text(self) -> str:
        """For people: `Deployment rag7/web stands at 0 replicas, was 3`."""
        return f"{self.name} stands at {self.now} replicas, was {self.before}"

    def command(self, replicas: int) -> str:
        """What a person types to give it this size."""
        kind = self.object.kind.value.lower()
        return f"kubectl scale {kind}/{self.object.name} -n {self.object.namespace} --replicas={replicas}"


def sizes(in_place: Iterable[Action]) -> tuple[Size, ...]:
    """The sizes that these actions, oldest first, leave; without those that are as they were before."""
    found: dict[tuple[str, str, str], Size] = {}
    for action in in_place:
        before, after = _counts(action)
        if before is None or after is None:
            continue
        key = (action.object.kind.value, action.object.namespace, action.object.name)
        first = found[key].before if key in found else before
        found[key] = Size(action.object, first, after)
    return tuple(size for size in found.values() if size.before != size.now)


def stops(action: Action) -> bool:
    """It sets to 0 replicas what had some."""
    before, after = _counts(action)
    return after == 0 and bool(before)


def starts(action: Action) -> bool:
    """It starts what stood at 0 replicas, so that its undo stops that."""
    before, after = _counts(action)
    return before == 0 and bool(after)


def brings_back(actions: Sequence[Action], index: int) -> bool:
    """Action `index` starts what an earlier action of the same step stopped."""
    return stop_before(actions, index) is not None


def stop_before(actions: Sequence[Action], index: int) -> int | None:
    """Which earlier action of the step stops what action `index` starts; None when none does."""
    _, after = _counts(actions[index])
    numbered = enumerate(actions[:index]) if after else ()
    return next((i for i, a in numbered if stops(a) and a.object == actions[index].object), None)


def goes_by_what_it_finds(action: Action) -> bool:
    """It stops its object from whatever size that has, or starts it again."""
    return action.kind is ActionKind.SCALE and action.part.get(_SIZE) in (AS_FOUND[_SIZE], AS_GIVEN[_SIZE])


def from_size(action: Action, found: int) -> Action:
    """The stop of an object that has this size; at 0 there is nothing to change, and nothing to take back."""
    target = action.target
    return replace(
        action,
        changes=tuple(replace(c, before=found) for c in action.changes) if found else (),
        summary=f"Scale {target} from {found} to 0 replicas" if found else f"{target} stood at 0 already",
        pods_affected=found,
        reversible=bool(found),
        undo=f"scale back to {found} replicas" if found else "nothing to undo: it stood at 0 already",
        params=_params(action, "from", found),
    )


def to_size(action: Action, wanted_: int, words: str = "it stood at 0 before") -> Action:
    """The start of an object with this size; none is started that stood at 0 before it was to be stopped, or for what these words say."""
    target = action.target
    return replace(
        action,
        changes=tuple(replace(c, after=wanted_) for c in action.changes) if wanted_ else (),
        summary=f"Start {target} again with {wanted_} replicas"
        if wanted_
        else f"Leave {target} at 0: {words}",
        reversible=bool(wanted_),
        undo=action.undo if wanted_ else f"nothing to undo: {words}",
        params=_params(action, "to", wanted_),
    )


def _params(action: Action, name: str, size: int) -> Mapping[str, JsonValue]:
    """Of an action that goes by another size than it was planned with: at 0 that one is kept, for people."""
    meant = {} if size else {_MEANT: action.params.get(_MEANT, action.params[name])}
    return {**action.params, name: size, **meant}


def started_by_others(action: Action, size: int) -> Action:
    """The start of what somebody has started with this size: no value of it is ours, and its undo stops it all the same."""
    sized = to_size(action, size)
    return replace(sized, changes=tuple(replace(c, before=size) for c in sized.changes))


def stopped_by_others(action: Action) -> Action:
    """The start of what somebody has stopped once more since we did: it is theirs to start."""
    return to_size(action, 0, "somebody has set it since it was stopped for this")


def counted(action: Action) -> int:
    """How often the spec of what this starts had been changed once it was stopped, as the API server counts; 0 when not known."""
    found = action.part.get(_COUNTED)
    return found if isinstance(found, int) else 0


def to_undo(action: Action) -> Action:
    """With the values that its undo puts back: whoever started something, it was to be started from 0."""
    if not (goes_by_what_it_finds(action) and starts(action)):
        return action
    return replace(action, changes=tuple(replace(c, before=0) for c in action.changes))


def left_at_0(action: Action) -> str:
    """What a person types to start what this one was to stop, or to start, and what stood at 0 already."""
    planned = action.params.get(_MEANT)
    size = Size(action.object, 0, 0)
    return size.command(planned) if isinstance(planned, int) else ""


def started_with(action: Action, stop: Action | None, generation: int = 0) -> Action:
    """The start, with the size that the stop of its own step found, unless the rule gives one. The stop left the object at `generation`."""
    if generation and goes_by_what_it_finds(action):
        action = replace(action, part={**action.part, _COUNTED: generation})
    if stop is None or action.part.get(_SIZE) != AS_FOUND[_SIZE]:
        return action
    found, _ = _counts(stop)
    return action if found is None else to_size(action, found)


def wanted(planned: Iterable[Action], size: Size) -> int:
    """How many pods the object is to have: what actions that have not been carried out would start, or as many as it had."""
    found = size.before
    for action in planned:
        _, after = _counts(action)
        if after and action.object == size.object:
            found = after
    return found


def outcome(action: Action, done: bool | None, at: str = "", *, taken_back: bool = False) -> str:
    """How stands what a step is for, its action done or not; None when nobody knows. `taken_back`: it was done before. `at`: as of when. What
    somebody else did to it is not known here, as nobody looks. Empty for an action that only serves it."""
    if action.kind is not ActionKind.EXCHANGE_DATABASE:
        return ""
    names = Exchange.from_json(action.part)
    if done is None:
        return f"whether {names.live} is the restored copy or the former database is not known"
    when = f" (as of {at}, not looked at since)" if at else ""
    if taken_back and not done:
        return (
            f"{names.live} is the database that it was before: names were exchanged, and exchanged back{when}"
        )
    if not done:
        return f"no name of {names.live} is exchanged by this run; whether somebody else did anything to it is not looked at"
    kept = f"; the former one is {names.kept}, closed" if names.kept else ""
    return f"{names.live} is the restored copy{kept}{when}"


def leaves(action: Action, earlier: Iterable[Action], done: bool | None) -> str:
    """What a person types to remove the database that is left beside: the replaced one where this exchange is done, else the copy that an
    `earlier` action has made. Empty for none, and where nobody knows which it is."""
    if action.kind is not ActionKind.EXCHANGE_DATABASE or done is None:
        return ""
    names = Exchange.from_json(action.part)
    if done:
        left, what = names.kept, "the former database"
    else:
        made = any(a.kind in _JOBS and f" {names.copy} " in a.summary for a in earlier)
        left, what = names.copy if made else "", "the copy beside"
    return f"remove {what}, once nobody needs it: {drop_command(left)}" if left else ""


def lost_by_undo(action: Action, since: str) -> str:
    """What is lost when an action of `KEPT` that was done at `since` is taken back; empty for nothing."""
    if action.kind not in KEPT or not action.reversible:
        return ""
    names = Exchange.from_json(action.part)
    return (
        f"what was written to {names.live} {since} is not in it afterwards: it stays in {names.copy}, closed"
    )


def longest(actions: Sequence[Action]) -> timedelta:
    """How long these actions may take one after the other, by the limits that they carry."""
    total = timedelta()
    for action in actions:
        if action.kind in _JOBS:
            job = action.part.get("job")
            spec = job.get("spec") if isinstance(job, dict) else None
            seconds = spec.get("activeDeadlineSeconds") if isinstance(spec, dict) else None
            total += timedelta(seconds=seconds if isinstance(seconds, int) else 0)
        elif action.kind is ActionKind.CONFIRM_STOPPED:
            total += CONFIRMING
    return total


def _counts(action: Action) -> tuple[int | None, int | None]:
    """Replicas before and after, as the action's own facts tell them; None for an action that is about something else."""
    if action.kind is not ActionKind.SCALE:
        return None, None
    before, after = action.params.get("from"), action.params.get("to")
    return (before if isinstance(before, int) else None), (after if isinstance(after, int) else None)
