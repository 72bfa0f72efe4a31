"""What a workflow may ask of the engine, and what an engine must be able to do.

The rules of a workflow: everything it decides follows from its argument and from the results of its steps, so that after a
crash it can be told again up to where it was. Steps return JSON; they are executed *at least* once (again, when the
process died before the result was recorded), so every step must be harmless to repeat.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

Json = Any
"""A JSON value; the alias says that steps must return nothing else."""

Work = Callable[[], Awaitable[Json]]


class RunContext(Protocol):
    """The engine's hand in one run."""

    run_id: str

    async def step(self, name: str, work: Work) -> Json:
        """Execute `work` and record its result; on a replay give the recorded result without executing."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait durably: after a crash only what is left of it."""
        ...

    async def wait_for(self, topic: str, seconds: float) -> bool:
        """Wait durably until somebody signals `topic` for this run (True) or `seconds` have passed (False)."""
        ...


Workflow = Callable[[RunContext, str], Awaitable[None]]
"""A durable workflow: context and its id."""


class Engine(Protocol):
    """Starts workflows and keeps them alive across crashes, as well as it can: what it loses is started again by its caller
    under another id, so it carries no truth."""

    async def start(self, workflow: str) -> None:
        """Start the workflow of this id; one that was ever started is not started again."""
        ...

    async def signal(self, workflow: str, topic: str) -> None:
        """Wake a workflow that waits for `topic`, also if it only begins to wait later. An unknown one is no error."""
        ...

    async def launch(self) -> None:
        """Begin work; resumes what a dead process of the same name left behind."""
        ...

    async def prune(self) -> int:
        """Forget workflows that have ended, some of them at a time; how many."""
        ...

    async def close(self) -> None:
        """Stop; workflows in flight stay resumable."""
        ...
