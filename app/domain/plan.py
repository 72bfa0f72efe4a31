"""Plans: typed actions with their undo, grouped into steps of a ladder.

An action names the exact object and, field by field, what it replaces by what; that one list serves the patch, the
read-back, the undo, the conflict check and the explanation. Never touches the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from app.domain.json import JsonValue, digest
from app.domain.target import Kind, ObjectRef, Target


class ActionKind(StrEnum):
    """Everything this service can do to a cluster."""

    ROLLOUT_RESTART = "rollout-restart"
    ROLL_BACK = "roll-back"
    SCALE = "scale"
    RAISE_MIN_REPLICAS = "raise-min-replicas"
    RAISE_MEMORY_LIMIT = "raise-memory-limit"
    DELETE_POD = "delete-pod"
    EVICT_POD = "evict-pod"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field. `path` is a JSON pointer (RFC 6901) into the object, except that a list element may be chosen by
    name as `[name=app]`, e.g. `/spec/template/spec/containers/[name=app]/resources/limits/memory`.
    None for `before` or `after` means the field is absent."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Action:
    """One mutation of one object, decided beforehand.

    `pods_affected` is how many pods restart or move at worst; `undo` says how it is undone, or why there is nothing
    to undo when `reversible` is False. `params` are facts for reading and messages (target revision, factor).
    """

    kind: ActionKind
    object: ObjectRef
    target: Target
    changes: tuple[FieldChange, ...]
    summary: str
    pods_affected: int
    reversible: bool
    undo: str
    params: Mapping[str, JsonValue] = field(default_factory=dict)

    def identity(self) -> JsonValue:
        """What an approval is for: kind, exact object and field values; not the resourceVersion, which any status
        update moves."""
        return {
            "kind": self.kind.value,
            "object": [self.object.kind.value, self.object.namespace, self.object.name, self.object.uid],
            "changes": [[c.path, c.before, c.after] for c in self.changes],
        }

    def to_json(self) -> dict[str, JsonValue]:
        """For the store and the audit trail; `from_json` reads it back. Shares field values with this object: a template
        is too big to be copied for each of the records that a decision writes."""
        return {
            "kind": self.kind.value,
            "object": _fields(self.object),
            "target": _fields(self.target),
            "changes": [_fields(change) for change in self.changes],
            "summary": self.summary,
            "pods_affected": self.pods_affected,
            "reversible": self.reversible,
            "undo": self.undo,
            "params": dict(self.params),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Action:
        """Rebuild from `to_json`, or from its JSON text decoded."""
        obj, target = data["object"], data["target"]
        return cls(
            kind=ActionKind(data["kind"]),
            object=ObjectRef(**{**obj, "kind": Kind(obj["kind"])}),
            target=Target(target["namespace"], Kind(target["kind"]), target["name"]),
            changes=tuple(FieldChange(c["path"], c["before"], c["after"]) for c in data["changes"]),
            summary=data["summary"],
            pods_affected=data["pods_affected"],
            reversible=data["reversible"],
            undo=data["undo"],
            params=dict(data["params"]),
        )


def _fields(value: ObjectRef | Target | FieldChange) -> dict[str, JsonValue]:
    return {f.name: getattr(value, f.name) for f in fields(value)}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a remediation's ladder, as it stands for this target now.

    A step that does not apply has no actions and says why in `why`; one that only a person can take says in `advice`
    exactly what is wrong and what to do.
    """

    name: str
    why: str
    actions: tuple[Action, ...] = ()
    advice: str = ""

    @property
    def applies(self) -> bool:
        """True when it has something to do."""
        return bool(self.actions)

    @property
    def pods_affected(self) -> int:
        """Pods touched at worst by all its actions."""
        return sum(a.pods_affected for a in self.actions)

    @property
    def hash(self) -> str:
        """What an approval is bound to: 64 hex digits over the actions' identities."""
        return digest([self.name, [a.identity() for a in self.actions]])

    def to_json(self) -> dict[str, JsonValue]:
        """For the store and the audit trail."""
        return {
            "name": self.name,
            "why": self.why,
            "advice": self.advice,
            "actions": [a.to_json() for a in self.actions],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        """Rebuild from `to_json`."""
        return cls(
            data["name"], data["why"], tuple(Action.from_json(a) for a in data["actions"]), data["advice"]
        )
