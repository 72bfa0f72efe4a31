"""An incident with more records than fit on a page."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.page import incident as incident_page
from app.page import render
from tests.scenario.inline import InlineThreads
from tests.scenario.rig import Rig
from tests.scenario.scenes import the_incident
from tests.unit.page.browser import Browser
from tests.unit.page.test_pages import expect_sound


async def test_the_newest_records_that_fit_are_shown_on_a_page_that_is_made_beside_the_event_loop(
    rig: Rig, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, real = list[str](), render.render

    def rendered(template: str, **shown: Any) -> str:
        threads.append(threading.current_thread().name)
        return real(template, **shown)

    monkeypatch.setattr(render, "render", rendered)
    monkeypatch.setattr(incident_page, "_MAX_SHOWN", 3_000)
    await rig.run(10)
    await browser.login("reader")
    threads.clear()
    path = f"/incidents/{(await the_incident(rig)).id}"
    with ThreadPoolExecutor(1) as real_threads:  # the rig has none
        asyncio.get_running_loop().set_default_executor(real_threads)
        page = await browser.get(path)
        asyncio.get_running_loop().set_default_executor(InlineThreads())
    expect_sound(page)
    assert "records are left out here" in page.answer.text
    assert page.document.one("ol").all("li")
    assert threads
    assert threading.current_thread().name not in threads
