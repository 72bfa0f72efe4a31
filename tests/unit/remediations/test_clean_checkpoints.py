"""Cleaning of checkpoints: what is said and asked where the clocks that make a checkpoint old differ."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.checkpoints import Survey
from app.sim.checkpoints import SimCheckpoints
from remediations.clean_checkpoints import REMOVE
from tests.orders import ORDERS
from tests.unit.remediations.stage import Stage


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(days=365), "the server's clock is 365 d ahead of this service's"),
        (timedelta(hours=-2), "the server's clock is 2 h behind this service's"),
        (timedelta(minutes=5), ""),
    ],
)
async def test_clocks_that_differ_are_told_and_asked_about(
    ahead: timedelta, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Any = SimCheckpoints.survey

    async def skewed(*asked: Any) -> Survey:
        seen: Survey = await real(*asked)
        return replace(seen, ahead=ahead)

    monkeypatch.setattr(SimCheckpoints, "survey", skewed)
    order = ORDERS["clean-checkpoints"]
    diagnosis, steps = await Stage("clean-checkpoints", order.world(), order.target).look()
    step = steps[REMOVE]
    assert step.applies
    assert bool(step.asks) is bool(words)
    assert words in step.asks
    assert words in diagnosis.summary
    assert step.actions[0].params["planned"]
