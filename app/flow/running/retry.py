"""Again: a durable step that is tried until its result is final, later each time.

Called by the stories of a run and of an undo. Never judges a result: one that names `seconds` asks to be tried again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from app.engine.context import RunContext

_DOUBLINGS = 4

Work = Callable[[bool], Awaitable[dict[str, Any]]]


async def until_final(ctx: RunContext, tries: int, name: Callable[[int], str], work: Work) -> dict[str, Any]:
    """The first final result, or that of the last of `tries` attempts. `name` names the step of each attempt from 0; `work`
    is told whether it is the last."""
    done: dict[str, Any] = {}
    for attempt in range(tries):
        done = await ctx.step(name(attempt), lambda: work(attempt == tries - 1))  # noqa: B023 - awaited here
        if "seconds" not in done:
            break
        await ctx.sleep(done["seconds"] * (1 << min(attempt, _DOUBLINGS)))
    return done


def numbered(name: str) -> Callable[[int], str]:
    """`name` for the first attempt, `name:1` for the next."""
    return lambda attempt: f"{name}:{attempt}" if attempt else name
