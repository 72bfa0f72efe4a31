"""Who owns an object that a step changes, or writes the same fields: another controller's object, and where to change it.

Built by `app.kube.owners`, judged by the gate `ownership`. Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.domain.json import canonical
from app.domain.plan import Action
from app.domain.target import Kind


class Relation(StrEnum):
    """`controls`: the object is made from the owner's and written again from there. `declares`: a tool writes the object again from what is
    declared elsewhere, such as a repository. `deploys`: a tool wrote it and shows our change at its next deployment only. `template`: the
    object runs nothing, the owner runs its template. `scales`: the owner sets the number of its replicas. `resizes`: a script or a service
    of somebody's did so last, and may again. `sizes`: the owner writes requests and limits of the pods."""

    CONTROLS = "controls"
    DECLARES = "declares"
    DEPLOYS = "deploys"
    TEMPLATE = "template"
    SCALES = "scales"
    RESIZES = "resizes"
    SIZES = "sizes"


@dataclass(frozen=True, slots=True)
class Owner:
    """One owner of an object of kind `of`. Of a tool that declares, deploys or resizes it, kind, group and name are empty. `tool` is the name of its controller as people know it, empty for one that is not
    known; `group` is its API group; `note` what it says itself, such as a recommendation; `parts` the containers that it
    sizes, empty for all of them; `held` KEDA's annotation that pauses it, as `key: value`, empty while KEDA scales."""

    relation: Relation
    of: Kind
    kind: str
    group: str
    namespace: str
    name: str
    tool: str = ""
    note: str = ""
    parts: tuple[str, ...] = ()
    held: str = ""

    def __str__(self) -> str:
        if not self.kind:
            return self.tool
        return f"{self.kind} {self.name}" + (f" ({self.tool})" if self.tool else "")

    @property
    def clause(self) -> str:
        """What it does with the object, as one clause."""
        note = f" ({self.note})" if self.note else ""
        match self.relation:
            case Relation.SIZES:
                return f"{self} sets its requests and limits{note}"
            case Relation.TEMPLATE:
                return f"{self.of} is only the template of {self}"
            case Relation.SCALES:
                return f"{self} sets the replicas of {self.of}{note}"
            case Relation.RESIZES:
                return f"the replicas of {self.of} were set by {self}{note}"
            case _:
                return f"{self.of} is owned by {self}{note}"

    @property
    def resource(self) -> str:
        """As kubectl takes it in a shell: `scaledobject.keda.sh/web`. Nobody checks the names that an object gives its owners."""
        group = f".{self.group}" if self.group else ""
        return shlex.quote(f"{self.kind.lower()}{group}/{self.name}")

    @property
    def edit(self) -> str:
        """The command with which a person changes it."""
        return f"kubectl edit {self.resource} -n {self.namespace}"

    def bounds(self, actions: Iterable[Action]) -> str:
        """The command with which a person gives KEDA the bounds that these actions set elsewhere; empty where they set none. While it is
        paused its bounds do nothing: only the pause is changed."""
        set_ = {
            name: c.after
            for a in actions
            for c in a.changes
            if (name := _BOUNDS.get((a.object.kind, c.path))) is not None
        }
        if not set_:
            return ""
        if not self.held:
            patch = canonical({"spec": set_})
            return f"kubectl patch {self.resource} -n {self.namespace} --type merge -p '{patch}'"
        key, note = self.held.partition(": ")[0], f"kubectl annotate {self.resource} -n {self.namespace}"
        size = set_.get(_LEAST) if key == HELD_AT else None
        other = f", or {note} {key}={size} --overwrite" if size is not None else ""
        return f"{note} {key}- ends the pause{other}; until then its bounds do nothing"


HELD_AT = "autoscaling.keda.sh/paused-replicas"
"""KEDA's annotation that pauses it at a number of replicas."""
_LEAST = "minReplicaCount"
_BOUNDS = {
    (Kind.HPA, "/spec/minReplicas"): _LEAST,
    (Kind.HPA, "/spec/maxReplicas"): "maxReplicaCount",
    (Kind.DEPLOYMENT, "/spec/replicas"): _LEAST,
    (Kind.STATEFUL_SET, "/spec/replicas"): _LEAST,
}


@dataclass(frozen=True, slots=True)
class Owners:
    """All that were found, and which kinds of them could not be looked for (optional rights)."""

    found: tuple[Owner, ...] = ()
    untold: tuple[str, ...] = ()
