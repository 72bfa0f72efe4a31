"""Owns a PostgreSQL and a Redis of the tests' own, on loopback, with data that goes when they stop."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.live import databases
from tests.live.build import LiveStackError
from tests.live.process import Process, free_ports, wait_until

_POSTGRES_SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "listen_addresses=127.0.0.1",
    "max_connections=200",
)


class Postgres:
    """A PostgreSQL server with password authentication over TCP."""

    def __init__(self, folder: Path | None = None) -> None:
        server = databases.find_postgres()
        if server is None:
            raise LiveStackError("PostgreSQL is missing; run: python -m tests.live.build")
        self.server = server
        self.has_stat_statements = databases.has_contrib(server, "pg_stat_statements")
        self._user = databases.postgres_user()
        # A folder of its own near the root: the server's user must be able to get there, and the path of
        # a Unix socket has room for little more than 100 characters.
        self._data = Path(tempfile.mkdtemp(prefix="live-postgres-"))
        self._log = (folder or self._data) / "postgres.log"
        self._port = free_ports(1)[0]
        self._password = secrets.token_hex(16)
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The server's first process; to pause it stops new connections only, the others have processes of their own."""
        if self._process is None:
            raise RuntimeError("PostgreSQL was not started")
        return self._process

    @property
    def dsn(self) -> str:
        """The address of the maintenance database."""
        return self._dsn("postgres")

    def _dsn(self, database: str) -> str:
        return f"postgresql://live:{self._password}@127.0.0.1:{self._port}/{database}"

    def start(self) -> Self:
        """Creates the data folder if it is not there, and starts the server on it."""
        try:
            if not (self._data / "data").exists():
                self._init()
            settings = [f"port={self._port}", f"unix_socket_directories={self._data}", *_POSTGRES_SETTINGS]
            if self.has_stat_statements:
                settings.append("shared_preload_libraries=pg_stat_statements")
            flags = [part for setting in settings for part in ("-c", setting)]
            argv: list[str | Path] = [self.server.program, "-D", self._data / "data", *flags]
            # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for the clients to leave.
            process = Process(argv, self._log, user=self._user, stop_signal=signal.SIGINT)
            self._process = process.start()
            wait_until(self._answers, what="PostgreSQL")
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """Ends the server; start() goes on with the same data and address."""
        if self._process is not None:
            self._process.stop(grace=10.0)

    def close(self) -> None:
        """Ends the server and removes the data."""
        self.stop()
        shutil.rmtree(self._data, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fresh_database(self) -> str:
        """Creates an empty database and returns its address."""
        name = f"live_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return self._dsn(name)

    def execute(self, statement: str, dsn: str | None = None) -> str:
        """What psql prints for a statement, without headings."""
        flags = ["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1"]
        command = [str(self.server.folder / "psql"), *flags, "--command", statement, dsn or self.dsn]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if answer.returncode != 0:
            raise RuntimeError(f"psql: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def _init(self) -> None:
        password = self._data / "password"
        password.write_text(self._password, "utf-8")
        if self._user:
            for path in (self._data, password):
                shutil.chown(path, self._user)
        command = [
            str(self.server.folder / "initdb"),
            f"--pgdata={self._data / 'data'}",
            "--username=live",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            user=self._user,
            extra_groups=[] if self._user else None,
            cwd="/",
            # initdb takes the home of a user that it cannot enter for an error on some systems.
            env={**os.environ, "HOME": str(self._data)},
        )
        if answer.returncode != 0:
            raise LiveStackError(f"initdb failed: {answer.stderr.strip()}")

    def _answers(self) -> bool:
        self.process.check()
        try:
            return self.execute("SELECT 1") == "1"
        except RuntimeError:
            return False


class Redis:
    """A Redis server that keeps nothing on disk."""

    DATABASES = 1024

    def __init__(self, folder: Path | None = None, more: Mapping[str, str] | None = None) -> None:
        """`more`: settings besides, as on the command line."""
        server = databases.find_redis()
        if server is None:
            raise LiveStackError("Redis is missing; run: python -m tests.live.build")
        self.server = server
        self._data = Path(tempfile.mkdtemp(prefix="live-redis-"))
        self.port = free_ports(1)[0]
        self._given = 0
        settings = {
            "--bind": "127.0.0.1",
            "--port": str(self.port),
            "--dir": str(self._data),
            "--save": "",
            "--appendonly": "no",
            "--databases": str(self.DATABASES),
            **(more or {}),
        }
        flags = [part for setting in settings.items() for part in setting]
        self.process = Process([server.program, *flags], (folder or self._data) / "redis.log")

    @property
    def url(self) -> str:
        """The address of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def fresh_database(self) -> str:
        """The address of a database that nobody has used yet."""
        self._given += 1
        if self._given >= self.DATABASES:
            raise RuntimeError("all Redis databases are used up")
        return f"redis://127.0.0.1:{self.port}/{self._given}"

    def ping(self) -> bool:
        """Whether the server answers PING, asked without a client library."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as connection:
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                return connection.recv(64) == b"+PONG\r\n"
        except OSError:
            return False

    def start(self) -> Self:
        """Starts the server; after stop() it is back empty, on the same port."""
        self.process.start()
        try:
            wait_until(self._answers, what="Redis")
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """Ends the server, and all its data with it."""
        self.process.stop()

    def close(self) -> None:
        """Ends the server and removes its folder."""
        self.stop()
        shutil.rmtree(self._data, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answers(self) -> bool:
        self.process.check()
        return self.ping()
