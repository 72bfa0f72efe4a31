"""Holds: what forbids every write, whoever planned it and whatever it is: an action, an undo, the end of a temporary change.

Three things do: a pause that covers the target, a ceiling of observe, a freeze. Actions meet them as gates; everything else
asks here, right before the write. A person who orders that very write while a hold stands, knowing of it, gets through; a
hold that comes after their order holds it all the same. Pure: the time and the pauses come in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.decision import Code, Mode
from app.domain.target import Target
from app.policy.calendar import is_open
from app.policy.gates.kill_switch import only_observing, scopes_of
from app.policy.gates.window import window_text
from app.policy.model import Policy


class ActivePause(Protocol):
    """A pause in force."""

    @property
    def id(self) -> str:
        """Which one."""
        ...

    @property
    def scope(self) -> str:
        """What it covers."""
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
class Write:
    """A write that wants to happen. `despite` are the keys of the holds that a person knew of when they ordered it."""

    target: Target
    rule: str
    remediation: str
    despite: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Hold:
    """What forbids it, in words. `key` names this very hold: another pause, or another freeze, is another one."""

    code: Code
    text: str
    key: str


def holds(
    policy: Policy, ceiling: Mode, pauses: Iterable[ActivePause], write: Write, now: datetime
) -> tuple[Hold, ...]:
    """Everything that forbids this write at this moment, people's pauses first; empty when it may happen."""
    found = [
        Hold(
            Code.KILL_SWITCH if pause.scope == "all" else Code.PAUSED,
            f"{pause.scope} is paused by {pause.author}: {pause.reason or 'no reason given'}",
            f"pause:{pause.id}",
        )
        for pause in pauses
        if pause.scope in scopes_of(write.target, write.rule, write.remediation)
    ]
    found += [
        Hold(Code.CEILING, f"{who} is set to observe", f"ceiling:{who}")
        for who in only_observing(policy, ceiling)
    ]
    found += [
        Hold(Code.FROZEN, f"frozen: {window_text(f)}", f"freeze:{f.name}")
        for f in policy.freeze
        if is_open(f, now)
    ]
    return tuple(hold for hold in found if hold.key not in write.despite)
