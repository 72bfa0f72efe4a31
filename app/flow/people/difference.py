"""Difference: what is not the same in two plans, in sentences, for whoever answered the older one.

Called by `decide` for a question that comes after an approved plan could not be carried out, and by `clicks` for an
answer to a plan that is not the present one. Pure.
"""

from __future__ import annotations

from app.domain.plan import Action, FieldChange, Step
from app.kube.look import show


def difference(old: Step, new: Step) -> tuple[str, ...]:
    """One sentence for each thing that differs; none when both plans are the same."""
    if old.hash == new.hash:
        return ()
    told = [f"step {new.name}, not {old.name}"] if old.name != new.name else []
    before = {_about(a): a for a in old.actions}
    after = {_about(a): a for a in new.actions}
    told += [f"no more: {a.summary}" for key, a in before.items() if key not in after]
    for key, action in after.items():
        was = before.get(key)
        told += [f"new: {action.summary}"] if was is None else _changed(was, action)
    return tuple(told) or ("the same actions in another order",)


def _about(action: Action) -> tuple[str, str]:
    return action.kind.value, str(action.object)


def _changed(old: Action, new: Action) -> list[str]:
    told = []
    if old.object.uid != new.object.uid:
        told.append(f"{new.object} was deleted and created again")
    was, now = ({c.path: c for c in a.changes} for a in (old, new))
    for path in dict.fromkeys([*was, *now]):
        told += _field(path, was.get(path), now.get(path))
    return told


def _field(path: str, old: FieldChange | None, new: FieldChange | None) -> list[str]:
    if old is None or new is None:
        return [f"{path} would {'not ' if new is None else ''}be changed" + (" too" if old is None else "")]
    told = []
    if old.before != new.before:
        told.append(f"{path} is {show(new.before)} now, it was {show(old.before)}")
    if old.after != new.after:
        told.append(f"{path} would become {show(new.after)}, not {show(old.after)}")
    return told
