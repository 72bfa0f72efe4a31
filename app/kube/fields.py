"""Fields of manifests by path: reading, comparing, and turning field changes into a JSON patch.

A path is a JSON pointer (RFC 6901), except that a list element may be chosen by name: `[name=app]`. Called by the
actions (to record what is there), by `app.kube.apply` (to patch, read back and undo). Pure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from app.domain.change import escape, tokens
from app.domain.cluster import MARKER
from app.domain.errors import BadInput, ObjectChanged
from app.domain.json import Obj
from app.domain.plan import FieldChange
from app.kube.quantity import parse_quantity

Operation = dict[str, Any]
ANNOTATIONS = "/metadata/annotations"
_QUANTITIES = frozenset({"limits", "requests"})


def annotation_path(name: str) -> str:
    """The path of an annotation of the object itself."""
    return f"{ANNOTATIONS}/{escape(name)}"


def value_at(manifest: Obj, path: str) -> Any:
    """The value at a path, None when it or something above it is absent."""
    node: Any = manifest
    for token in tokens(path):
        node = _child(node, token)
        if node is None:
            return None
    return node


def pointer(manifest: Obj, path: str) -> str:
    """The path as a plain JSON pointer into this manifest: names of list elements become indexes.

    Raises ObjectChanged when no element has that name any more.
    """
    steps: list[str] = []
    node: Any = manifest
    for token in tokens(path):
        if token.startswith("[name=") and token.endswith("]"):
            index = _index(node, token)
            if index is None:
                raise ObjectChanged(f"there is no element named {token[6:-1]} any more", where=path)
            steps.append(str(index))
        else:
            steps.append(escape(token))
        node = _child(node, token)
    return "".join(f"/{step}" for step in steps)


def _index(node: Any, token: str) -> int | None:
    if not isinstance(node, list):
        return None
    name = token[6:-1]
    return next(
        (i for i, item in enumerate(node) if isinstance(item, dict) and item.get("name") == name), None
    )


def _child(node: Any, token: str) -> Any:
    if isinstance(node, dict):
        return node.get(token)
    if isinstance(node, list):
        index = int(token) if token.isdecimal() else _index(node, token)
        return node[index] if index is not None and index < len(node) else None
    return None


def same(path: str, one: Any, other: Any) -> bool:
    """Do two values at this path mean the same to the API server?

    It omits empty fields and rewrites quantities (1024Mi is given back as 1Gi), so neither may count as a change.
    """
    quantity = not _QUANTITIES.isdisjoint(tokens(path))
    return bool(_plain(one, quantity) == _plain(other, quantity))


def _plain(value: Any, quantity: bool) -> Any:
    if isinstance(value, Mapping):
        items = {k: _plain(v, quantity or k in _QUANTITIES) for k, v in value.items()}
        return {k: v for k, v in items.items() if v is not None} or None
    if isinstance(value, list | tuple):
        return [_plain(item, quantity) for item in value] or None
    if quantity and isinstance(value, str | int | float):
        with contextlib.suppress(BadInput):  # an annotation may happen to be called "limits" too
            return parse_quantity(value)
    return value


def operations(manifest: Obj, changes: Iterable[FieldChange], marker: str) -> list[Operation]:
    """The JSON patch that sets every change's `after` and our marker, refused unless the resourceVersion still holds.

    Missing parents are created; `after` None removes the field. Raises ObjectChanged as `pointer` does.
    """
    ops: list[Operation] = [
        {
            "op": "replace",
            "path": "/metadata/resourceVersion",
            "value": manifest["metadata"]["resourceVersion"],
        }
    ]
    made: set[str] = set()
    for change in changes:
        ops.extend(_set(manifest, change.path, change.after, made))
    ops.extend(_set(manifest, annotation_path(MARKER), marker, made))
    return ops


def _set(manifest: Obj, path: str, value: Any, made: set[str]) -> list[Operation]:
    ops: list[Operation] = []
    steps = path[1:].split("/")
    for depth in range(1, len(steps)):
        parent = "/" + "/".join(steps[:depth])
        if parent not in made and value_at(manifest, parent) is None:
            if steps[depth - 1].startswith("[name="):
                pointer(manifest, parent)  # a list element is never invented: raises ObjectChanged
            if value is None:
                return ops
            ops.append({"op": "add", "path": pointer(manifest, parent), "value": {}})
            made.add(parent)
    present = value_at(manifest, path) is not None
    where = pointer(manifest, path)
    if value is None:
        return [*ops, {"op": "remove", "path": where}] if present else ops
    return [*ops, {"op": "replace" if present else "add", "path": where, "value": value}]
