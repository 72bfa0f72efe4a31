"""An archive that is swapped after it was approved: the SQL in it runs as the owner, so not a byte of it may reach pg_restore."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from app.backup.order import Place
from app.backup.restore_order import Phase
from tests.contract.backup.recovery import COPY, MARK, ROOM, Recovery, backed_up, swapped
from tests.contract.backup.strict import StrictStore
from tests.contract.backup.test_backup import LOGIN
from tests.contract.postgres import Postgres, find_programs


@pytest.fixture
def made(server: Postgres, tmp_path: Path) -> Iterator[Recovery]:
    """A database with a backup; neither it nor its owner was touched in the end."""
    url = server.new_database()
    statements = ("CREATE TABLE stock (a int PRIMARY KEY)", "INSERT INTO stock VALUES (1), (2)")
    found = backed_up(url, tmp_path, (*statements, f"COMMENT ON TABLE stock IS '{ROOM}'"))
    yield found
    assert found.ask("SELECT count(*) FROM stock") == [(2,)]
    password = f"SELECT rolpassword FROM pg_authid WHERE rolname = '{found.owner}'"
    assert found.ask(password, "postgres") == [(None,)]
    assert found.copies == []


STATEMENTS = ('DROP DATABASE "{live}" WITH (FORCE);', "ALTER ROLE \"{owner}\" PASSWORD 'evil';")


@pytest.mark.parametrize("statement", STATEMENTS)
def test_nothing_of_an_archive_that_is_not_the_approved_one_is_carried_out(
    made: Recovery, statement: str
) -> None:
    evil = statement.format(live=made.live, owner=made.owner)
    made.stored.write_bytes(swapped(made.stored.read_bytes(), evil))
    code, words = made.run(Phase.RESTORE)
    assert (code, "its manifest says" in words) == (1, True), words


@pytest.mark.parametrize("phase", list(Phase))
def test_pg_restore_is_not_even_started_for_an_archive_that_is_not_the_approved_one(
    made: Recovery, tmp_path: Path, phase: Phase
) -> None:
    programs, began = tmp_path / "bin", tmp_path / "began"
    programs.mkdir()
    (programs / "pg_dump").symlink_to(find_programs() / "pg_dump")
    (programs / "pg_restore").write_text(f"#!/bin/sh\ntouch {began}\nexec cat >/dev/null\n", "utf-8")
    (programs / "pg_restore").chmod(0o755)
    made.stored.write_bytes(swapped(made.stored.read_bytes(), "SELECT 1;"))
    code, _ = made.run(phase, programs=programs)
    assert (code, began.exists()) == (1, False)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_nothing_of_an_archive_that_is_swapped_while_it_is_restored_is_carried_out(
    made: Recovery, statement: str
) -> None:
    """The store gives the approved one to whoever looks, and another one to the second read."""
    with StrictStore() as store:
        key, place = f"pre/{made.backup.key}", Place("s3://bucket/pre", store.url)
        store.objects[key] = made.stored.read_bytes()
        store.objects[f"{key}.manifest.json"] = json.dumps(made.manifest).encode()
        evil = statement.format(live=made.live, owner=made.owner)
        size = len(store.objects[key])
        store.then[key] = swapped(store.objects[key], evil).ljust(size, b"\0")[:size]
        code, words = made.run(Phase.RESTORE, {**made.secrets, "store": LOGIN}, place=place)
        assert (code, "what was read back is not what was there before" in words) == (1, True), words
        assert store.read.count(key) == 2


def test_a_copy_whose_dump_writes_the_mark_itself_is_validated_all_the_same(made: Recovery) -> None:
    """Approved as it is: its comment is the mark, and its rows are not those of the manifest. So it is gone, and the next try is told no lie."""
    copy = f"{made.live}_{COPY}"
    forged = swapped(made.stored.read_bytes(), f"COMMENT ON DATABASE \"{copy}\" IS '{MARK}';")
    made.stored.write_bytes(forged)
    told = {
        **made.manifest,
        "sha256": hashlib.sha256(forged).hexdigest(),
        "bytes": len(forged),
        "rows": {"public.stock": 3},
    }
    made.stored.with_name(f"{made.stored.name}.manifest.json").write_text(json.dumps(told), "utf-8")
    for _ in range(2):
        code, words = made.run(Phase.RESTORE, sha256=told["sha256"], bytes=told["bytes"])
        assert (code, made.copies) == (1, []), words
    assert "already" not in words


def test_a_copy_with_a_comment_that_is_not_the_mark_stays(made: Recovery) -> None:
    """It is somebody's."""
    name = sql.Identifier(f"{made.live}_{COPY}")
    with psycopg.connect(made.owner_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(name))
        conn.execute(sql.SQL("COMMENT ON DATABASE {} IS 'mine'").format(name))
        code, words = made.run(Phase.RESTORE)
        assert (code, "of somebody else" in words, len(made.copies)) == (1, True, 1), words
        conn.execute(sql.SQL("DROP DATABASE {}").format(name))
