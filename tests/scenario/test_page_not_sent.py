"""A page that PagerDuty did not take: the thread is corrected once, and the next step does not wait for an answer to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doubles.pagerduty import Fault
from tests.scenario.calling import ON_CALL, SECOND, calling_rig, policy, steps


@pytest.mark.parametrize(
    ("status", "faults", "minutes", "text"),
    [
        (400, 50, 2, "The page was not sent: PagerDuty refused the page with HTTP 400"),
        (503, 400, 8, "The page was not sent: PagerDuty answered HTTP 503 to page (it is tried again)"),
    ],
)
async def test_a_page_that_did_not_go_out_is_said_and_the_next_step_is_asked_at_once(
    tmp_path: Path, status: int, faults: int, minutes: int, text: str
) -> None:
    """'paged through PagerDuty' was said when the step was asked, which has 15 min; nobody was woken by it."""
    rig = await calling_rig(tmp_path, policy())
    rig.pagerduty.fail(*[Fault(status=status)] * faults)
    await rig.handed_over()
    for _ in range(minutes):
        await rig.later(1)
    said = [post for _, _, post in rig.notebook.posts if text in post]
    assert len(said) == 1
    assert rig.heads[-1].startswith(f"Asked {SECOND}")
    assert "its page is open" not in rig.notebook.text
    for _ in range(4):
        await rig.later(1)
    assert len([post for _, _, post in rig.notebook.posts if text in post]) == 1
    assert rig.pagerduty.woken == []
    await rig.close()


async def test_a_page_that_went_out_is_not_corrected_and_its_step_keeps_its_time(tmp_path: Path) -> None:
    rig = await calling_rig(tmp_path, policy())
    await rig.handed_over()
    for _ in range(8):
        await rig.later(1)
    assert "was not sent" not in rig.notebook.text
    assert not any(head.startswith(f"Asked {SECOND}") for head in rig.heads)
    await rig.close()


async def test_a_page_that_was_refused_is_tried_anew_by_the_next_step_that_pages(tmp_path: Path) -> None:
    """The key was mended meanwhile, say; and a page that is refused again is said again."""
    names = (ON_CALL, "a manager", SECOND)
    asked = [{"name": name, "who": ["slack:U0ANA"], "page": True, "answer_within": "15m"} for name in names]
    rig = await calling_rig(tmp_path, policy(steps(*asked)))
    rig.pagerduty.fail(*[Fault(status=400)] * 2)
    incident = await rig.handed_over()
    for _ in range(6):
        await rig.later(1)
    assert rig.pagerduty.woken == [incident.id]
    assert rig.notebook.text.count("The page was not sent: PagerDuty refused the page") == 2
    assert [head.rpartition(", ")[2] for head in rig.heads] == ["paged through PagerDuty"] * 3
    await rig.operations.acknowledge(incident.id, "kim")
    await rig.later(1)
    assert rig.pagerduty.acknowledged == [incident.id]
    await rig.close()
