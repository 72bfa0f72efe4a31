"""The next key of a list becomes the active one: one value of a Secret is replaced by another that stands in the same Secret.

Built by handlers. Pure. It changes the Secret alone; the restart by which pods take the key is the step's next action. The values are
those of fields that are never shown, so that every record has keyed digests of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.change import escape
from app.domain.json import JsonValue, Obj
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.secret import encoded, text_of
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.impossible import Impossible
from app.kube.manifest import value_at
from app.kube.parse import parse_ref
from app.kube.secrets import closed

MAX_KEYS = 100
"""Keys of one list that are looked at."""
_LONGEST = 4_096
_OF_LISTS = frozenset(" ,;\"'`[]{}<>")
"""What stands between keys, or around them, in lists of other forms, and in no key."""


@dataclass(frozen=True, slots=True)
class KeyList:
    """Where keys stand in one Secret: the data key `active` holds the one in use; all of them stand under `lines`, one a line, or
    each under one of `names`. It holds no value."""

    secret: str
    active: str
    lines: str = ""
    names: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Of the field that holds the active key."""
        return path_of(self.active)

    def keys(self, manifest: Obj) -> tuple[str, ...]:
        """All usable keys in their order, each once. Never to be shown."""
        return tuple(dict.fromkeys(key for key in self._listed(manifest) if _usable(key)))[:MAX_KEYS]

    def untaken(self, manifest: Obj) -> int:
        """How many lines and values are no key as anybody writes one alone, e.g. part of a list in another form."""
        return sum(bool(key) and not _usable(key) for key in self._listed(manifest))

    def _listed(self, manifest: Obj) -> Iterator[str]:
        if self.lines:
            found = (text_of(manifest, self.lines) or "").splitlines()
            yield from (line.strip() for line in found if not line.strip().startswith("#"))
        for name in self.names:
            yield text_of(manifest, name) or ""

    def to_json(self) -> dict[str, JsonValue]:
        """For the record of an action."""
        return {"secret": self.secret, "active": self.active, "lines": self.lines, "names": list(self.names)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> KeyList:
        """Rebuild from `to_json`."""
        return cls(data["secret"], data["active"], data["lines"], tuple(data["names"]))


def path_of(key: str) -> str:
    """The path of one value of a Secret."""
    return f"/data/{escape(key)}"


def _usable(key: str) -> bool:
    plain = len(key) <= _LONGEST and key.isascii() and key.isprintable()
    return bool(key) and plain and not set(key) & _OF_LISTS


def rotate_key(
    workload: Workload, manifest: Obj, keys: KeyList, position: int, restarted_at: str
) -> Action | Impossible:
    """Make the key at `position` of the list (from 0) the active one. `restarted_at` is the time that the restart of the same step
    sets, by which an undo tells whether pods have taken the key."""
    if no := closed(manifest):
        return Impossible(no)
    listed = keys.keys(manifest)
    if not 0 <= position < len(listed):
        return Impossible(f"the list of Secret {keys.secret} has no key {position + 1}")
    before, after = value_at(manifest, keys.path), encoded(listed[position])
    if text_of(manifest, keys.active) == listed[position]:
        return Impossible(f"key {position + 1} of {len(listed)} is the active one already", stands=True)
    return Action(
        kind=ActionKind.ROTATE_KEY,
        object=parse_ref(Kind.SECRET, manifest),
        target=workload.target,
        changes=(FieldChange(keys.path, before, after),),
        summary=f"Rotate {keys.active} of Secret {keys.secret} to key {position + 1} of {len(listed)}",
        pods_affected=0,
        reversible=True,
        undo=f"put the former {keys.active} back, and restart {workload.target} if its pods began with the new one",
        params={"position": position + 1, "keys": len(listed), "restarted_at": restarted_at},
        part=keys.to_json(),
    )
