"""Plans: typed actions with their undo, grouped into steps of a ladder.

An action names the exact object and, field by field, what it replaces by what; that one list serves the patch, the
read-back, the undo, the conflict check and the explanation. A *sealed* action has the values that may hold secrets replaced
by keyed digests: it is what records, messages and answers get, and it can be compared but not carried out. Never touches the
cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from app.domain.change import DigestKey, FieldChange, shown
from app.domain.evidence import Trouble
from app.domain.json import JsonValue, digest
from app.domain.target import Kind, ObjectRef, Target

__all__ = [
    "ACCUSING",
    "INSIDE",
    "RESTART_TO_UNDO",
    "SIZES",
    "WHERE_THERE_IS",
    "Action",
    "ActionKind",
    "FieldChange",
    "Step",
]

_FINGERPRINTS = ("left",)
"""Params that are digests of a whole template, which may hold secrets that can be guessed."""


class ActionKind(StrEnum):
    """Everything this service can do."""

    ROLLOUT_RESTART = "rollout-restart"
    ROLL_BACK = "roll-back"
    SCALE = "scale"
    RAISE_MIN_REPLICAS = "raise-min-replicas"
    RAISE_MEMORY_LIMIT = "raise-memory-limit"
    DELETE_POD = "delete-pod"
    EVICT_POD = "evict-pod"
    TERMINATE_SESSIONS = "terminate-sessions"
    SET_IMAGE = "set-image"
    ADJUST_AUTOSCALER = "adjust-autoscaler"
    ADJUST_SCALED_OBJECT = "adjust-scaled-object"
    ROTATE_KEY = "rotate-key"
    CLEAN_CHECKPOINTS = "clean-checkpoints"
    VACUUM = "vacuum"
    CREATE_JOB = "create-job"
    RENEW_CERTIFICATE = "renew-certificate"
    DELETE_SECRET = "delete-secret"
    RUN_JOB = "run-job"
    CONFIRM_STOPPED = "confirm-stopped"
    EXCHANGE_DATABASE = "exchange-database"


SIZES = frozenset(
    {
        ActionKind.SCALE,
        ActionKind.RAISE_MIN_REPLICAS,
        ActionKind.RAISE_MEMORY_LIMIT,
        ActionKind.ADJUST_AUTOSCALER,
        ActionKind.ADJUST_SCALED_OBJECT,
    }
)
"""Kinds that change a size, and so can be temporary. A rollback or restart cannot."""

ACCUSING = frozenset({ActionKind.ROLL_BACK})
"""Kinds that a step takes because the version that runs is what does the harm: their undo brings it back."""

ROLLING = frozenset(
    {
        ActionKind.ROLL_BACK,
        ActionKind.ROLLOUT_RESTART,
        ActionKind.SET_IMAGE,
        ActionKind.RAISE_MEMORY_LIMIT,
    }
)
"""Kinds that make all pods anew, from another template."""

REPLACING = frozenset({ActionKind.ROTATE_KEY})
"""Kinds that put one value of a list in another's place: what was replaced is remembered, so that it is not taken again soon."""

RESTART_TO_UNDO = frozenset({ActionKind.ROTATE_KEY})
"""Kinds whose undo makes new pods of the same template."""

WHERE_THERE_IS = frozenset({ActionKind.ADJUST_SCALED_OBJECT})
"""Kinds for objects that only some clusters have: a right for one is missed by a plan with such an action, and by no other."""

INSIDE = frozenset(
    {
        ActionKind.TERMINATE_SESSIONS,
        ActionKind.CLEAN_CHECKPOINTS,
        ActionKind.VACUUM,
        ActionKind.CREATE_JOB,
        ActionKind.RENEW_CERTIFICATE,
        ActionKind.DELETE_SECRET,
        ActionKind.RUN_JOB,
        ActionKind.CONFIRM_STOPPED,
        ActionKind.EXCHANGE_DATABASE,
    }
)
"""Kinds that change something inside of what runs there or make something beside it, and neither the object nor its pods."""


LEFT_OUT: Final = "fields_left_out"
"""How many fields of what an action changes its record does not tell."""


