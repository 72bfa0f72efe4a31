"""Owns the browser itself: where Chromium is and how it is started. It is the system's own; none is ever downloaded."""

from __future__ import annotations

import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",  # containers of CI run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
MISSING = "CHROMIUM MISSING: install it (on Debian: apt-get install chromium) or name one with CHROMIUM=PATH; then: make browser"


def found() -> str | None:
    """The path of Chromium: what the variable CHROMIUM names, or the first in PATH; None when there is none."""
    named = os.environ.get("CHROMIUM", "")
    return shutil.which(named) if named else next((p for n in NAMES if (p := shutil.which(n))), None)


if __name__ == "__main__":
    sys.exit(None if found() else MISSING)
