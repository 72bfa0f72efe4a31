"""A migrated SQLite store without a row, copied to where a test wants one: migrating takes longer than most tests.

Tests of the migrations themselves begin with no file at all.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from app.store.migrate import upgrade


@cache
def _original() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="empty-store-"))
    atexit.register(shutil.rmtree, folder)
    upgrade(f"sqlite:///{folder / 'empty.sqlite'}")
    return folder / "empty.sqlite"


def put_empty_store(path: Path) -> str:
    """Puts one at `path`; its URL."""
    shutil.copy(_original(), path)
    return f"sqlite:///{path}"
