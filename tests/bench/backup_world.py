"""Owns what the bench of a backup works on: a database of a plain owner with generated rows, the digests of all of them, and the
programs that a pod is held against."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.contract.backup.recovery import owned
from tests.contract.postgres import Postgres, find_programs

_FILL = """
    INSERT INTO t SELECT g, md5(g::text), repeat(md5((g * 7)::text), 4), jsonb_build_object('k', md5((g * 3)::text), 'n', g)
    FROM generate_series(1, {}) g
"""
_TABLES = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema$)' ORDER BY 1, 2"
Digests = Mapping[str, tuple[int, str]]
"""Of each table how many rows it has, and the sha256 of them."""


class RowsDiffer(Exception):
    """A copy is not what it was copied from."""


@dataclass(frozen=True)
class Database:
    """The database; `url` is of a superuser, `owner` the name of the plain role that it belongs to, `size` in bytes."""

    url: str
    owner: str
    size: int

    def of_owner(self, password: str) -> str:
        """The URL with which the owner logs in."""
        return self.url.replace("tester@", f"{self.owner}:{password}@")


def filled(server: Postgres, rows: int) -> Database:
    """A new database with so many rows."""
    url = server.new_database()
    owner = owned(url)
    with psycopg.connect(url.replace("tester@", f"{owner}@"), autocommit=True) as conn:
        conn.execute("CREATE TABLE t (id int PRIMARY KEY, a text, b text, c jsonb)")
        conn.execute(_FILL.format(rows).encode())
        row = conn.execute("SELECT pg_database_size(current_database())").fetchone()
    return Database(url, owner, int(row[0]) if row else 0)


def digests(url: str) -> Digests:
    """Every byte of every row of every table, in the order of the first column: how they lie on the disk is no difference."""
    found = {}
    with psycopg.connect(url) as conn:
        for schema, table in conn.execute(_TABLES).fetchall():
            rows, digest = 0, hashlib.sha256()
            words = sql.SQL("COPY (SELECT * FROM {} ORDER BY 1) TO STDOUT")
            with conn.cursor().copy(words.format(sql.Identifier(schema, table))) as copy:
                for row in copy:
                    rows += 1
                    digest.update(row)
            found[f"{schema}.{table}"] = rows, digest.hexdigest()
    return found


def compare(live: Digests, copy: Digests) -> int:
    """How many rows both have. Raises RowsDiffer where one of them is another, is missing or was added."""
    if differ := sorted(name for name in {*live, *copy} if live.get(name) != copy.get(name)):
        raise RowsDiffer(
            f"{differ[0]}: {live.get(differ[0])} in the database, {copy.get(differ[0])} in its copy"
        )
    return sum(rows for rows, _ in live.values())


def beside(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return make_conninfo(url, dbname=name)


def drop(url: str, name: str) -> None:
    """Drop another database of the same server."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def piped(url: str, folder: Path) -> float:
    """Seconds of pg_dump into zstd."""
    began = time.monotonic()
    _shell(f"'{find_programs()}/pg_dump' '{url}' | zstd --quiet --force -o '{folder}/piped.zst'")
    return time.monotonic() - began


def restored_by_hand(url: str, stored: Path, name: str) -> float:
    """Seconds of pg_restore of a stored backup into a new database of this name."""
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    programs, to = find_programs(), beside(url, name)
    _shell(f"zstd -dcq '{stored}' | '{programs}/pg_restore' --exit-on-error --no-owner --dbname=\"{to}\"")
    return time.monotonic() - began


def _shell(command: str) -> None:
    subprocess.run(["/bin/bash", "-o", "pipefail", "-c", command], check=True)
