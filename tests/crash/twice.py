"""An engine that executes the work of every step twice, as after a death between the work and its record."""

from __future__ import annotations

from typing import Any

from app.engine.context import Json, RunContext, Work, Workflow
from app.engine.memory import JournalEngine


class TwiceEngine(JournalEngine):
    """The journal engine; what a step gives is what its second execution gave."""

    def __init__(self, timeline: Workflow, *arguments: Any, **options: Any) -> None:
        async def twice(ctx: RunContext, run_id: str) -> None:
            await timeline(_Twice(ctx), run_id)

        super().__init__(twice, *arguments, **options)


class _Twice(RunContext):
    def __init__(self, ctx: RunContext) -> None:
        self.run_id = ctx.run_id
        self._ctx = ctx

    async def step(self, name: str, work: Work) -> Json:
        async def both() -> Json:
            await work()
            return await work()

        return await self._ctx.step(name, both)

    async def sleep(self, seconds: float) -> None:
        await self._ctx.sleep(seconds)

    async def wait_for(self, topic: str, seconds: float) -> bool:
        return await self._ctx.wait_for(topic, seconds)
