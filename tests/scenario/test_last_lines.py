"""A secret that stands alone on the last line of a dead container's log leaves through nothing: no finding, message, page, answer or row."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from app.domain.cluster import LogQuery
from app.sim.cluster import SimCluster
from tests.scenario.canaries import answers, rows_with, told
from tests.scenario.test_no_secret_leaves import ended, logged, rig_of

__all__ = ["logged"]
SECRET = "Vq8mK2xPz7Lw"
LAST = (
    f"starting up\nPlease use the following password:\n\n{SECRET}\nconfig:\n  password: |\n    {SECRET}\n"
    f"    - name: DB_PASSWORD\n      value: {SECRET}\ntokens:\n- {SECRET}\n"
)


async def test_h3_the_value_below_its_name_stays_in_its_log(
    tmp_path: Path, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def logs(_: SimCluster, __: LogQuery) -> str:
        return LAST

    monkeypatch.setattr(SimCluster, "logs", logs)
    async with rig_of(tmp_path, "pod-restarting") as rig:
        await ended(rig)
        places = {**await answers(rig), "messages": told(rig), "log": logged.getvalue()}
        assert "[redacted]" in "".join(places.values())
        assert [name for name, text in places.items() if SECRET in text] == []
        assert list(rows_with(rig.url or rig.path, SECRET)) == []
