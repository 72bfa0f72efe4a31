"""Golden files of messages: compared on every run, rewritten only when UPDATE_GOLDEN=1 is set."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "golden" / "notify"


def check_golden(name: str, text: str) -> None:
    """Fail with a readable difference when `text` is not what the file says."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text + "\n", encoding="utf-8")
    assert path.is_file(), f"no golden file {path.name}; make it with UPDATE_GOLDEN=1 and read it"
    assert text + "\n" == path.read_text(encoding="utf-8")
