"""A temporary Postgres for the contract tests: one server per test process, one fresh database per test.

Found by `pg_config` or in the usual folders. Postgres refuses root, so as root it runs as `postgres` or `nobody`. When it
is not here the tests skip and say so, and fail under `--require-live`.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from app.store.migrate import upgrade

_FOLDERS = "/usr/lib/postgresql"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of a name that nobody can guess is made in it
_ROOM = 6 * 1024**3  # bytes that must be free there
_KEPT = 30
"""Databases that stay until the server ends; no test has so many."""
_numbers = itertools.count(1)


class PostgresMissingError(Exception):
    """No usable Postgres on this machine."""


class Postgres:
    """A running server on loopback, trusting local connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._migrated = ""
        self._made: deque[str] = deque()

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}"

    def new_database(self, encoding: str = "UTF8") -> str:
        """Create an empty database and return its URL."""
        return self._new(f"TEMPLATE template0 ENCODING '{encoding}'")

    def _new(self, like: str) -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{name}" {like}'.encode())
            self._made.append(name)
            if len(self._made) > _KEPT:
                conn.execute(f'DROP DATABASE IF EXISTS "{self._made.popleft()}" WITH (FORCE)'.encode())
        return self.url(name)

    def new_migrated_database(self) -> str:
        """Create a database with the schema of this version and no row, and return its URL: a copy, which is quicker than to
        migrate."""
        if not self._migrated:
            self._migrated = self.new_database()
            self._made.pop()  # this one stays
            upgrade(self._migrated)
        original = self._migrated.rpartition("/")[2]
        return self._new(f'TEMPLATE "{original}" STRATEGY file_copy')


def find_programs() -> Path:
    """The folder with `initdb` and `postgres`. Raises PostgresMissingError."""
    config = shutil.which("pg_config")
    folders = [Path(found) for found in [_bindir(config)] if found] if config else []
    folders += sorted(Path(_FOLDERS).glob("*/bin"), reverse=True)
    for folder in folders:
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            return folder
    raise PostgresMissingError(f"no initdb and postgres by pg_config or in {_FOLDERS}")


def _bindir(config: str) -> str:
    return subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False).stdout.strip()


def server_user() -> str | None:
    """Who the server runs as; None for whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _place() -> Path | None:
    """Memory, where it has room: a database is a copy of some hundred files. None for the usual folder."""
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return None
    return _MEMORY if os.access(_MEMORY, os.W_OK) and found.f_bavail * found.f_frsize >= _ROOM else None


@contextmanager
def running(*, on_disk: bool = False, volume: Path | None = None) -> Iterator[Postgres]:
    """A server for the length of the block; durable settings off, it holds nothing worth keeping. With a `volume` its files are there, and
    its write-ahead log is elsewhere."""
    programs, user, port = find_programs(), server_user(), _free_port()
    folder = Path(tempfile.mkdtemp(prefix="store-postgres-", dir=None if on_disk else _place()))
    try:
        if user:
            entry = pwd.getpwnam(user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        folder.chmod(0o700)
        data = (volume or folder) / "data"
        wal: list[str | Path] = ["-X", folder / "wal"] if volume else []
        _run(
            [
                programs / "initdb",
                "-D",
                data,
                "-U",
                "tester",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                "-N",
                *wal,
            ],
            user,
        )
        server = _start(programs, data, port, user, folder / "log")
        try:
            _wait(server, port, folder)
            yield Postgres(port)
        finally:
            server.send_signal(signal.SIGQUIT)  # "immediate": waits for no client, and writes nothing back
            server.wait(timeout=20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str | Path], user: str | None) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        user=user,
        extra_groups=[] if user else None,
        cwd="/",
    )
    if done.returncode != 0:
        raise PostgresMissingError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")


def _start(
    programs: Path, data: Path, port: int, user: str | None, log_file: Path
) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "full_page_writes": "off",
        "shared_buffers": "32MB",
        "max_connections": "60",
        "deadlock_timeout": "100ms",
        "max_prepared_transactions": "5",
        "wal_level": "logical",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    with log_file.open("wb") as log:
        return subprocess.Popen(
            [programs / "postgres", "-D", data, f"--port={port}", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            user=user,
            extra_groups=[] if user else None,
            cwd="/",
        )


def _wait(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    for _ in range(200):
        if server.poll() is not None:
            log = (folder / "log").read_text("utf-8", "replace")
            raise PostgresMissingError(f"postgres ended at once: {log[-500:]}")
        try:
            psycopg.connect(f"postgresql://tester@127.0.0.1:{port}/postgres", connect_timeout=1).close()
        except psycopg.OperationalError:
            with suppress(subprocess.TimeoutExpired):
                server.wait(timeout=0.05)
        else:
            return
    raise PostgresMissingError("postgres did not answer in ten seconds")
