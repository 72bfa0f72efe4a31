"""Faults on demand and the record of requests: how tests make the cluster fail, and what it was asked to change.

Called by the cluster around each request. The faults' errors are those of the port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from app.domain.errors import (
    AccessDenied,
    ClusterThrottled,
    ClusterUnavailable,
    ObjectChanged,
    OutcomeUnclear,
)
from app.domain.target import Kind

Verb = Literal[
    "get", "list", "patch", "delete", "evict", "create", "logs", "usage", "can_i", "sql", "info", "terminate", "remove", "vacuum", "rename"
]  # fmt: skip
WRITES: frozenset[str] = frozenset(
    {"patch", "delete", "evict", "create", "terminate", "remove", "vacuum", "rename"}
)


class FaultKind(StrEnum):
    """What goes wrong with a request."""

    CONFLICT = "conflict"  # 409, nothing applied
    THROTTLED = "throttled"  # 429, nothing applied
    DENIED = "denied"  # 403, nothing applied
    UNREACHABLE = "unreachable"  # the connection is refused: nothing was sent
    LOST_BEFORE = "lost-before"  # 500 or time-out, and nothing was applied
    LOST_AFTER = "lost-after"  # 500 or time-out, although it was applied
    SLOW = "slow"  # it takes `seconds`, then works


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the cluster, as hooks and faults see it; `kind` is None for pod usage, access reviews, databases and caches.
    `subresource` is told where the verb alone does not say it."""

    verb: Verb
    kind: Kind | None
    namespace: str
    name: str
    dry_run: bool = False
    subresource: str = ""

    @property
    def writes(self) -> bool:
        """Does it change anything?"""
        return self.verb in WRITES and not self.dry_run

    def __str__(self) -> str:
        return f"{self.verb} {self.namespace}/{self.kind or ''}/{self.name}"


@dataclass(slots=True)
class Fault:
    """The next `times` matching requests fail; an empty `name`, `kind` or `verb` matches all. `dry_run` None too."""

    effect: FaultKind
    verb: Verb | None = None
    kind: Kind | None = None
    name: str = ""
    dry_run: bool | None = None
    times: int = 1
    retry_after: float | None = None
    seconds: float = 0.0

    def matches(self, request: Request) -> bool:
        """Is this request hit?"""
        return (
            self.times > 0
            and self.verb in (None, request.verb)
            and self.kind in (None, request.kind)
            and self.name in ("", request.name)
            and self.dry_run in (None, request.dry_run)
        )


@dataclass(slots=True)
class Faults:
    """The faults that are waiting for their request."""

    waiting: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Let a fault wait; several are taken in the order in which they were added."""
        self.waiting.append(fault)

    def clear(self) -> None:
        """No more faults."""
        self.waiting.clear()

    def take(self, request: Request) -> Fault | None:
        """The fault that hits this request, counted down."""
        fault = next((f for f in self.waiting if f.matches(request)), None)
        if fault is not None:
            fault.times -= 1
            self.waiting = [f for f in self.waiting if f.times > 0]
        return fault


def raise_before(fault: Fault, request: Request) -> None:
    """Raise the port's error of a fault that prevents the request."""
    where = str(request)
    if fault.effect is FaultKind.CONFLICT:
        raise ObjectChanged("the object has been modified", where=where)
    if fault.effect is FaultKind.THROTTLED:
        raise ClusterThrottled("too many requests", where=where, retry_after=fault.retry_after)
    if fault.effect is FaultKind.DENIED:
        raise AccessDenied(f"cannot {request.verb} {request.kind}", where=where)
    if fault.effect is FaultKind.UNREACHABLE:
        raise ClusterUnavailable("connection refused", where=where)
    if fault.effect is FaultKind.LOST_BEFORE:
        raise _lost(request)


def raise_after(fault: Fault, request: Request) -> None:
    """Raise the port's error of a fault that loses the answer."""
    if fault.effect is FaultKind.LOST_AFTER:
        raise _lost(request)


def _lost(request: Request) -> Exception:
    """A lost answer leaves a write unclear; a read can simply be repeated."""
    if request.writes:
        return OutcomeUnclear("no answer within 15 s", where=str(request))
    return ClusterUnavailable("no answer within 10 s", where=str(request))


@dataclass(frozen=True, slots=True)
class Mutation:
    """One accepted write, dry runs included: the cluster's own audit log. `marker` is the action annotation it left, or what
    stands for it in the message of a condition."""

    at: datetime
    verb: Verb
    kind: Kind
    namespace: str
    name: str
    dry_run: bool
    manager: str
    patch: Sequence[dict[str, Any]] = ()
    resource_version: str = ""
    marker: str = ""


Hook = Callable[[Request, Literal["before", "after"]], None]
"""Called before a request is applied and after it, before it is answered. What it raises takes the answer's place."""
