"""A number that is only shown: what cannot be measured is a gap in the chart, and no look waits long for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.domain.errors import ProbeUnavailable, RemediatorError
from app.domain.plan import Symptom
from app.flow.services import Services
from app.flow.verifying import symptoms

SYMPTOM = Symptom("Share of errors", "errors", 0.12, "requests")
Rows = Sequence[tuple[dict[str, str], float]]


async def _shown(answer: Rows | RemediatorError | None) -> float | None:
    async def instant(_query: str) -> Rows:
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, RemediatorError):
            raise answer
        return cast("Rows", answer)

    source: Any = SimpleNamespace(instant=instant)
    return await symptoms.value_now(cast("Services", SimpleNamespace(metric_source=source)), SYMPTOM)


async def test_the_largest_finite_value_is_shown() -> None:
    assert await _shown([({}, 0.2), ({}, float("nan")), ({}, 0.4)]) == 0.4
    assert await _shown([]) is None


async def test_what_cannot_be_asked_or_is_refused_is_a_gap() -> None:
    assert await _shown(ProbeUnavailable("no answer")) is None
    assert await _shown(RemediatorError("odd")) is None


async def test_a_source_that_hangs_holds_no_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symptoms, "_SHOWN", 0.0)
    assert await _shown(None) is None
