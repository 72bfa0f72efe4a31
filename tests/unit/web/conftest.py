"""Fixtures of the web tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.intake.auth import Access
from app.observe.system import TimeIds
from app.store.database import Store
from tests.empty_store import put_empty_store
from tests.unit.web.rig import Rig, StillClock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A real store."""
    opened = Store.open(put_empty_store(tmp_path / "store.sqlite"), clock=StillClock(), ids=TimeIds())
    yield opened
    opened.close()


@pytest.fixture
def rig(store: Store) -> Rig:
    """The application with all ways of authentication configured."""
    return Rig(store)


@pytest.fixture
def open_rig(store: Store) -> Rig:
    """The application without any authentication, as on a developer's machine."""
    return Rig(store, access=Access())
