"""A look that is called off at any moment leaves no read behind that was made and never begun: Python warns of each, and a warning is an error."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable

import pytest

from app.domain.remediation import Scene
from app.flow.diagnosing.inside import Inside
from app.flow.diagnosing.namespace import about
from app.flow.diagnosing.section import section
from app.kube import read
from remediations.causes.investigate import read_snapshot
from tests.unit.causes.test_doubts import released

_TURNS = 40  # of the loop; a look at this world ends in fewer


async def _around(scene: Scene) -> None:
    await read.around(scene.cluster, scene.workload, scene.now, ())


async def _snapshot(scene: Scene) -> None:
    await read_snapshot(scene)


async def _screen(scene: Scene) -> None:
    sections = about(scene.cluster, scene.workload.target.namespace, scene.now, Inside())
    await asyncio.gather(*(section(*one) for one in sections))


@pytest.mark.parametrize("look", [_around, _snapshot, _screen])
async def test_a_look_that_is_called_off_at_any_moment_leaves_no_read_that_was_never_begun(
    look: Callable[[Scene], Awaitable[None]],
) -> None:
    scene = await released(8, since=8).scene()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for turns in range(_TURNS):
            task = asyncio.ensure_future(look(scene))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        gc.collect()
    assert [str(one.message) for one in told] == []
