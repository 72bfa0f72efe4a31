"""Who owns an object that a step changes, or writes the same fields: another controller's object, and where to change it.

Built by `app.kube.owners`, judged by the gate `ownership`. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
    known; `group` is its API group; `note` what it says itself, such as a recommendation."""

    relation: Relation
    of: Kind
    kind: str
    group: str
    namespace: str
    name: str
    tool: str = ""
    note: str = ""

    def __str__(self) -> str:
        if not self.kind:
            return self.tool
        return f"{self.kind} {self.name}" + (f" ({self.tool})" if self.tool else "")

    @property
    def resource(self) -> str:
        """As kubectl takes it: `scaledobject.keda.sh/web`."""
        group = f".{self.group}" if self.group else ""
        return f"{self.kind.lower()}{group}/{self.name}"

    @property
    def edit(self) -> str:
        """The command with which a person changes it."""
        return f"kubectl edit {self.resource} -n {self.namespace}"


@dataclass(frozen=True, slots=True)
class Owners:
    """All that were found, and which kinds of them could not be looked for (optional rights)."""

    found: tuple[Owner, ...] = ()
    untold: tuple[str, ...] = ()
