"""Credentials that are exchanged: for half a minute the API server answers 401, which proves that nothing was done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import ClusterUnavailable
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.kube.faults import Answer, Request, refusal
from app.sim import SimCluster
from tests.scenario.scenes import born, the_run, trail, writes

ROTATION = 30.0


class Rotating(SimCluster):
    """From the first change of this kind on it accepts nobody's credentials for a while."""

    at = "dry run"
    begun: float | None = None
    refused = 0

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Any, *, dry_run: bool = False) -> Any:
        """In the words of the client's own translation."""
        if self.begun is None and dry_run is (self.at == "dry run"):
            self.begun = self._clock.monotonic()
        if self.begun is not None and self._clock.monotonic() < self.begun + ROTATION:
            self.refused += 1
            raise refusal(Request("patch", kind.value, f"{namespace}/{name}", mutates=True), Answer(401, {}))
        return await super().patch(kind, namespace, name, patch, dry_run=dry_run)


@pytest.mark.parametrize("at", ["dry run", "write"])
async def test_a_token_that_rotates_costs_time_and_nothing_else(at: str, tmp_path: Path) -> None:
    """The step is neither failed nor escalated, and carried out once the new token is there."""
    rig = await born(tmp_path, cluster_type=type("Cluster", (Rotating,), {"at": at}))

    async def ended() -> bool:
        return bool(writes(rig)) and (await the_run(rig)).state.ended

    await rig.until(ended, 900)
    assert rig.cluster.refused > 0  # type: ignore[attr-defined]
    assert ((await the_run(rig)).state, writes(rig)) == (RunState.FIXED, ["patch langgraph"])
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()


def test_it_is_what_may_be_tried_again() -> None:
    assert isinstance(refusal(Request("patch", "x", "y", mutates=True), Answer(401, {})), ClusterUnavailable)
