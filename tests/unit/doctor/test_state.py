"""Where the state lies and what the store says: each planted fault is named by its own code."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from app.doctor.examine import look
from app.doctor.findings import Level
from tests.unit.doctor.clinic import SUBSCRIPTION, Clinic, admitted
from tests.unit.doctor.test_planted import examined


@pytest.mark.parametrize(("free", "code"), [(50, "disk_full"), (500, "disk_low")])
async def test_little_space_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, code: str
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=free * 1024**2))
    found = await examined(Clinic(tmp_path))
    assert [f.code for f in found] == [code]
    assert f"{free} MiB" in found[0].text


@pytest.mark.parametrize("file", ["", "remediator.sqlite"])
async def test_a_store_that_everybody_may_write_is_named(tmp_path: Path, file: str) -> None:
    place = tmp_path / file
    async with admitted(Clinic(tmp_path)) as patient:
        place.chmod(0o777)
        found = [f for f in await look(patient) if f.code == "store_open"]
        place.chmod(0o700)
        assert "store_open" not in [f.code for f in await look(patient)]
    assert [f.level for f in found] == [Level.WARN]
    assert place.name in found[0].text


async def test_a_state_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # root may write everywhere
    assert [f.code for f in await examined(Clinic(tmp_path))] == ["state_not_writable"]


async def test_a_state_folder_where_no_file_can_be_is_told_apart_from_a_full_disk(tmp_path: Path) -> None:
    (failed,) = await examined(Clinic(tmp_path, {"state_dir": Path("/proc/1/state")}))
    assert (failed.code, failed.fix) == (
        "state_not_writable",
        "set REMEDIATOR_STATE_DIR to a folder on a volume",
    )


async def test_a_state_folder_that_is_mounted_to_be_read_is_not_for_a_user_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = list(os.statvfs(tmp_path))
    held[8] |= os.ST_RDONLY
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(held))
    (failed,) = await examined(Clinic(tmp_path))
    assert failed.code == "state_not_writable"
    assert "read only" in failed.text
    assert failed.fix.startswith("mount it to be written")


async def test_a_store_of_another_version_is_named(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "remediator.sqlite").touch()
    clinic.given["state_dir"] = other
    found = await examined(clinic)
    assert [f.code for f in found] == ["store_closed"]
    assert "db upgrade" in found[0].fix


async def test_a_guard_of_the_trail_that_is_gone_is_named(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    clinic.pager.subscriptions = [SUBSCRIPTION]
    async with admitted(clinic) as patient:
        database = sqlite3.connect(tmp_path / "remediator.sqlite")
        database.execute("DROP TRIGGER audit_no_update")
        database.close()
        found = await look(patient)
    named = [f for f in found if f.level is Level.FAIL]
    assert [f.code for f in named] == ["audit_guard_missing"]
    assert "audit_no_update" in named[0].text


async def test_a_store_that_takes_no_write_is_named(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    clinic.pager.subscriptions = [SUBSCRIPTION]
    async with admitted(clinic) as patient:
        database = sqlite3.connect(tmp_path / "remediator.sqlite")
        text = (
            "CREATE TRIGGER full BEFORE UPDATE ON audit_chain BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
        )
        database.execute(text)
        database.close()
        found = await look(patient)
    assert [f.code for f in found if f.level is Level.FAIL] == ["store_not_writable"]
