"""The day's head of the audit trail goes to the channel and the log, once, whatever restarts; a check against it holds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.domain.events import EventKind
from app.sim import VirtualClock
from app.sim.scenario import Scenario
from app.store import trail
from app.store.audit import NO_KEYS, Head
from tests.scenario.rig import Rig

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EMPTY = Scenario(name="empty", summary="nothing runs, so days pass quickly")
DAY = timedelta(days=1).total_seconds()


def heads(rig: Rig) -> list[str]:
    """The messages that tell a head."""
    return [text for _, _, text in rig.notebook.posts if text.startswith("AUDIT TRAIL")]


async def test_each_day_has_one_message_with_a_head_that_verifies(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "rig.sqlite", world=EMPTY, clock=VirtualClock(NOON), stride=3_600.0)
    await rig.born()
    await rig.store.write(lambda tx: tx.audit(EventKind.SERVICE_STARTED))
    await rig.run(0.9 * DAY, alerts=False)
    assert heads(rig) == []  # nothing to hold on to yet
    await rig.run(0.4 * DAY, alerts=False)
    assert len(heads(rig)) == 1
    await rig.close()
    await rig.born()  # a restart finds today's message there
    await rig.run(600, alerts=False)
    assert len(heads(rig)) == 1
    await rig.run(3 * DAY, alerts=False)
    assert len(heads(rig)) == 4
    for text in heads(rig):
        found = re.search(r"--head (\d+:[0-9a-f]+)", text)
        assert found is not None
        known = Head.parse(found[1])
        report = await rig.store.read(lambda conn, known=known: trail.verify(conn, NO_KEYS, known))  # type: ignore[misc]
        assert report.ok, report
    await rig.close()
