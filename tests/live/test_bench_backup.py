"""The bench of the service's memory in a backup and a restore runs, and what it watches is done: at its smallest, the numbers of `make bench` are of a gigabyte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.backup_service import BACKUP, MEBIBYTES, RESTORE, measured, watch
from tests.bench.backup_world import compare, digests, filled
from tests.bench.report import Scale, below
from tests.contract.postgres import running
from tests.live.objectstore import ObjectStore
from tests.live.stack import ControlPlane

pytestmark = pytest.mark.live
ROWS = 2_000


def test_the_service_needs_little_memory_for_a_backup_and_the_restore_of_it(
    control_plane: ControlPlane, object_store: ObjectStore, tmp_path: Path
) -> None:
    with running(on_disk=True) as server:
        database = filled(server, ROWS)
        live = digests(database.url)
        found = watch((control_plane, object_store), database, tmp_path)
        assert compare(live, digests(database.url)) == ROWS
    assert [one.name for one in found] == [BACKUP, RESTORE]
    assert f"{ROWS} rows of 1 tables" in found[0].result
    assert "is the restored copy" in found[1].result
    assert all(100 < one.idle <= one.peak for one in found)
    held = [below(measured(one), MEBIBYTES, Scale()) for one in found]
    assert [(m.ok, m.limit) for m in held] == [(True, "< 50")] * 2, held
