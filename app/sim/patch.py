"""JSON Patch (RFC 6902) on decoded JSON, as strict as the API server.

Used by the object store; never changes its input. A patch that does not fit the document (a failed `test`, a missing
path) is told apart from one that is malformed: the first means that the document is not what its writer had read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.domain.errors import ObjectChanged, ObjectInvalid

_NEEDS_VALUE = frozenset({"add", "replace", "test"})
_NEEDS_FROM = frozenset({"move", "copy"})


def clone(value: Any) -> Any:
    """A deep copy of decoded JSON; much cheaper than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {k: clone(v) for k, v in value.items()}
    if isinstance(value, list):
        return [clone(v) for v in value]
    return value


def apply_patch(document: Any, patch: Sequence[dict[str, Any]]) -> Any:
    """A new document with all operations applied, or none.

    Raises ObjectChanged when a `test` fails or a path is missing, and ObjectInvalid when an operation is malformed.
    """
    result = clone(document)
    for number, operation in enumerate(patch):
        result = _apply_one(result, operation, f"patch[{number}]")
    return result


def tokens(pointer: str, where: str = "") -> list[str]:
    """The unescaped parts of a JSON pointer (RFC 6901). Raises ObjectInvalid when it does not start with a slash."""
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise ObjectInvalid(f"JSON pointer must start with '/': {pointer!r}", where=where)
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _apply_one(document: Any, operation: dict[str, Any], where: str) -> Any:
    op, path = operation.get("op"), operation.get("path")
    if op not in _NEEDS_VALUE | _NEEDS_FROM | {"remove"} or not isinstance(path, str):
        raise ObjectInvalid(f"unknown operation or missing path: {op!r}", where=where)
    if op in _NEEDS_VALUE and "value" not in operation:
        raise ObjectInvalid(f"{op} needs a value", where=where)
    if op in _NEEDS_FROM and not isinstance(operation.get("from"), str):
        raise ObjectInvalid(f"{op} needs 'from'", where=where)
    target = tokens(path, where)
    if op == "test":
        _test(document, target, operation["value"], where)
        return document
    if op == "add":
        return _add(document, target, clone(operation["value"]), where)
    if op == "remove":
        return _remove(document, target, where)[0]
    if op == "replace":
        return _replace(document, target, clone(operation["value"]), where)
    source = tokens(operation["from"], where)
    if op == "copy":
        return _add(document, target, clone(_get(document, source, where)), where)
    if target[: len(source)] == source and target != source:
        raise ObjectInvalid("cannot move a value into itself", where=where)
    document, value = _remove(document, source, where)
    return _add(document, target, value, where)


def _test(document: Any, path: list[str], expected: Any, where: str) -> None:
    try:
        found = _get(document, path, where)
    except ObjectChanged as error:
        if expected is None:
            return
        raise ObjectChanged(f"test of /{'/'.join(path)} failed: it is absent", where=where) from error
    if not _equal(found, expected):
        raise ObjectChanged(f"test of /{'/'.join(path)} failed", where=where)


def _equal(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(v, right[k]) for k, v in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


def _index(items: list[Any], token: str, where: str, *, inserting: bool = False) -> int:
    if inserting and token == "-":
        return len(items)
    if not token.isdigit() or (len(token) > 1 and token[0] == "0"):
        raise ObjectChanged(f"not a list index: {token!r}", where=where)
    index = int(token)
    if index > len(items) or (index == len(items) and not inserting):
        raise ObjectChanged(f"list index {index} is out of range", where=where)
    return index


def _get(document: Any, path: list[str], where: str) -> Any:
    for token in path:
        if isinstance(document, dict):
            if token not in document:
                raise ObjectChanged(f"path is missing at {token!r}", where=where)
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(document, token, where)]
        else:
            raise ObjectChanged(f"path goes through a plain value at {token!r}", where=where)
    return document


def _add(document: Any, path: list[str], value: Any, where: str) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1], where), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(_index(parent, last, where, inserting=True), value)
    else:
        raise ObjectChanged(f"nothing can be added under a plain value at {last!r}", where=where)
    return document


def _replace(document: Any, path: list[str], value: Any, where: str) -> Any:
    if not path:
        return value
    _get(document, path, where)
    parent, last = _get(document, path[:-1], where), path[-1]
    if isinstance(parent, list):
        parent[int(last)] = value
    else:
        parent[last] = value
    return document


def _remove(document: Any, path: list[str], where: str) -> tuple[Any, Any]:
    if not path:
        raise ObjectInvalid("the whole object cannot be removed by a patch", where=where)
    value = _get(document, path, where)
    parent, last = _get(document, path[:-1], where), path[-1]
    if isinstance(parent, list):
        del parent[int(last)]
    else:
        del parent[last]
    return document, value
