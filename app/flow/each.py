"""Each: whatever is looked at one after the other in one round, so that one that fails does not keep the others from their turn.

Called by the parts of the sweep, by the sweep itself and by other rounds of background tasks. Swallows nothing: what failed is raised at the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog

from app.domain.errors import TryLater

log = structlog.get_logger(__name__)


async def each(parts: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
    """Run every part, in order, whatever becomes of the others. Raises ExceptionGroup with what failed; each failure carries
    the name of its part as a note."""
    failures: list[Exception] = []
    for name, part in parts.items():
        try:
            await part()
        except Exception as error:
            error.add_note(f"in the part {name}")
            failures.append(error)
            if passes(error):
                log.warning("part_waits", part=name, error=str(error))
            else:
                log.error("part_failed", part=name, exc_info=error)
    if failures:
        raise ExceptionGroup("parts failed", failures)


def passes(error: BaseException) -> bool:
    """A failure that is expected to pass by itself, such as a store or a cluster that is away."""
    if isinstance(error, BaseExceptionGroup):
        return all(passes(e) for e in error.exceptions)
    return isinstance(error, TryLater)
