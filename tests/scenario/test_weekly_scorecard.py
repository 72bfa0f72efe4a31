"""The weekly scorecard: once a week whatever restarts, late rather than never, and at the hour that people mean."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.domain.errors import RemediatorError
from app.domain.events import EventKind
from app.flow.notifying import scorecard
from app.notify.client import Retry
from app.policy.model import Day, Policy, Scorecard
from app.sim import SimCluster, VirtualClock
from app.sim.scenario import Scenario
from app.store import outbox, retention
from tests.scenario.bulk import Calls
from tests.scenario.rig import Reaper, Rig
from tests.scenario.scenes import policy

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 3, 9, 8, 0, tzinfo=UTC)  # 9:00 in Berlin
DAY = timedelta(days=1)
EMPTY = Scenario(name="empty", summary="nothing runs, so weeks pass quickly")
QUIET = 6 * 3600.0


def _policy(day: Day = Day.MON, at: int = 9 * 60) -> Policy:
    return policy({"scorecard": Scorecard(day=day, at=at, timezone=BERLIN)})


async def _rig(path: Path, start: datetime = MONDAY - DAY, rules: Policy | None = None) -> Rig:
    """A service that began then, on a cluster in which nothing happens; time goes in big steps."""
    rig = Rig(path / "rig.sqlite", world=EMPTY, clock=VirtualClock(start), stride=QUIET)
    rig.policy = rules or _policy()
    await rig.born()
    await rig.store.write(lambda tx: tx.audit(_BEGAN))
    return rig


_BEGAN = EventKind.SERVICE_STARTED


async def _without_traffic(rig: Rig) -> Rig:
    """The same service on a cluster in which nothing happens any more."""
    await rig.close()
    rig.cluster, rig.stride = SimCluster(rig.clock, EMPTY), QUIET
    return await rig.born()


def _cards(rig: Rig) -> list[str]:
    return [tag for _, tag, text in rig.notebook.posts if text.startswith("THE WEEK")]


async def _pass(rig: Rig, span: timedelta) -> None:
    """Let time pass in which no alert is delivered."""
    await rig.run(span.total_seconds(), alerts=False)
    await rig.turn()  # a nudge would deliver at once what the report has queued


async def test_it_is_posted_once_a_week_at_its_hour(tmp_path: Path) -> None:
    rig = await _rig(tmp_path)
    await _pass(rig, DAY - timedelta(hours=1))
    assert _cards(rig) == []
    await _pass(rig, timedelta(hours=2))
    assert _cards(rig) == ["scorecard:2026-W11"]
    await _pass(rig, 14 * DAY)
    assert _cards(rig) == ["scorecard:2026-W11", "scorecard:2026-W12", "scorecard:2026-W13"]
    await rig.close()


async def test_it_tells_what_the_week_was_worth_beside_the_week_before(tmp_path: Path) -> None:
    """The fix of Sunday, and nothing to compare with yet; a week later that fix is the week before."""
    rig = Rig(tmp_path / "rig.sqlite", clock=VirtualClock(MONDAY - timedelta(hours=3)))
    rig.policy = _policy()
    await rig.born()
    await rig.run(900)
    rig = await _without_traffic(rig)
    await _pass(rig, timedelta(hours=4))
    (first,) = [text for _, _, text in rig.notebook.posts if text.startswith("THE WEEK")]
    assert first.startswith("THE WEEK · 1 of 1 run verified fixed, 0 harmful\nAlerts: 1\n")
    assert "before" not in first
    await _pass(rig, 14 * DAY)
    last = [text for _, _, text in rig.notebook.posts if text.startswith("THE WEEK")][-2:]
    assert last[0].startswith("THE WEEK · did nothing\nAlerts: 0\n")
    assert "Acted: 0 runs (before: 0)" in last[1]
    await rig.close()


async def test_restarts_tell_no_week_twice(tmp_path: Path) -> None:
    """Before the hour, at it, and after it."""
    rig = await _rig(tmp_path)
    for hours in (23, 1, 1, 30):
        await _pass(rig, timedelta(hours=hours))
        await rig.die()
        await rig.born()
    await _pass(rig, timedelta(minutes=1))
    assert _cards(rig) == ["scorecard:2026-W11"]
    await rig.close()


async def test_a_week_that_passed_while_nobody_ran_is_told_late_once_and_an_older_one_never(
    tmp_path: Path,
) -> None:
    rig = await _rig(tmp_path)
    await rig.die()
    rig.clock.advance((17 * DAY).total_seconds())  # two Mondays; it is Wednesday now
    await rig.born()
    await _pass(rig, timedelta(minutes=1))
    assert _cards(rig) == ["scorecard:2026-W13"]
    await _pass(rig, 5 * DAY)
    assert _cards(rig) == ["scorecard:2026-W13", "scorecard:2026-W14"]
    await rig.close()


async def test_a_service_that_is_new_has_no_week_to_tell(tmp_path: Path) -> None:
    """It was installed on a Wednesday: the first card comes on Monday."""
    rig = await _rig(tmp_path, MONDAY + 2 * DAY)
    await _pass(rig, 4 * DAY)
    assert _cards(rig) == []
    await _pass(rig, 2 * DAY)
    assert _cards(rig) == ["scorecard:2026-W12"]
    await rig.close()


async def test_two_replicas_tell_it_once(tmp_path: Path) -> None:
    """Both see that the hour has come in the same moment."""
    one = await _rig(tmp_path)
    other = Rig(one.path, world=EMPTY, clock=one.clock, reaper=Reaper())
    other.cluster, other.policy, other.notebook, other.journal = (
        one.cluster,
        one.policy,
        one.notebook,
        one.journal,
    )
    other._births = 50
    await other.born()
    one.clock.advance(DAY.total_seconds())
    queued = await asyncio.gather(*(scorecard.post_due(r.services, "#incidents") for r in (one, other)))
    assert sorted(queued) == [False, True]
    await one.turn()
    await other.turn()
    assert _cards(one) == ["scorecard:2026-W11"]
    await other.close()
    await one.close()


@pytest.mark.parametrize("channel", ["", "#incidents"])
async def test_without_a_channel_or_without_the_key_nothing_is_queued(tmp_path: Path, channel: str) -> None:
    rig = await _rig(tmp_path, rules=policy() if channel else None)
    rig.clock.advance((8 * DAY).total_seconds())
    assert not await scorecard.post_due(rig.services, channel)
    assert await rig.store.read(outbox.depth) == 0
    await rig.close()


async def test_it_waits_for_a_slack_that_is_away_for_days(tmp_path: Path) -> None:
    """A message is given up after a day; the week's card only when the next one is there."""
    rig = await _rig(tmp_path)
    rig.notebook.failing = Retry("Slack is away")
    await _pass(rig, 4 * DAY)
    rig.notebook.failing = None
    await _pass(rig, timedelta(hours=1))
    assert _cards(rig) == ["scorecard:2026-W11"]
    await rig.close()


