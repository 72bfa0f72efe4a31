"""Restores by the real pg_restore into a real server: a copy beside, validated or gone, and the database itself untouched."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from app.backup.restore_order import Phase
from app.database.copies import KEPT_BACK
from tests.contract.backup.pod import PodRun
from tests.contract.backup.recovery import COPY, MARK, Recovery, backed_up
from tests.contract.postgres import Postgres, PostgresMissingError, find_programs
from tests.contract.stores import missing


@pytest.fixture(scope="module")
def made(
    request: pytest.FixtureRequest,
    postgres_server: Callable[[], Postgres],
    tmp_path_factory: pytest.TempPathFactory,
) -> Recovery:
    """Made once: a restore leaves the database and the backup as they are."""
    try:
        url = postgres_server().new_database()
    except PostgresMissingError as error:
        missing(str(error), request)
        raise
    reader = "reader_{live}"
    return backed_up(
        url,
        tmp_path_factory.mktemp("restore"),
        (
            "CREATE TABLE stock (a int PRIMARY KEY, b text)",
            "INSERT INTO stock SELECT g, repeat('x', g % 50) FROM generate_series(1, 5000) g",
            'CREATE SCHEMA "odd name"',
            'CREATE TABLE "odd name"."Empty" (a int)',
            "REVOKE ALL ON DATABASE {live} FROM PUBLIC",
            'ALTER DATABASE {live} SET search_path TO public, "odd name"',
        ),
        (
            f"CREATE ROLE {reader} NOLOGIN",
            "SET ROLE {owner}",
            f"GRANT SELECT ON stock TO {reader}",
            f"GRANT CONNECT ON DATABASE {{live}} TO {reader}",
        ),
    )


def test_a_copy_has_every_row_grant_and_setting_and_is_marked_once_it_is_validated(made: Recovery) -> None:
    before = made.ask("SELECT * FROM stock ORDER BY a")
    checks = ("SELECT count(*) = 5000 FROM stock", "SELECT max(a) = 5000 FROM stock")
    code, words = made.run(Phase.RESTORE, checks=checks)
    assert code == 0, words
    assert (
        words
        == f"{made.live}_{COPY}: 5000 rows of 2 tables as in the manifest, 2 checks of the rule answer true"
    )
    (copy,) = made.copies
    assert made.ask("SELECT * FROM public.stock ORDER BY a", copy) == before
    assert made.ask("SHOW search_path", copy) == made.ask("SHOW search_path")
    grants = "SELECT has_table_privilege('reader_' || '{0}', 'public.stock', 'SELECT')"
    assert made.ask(grants.format(made.live), copy) == [(True,)]
    acl = "SELECT datacl::text, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{}'"
    ((of_live, none),) = made.ask(acl.format(made.live))
    ((of_copy, mark),) = made.ask(acl.format(copy))
    assert (of_copy, none, mark) == (of_live, None, MARK)
    again, words = made.run(Phase.RESTORE)
    assert (again, words) == (0, f"{copy} was restored and validated already")
    with psycopg.connect(made.url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(copy)))


def test_settings_of_roles_in_the_database_are_given_to_the_copy_or_named(made: Recovery) -> None:
    """ALTER ROLE ... IN DATABASE ... SET: an application whose search_path stands there would find no table. Those of another role need a
    superuser."""
    role = f"reporting_{made.live}"
    with psycopg.connect(made.url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        for one in (made.owner, role):
            words = sql.SQL("ALTER ROLE {} IN DATABASE {} SET work_mem = '7MB'")
            conn.execute(words.format(sql.Identifier(one), sql.Identifier(made.live)))
    code, told = made.run(Phase.RESTORE)
    assert code == 0, told
    assert f"without the settings work_mem of the role {role}, which the login may not give" in told
    (copy,) = made.copies
    settings = """SELECT s.setconfig[1] FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
        WHERE d.datname = '{}' AND s.setrole <> 0"""
    assert made.ask(settings.format(copy), "postgres") == [("work_mem=7MB",)]
    with psycopg.connect(made.url, autocommit=True) as conn:
        kept_back = f"{KEPT_BACK}".encode()
        conn.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(made.owner)))
        found = [
            (bytes(name), bytes(of))
            for db, name, of in conn.execute(kept_back)
            if bytes(db) == made.live.encode()
        ]
        conn.execute("RESET SESSION AUTHORIZATION")
        conn.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(copy)))
    assert found == [(b"work_mem", role.encode())]


@pytest.mark.parametrize(("limit", "of_copy"), [(0, -1), (1, 1)])
def test_a_limit_of_connections_hinders_no_validation_and_none_that_closes_it_is_carried_over(
    made: Recovery, limit: int, of_copy: int
) -> None:
    words = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}")
    live = sql.Identifier(made.live)
    with psycopg.connect(made.url, autocommit=True) as conn:
        conn.execute(words.format(live, sql.Literal(limit)))
        try:
            code, told = made.run(Phase.RESTORE)
            assert code == 0, told
            (copy,) = made.copies
            seen = made.ask(f"SELECT datconnlimit FROM pg_database WHERE datname = '{copy}'", "postgres")
            assert seen == [(of_copy,)]
            conn.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(copy)))
        finally:
            conn.execute(words.format(live, sql.Literal(-1)))


def test_a_rehearsal_reads_all_of_it_and_makes_nothing(made: Recovery) -> None:
    code, words = made.run(Phase.REHEARSE)
    assert (code, made.copies) == (0, []), words
    assert "read, whole, sha256" in words


FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "a check answers false": (
        {"checks": ("SELECT count(*) > 9999 FROM stock",)},
        "check 1 of the rule answers false",
    ),
    "a check answers nothing": ({"checks": ("SELECT NULL::boolean",)}, "check 1 of the rule answers nothing"),
    "a check writes": (
        {"checks": ("DELETE FROM stock RETURNING true",)},
        "check 1 of the rule could not be answered",
    ),
    "a check ends the transaction": (
        {"checks": ("COMMIT; DELETE FROM stock RETURNING true",)},
        "check 1 of the rule could not be answered",
    ),
    "a check takes too long": (
        {"checks": ("SELECT true FROM pg_sleep(30)",), "seconds": 1},
        "check 1 of the rule could not be answered",
    ),
    "another digest was approved": ({"sha256": "0" * 64}, "the manifest is not the one that was approved"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_copy_that_is_not_validated_is_gone(made: Recovery, what: str) -> None:
    changes, words = FAILURES[what]
    before = made.ask("SELECT count(*) FROM stock")
    code, said = made.run(Phase.RESTORE, **changes)
    assert (code, made.copies) == (1, [])
    assert words in said, said
    assert made.ask("SELECT count(*) FROM stock") == before


@pytest.mark.parametrize("phase", list(Phase))
def test_a_backup_with_something_behind_its_end_is_refused_though_its_manifest_tells_of_it(
    made: Recovery, phase: Phase
) -> None:
    """As one that was made by a version that did not look at it."""
    whole, manifest = made.stored.read_bytes(), made.stored.with_name(f"{made.stored.name}.manifest.json")
    told, spoilt = manifest.read_text("utf-8"), whole + b"#"
    says: dict[str, Any] = {"sha256": hashlib.sha256(spoilt).hexdigest(), "bytes": len(spoilt)}
    try:
        made.stored.write_bytes(spoilt)
        manifest.write_text(json.dumps({**made.manifest, **says}), encoding="utf-8")
        code, said = made.run(phase, **says)
    finally:
        made.stored.write_bytes(whole)
        manifest.write_text(told, encoding="utf-8")
    assert (code, made.copies) == (1, [])
    assert "has 1 bytes after the end of what was packed" in said


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("what", ["truncated", "altered", "rows", "newer"])
def test_a_backup_that_is_not_what_it_was_is_found_before_anything_stays(
    made: Recovery, phase: Phase, what: str
) -> None:
    """Truncated, altered, of a newer server: both say so. The rows of the manifest are compared by the restore alone."""
    whole, manifest = made.stored.read_bytes(), made.stored.with_name(f"{made.stored.name}.manifest.json")
    told = manifest.read_text("utf-8")
    changed = {**made.manifest}
    if what == "truncated":
        made.stored.write_bytes(whole[:-20])
    elif what == "altered":
        made.stored.write_bytes(whole[:-20] + bytes(20))
    elif what == "rows":
        changed["rows"] = {**changed["rows"], "public.stock": 5001}
    else:
        changed["server"] = "99.1"
    manifest.write_text(json.dumps(changed), "utf-8")
    try:
        code, words = made.run(phase)
    finally:
        made.stored.write_bytes(whole)
        manifest.write_text(told, "utf-8")
    if (what, phase) == ("rows", Phase.REHEARSE):
        assert code == 0
    else:
        assert code == 1, words
    assert made.copies == []


def test_a_pod_that_is_ended_at_its_deadline_drops_what_is_not_whole(made: Recovery, tmp_path: Path) -> None:
    """The kubelet asks first; whoever dies without being asked is the next test."""
    real, programs = find_programs(), tmp_path / "bin"
    programs.mkdir()
    (programs / "pg_dump").symlink_to(real / "pg_dump")
    (programs / "pg_restore").write_text(f"#!/bin/sh\ntouch {tmp_path}/began\nexec sleep 60\n", "utf-8")
    (programs / "pg_restore").chmod(0o755)
    pod = PodRun(tmp_path / "pod", made.backup, made.secrets, programs, made.order(Phase.RESTORE))
    processes = pod.start()
    while not (tmp_path / "began").exists():
        assert processes["upload"].poll() is None, processes["upload"].communicate()
        time.sleep(0.02)
    assert len(made.copies) == 1
    processes["upload"].terminate()
    assert processes["upload"].wait(timeout=20) == 143
    assert made.copies == []
    processes["dump"].kill()
    for process in processes.values():
        process.communicate()


def test_a_pod_that_was_killed_leaves_a_copy_that_the_next_one_replaces(made: Recovery) -> None:
    """It bears no mark, so nothing can put it into the place of the database."""
    with psycopg.connect(made.owner_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(f"{made.live}_{COPY}")))
    code, words = made.run(Phase.RESTORE)
    assert code == 0, words
    with psycopg.connect(made.url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(f"{made.live}_{COPY}")))
