"""The weekly scorecard in words: golden message, the same lines as the command, and Slack's limits."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from app.flow.notifying.scorecard import WEEKLY
from app.notify.blocks import to_slack
from app.notify.console import ConsoleClient
from app.notify.scorecard import offenders, rows, weekly
from app.store.tx import MessageState
from tests.doubles.slack_limits import fault_of
from tests.unit.notify.golden import check_golden
from tests.unit.notify.outbox_rig import rig_at

WEEK: dict[str, Any] = {
    "week": "2026-W11",
    "since": "2026-03-02T08:00:00+00:00",
    "until": "2026-03-09T08:00:00+00:00",
    "alerts": 12_034,
    "incidents": 71,
    "acted": 34,
    "fixed": 26,
    "contained": 5,
    "not_fixed": 2,
    "taken_over": 1,
    "undone": 1,
    "setbacks": 1,
    "runs": {"fixed": 26, "contained": 5, "not_fixed": 2, "taken_over": 1, "undone": 1},
    "mitigate_seconds": {"median": 162.0, "p90": 455.4},
    "offenders": [{"target": f"rag7/Deployment/svc-{n}", "incidents": 9 - n} for n in range(7)],
}
BEFORE: dict[str, Any] = {
    **WEEK,
    "alerts": 14_000,
    "incidents": 80,
    "acted": 1,
    "fixed": 0,
    "contained": 0,
    "not_fixed": 1,
    "taken_over": 0,
    "undone": 0,
    "setbacks": 0,
    "mitigate_seconds": {"median": None, "p90": None},
}
NOTHING: dict[str, Any] = {**WEEK, "acted": 0, "fixed": 0, "offenders": [], "before": None}


def test_the_weeks_card_stands_beside_the_week_before() -> None:
    check_golden("weekly_scorecard", weekly({**WEEK, "before": BEFORE}).readable())


def test_a_week_in_which_nothing_was_done_says_so() -> None:
    check_golden("weekly_scorecard_quiet", weekly(NOTHING).readable())


def test_the_message_has_the_lines_of_the_command() -> None:
    text = weekly({**WEEK, "before": BEFORE}).readable()
    assert all(f"{name.capitalize()}: {value}" in text for name, value in rows({**WEEK, "before": BEFORE}))
    assert [name for name, _ in rows(WEEK)] == [
        "alerts",
        "incidents",
        "acted",
        "verified fixed",
        "contained",
        "not fixed",
        "taken over",
        "undone",
        "setbacks",
        "time to mitigate",
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 runs (before: 2)"), (1, "1 run (before: 2)"), (1_200, "1,200 runs (before: 2)")],
)
def test_numbers_have_their_unit(number: int, text: str) -> None:
    assert dict(rows({**WEEK, "acted": number, "before": {**BEFORE, "acted": 2}}))["acted"] == text


def test_without_a_week_before_nothing_is_compared() -> None:
    assert not any("before" in value for _, value in rows({**WEEK, "before": None}))


def test_the_message_names_the_worst_targets_and_the_command_all() -> None:
    assert len(offenders(WEEK, 100)) == 7
    assert weekly(WEEK).readable().count("- rag7/Deployment/svc-") == 5


@pytest.mark.parametrize("update", [False, True])
def test_the_longest_names_fit_into_one_message(update: bool) -> None:
    target = f"{'n' * 63}/Deployment/{'d' * 253}"
    long = [{"target": target, "incidents": 10_000_000}] * 10
    body = to_slack(weekly({**WEEK, "offenders": long, "before": BEFORE}))
    assert fault_of({"text": body.text, "blocks": list(body.blocks)}, update=update) == ""
    assert "remediator explain" not in str(body.blocks), "nothing was cut"


async def test_the_card_goes_to_the_channel_once_and_to_a_console_in_full(tmp_path: Path) -> None:
    async with rig_at(tmp_path) as rig:
        data = {"event": WEEKLY, "data": {**WEEK, "before": BEFORE}}
        for _ in range(2):
            await rig.store.write(lambda tx: tx.put("scorecard:2026-W11", "", WEEKLY, data))
            await rig.deliver()
        (root,) = rig.slack.roots()
        assert root.readable().startswith("*THE WEEK* · 26 of 34 runs verified fixed, 1 harmful")
        out = StringIO()
        console = replace(rig.services, client=ConsoleClient(Console(file=out, width=250)), pager=None)
        await rig.store.write(lambda tx: tx.put("scorecard:2026-W12", "", WEEKLY, data))
        await rig.deliver(console)
        assert "Time to mitigate: median 2m42s, 90 % within 7m35s (before: no fix)" in out.getvalue()


async def test_a_row_that_holds_no_card_is_given_up_and_holds_nothing_up(tmp_path: Path) -> None:
    async with rig_at(tmp_path) as rig:
        await rig.store.write(lambda tx: tx.put("scorecard:x", "", WEEKLY, {"event": WEEKLY, "data": {}}))
        await rig.deliver()
        assert (await rig.row("scorecard:x")).state is MessageState.FAILED
        assert rig.slack.roots() == []
