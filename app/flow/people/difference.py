"""Difference: what is not the same in two plans, in sentences, for whoever answered the older one.

Called by `decide` for a question that comes after an approved plan could not be carried out, and by `clicks` for an
answer to a plan that is not the present one. Pure.
"""

from __future__ import annotations

from typing import Any

from app.domain.change import HIDDEN, is_hidden
from app.domain.json import canonical
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


def _about(action: Action) -> tuple[str, str, str]:
    return action.kind.value, str(action.object), canonical(dict(action.part))


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
        told.append(f"{path} {_values('is {} now, it was {}', 'is not what it was', new.before, old.before)}")
    if old.after != new.after:
        other = "would become something else"
        told.append(f"{path} {_values('would become {}, not {}', other, new.after, old.after)}")
    return told


def _values(words: str, without: str, new: Any, old: Any) -> str:
    """Both values in words; of hidden ones only that they differ can be told."""
    if is_hidden(new) and is_hidden(old):
        return f"{without} (values hidden)"
    return words.format(*(HIDDEN if is_hidden(v) else show(v) for v in (new, old)))
