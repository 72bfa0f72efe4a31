"""Which parts of a pod template changed from one revision to the next, and whether a cause can come from them. Pure.

Paths are those of `Cause.fields`: `containers[app].image`, `nodeSelector`, `metadata.labels`. In fields `[*]` is any container
and `*` any change; `#repository` and `#registry` after an image count only a change of that part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.json import Obj
from remediations.causes.images import registry_of, repository_of

_LISTS = ("containers", "initContainers")


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that changed."""

    path: str
    before: Any
    after: Any


def differences(before: Obj, after: Obj) -> list[Difference]:
    """All parts of the pod spec and of the template's labels and annotations that differ."""
    old, new = before.get("spec") or {}, after.get("spec") or {}
    found = [d for name in _LISTS for d in _containers(name, old.get(name) or (), new.get(name) or ())]
    found += list(_fields("", _without(old), _without(new)))
    for part in ("labels", "annotations"):
        a, b = ((t.get("metadata") or {}).get(part) or {} for t in (before, after))
        if a != b:
            found.append(Difference(f"metadata.{part}", a, b))
    return found


def _without(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in spec.items() if k not in _LISTS}


def _containers(name: str, old: Sequence[Obj], new: Sequence[Obj]) -> Iterator[Difference]:
    before, after = ({c["name"]: c for c in listed} for listed in (old, new))
    for own in dict.fromkeys((*before, *after)):
        path = f"{name}[{own}]"
        if own in before and own in after:
            yield from _fields(f"{path}.", before[own], after[own])
        else:
            yield Difference(path, before.get(own), after.get(own))


def _fields(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            yield Difference(f"{prefix}{key}", old.get(key), new.get(key))


def touching(found: Iterable[Difference], fields: Iterable[str]) -> list[Difference]:
    """Those differences that one of these fields speaks of."""
    wanted = tuple(fields)
    return [d for d in found if any(_fits(d, field) for field in wanted)]


def _fits(difference: Difference, field: str) -> bool:
    if field == "*":
        return True
    plain, _, part = field.partition("#")
    if not _within(difference.path, plain):
        return False
    if not part or not isinstance(difference.before, str) or not isinstance(difference.after, str):
        return True
    of = registry_of if part == "registry" else repository_of
    return of(difference.before) != of(difference.after)


def _within(path: str, field: str) -> bool:
    """`path` lies inside of `field`, or holds it, as a container that was added holds its image."""
    if "[*]" in field:
        head, _, tail = field.partition("[*]")
        if not path.startswith(f"{head}["):
            return False
        rest = path.partition("]")[2]
        return not rest or not tail or rest == tail or rest.startswith(f"{tail}.")
    return path == field or path.startswith((f"{field}.", f"{field}[")) or field.startswith(f"{path}.")
