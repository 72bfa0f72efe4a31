"""The documents' pictures: what they show still exists, they are small, and each is used."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.shots import FOLDER, LARGEST, SHOTS, take
from tests.browser.tabs import Person
from tests.browser.world import World

ROOT = Path(__file__).resolve().parents[2]
_DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def test_what_the_pictures_show_exists_and_the_script_takes_all_of_it(
    browser: Browser, anybody: Person, site: World, tmp_path: Path
) -> None:
    tab = anybody.login()
    for shot in SHOTS.values():
        tab.open(site.path(shot.path))
    tab.require_quiet()
    take(browser, site, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {f"{name}.png" for name in SHOTS}


def test_the_pictures_are_those_of_the_script_are_small_and_each_is_used() -> None:
    kept = {p.name: p.stat().st_size for p in FOLDER.iterdir()}
    assert set(kept) == {f"{name}.png" for name in SHOTS}
    assert {name: n for name, n in kept.items() if n > LARGEST} == {}
    used = {
        m
        for d in _DOCUMENTS
        for m in re.findall(r"!\[[^]]+\]\((?:docs/)?pictures/([^)]+)\)", d.read_text("utf-8"))
    }
    assert used == set(kept)
