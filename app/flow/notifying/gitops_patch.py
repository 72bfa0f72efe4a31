"""GitOps patch: a plan as the patch that a person applies to an object's source, where its truth lives in Git.

Called at the end of temporary changes, and by questions about objects that Argo CD, Flux or Helm would set back. Pure; never
applies anything, and never shows a value that may hold a secret: it names the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.domain.change import HIDDEN, is_hidden, tokens
from app.domain.json import canonical
from app.domain.plan import LEFT_OUT, Action
from app.domain.workload import Manager, Workload

_FROM_GIT = frozenset({Manager.ARGO_CD, Manager.FLUX, Manager.HELM})
_SHORT = 1_500  # characters that a thread can show; a whole template is brought back by reverting its commit


def for_git(workload: Workload | None, actions: Sequence[Action]) -> str:
    """The patch for the source of an object that is kept in Git; empty for others, and when it is too long to be read."""
    if workload is None or not _FROM_GIT & set(workload.managers):
        return ""
    patch = gitops_patch(actions)
    return patch if len(patch) <= _SHORT else ""


def gitops_patch(actions: Sequence[Action]) -> str:
    """One `kubectl patch` line an object, the same values as ours: a person applies it, or copies them into Git. Where values
    are hidden, as in a rollback, it is the list of the fields that differ."""
    lines = []
    for action in (a.seal() for a in actions):
        if action.sealed:
            lines += _paths(action)
            continue
        body: dict[str, Any] = {}
        for change in action.changes:
            _put(body, list(tokens(change.path)), change.after)
        text = canonical(body)
        lines.append(
            f"kubectl patch {action.object.kind.lower()} {action.object.name} -n {action.object.namespace} -p '{text}'"
        )
    return "\n".join(lines)


def _paths(action: Action) -> list[str]:
    parents = {c.path for c in action.changes if any(o.path.startswith(f"{c.path}/") for o in action.changes)}
    lines = [f"in the source of {action.object}:"]
    for change in action.changes:
        if change.path not in parents:
            value = HIDDEN if is_hidden(change.after) else canonical(change.after)
            lines.append(f"  {change.path}: {'remove it' if change.after is None else value}")
    if left_out := action.params.get(LEFT_OUT):
        lines.append(f"  and {left_out} fields more")
    return lines


def _put(body: dict[str, Any], steps: list[str], value: Any) -> None:
    """Set a path in a strategic merge patch, where a list element is chosen by its name."""
    head, *rest = steps
    if not rest:
        body[head] = value
        return
    if rest[0].startswith("[name="):
        name = rest[0][6:-1]
        items = body.setdefault(head, [])
        found = next((i for i in items if i["name"] == name), None)
        if found is None:
            found = {"name": name}
            items.append(found)
        _put(found, rest[1:], value)
        return
    _put(body.setdefault(head, {}), rest, value)
