"""Promise 4 beside mode auto: what could not be measured in passing is measured again before a person is asked, and not for ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Mode
from app.domain.errors import ClusterUnavailable, ProbeUnavailable
from app.domain.outcome import RunState
from tests.scenario.rig import Rig
from tests.scenario.scenes import born, the_run, writes

Asks = Callable[..., Awaitable[Any]]


def _away(rig: Rig, seconds: float, *, metrics_api: bool = False) -> None:
    """Prometheus does not answer for so long; the metrics API does not either, or the cluster has none."""
    until = rig.clock.now() + timedelta(seconds=seconds)

    def away(asked: Asks, cause: Exception | None) -> Any:
        async def ask(*args: object) -> Any:
            if rig.clock.now() < until:
                raise ProbeUnavailable("no answer", code="unreachable", where="metrics") from cause
            return await asked(*args)

        return ask

    rig.cluster.metrics_api = metrics_api
    source = rig.cluster.metrics
    source.instant = away(source.instant, None)  # type: ignore[method-assign]
    if metrics_api:
        starting = ClusterUnavailable("it is starting", where="metrics.k8s.io")
        source.instant = away(source.instant, starting)  # type: ignore[method-assign]
        rig.cluster.pod_usage = away(rig.cluster.pod_usage, starting)  # type: ignore[method-assign]


@pytest.mark.parametrize("metrics_api", [False, True])
async def test_promise_4_what_could_not_be_measured_for_a_moment_is_measured_again_before_anybody_is_asked(
    tmp_path: Path, *, metrics_api: bool
) -> None:
    rig = await born(tmp_path, "high-latency")
    _away(rig, 30.0, metrics_api=metrics_api)
    await rig.run(60)
    assert writes(rig), rig.notebook.text
    assert (await the_run(rig)).mode is Mode.AUTO, "nobody was asked"
    await rig.close()


async def test_promise_4_what_stays_unmeasured_is_asked_about_within_a_minute(tmp_path: Path) -> None:
    rig = await born(tmp_path, "high-latency")
    _away(rig, 10_000.0)
    await rig.run(80)
    run = await the_run(rig)
    assert (run.state, writes(rig)) == (RunState.WAITING, [])
    assert "nothing measured says that the pods are at their limit" in rig.notebook.text
    await rig.close()