@dataclass(frozen=True, slots=True)
class Action:
    """One mutation of one object, decided beforehand.

    `pods_affected` is how many pods restart or move at worst; `undo` says how it is undone, or why there is nothing
    to undo when `reversible` is False. `params` are facts for reading and messages (target revision, factor). `part` is what of the
    object it is about, when it is not the object itself: sessions of a database, a Job beside it. It belongs to what an approval
    is for, and so does what has to hold beside the changes (`app.kube.look.HOLDS`).
    `sealed`: some of its values are hidden.
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
    sealed: bool = False
    part: Mapping[str, JsonValue] = field(default_factory=dict)

    def seal(self, key: DigestKey | None = None) -> Action:
        """The action as it may be shown and recorded. Without a key what is hidden cannot be compared."""
        if self.sealed:
            return self
        changes, left_out = shown(self.changes, key)
        params = {
            k: (key.digest(v) if key else "") if k in _FINGERPRINTS and v else v
            for k, v in self.params.items()
        }
        if left_out:
            params[LEFT_OUT] = left_out
        return replace(self, changes=changes, params=params, sealed=changes != self.changes)

    def identity(self) -> JsonValue:
        """What an approval is for: kind, exact object, its part and field values; not the resourceVersion, which any status
        update moves."""
        part: dict[str, JsonValue] = {"part": dict(self.part)} if self.part else {}
        return {
            **part,
            "kind": self.kind.value,
            "object": [self.object.kind.value, self.object.namespace, self.object.name, self.object.uid],
            "changes": [[c.path, c.before, c.after] for c in self.changes],
        }

    def to_json(self) -> dict[str, JsonValue]:
        """For records, messages and answers, always sealed; `from_json` reads it back."""
        seal = self.seal()
        return {
            "kind": seal.kind.value,
            "object": _fields(seal.object),
            "target": _fields(seal.target),
            "changes": [_fields(change) for change in seal.changes],
            "summary": seal.summary,
            "pods_affected": seal.pods_affected,
            "reversible": seal.reversible,
            "undo": seal.undo,
            "params": dict(seal.params),
            "sealed": seal.sealed,
            "part": dict(seal.part),
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
            sealed=data.get("sealed", False),
            part=dict(data.get("part", {})),
        )


def _fields(value: ObjectRef | Target | FieldChange) -> dict[str, JsonValue]:
    return {f.name: getattr(value, f.name) for f in fields(value)}


@dataclass(frozen=True, slots=True)
class Symptom:
    """What the step is to end, as it was measured when it was planned: a query to the metric source, with its target filled in, the
    value that it had, and what it is called. The verification asks it again once the alert is gone, or fires on: up to `fine` it is no trouble. A query may have no value just
    because all is well, as a share of errors of which there are none: `presence` has one as long as its source is there. `age` asks how
    many seconds old its newest sample is: a source that stands still answers as before; empty for one that nobody asks."""

    what: str
    query: str
    value: float
    presence: str
    fine: float = 0.0
    age: str = ""

    def to_json(self) -> dict[str, JsonValue]:
        """For records."""
        return {
            "what": self.what,
            "query": self.query,
            "value": self.value,
            "presence": self.presence,
            "fine": self.fine,
            **({"age": self.age} if self.age else {}),
        }


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a remediation's ladder, as it stands for this target now.

    A step that does not apply has no actions and says why in `why`; one that only a person can take says in `advice`
    exactly what is wrong and what to do. `asks` is what about it is not known, so that a person is asked whatever the rule's
    mode is. `open_task` marks relief that buys time and removes no cause: what a person has still to do when it helped.
    `symptom` is what was measured of the trouble; None where nothing was. `troubles` is what of it the diagnosis counted. `stands`: it does not apply because what it is for stands already.
    `beware` is what stays as it is after a step that was right, told in its reason and at its end.
    `later` is when one that does not apply yet will, if what it is for lasts; None where no time brings that about.
    """

    name: str
    why: str
    actions: tuple[Action, ...] = ()
    advice: str = ""
    asks: str = ""
    open_task: str = ""
    symptom: Symptom | None = None
    stands: bool = False
    troubles: tuple[Trouble, ...] = ()
    later: datetime | None = None
    beware: str = ""

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
        """What an approval is bound to: 64 hex digits over the actions' identities, in which values that may hold secrets
        stand as keyed digests. Raises ValueError when some would have to and do not: seal the step first."""
        if any(a.seal().sealed and not a.sealed for a in self.actions):
            raise ValueError("only a sealed step has a hash")
        return digest([self.name, [a.identity() for a in self.actions]])

    def seal(self, key: DigestKey | None = None) -> Step:
        """The step with its actions sealed."""
        return replace(self, actions=tuple(a.seal(key) for a in self.actions))

    def to_json(self) -> dict[str, JsonValue]:
        """For records, messages and answers, always sealed."""
        return {
            "name": self.name,
            "why": self.why,
            "advice": self.advice,
            "asks": self.asks,
            "open_task": self.open_task,
            "beware": self.beware,
            "symptom": self.symptom.to_json() if self.symptom else None,
            "troubles": [trouble.to_json() for trouble in self.troubles],
            "actions": [a.to_json() for a in self.actions],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        """Rebuild from `to_json`."""
        return cls(
            data["name"],
            data["why"],
            tuple(Action.from_json(a) for a in data["actions"]),
            data["advice"],
            data.get("asks", ""),
            data.get("open_task", ""),
            Symptom(**symptom) if (symptom := data.get("symptom")) else None,
            troubles=tuple(Trouble(**trouble) for trouble in data.get("troubles", ())),
            beware=data.get("beware", ""),
        )


SERVERS = "servers"
"""The param that names what stands behind the database that an action works in, found when it was planned: `Target.key` of each."""


def touched(actions: Iterable[Action]) -> tuple[Target, ...]:
    """Everything that these actions write to, each once: what they are for, the objects, a Certificate and its Secret, the servers of
    databases. Pauses, marks of owners and other runs at work are asked about for all of it, wherever something is written. A
    Service among it stands for whatever is behind it, which nobody could tell."""
    found: dict[Target, None] = {}
    for action in actions:
        namespace = action.object.namespace
        named = ((Kind.CERTIFICATE, "certificate"), (Kind.SECRET, "secret"))
        parts = [(kind, action.part.get(name)) for kind, name in named]
        servers: Any = action.params.get(SERVERS) or ()
        found |= dict.fromkeys(
            (
                action.target,
                Target(namespace, action.object.kind, action.object.name),
                *(Target(namespace, kind, name) for kind, name in parts if isinstance(name, str) and name),
                *(Target.of_key(key) for key in servers),
            )
        )
    return tuple(found)


def kinds_touched(kind: Kind, actions: Sequence[Action]) -> set[Kind]:
    """The kinds of objects that these actions on a target of this kind change."""
    touched = {a.object.kind for a in actions if a.kind not in INSIDE}
    return {kind, *touched} if touched else set()
