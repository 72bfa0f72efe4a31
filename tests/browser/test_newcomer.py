"""A newcomer's way, from the README alone: clone, `make demo`, open the page, approve, undo."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, expect

from tests.browser.tabs import Tab
from tests.live.process import Process, free_ports, wait_until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 400.0
"""Seconds; a machine that has never seen the project installs all of it first."""
_WAITS = re.compile(r"One plan waits for your answer at (http://\S+)")


def command_of(readme: str) -> list[str]:
    """The command of the README's first block that shows the demo."""
    block = re.search(r"```sh\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    (line,) = [line for line in block[1].splitlines() if line.startswith("make demo")]
    return shlex.split(line, comments=True)


@pytest.fixture
def demo(browser: Browser, tmp_path: Path) -> Iterator[str]:
    """The demo of a fresh clone, on a free port and a little faster; the address that it tells."""
    del browser  # without one nothing is cloned
    clone, log = tmp_path / "alert-remediator", tmp_path / "demo.log"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
    program, *arguments = command_of((clone / "README.md").read_text("utf-8"))
    found = shutil.which(program)
    assert found is not None
    more = f"DEMO_ARGS=--port {free_ports(1)[0]} --speed 40"
    process = Process([found, "-C", str(clone), *arguments, more], log)
    process.start()

    def told() -> str | None:
        process.check()
        address = _WAITS.search(log.read_text("utf-8"))
        return address[1] if address else None

    try:
        address = wait_until(told, PATIENCE, interval=0.5, what="the demo's page")
        assert address is not None
        yield address
    finally:
        process.stop()


def test_from_the_readme_alone_a_newcomer_approves_a_plan_and_undoes_it(browser: Browser, demo: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(60_000)
    tab = Tab(context.new_page(), demo.rpartition("/incidents")[0]).watch()
    page = tab.open("/")
    waiting = page.get_by_role("article").filter(has_text="APIRateLimiting")
    waiting.get_by_role("link", name="APIRateLimiting").click()
    page.wait_for_url(demo)
    expect(page.locator("#question")).to_contain_text("Rotate OPENAI_API_KEY")
    page.locator("#question").get_by_label("Reason").fill("the limit is the key's")
    page.get_by_role("button", name="Approve this plan").click()
    expect(page.locator("#fresh").or_(page.get_by_role("button", name="Undo"))).to_be_visible()
    _reloaded_until(tab, "h1", "FIXED", "CONTAINED")
    page.locator("#afterwards").get_by_label("Reason").fill("only a try")
    page.get_by_role("button", name="Undo").click()
    _reloaded_until(tab, "#now", "UNDONE")
    tab.require_quiet()
    context.close()


def _reloaded_until(tab: Tab, selector: str, *texts: str) -> None:
    """Look again and again, as one does."""

    def seen() -> bool:
        try:
            tab.page.reload()
        except Error:  # the answer to a click is on its way, and nothing can be reloaded meanwhile
            return False
        shown = tab.page.locator(selector).inner_text()
        return any(text in shown for text in texts)

    wait_until(seen, 90, interval=0.5, what=", ".join(texts))
