"""Holds: what forbids every write, whoever planned it and whatever it is: an action, an undo, the end of a temporary change.

Four things do: a pause that covers the target or anything else that is written, a ceiling of observe, a freeze, and what the scope keeps away: a namespace that it does
not cover, a protected kind, the mark of the owners. Actions meet them as gates; everything else asks here, right before the write. A
person who orders that very write while a hold stands, knowing of it, gets through; a hold that comes after their order holds it all
the same. Pure: the time, the pauses and the marks come in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.decision import Code, Mode, Verdict
from app.domain.target import Kind, Target
from app.domain.units import utc
from app.policy.calendar import is_open, next_change
from app.policy.facts import Fact
from app.policy.gates.people import OfARule, covers, nameless, only_observing, renamed
from app.policy.gates.target import within_scope
from app.policy.gates.timing import window_text
from app.policy.model import Policy, Window

SCOPE = "scope:"
"""How the keys of what the scope holds begin."""


class ActivePause(OfARule, Protocol):
    """A pause in force."""

    @property
    def id(self) -> str:
        """Which one."""
        ...

    @property
    def reason(self) -> str:
        """Why."""
        ...

    @property
    def author(self) -> str:
        """Who set it."""
        ...


@dataclass(frozen=True, slots=True)
class Touched:
    """What a write changes: kinds of objects around a target, the marks of its owners (None: they are not asked here), and `others` beside
    the target that are written."""

    target: Target
    kinds: frozenset[Kind]
    marks: Fact[Mapping[str, str]] | None = None
    others: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """A write that wants to happen. `despite` are the keys of the holds that a person knew of when they ordered it; `rules` the names of
    its rule: the one it was decided under, and today's."""

    target: Target
    rules: tuple[str, ...]
    remediation: str
    despite: frozenset[str] = frozenset()
    touched: tuple[Touched, ...] = ()

    @property
    def written(self) -> tuple[Target, ...]:
        """The run's target, and all that this write changes."""
        return (self.target, *(t for one in self.touched for t in (one.target, *one.others)))


@dataclass(frozen=True, slots=True)
class Hold:
    """What forbids it, in words. `key` names this very hold: another pause, or the same freeze on another day, is another one. A ceiling
    has no end of its own: who keeps its key forgets it once the ceiling is lifted."""

    code: Code
    text: str
    key: str


def is_hold(key: str) -> bool:
    """The key is a hold's: of a pause, a ceiling, a freeze or the scope."""
    return key.startswith(("pause:", "ceiling:", "freeze:", SCOPE))


def _end(freeze: Window, now: datetime) -> str:
    end = next_change((freeze,), now, to_open=False)
    return "" if end is None else utc(end)


def holds(
    policy: Policy, ceiling: Mode, pauses: Iterable[ActivePause], write: Write, now: datetime
) -> tuple[Hold, ...]:
    """Everything that forbids this write at this moment, people's pauses first; empty when it may happen."""
    found = [
        Hold(
            Code.KILL_SWITCH if pause.scope == "all" else Code.PAUSED,
            f"{pause.scope} is paused by {pause.author}: {pause.reason or 'no reason given'}{renamed(policy, pause)}",
            f"pause:{pause.id}",
        )
        for pause in pauses
        if covers(pause.scope, write.written, write.rules, write.remediation)
        or (nameless(policy, pause) and pause.remediation == write.remediation)
    ]
    found += [
        Hold(Code.CEILING, f"{who} is set to observe", f"ceiling:{who}")
        for who in only_observing(policy, ceiling)
    ]
    found += [
        Hold(Code.FROZEN, f"frozen: {window_text(f)}", f"freeze:{f.name} until {_end(f, now)}")
        for f in policy.freeze
        if is_open(f, now)
    ]
    found += _out_of_scope(policy, write.touched)
    return tuple(hold for hold in found if hold.key not in write.despite)


def _out_of_scope(policy: Policy, touched: Iterable[Touched]) -> Iterable[Hold]:
    """What the gate `scope` says against it, each thing once."""
    found: dict[str, Hold] = {}
    for one in touched:
        word = within_scope(policy.scope, (one.target, one.others), one.kinds, one.marks)
        if word.verdict is not Verdict.ALLOW:
            key = f"{SCOPE}{word.code}:{word.value}"
            found[key] = Hold(
                word.code, f"off limits: {word.value}; what would have to change: {word.remedy}", key
            )
    return found.values()