async def test_pruning_does_not_forget_that_a_week_was_told(tmp_path: Path) -> None:
    """Even where everything is kept for a day only."""
    rig = await _rig(tmp_path)
    await _pass(rig, DAY + timedelta(hours=1))
    await _pass(rig, 3 * DAY)
    await rig.store.write(lambda tx: retention.prune(tx, rig.clock.now() - DAY, 500))
    await _pass(rig, DAY)
    assert _cards(rig) == ["scorecard:2026-W11"]
    await rig.close()


async def test_moving_it_to_another_day_tells_no_week_twice(tmp_path: Path) -> None:
    rig = await _rig(tmp_path)
    await _pass(rig, DAY + timedelta(hours=1))
    rig.policy = _policy(Day.WED)
    await _pass(rig, 3 * DAY)
    assert _cards(rig) == ["scorecard:2026-W11"]
    await _pass(rig, 7 * DAY)
    assert _cards(rig) == ["scorecard:2026-W11", "scorecard:2026-W12"]
    await rig.close()


@pytest.mark.parametrize(
    ("sunday", "hours"),
    [(datetime(2026, 3, 29, tzinfo=BERLIN), 167), (datetime(2026, 10, 25, tzinfo=BERLIN), 169)],
    ids=["summer begins", "summer ends"],
)
async def test_a_week_with_a_shorter_or_longer_day_is_a_week(
    tmp_path: Path, sunday: datetime, hours: int
) -> None:
    """Nine o'clock stays nine o'clock, and the card tells the hours between two of them."""
    rig = await _rig(tmp_path, (sunday - 10 * DAY).astimezone(UTC))
    await _pass(rig, 10 * DAY)
    rig.stride = 3600.0
    await _pass(rig, 2 * DAY)
    rows = await rig.store.read(lambda conn: [outbox.get(conn, tag) for tag in _cards(rig)])
    spans = [
        tuple(datetime.fromisoformat(row.payload["data"][end]) for end in ("since", "until")) for row in rows
    ]
    assert [(until - since) / timedelta(hours=1) for since, until in spans][-1] == hours
    assert {until.astimezone(BERLIN).strftime("%a %H:%M") for _, until in spans} == {"Mon 09:00"}
    assert timedelta() <= rows[-1].created_at - spans[-1][1] <= timedelta(hours=1)
    await rig.close()


async def test_429_gives_no_second_card(tmp_path: Path) -> None:
    rig = await _rig(tmp_path)
    rig.notebook = Calls(nth=3)
    await rig.die()
    await rig.born()
    await _pass(rig, 2 * DAY)
    assert isinstance(rig.notebook, Calls)
    assert rig.notebook.refused >= 2
    assert _cards(rig) == ["scorecard:2026-W11"]
    await rig.close()


async def test_a_broken_store_is_tried_again(tmp_path: Path) -> None:
    """The hour comes while nothing can be written."""
    rig = await _rig(tmp_path)
    rig.clock.advance(DAY.total_seconds())
    rig.store.close()
    with pytest.raises(RemediatorError):
        await scorecard.post_due(rig.services, "#incidents")
    await rig.die()
    await rig.born()
    await _pass(rig, timedelta(minutes=1))
    assert _cards(rig) == ["scorecard:2026-W11"]
    await rig.close()
