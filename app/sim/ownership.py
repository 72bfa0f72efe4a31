"""metadata.managedFields: who set which field last, kept like the API server does for Update operations.

A write that only takes fields away owns none of them and leaves every time as it was; an entry of the subresource scale has no
time at all. Used by the object store on every write. Field sets are FieldsV1 tries (`f:spec`, `k:{"name":"app"}`), changed in place
of a copied entry list; unchanged subtrees are skipped, so that a status update of one pod stays cheap.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from app.domain.json import Obj
from app.sim.patch import clone

Path = tuple[str, ...]

_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
}
SCALE = "scale"
"""The subresource through which kubectl scale and the autoscalers write."""
_SYSTEM = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}
)
_MISSING: Any = object()


def own_all(obj: Obj, manager: str, at: str) -> list[Obj]:
    """The managedFields of an object that `manager` has just created."""
    trie: Obj = {}
    for path in _leaves(_ownable(obj), ()):
        _add(trie, path)
    return [_entry(obj, manager, "", at, trie)]


def own_changes(old: Obj, new: Obj, manager: str, subresource: str, at: str) -> list[Obj]:
    """The managedFields after `manager` turned `old` into `new`: it owns what it changed, others lose that."""
    set_paths: list[Path] = []
    gone: list[Path] = []
    _compare(_ownable(old), _ownable(new), (), set_paths, gone)
    entries: list[Obj] = clone(old["metadata"].get("managedFields", []))
    if not set_paths and not gone:
        return entries
    mine = _mine(entries, new, manager, subresource, at) if set_paths else None
    for entry in entries:
        for path in gone if entry is mine else (*gone, *set_paths):
            _remove(entry["fieldsV1"], path)
    if mine is not None:
        for path in set_paths:
            _add(mine["fieldsV1"], path)
        if subresource != SCALE:
            mine["time"] = at
    return [entry for entry in entries if entry["fieldsV1"]]


def _mine(entries: list[Obj], obj: Obj, manager: str, subresource: str, at: str) -> Obj:
    for entry in entries:
        if entry["manager"] == manager and entry.get("subresource", "") == subresource:
            return entry
    mine = _entry(obj, manager, subresource, at, {})
    entries.append(mine)
    return mine


def _entry(obj: Obj, manager: str, subresource: str, at: str, fields: Obj) -> Obj:
    entry = {
        "manager": manager,
        "operation": "Update",
        "apiVersion": obj["apiVersion"],
        **({} if subresource == SCALE else {"time": at}),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {**entry, "subresource": subresource} if subresource else entry


def _ownable(obj: Obj) -> Obj:
    metadata = {k: v for k, v in obj["metadata"].items() if k not in _SYSTEM}
    rest = {k: v for k, v in obj.items() if k not in {"apiVersion", "kind", "metadata"}}
    return {**rest, "metadata": metadata} if metadata else rest


def _items(name: str, value: list[Any]) -> dict[str, Any] | None:
    """A list of keyed elements as a dict by FieldsV1 key, or None when the list is one atomic value."""
    keys = _KEYS.get(name) or (_port_keys(value) if name == "ports" else None)
    if keys is None or not all(isinstance(v, dict) and all(k in v for k in keys) for v in value):
        return None
    return {"k:" + json.dumps({k: v[k] for k in keys}, separators=(",", ":")): v for v in value}


def _port_keys(value: list[Any]) -> tuple[str, ...]:
    container = bool(value) and isinstance(value[0], dict) and "containerPort" in value[0]
    return ("containerPort", "protocol") if container else ("port", "protocol")


def _name(path: Path) -> str:
    return path[-1][2:] if path and path[-1].startswith("f:") else ""


def _children(value: Any, path: Path) -> dict[str, Any] | None:
    if isinstance(value, dict) and value:
        return {f"f:{k}": v for k, v in value.items()}
    if isinstance(value, list) and value:
        return _items(_name(path), value)
    return None


def _leaves(value: Any, path: Path) -> Iterator[Path]:
    children = _children(value, path)
    if children is None:
        yield path
        return
    if path and path[-1].startswith("k:"):
        yield (*path, ".")
    for key, child in children.items():
        yield from _leaves(child, (*path, key))


def _compare(old: Any, new: Any, path: Path, set_paths: list[Path], gone: list[Path]) -> None:
    if old is not _MISSING and old == new:
        return
    if new is _MISSING:
        gone.append(path)
        return
    before = _children(old, path) if old is not _MISSING else None
    after = _children(new, path)
    if before is None or after is None:
        if old is not _MISSING:
            gone.append(path)
        set_paths.extend(_leaves(new, path))
        return
    for key in {**before, **after}:
        _compare(before.get(key, _MISSING), after.get(key, _MISSING), (*path, key), set_paths, gone)


def _add(trie: Obj, path: Path) -> None:
    for part in path:
        trie = trie.setdefault(part, {})


def _remove(trie: Obj, path: Path) -> None:
    """Take a path out, and the branches that it leaves empty."""
    trail: list[tuple[Obj, str]] = []
    for part in path:
        if part not in trie:
            return
        trail.append((trie, part))
        trie = trie[part]
    parent, part = trail.pop()
    del parent[part]
    while trail and not parent:
        parent, part = trail.pop()
        del parent[part]
