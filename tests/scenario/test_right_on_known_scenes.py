"""Known faults with an innocent release beside them, through the whole service and under two alerts: the right write, or none.

The tables of causes say which step a cause allows; here they are held against what reaches the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.target import Kind
from tests.scenario.scenes import decision
from tests.scenario.test_right_on_generated_situations import _played
from tests.unit.causes import test_before_they_run, test_others, test_while_they_run
from tests.unit.causes.sets import SetWorld
from tests.unit.causes.table import Row

SCENES = frozenset(
    {
        "a release crashes for a dependency that is down",
        "a right was taken away",
        "an image that is pulled for too long",
        "cordoned during a release",
        "init container waits",
        "killed at the limit of the whole pod",
        "killed for memory by a release",
        "paused in a rollout",
        "quota full for the surge of an innocent release",
        "runs as root",
        "scaled to 0",
        "volume on another node",
    }
)


def _rows() -> Iterator[Row]:
    seen = set[str]()
    for module in (test_while_they_run, test_before_they_run, test_others):
        for rows in vars(module).values():
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, Row) and row.name in SCENES - seen:
                    seen.add(row.name)
                    yield row


ROWS = list(_rows())


def test_every_scene_is_in_the_tables() -> None:
    assert {row.name for row in ROWS} == SCENES


@pytest.mark.parametrize("alertname", ["HighErrorRate", "KubePodNotReady"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_nothing_is_written_but_the_step_that_the_cause_allows(
    tmp_path: Path, row: Row, alertname: str
) -> None:
    world = row.happens()
    assert not isinstance(world, SetWorld)
    rig = await _played(world, alertname, tmp_path)
    written = {(m.kind, m.name) for m in rig.cluster.mutations if not m.dry_run and m.kind is not Kind.EVENT}
    found = await decision(rig)
    await rig.close()
    own_way = alertname == "KubePodNotReady" and row.step and not row.asks
    assert written == ({(Kind.DEPLOYMENT, "web")} if own_way else set()), found.text
