"""Holding: what forbids the next write of a run, and the one write that people approved beforehand.

Owns how the holds of the policy (`app.policy.holds`) are asked for a run: by its actions right before they go out, by its undo, and by
the end of a temporary change. To start again what a run stopped is a part of the plan that people approved: a freeze does not hold it.
Reads only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlalchemy import Connection

from app.domain import half_way
from app.domain.actuator import Means
from app.domain.decision import Code
from app.domain.errors import Held
from app.domain.plan import Action
from app.domain.target import Target
from app.flow.services import Services
from app.policy.holds import Hold, Write, holds
from app.store import pauses
from app.store.runs import JournalEntry, Run

Holding = Callable[[Connection, Services, Run, Collection[str]], tuple[Hold, ...]]
"""What forbids a write of a run."""


def held(conn: Connection, services: Services, run: Run) -> str:
    """What forbids this run's next write that is no action, in words; empty when it may happen."""
    return words(holds_on(conn, services, run, run.life.get("despite", ())))


def holds_on(conn: Connection, services: Services, run: Run, despite: Collection[str]) -> tuple[Hold, ...]:
    """What forbids the run's next write, but for the holds whose keys are in `despite`."""
    now = services.clock.now()
    write = Write(Target.parse(run.target_key), run.rule, run.remediation, frozenset(despite))
    return holds(services.policy(), services.ceiling, pauses.active(conn, now), write, now)


def brings_back(run: Run, index: int) -> bool:
    """Action `index` of the present step starts what the step stopped, and people approved a plan that says so: a freeze that began
    meanwhile does not hold it. A pause and a ceiling do: somebody set them, who may know why nothing may start."""
    return run.answer == "approved" and half_way.brings_back(run.step.actions, index)


def holds_on_start(
    conn: Connection, services: Services, run: Run, despite: Collection[str]
) -> tuple[Hold, ...]:
    """What holds the start of what this run stopped, by people's approval of its plan."""
    return tuple(hold for hold in holds_on(conn, services, run, despite) if hold.code is not Code.FROZEN)


def holds_on_undo(conn: Connection, services: Services, run: Run, acted: JournalEntry) -> tuple[Hold, ...]:
    """What holds the undo of this action: nothing where there is nothing to write. To start again what the run stopped was approved
    with its plan."""
    despite, action = run.life.get("despite", ()), Action.from_json(acted.intent["action"])
    if not action.reversible:
        return ()
    if run.answer == "approved" and len(run.step.actions) > 1 and half_way.stops(action):
        return holds_on_start(conn, services, run, despite)
    return holds_on(conn, services, run, despite)


def words(found: Collection[Hold]) -> str:
    """All of them in one sentence; empty for none."""
    return "; ".join(hold.text for hold in found)


def means(services: Services, run: Run, despite: Collection[str], holding: Holding = holds_on) -> Means:
    """What one write of this run is made with: what holds it by then stops each request right before it goes out, by Held."""

    async def ask() -> None:
        found = await services.store.read(lambda conn: holding(conn, services, run, despite))
        if found:
            raise Held(words(found))

    return Means(services.doors, ask, services.clock.sleep)
