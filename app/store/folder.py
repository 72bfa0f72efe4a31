"""The folder and the files of an SQLite store: the folder is made where it is new, and what cannot be used is an error that names its setting."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from app.domain.errors import BadInput
from app.domain.free_text import one_line

_MAGIC: Final = b"SQLite format 3\0"
MAX_CHECKED: Final = 64 * 1024 * 1024
"""Bytes of a file that is looked through as a whole, which takes a part of a second; of a longer one what the start reads."""
_LATER: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)
"""What has passed by the next look, or is told as it is by whoever writes."""
_MAX_SAID: Final = 200


def make_folder(folder: Path) -> None:
    """Make it, for its owner alone; one that is there stays as it is. Raises BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise no_folder(folder, error) from error


def no_folder(folder: Path, error: OSError) -> BadInput:
    """The error of a folder in which no store can be kept."""
    told = f"the store cannot be kept in {folder}: {error.strerror}"
    return BadInput(told, code="bad_setting", where="REMEDIATOR_STATE_DIR")


def require_database(file: Path, *, ours: str = "") -> None:
    """Raise BadInput (`bad_setting`) for a file that is there and cannot be the database: no file, none of SQLite, a damaged one, or one of
    another program, which lacks the table `ours`. An empty file is a new database."""
    if not file.exists():
        return
    try:
        with file.open("rb") as stream:
            begin, size = stream.read(len(_MAGIC)), file.stat().st_size
    except OSError as error:
        raise _unusable(file, f"cannot be opened ({error.strerror})") from error
    if not begin:
        return
    if begin != _MAGIC:
        raise _unusable(file, "is no SQLite database")
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True)) as conn:
            tables = {
                str(name) for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            fault = "ok"
            if size <= MAX_CHECKED:
                (fault,) = conn.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _LATER:
            return
        raise _unusable(file, f"cannot be read ({one_line(str(error), _MAX_SAID)})") from error
    if fault != "ok":
        raise _unusable(file, f"is damaged ({one_line(str(fault), _MAX_SAID)})")
    if ours and tables and ours not in tables:
        raise _unusable(file, f"is the database of another program (it has no table {ours})")


def _unusable(file: Path, why: str) -> BadInput:
    told = (
        f"{file} {why}: put a backup of the state folder in its place, or move the file away, and the next start makes a new one without its "
        "incidents and audit trail; REMEDIATOR_STATE_DIR, or REMEDIATOR_DATABASE_URL, says where it is"
    )
    return BadInput(told, code="bad_setting", where="REMEDIATOR_STATE_DIR")
