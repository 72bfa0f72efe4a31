"""A click of a button and the death of the process: whatever is cut, and however often Slack delivers it, it counts once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.events import EventKind
from app.notify.buttons import Click
from app.store import audit
from tests.doubles.slack_click import payload
from tests.scenario import scenes
from tests.scenario.rig import Died, Reaper
from tests.scenario.slack_rig import ANA, BEN, SlackRig, slack_rig

CUTS = ("store before commit", "store after commit")


class At(Reaper):
    """Kills at the first boundary of this name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __call__(self, name: str) -> None:
        """Cross one boundary."""
        if name == self._name:
            self.dead = True
        if self.dead:
            raise Died(name)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[SlackRig]:
    """A service that asks before everything; Ana may operate from Slack."""
    made = await slack_rig(tmp_path)
    yield made
    await made.close()


async def died_at(rig: SlackRig, cut: str, button: Click, user: str = ANA) -> dict[str, Any]:
    """The process dies while it deals with a click, comes back, and Slack delivers the click twice more."""
    clicked = payload(rig.parent, button.value, user, now=rig.clock.now())
    rig.reaper = At(cut)
    await rig.interactions.receive(clicked)
    await rig.interactions.idle()
    assert rig.reaper.dead
    await rig.die()
    await rig.born()
    for _ in range(2):
        await rig.interactions.receive(clicked)
        await rig.interactions.idle()
    return clicked


async def counted(rig: SlackRig, kind: EventKind) -> int:
    found = await rig.store.read(lambda conn: audit.page(conn, 0, 1000))
    return sum(e.kind is kind for e in found)


async def fixed(rig: SlackRig) -> None:
    await rig.asked()
    await rig.click(Click.APPROVE)
    await rig.until(lambda: "Undo" in rig.buttons)


@pytest.mark.parametrize("cut", CUTS)
async def test_an_approval_is_not_lost_and_acts_once(rig: SlackRig, cut: str) -> None:
    await rig.asked()
    await died_at(rig, cut, Click.APPROVE)
    await rig.until(lambda: scenes.writes(rig))
    await rig.until(lambda: "FIXED" in rig.parent.readable())
    assert scenes.writes(rig) == ["patch langgraph"]
    assert await counted(rig, EventKind.APPROVED) == 1
    assert "did not count" not in rig.whispers.to(ANA)


@pytest.mark.parametrize("cut", CUTS)
async def test_a_snooze_puts_off_once(rig: SlackRig, cut: str) -> None:
    await rig.asked()
    await died_at(rig, cut, Click.SNOOZE)
    assert await counted(rig, EventKind.APPROVAL_SNOOZED) == 1


@pytest.mark.parametrize("cut", CUTS)
async def test_an_undo_is_ordered_once(rig: SlackRig, cut: str) -> None:
    await fixed(rig)
    await died_at(rig, cut, Click.UNDO)
    await rig.until(lambda: "patch langgraph (undo)" in scenes.writes(rig))
    await rig.run(60)
    assert scenes.writes(rig).count("patch langgraph (undo)") == 1
    assert await counted(rig, EventKind.UNDO_REQUESTED) == 1


@pytest.mark.parametrize("cut", CUTS)
async def test_a_pause_is_set_once(rig: SlackRig, cut: str) -> None:
    await fixed(rig)
    await died_at(rig, cut, Click.PAUSE)
    assert await counted(rig, EventKind.CLICKED) == 1
    assert len(await rig.operations.pauses()) == 1


@pytest.mark.parametrize("cut", CUTS)
async def test_what_did_not_count_is_in_the_trail_once(rig: SlackRig, cut: str) -> None:
    await fixed(rig)
    await died_at(rig, cut, Click.UNDO, BEN)
    assert await counted(rig, EventKind.CLICK_IGNORED) == 1
    assert "patch langgraph (undo)" not in scenes.writes(rig)


async def test_a_refused_undo_stays_refused_when_its_click_is_delivered_late(rig: SlackRig) -> None:
    """Whoever was told that it did not count must not see it done a minute later."""
    run = await rig.asked()
    value = f"{run.id}:0:{run.plan_hash[:16]}"
    clicked = payload(rig.parent, Click.UNDO.value, ANA, now=rig.clock.now(), value=value)
    await rig.interactions.receive(clicked)
    await rig.interactions.idle()
    assert "the run is waiting" in rig.whispers.to(ANA)
    await fixed(rig)
    await rig.interactions.receive(clicked)
    await rig.run(60)
    assert scenes.writes(rig) == ["patch langgraph"]
