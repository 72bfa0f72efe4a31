"""Pictures of the running service for the documents: `make screenshots`. Owns which views they show, and that each stays small.

python -m tests.browser.shots [FOLDER]
"""

from __future__ import annotations

import io
import sys
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.browser import chromium
from tests.browser.tabs import PHONE, Scheme, person
from tests.browser.world import World, world
from tests.unit.served import TIMELINES

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
LARGEST = 150_000
"""Bytes of one picture; the repository keeps every version of it."""
_COLOURS = 128
_ENDED = ("langgraph", "langgraph-api", "langgraph-embedder", "langgraph-worker")
_WIDE = (1180, 760)


@dataclass(frozen=True)
class Shot:
    """One picture: a path of the service (`World.path`), how large the screen is, and in which scheme."""

    path: str
    size: tuple[int, int] = _WIDE
    scheme: Scheme = "light"


SHOTS = {
    "overview": Shot("/"),
    "incidents": Shot("/incidents"),
    "phone": Shot("/incidents/{checkout}", PHONE, "dark"),
}


def take(browser: Browser, site: World, folder: Path) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, shot in SHOTS.items():
        with person(browser, site, size=shot.size, scheme=shot.scheme) as somebody:
            page = somebody.login().open(site.path(shot.path))
            (folder / f"{name}.png").write_bytes(small(page.screenshot()))


def small(picture: bytes) -> bytes:
    """The picture with as many colours as a page has. Raises ValueError when it is still too large."""
    made = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(_COLOURS).save(made, "PNG", optimize=True)
    if len(made.getvalue()) > LARGEST:
        raise ValueError(f"{len(made.getvalue())} bytes are more than {LARGEST}")
    return made.getvalue()


def _site(folder: Path) -> AbstractContextManager[World]:
    """One plan waits, one incident needs somebody, four have ended."""
    return world(folder, expires="2h", asked=("checkout", "reports"), stories=TIMELINES, ended=_ENDED)


def main(folder: Path = FOLDER) -> None:
    """Take all pictures of a service of its own."""
    path = chromium.found()
    if path is None:
        sys.exit(chromium.MISSING)
    with (
        tempfile.TemporaryDirectory() as state,
        _site(Path(state)) as site,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=path, headless=True, args=list(chromium.FLAGS))
        take(browser, site, folder)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
