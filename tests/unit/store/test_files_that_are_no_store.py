"""A file that is there and is not the store is one line with the file, the setting and what to do, before anything is written into it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.domain.errors import BadInput
from app.observe.system import SystemClock, TimeIds
from app.store.database import Store
from app.store.exclusive import only_process
from app.store.folder import MAX_CHECKED, require_database
from app.store.migrate import upgrade
from tests.empty_store import put_empty_store


def _text(file: Path) -> None:
    file.write_text("this is no database\n" * 100)


def _damaged(file: Path) -> None:
    put_empty_store(file)
    held = file.read_bytes()
    file.write_bytes(held[:4096] + b"Z" * (len(held) - 4096))


def _one_page(file: Path) -> None:
    """Whatever the start reads is sound."""
    put_empty_store(file)
    with closing(sqlite3.connect(file)) as conn:
        (page,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'outbox'").fetchone()
        (size,) = conn.execute("PRAGMA page_size").fetchone()
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with file.open("r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(b"Z" * size)


def _cut(file: Path) -> None:
    put_empty_store(file)
    file.write_bytes(file.read_bytes()[:5000])


def _another(file: Path) -> None:
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("CREATE TABLE runs (a)")


def _folder(file: Path) -> None:
    file.mkdir()


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "text": (_text, "is no SQLite database"),
    "overwritten": (_damaged, "cannot be read (database disk image is malformed)"),
    "one page overwritten": (_one_page, "is damaged ("),
    "cut off": (_cut, "malformed"),
    "another program's": (_another, "is the database of another program"),
    "a folder": (_folder, "cannot be opened (Is a directory)"),
}


def _refused(refused: BadInput, file: Path, said: str) -> None:
    assert (refused.code, refused.where) == ("bad_setting", "REMEDIATOR_STATE_DIR")
    told = refused.message
    assert told.startswith(f"{file} ")
    assert said in told
    assert "put a backup" in told
    assert "REMEDIATOR_DATABASE_URL" in told
    assert "\n" not in told


@pytest.mark.parametrize("row", BROKEN.values(), ids=list(BROKEN))
def test_a_store_that_is_none_is_named_and_stays_as_it_is(
    tmp_path: Path, row: tuple[Callable[[Path], None], str]
) -> None:
    breaks, said = row
    file = tmp_path / "remediator.sqlite"
    breaks(file)
    before = file.read_bytes() if file.is_file() else b""
    url = f"sqlite:///{file}"
    with pytest.raises(BadInput) as opened:
        Store.open(url, clock=SystemClock(), ids=TimeIds())
    _refused(opened.value, file, said)
    with pytest.raises(BadInput) as upgraded:
        upgrade(url)
    _refused(upgraded.value, file, said)
    assert (file.read_bytes() if file.is_file() else b"") == before


@pytest.mark.parametrize("breaks", [_text, _cut, _folder])
def test_the_engines_file_is_looked_at_as_well(tmp_path: Path, breaks: Callable[[Path], None]) -> None:
    file = tmp_path / "remediator-engine.sqlite"
    breaks(file)
    url = f"sqlite:///{tmp_path / 'remediator.sqlite'}"
    with pytest.raises(BadInput) as refused, only_process(url, "pod-0"):
        raise AssertionError("nothing can be kept there")
    assert refused.value.message.startswith(f"{file} ")
    assert refused.value.where == "REMEDIATOR_STATE_DIR"


def test_a_new_one_an_empty_one_and_a_good_one_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "remediator.sqlite"
    require_database(file, ours="alembic_version")
    file.touch()
    require_database(file, ours="alembic_version")
    file.unlink()
    put_empty_store(file)
    require_database(file, ours="alembic_version")
    assert 1024**2 < MAX_CHECKED < 1024**3, "what is looked through holds up each start"


def test_one_that_somebody_writes_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "remediator.sqlite"
    put_empty_store(file)
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("PRAGMA locking_mode=EXCLUSIVE")
        conn.execute("BEGIN EXCLUSIVE")
        require_database(file, ours="alembic_version")
