"""What all scenes share: a busy machine ends no look of theirs; dozens of them share one process here, and the limit of one is of real time."""

from __future__ import annotations

import pytest

from app.flow.deciding import decide


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit has a test of its own, which sets it."""
    monkeypatch.setattr(decide, "LIMIT", 600.0)
