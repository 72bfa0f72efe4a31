"""Volumes that are really full: the server's below a restore and a tried restore, and a bucket's. The server lives, and nothing half made stays.

The volume is a small file system in memory, which a container may not be allowed to mount: those tests say so then. What keeps the server
alive is also seen without one.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from app.backup import source
from app.backup.failure import BackupFailed
from app.backup.order import Place
from app.backup.restore_order import Phase
from app.domain.database import NO_ROOM
from tests.contract.backup.pod import PodRun
from tests.contract.backup.recovery import Recovery, backed_up
from tests.contract.backup.test_backup import files, pod_for, scratch_databases
from tests.contract.postgres import Postgres, PostgresMissingError, running, server_user
from tests.contract.stores import missing

STOCK = (
    "CREATE TABLE stock (a int PRIMARY KEY, b text)",
    "INSERT INTO stock SELECT g, md5(g::text) || md5((g + 1)::text) FROM generate_series(1, 100000) g",
    "CREATE INDEX by_text ON stock (b)",
)
ROOMS = {"the copy is made": 0.1, "its rows are written": 8, "its index is built": 19}
"""MiB that are free when it begins, by what fails for want of room."""
ROWS = "SELECT count(*), sum(hashtext(b)::bigint) FROM stock"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@contextmanager
def mounted(folder: Path, mebibytes: int, user: str | None = None) -> Iterator[Path]:
    """A file system of this size in memory."""
    folder.mkdir()
    owner = pwd.getpwnam(user) if user else None
    options = f"size={mebibytes}m,mode=0700" + (f",uid={owner.pw_uid},gid={owner.pw_gid}" if owner else "")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except FileNotFoundError as error:
        pytest.skip(f"NOT TESTED ON A FULL DISK: {error}")
    if done.returncode:
        pytest.skip(f"NOT TESTED ON A FULL DISK: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=20)


def fill(volume: Path, free: float) -> None:
    """Leave so many MiB."""
    found = os.statvfs(volume)
    with (volume / "others").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - int(free * 2**20))


@pytest.fixture
def small(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Postgres, Path]]:
    """A server whose files stand on a volume of 100 MiB and whose write-ahead log does not."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # the server's user goes through them
    try:
        with mounted(tmp_path / "volume", 100, server_user()) as volume, running(volume=volume) as server:
            yield server, volume
    except PostgresMissingError as error:
        missing(str(error), request)


@pytest.fixture
def made(small: tuple[Postgres, Path], tmp_path: Path) -> Callable[[float], Recovery]:
    """A database with a backup, on a disk on which so many MiB are free."""
    server, volume = small

    def left(free: float) -> Recovery:
        found = backed_up(server.new_database(), tmp_path, STOCK)
        with psycopg.connect(found.url, autocommit=True) as conn:
            conn.execute(
                "CHECKPOINT"
            )  # as on any server that ran for five minutes: its pages have their room
        fill(volume, free)
        return found

    return left


@pytest.mark.parametrize("what", ROOMS)
def test_a_restore_on_a_full_disk_is_told_and_leaves_the_server_and_the_database_as_they_were(
    made: Callable[[float], Recovery], what: str
) -> None:
    """DROP DATABASE forces a checkpoint, which ends a server that has no room for it: the copy's tables go first."""
    recovery = made(ROOMS[what])
    before = recovery.ask(ROWS)
    code, words = recovery.run(Phase.RESTORE)
    assert code == 1
    assert NO_ROOM in words
    assert words.endswith("(disk_full)")
    assert (recovery.copies, recovery.ask(LOCKS), recovery.ask(ROWS)) == ([], [(0,)], before)
    with psycopg.connect(recovery.url, autocommit=True) as conn:
        conn.execute("CHECKPOINT")  # the server's own next one


def test_a_backup_whose_tried_restore_finds_the_disk_full_is_told_and_publishes_nothing(
    made: Callable[[float], Recovery], tmp_path: Path
) -> None:
    recovery = made(8)
    (tmp_path / "again").mkdir()
    pod = pod_for(recovery.url, tmp_path / "again", scratch=True)
    ended = pod.run()
    assert ended.codes["upload"] == 1
    assert NO_ROOM in ended.words
    assert (scratch_databases(recovery.url), files(tmp_path / "again" / "bucket")) == ([], [])


def test_a_backup_into_a_full_bucket_is_told_and_leaves_nothing_in_it(
    server: Postgres, tmp_path: Path
) -> None:
    recovery = backed_up(server.new_database(), tmp_path, STOCK)
    with mounted(tmp_path / "full", 3) as volume:
        order = pod_for(recovery.url, tmp_path, place=Place(f"file://{volume}")).order
        fill(volume, 0.5)
        ended = PodRun(tmp_path / "second", order, recovery.secrets).run()
        assert ended.codes["upload"] == 1
        assert "the store has no room left" in ended.words
        assert files(volume) == ["others"]


def test_the_tables_of_a_database_go_before_it_so_that_there_is_room_when_it_is_dropped(
    server: Postgres,
) -> None:
    """A prepared transaction refuses the drop, and not what comes before it."""
    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE big AS SELECT generate_series(1, 1000) AS a")
        conn.execute('CREATE TABLE "of ""another" (a int PRIMARY KEY)')
        conn.execute('CREATE TABLE refers (a int REFERENCES "of ""another")')
        conn.execute("BEGIN")
        conn.execute("SELECT pg_advisory_xact_lock(1)")
        conn.execute("PREPARE TRANSACTION 'in the way'")
    name = url.rpartition("/")[2]
    entry = {"host": "127.0.0.1", "port": str(server.port), "user": "tester", "dbname": "postgres"}
    with source.connection_of(entry, autocommit=True) as connection:
        with pytest.raises(BackupFailed):
            source.drop(connection, name, entry)
        with psycopg.connect(url, autocommit=True) as conn:
            left = conn.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            ).fetchall()
            assert left == []
            conn.execute("ROLLBACK PREPARED 'in the way'")
        source.drop(connection, name, entry)
        assert connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchall() == []


def test_a_database_that_nobody_can_connect_to_for_want_of_room_is_not_dropped_by_force(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = server.new_database().rpartition("/")[2]
    entry = {"host": "127.0.0.1", "port": str(server.port), "user": "tester", "dbname": "postgres"}

    def full(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("FATAL:  could not write init file")

    with source.connection_of(entry, autocommit=True) as connection:
        with monkeypatch.context() as patched:
            patched.setattr(psycopg, "connect", full)
            with pytest.raises(BackupFailed, match="the disk of the server is full") as told:
                source.drop(connection, name, entry)
        assert told.value.code == "disk_full"
        assert connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchall() == [(1,)]


def test_what_gives_no_room_back_is_not_dropped_by_force(
    small: tuple[Postgres, Path],
) -> None:
    """Large objects alone, or a copy that was made with the last of the room."""
    server, volume = small
    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CHECKPOINT")
    fill(volume, 0)
    entry = {"host": "127.0.0.1", "port": str(server.port), "user": "tester", "dbname": "postgres"}
    with source.connection_of(entry, autocommit=True) as connection:
        with pytest.raises(BackupFailed, match="the disk of the server is full"):
            source.drop(connection, url.rpartition("/")[2], entry)
        (volume / "others").unlink()
        source.drop(connection, url.rpartition("/")[2], entry)
