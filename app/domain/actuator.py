"""The port through which an action is carried out, whatever it changes: an object of the cluster, a session of a database.

Owns the words between the flow and an actuator. The flow asks in this order: `check` right before, `dry_run`, `apply` once,
`in_place` after a crash, `undo`. An actuator never decides, never records, and asks `Means.ask` right before each request
that changes something. Each call may be repeated after a crash at any instruction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from app.domain.cluster import Cluster
from app.domain.database import Databases
from app.domain.http_check import HttpChecks
from app.domain.json import JsonValue
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import Action, ActionKind
from app.domain.target import Kind, ObjectRef

Ask = Callable[[], Awaitable[None]]
"""Raises what forbids a write at this moment (Held), or that nobody can tell."""

Sleep = Callable[[float], Awaitable[None]]
"""Waits so many seconds; spaces the looks after a lost answer."""


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """One verb on one kind of the cluster's objects; `subresource` is empty for the object itself, `name` for objects of any."""

    verb: str
    kind: Kind
    subresource: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Clients:
    """The ways out of this process that an actuator may use. The cluster may be one look's view, which never writes. `http` is
    None where Services cannot be asked."""

    cluster: Cluster
    databases: Databases
    http: HttpChecks | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long action has come. `text` is for people: phase, amounts, an estimate. `state` is the actuator's own and comes
    back with the next call: it saves work and is no truth, as the process may die before it is stored. The action is gone on
    with in `seconds`, after its holds and gates have been asked again."""

    text: str
    state: Mapping[str, JsonValue] = field(default_factory=dict)
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Partly:
    """What a long action has done when it stops before its end: `done` stays done, `left` is not done; both one clause for people, the
    second empty when it is not known."""

    done: str
    left: str = ""


@dataclass(frozen=True, slots=True)
class Means:
    """What one write is made with: `clients` to send it through, `ask` right before each request, `sleep` between looks. `so_far`
    is the state of the last progress of a long action, empty at its beginning."""

    clients: Clients
    ask: Ask
    sleep: Sleep
    so_far: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mark:
    """The last action of ours on an object, as the object itself tells; `at` is None when it does not tell when."""

    action_id: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The look right before touching. `ref` is the object as it is now; None when the action may not be carried out, and
    then `text` and `code` say why. `done`: this very action was applied before a crash. `mark` is our last action there.
    `seen` is what was looked at, for the actuator alone: its dry run and its first attempt at the write follow at once. `action` is
    the one that is carried out, where it goes by what was found; with `done` there is nothing left to do for it.
    """

    ref: ObjectRef | None
    text: str
    code: str = ""
    done: bool = False
    mark: Mark | None = None
    seen: Any = field(default=None, repr=False)
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the action. `code` is the error's for REFUSED; `passing`: that refusal may pass, ask again in
    `retry_after` seconds (None when nobody told how long). `generation` is the object's as our write left it, 0 when not known, and
    `left` the object itself, None when not known; it may hold secrets, and is never recorded."""

    result: ActionResult
    text: str
    resource_version: str = ""
    code: str = ""
    passing: bool = False
    retry_after: float | None = None
    generation: int = 0
    left: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of the undo; `conflicts` has one sentence a field that is not ours any more. `generation` and `left` as in `Applied`.
    `needs`: what is as before, and nobody can work with until a person does something."""

    result: UndoResult
    text: str
    conflicts: tuple[str, ...] = ()
    generation: int = 0
    left: Any = field(default=None, repr=False)
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """What the action was for, measured again. `good` is None when it could not be measured; `text` is one clause. `over`: it is
    not so, and will not be any more."""

    good: bool | None
    text: str
    over: bool = False


class Actuator(Protocol):
    """How actions of some kinds are carried out."""

    @property
    def kinds(self) -> frozenset[ActionKind]:
        """The kinds that this one carries out; no two share one."""
        ...

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:
        """What an action of this kind needs at the cluster, on one kind of its objects; empty when it never acts on that."""
        ...

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:
        """Look afresh: is everything still as the action expects it? Raises the clients' read errors."""
        ...

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str | Progress:
        """For a recorded intent without an outcome: a sentence when the action did happen, its progress while it goes on by itself
        and nothing has to be sent, empty when there is something to send: nothing has happened, or to do it again does no harm.
        Raises RemediatorError kinds when that cannot be told."""
        ...

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:
        """Try everything but the effect: why it would be refused, or empty. Raises TryLater."""
        ...

    async def apply(
        self, means: Means, action: Action, action_id: str, found: CheckResult
    ) -> Applied | Progress:
        """Carry it out once; a returned result is final. What takes longer than some 15 s gives its progress instead, and is asked
        again. Raises TryLater: nothing was changed, the call may be repeated; Held, by `means.ask`: nothing was sent."""
        ...

    async def undo(self, means: Means, action: Action, action_id: str) -> Undone:
        """Take it back where it is still ours, or say why there is nothing to take back. Raises TryLater and Held as `apply`."""
        ...

    async def effect(self, clients: Clients, action: Action) -> Effect | None:
        """Measure again what the action was for, beside rollout and alert; None when those two tell. Raises nothing of ours."""
        ...


@runtime_checkable
class LongActuator(Actuator, Protocol):
    """One whose `apply` may give its progress. All of those are one."""

    async def partly(
        self, clients: Clients, action: Action, action_id: str, state: Mapping[str, JsonValue]
    ) -> Partly | None:
        """What of an action that was begun is done for good, should it stop now; None when it has changed nothing. `state` is that of its
        last progress, empty when there was none. Raises the clients' read errors."""
        ...


def by_kind(actuators: Iterable[Actuator]) -> Mapping[ActionKind, Actuator]:
    """The table from kind to actuator. Raises ValueError when a kind has none, or two."""
    found: dict[ActionKind, Actuator] = {}
    for actuator in actuators:
        for kind in actuator.kinds:
            if kind in found:
                raise ValueError(f"two actuators carry out {kind}")
            found[kind] = actuator
    if missing := [kind.value for kind in ActionKind if kind not in found]:
        raise ValueError(f"no actuator carries out {', '.join(missing)}")
    return found
