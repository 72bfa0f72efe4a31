"""The end of a temporary change of which nothing stands: somebody stopped, deleted or made anew what it changed. Nobody is called for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.target import Kind
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, trail
from tests.scenario.test_temporary_changes import API, rig

__all__ = ["rig"]


def _stopped(rig: Rig) -> None:
    rig.cluster.scale(Kind.DEPLOYMENT, *API, 0, manager="kubectl")


def _deleted(rig: Rig) -> None:
    rig.cluster.delete(Kind.DEPLOYMENT, *API)


def _made_anew(rig: Rig) -> None:
    rig.cluster.recreate(Kind.DEPLOYMENT, *API)


@pytest.mark.parametrize(
    ("change", "ends", "told"),
    [
        (_stopped, RunState.UNDO_CONFLICT, "replicas"),
        (_deleted, RunState.REVERTED, "is gone, and our change with it"),
        (_made_anew, RunState.UNDO_CONFLICT, "was created anew by somebody with what we had set"),
    ],
)
async def test_promise_7_the_end_of_what_does_not_stand_any_more_is_told_and_calls_nobody(
    rig: Rig, change: Callable[[Rig], None], ends: RunState, told: str
) -> None:
    before = len(await trail(rig, EventKind.ESCALATED))
    change(rig)
    await rig.run(3_600)
    (run,) = await all_runs(rig)
    assert run.state is ends, (run.state, run.waits_for)
    assert told in rig.notebook.text + str(rig.notebook.parents)
    assert len(await trail(rig, EventKind.ESCALATED)) == before
