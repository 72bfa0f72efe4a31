"""Promise 9: the trail is append-only, hash-chained, exportable and verifiable: whoever tampers with it is found out."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from app.store import trail
from app.store.audit import GENESIS, NO_KEYS
from app.store.tx import AuditRecord
from tests.scenario.rig import Rig
from tests.scenario.scenes import born


async def _lived(path: Path) -> Rig:
    rig = await born(path)
    await rig.run(60)
    report = await rig.store.read(trail.verify)
    assert report.ok
    assert report.checked > 10
    return rig


@pytest.mark.parametrize(
    ("statement", "at"),
    [
        pytest.param("UPDATE audit SET data = replace(data, 'allow', 'deny') WHERE seq = 7", 7, id="data"),
        pytest.param("UPDATE audit SET actor = 'nobody' WHERE seq = 5", 5, id="actor"),
        pytest.param("UPDATE audit SET at = at + 1 WHERE seq = 3", 3, id="time"),
        pytest.param("DELETE FROM audit WHERE seq = 4", 4, id="removed"),
        pytest.param("UPDATE audit SET kind = 'run.moved' WHERE seq = 6", 6, id="kind"),
    ],
)
async def test_a_record_that_was_tampered_with_is_named(tmp_path: Path, statement: str, at: int) -> None:
    """By whoever has the file in hands, past the service."""
    rig = await _lived(tmp_path)
    await rig.close()
    with sqlite3.connect(rig.path) as file:
        file.executescript("DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;")
        if at == 7:
            file.execute("UPDATE audit SET data = data || ' ' WHERE seq = 7")
        file.execute(statement)
    file.close()
    await rig.born()
    report = await rig.store.read(trail.verify)
    assert (report.ok, report.at_seq) == (False, at)
    assert str(at) in report.problem
    await rig.close()


async def test_a_cut_off_tail_is_found_out(tmp_path: Path) -> None:
    """The head remembers how far the trail went."""
    rig = await _lived(tmp_path)
    await rig.close()
    with sqlite3.connect(rig.path) as file:
        file.executescript("DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;")
        last = file.execute("SELECT max(seq) FROM audit").fetchone()[0]
        file.execute("DELETE FROM audit WHERE seq = ?", (last,))
    file.close()
    await rig.born()
    report = await rig.store.read(trail.verify)
    assert (report.ok, report.at_seq) == (False, last)
    await rig.close()


async def test_an_export_can_be_checked_by_anybody(tmp_path: Path) -> None:
    """From the exported lines alone, with the published rule for a link."""
    rig = await _lived(tmp_path)
    lines = await rig.store.read(lambda conn: [json.dumps(row) for row in trail.export(conn)])
    head = GENESIS
    for line in lines:
        row = json.loads(line)
        text = json.dumps(row["data"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        record = AuditRecord(row["at"], row["kind"], row["incident_id"], row["run_id"], row["actor"], text)
        head = NO_KEYS.link(head, row["seq"], record)
        assert head == row["hash"]
    assert len(lines) > 10
    await rig.close()
