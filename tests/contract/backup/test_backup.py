"""Backups by the real pg_dump of a real server: what is published is whole, and what fails publishes and removes nothing."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.backup.order import KIND, Form, Keep, Order, Place, new_name
from app.backup.source import connection_of, drop
from app.domain.database import DatabaseAddress
from tests.contract.backup.pod import ACTION, PodRun
from tests.contract.backup.strict import StrictStore
from tests.contract.postgres import Postgres, find_programs

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
CANARY = "c4nary-p4ssword"
URL = "DATABASE_URL"


@pytest.fixture
def database(server: Postgres) -> str:
    """The URL of a database with two tables, one of them in a schema with an odd name."""
    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE stock (a int PRIMARY KEY, b text)")
        conn.execute("INSERT INTO stock SELECT g, repeat('x', g % 50) FROM generate_series(1, 5000) g")
        conn.execute('CREATE SCHEMA "odd name"')
        conn.execute('CREATE TABLE "odd name"."Empty" (a int)')
    return url


def order_for(url: str, folder: Path, **changes: object) -> Order:
    parts = conninfo_to_dict(url)
    name = new_name(str(parts["dbname"]), AT, "uid")
    at = DatabaseAddress("rag7", "", 0, "", "db", url_key=URL)
    return replace(Order(name, at, Form.CUSTOM, Place(f"file://{folder}"), Keep()), **changes)  # type: ignore[arg-type]


def pod_for(url: str, tmp_path: Path, **changes: object) -> PodRun:
    secret = url.replace("tester@", f"tester:{CANARY}@")
    order = order_for(url, tmp_path / "bucket", **changes)
    (tmp_path / "bucket").mkdir(exist_ok=True)
    return PodRun(tmp_path / "pod", order, {"db": {URL: secret}})


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("form", list(Form))
def test_a_backup_is_published_with_its_manifest_and_can_be_restored(
    database: str, tmp_path: Path, form: Form
) -> None:
    pod = pod_for(database, tmp_path, form=form)
    ended = pod.run()
    assert ended.codes == {"upload": 0, "dump": 0}, ended.printed
    key = pod.order.key
    assert files(tmp_path / "bucket") == [key, f"{key}.manifest.json"]
    assert key.startswith(f"rag7/{conninfo_to_dict(database)['dbname']}/2026/03/04/")
    manifest = json.loads((tmp_path / "bucket" / f"{key}.manifest.json").read_text("utf-8"))
    assert manifest["rows"] == {"odd name.Empty": 0, "public.stock": 5000}
    assert manifest["bytes"] == (tmp_path / "bucket" / key).stat().st_size
    assert manifest["asked_by"] == ACTION
    with psycopg.connect(database) as conn:
        row = conn.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    assert (manifest["system"],) == row, "by it servers of one address are told apart"
    assert "5000 rows of 2 tables" in ended.words
    assert CANARY not in ended.printed + ended.words + json.dumps(manifest)


def test_on_request_it_is_restored_beside_and_compared_and_the_copy_is_gone(
    database: str, tmp_path: Path
) -> None:
    ended = pod_for(database, tmp_path, scratch=True).run()
    assert ended.codes == {"upload": 0, "dump": 0}, ended.printed
    assert "restored and compared" in ended.words
    assert scratch_databases(database) == []


def scratch_databases(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'remediator_scratch_%'"
        ).fetchall()
    return [str(row[0]) for row in rows]


def test_a_subscription_is_not_restored_to_try_it_and_keeps_no_copy_from_being_dropped(
    database: str, tmp_path: Path
) -> None:
    statements = (
        'CREATE SUBSCRIPTION "Or""ders; " CONNECTION \'host=127.0.0.1 port=1\' PUBLICATION p WITH (connect = false)',
        'ALTER SUBSCRIPTION "Or""ders; " SET (slot_name = NONE)',
    )
    with psycopg.connect(database, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())
        ended = pod_for(database, tmp_path, scratch=True).run()
        left = conn.execute("SELECT datname FROM pg_database WHERE datname LIKE 'remediator_%'").fetchall()
        conn.execute('DROP SUBSCRIPTION "Or""ders; "')
    assert (ended.codes["upload"], left) == (0, []), ended.words


def test_a_copy_with_a_subscription_in_it_is_dropped_and_leaves_that_of_the_original(database: str) -> None:
    """`DROP DATABASE` is refused for it, also while it is disabled."""
    name = 'copy; "of" it'
    url, parts = make_conninfo(database, dbname=name), conninfo_to_dict(database)
    options = {key: str(parts[key]) for key in ("host", "port", "user", "dbname")}
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        for where in (database, url):
            with psycopg.connect(where, autocommit=True) as inside:
                inside.execute(
                    "CREATE SUBSCRIPTION orders CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = 'x')"
                )
        with connection_of(options, autocommit=True) as connection:
            drop(connection, name, options)
        found = conn.execute(
            "SELECT d.datname FROM pg_database d LEFT JOIN pg_subscription s ON s.subdbid = d.oid WHERE s.oid IS NOT NULL OR d.datname = %s",
            [name],
        ).fetchall()
        conn.execute("ALTER SUBSCRIPTION orders SET (slot_name = NONE)")
        conn.execute("DROP SUBSCRIPTION orders")
    assert found == [(parts["dbname"],)]


_FAKES = {
    "fails at its end": ("pg_dump", '"$REAL/pg_dump" "$@"; exit 3', "pg_dump ended with exit code 3"),
    "is cut": ("pg_dump", '"$REAL/pg_dump" "$@" | head -c 3000; exit 0', "pg_restore ended with exit code 1"),
    "says nothing": ("pg_dump", "exit 0", "pg_restore ended with exit code 1"),
    "is killed": ("pg_dump", "kill -9 $$", "pg_dump ended with exit code 137"),
    "takes its shell along": ("pg_dump", "kill -9 $PPID", "the container with the database's image ended"),
    "is older": ("version", "pg_dump (PostgreSQL) 9.6.1", "the image's pg_dump is 9.6.1 and the server is"),
    "is missing": ("version", "", "the image has no pg_dump"),
}


@pytest.mark.parametrize("what", _FAKES)
def test_a_dump_that_fails_publishes_nothing_and_removes_nothing(
    database: str, tmp_path: Path, what: str
) -> None:
    program, body, words = _FAKES[what]
    pod = pod_for(database, tmp_path, keep=Keep(1, 0, 0, 0))
    before = _older_backups(pod.order, tmp_path / "bucket")
    pod.programs = _programs(tmp_path / "bin", program, body)
    ended = pod.run()
    assert ended.codes["upload"] == 1
    assert words in ended.words, ended.words
    assert files(tmp_path / "bucket") == before
    assert CANARY not in ended.printed + ended.words


def _programs(folder: Path, program: str, body: str) -> Path:
    """The real programs, but for one that says its version and then does something else."""
    folder.mkdir()
    real = find_programs()
    for name in ("pg_dump", "pg_restore"):
        (folder / name).symlink_to(real / name)
    (folder / "pg_dump").unlink()
    version = f"echo '{body}'" if program == "version" else f'"{real}/pg_dump" --version'
    rest = "exit 1" if program == "version" else body
    text = f'#!/bin/sh\nREAL={real}\nif [ "$1" = --version ]; then {version}; exit 0; fi\n{rest}\n'
    (folder / "pg_dump").write_text(text, "utf-8")
    (folder / "pg_dump").chmod(0o755)
    return folder


def _older_backups(order: Order, bucket: Path) -> list[str]:
    manifest = {"kind": KIND, "database": str(order.database), "bytes": 2}
    for day in (1, 2):
        key = order.key.replace("/04/", f"/0{day}/").replace("20260304", f"2026030{day}")
        for name, text in ((key, "{}"), (f"{key}.manifest.json", json.dumps(manifest))):
            (bucket / name).parent.mkdir(parents=True, exist_ok=True)
            (bucket / name).write_text(text, "utf-8")
    return files(bucket)


def test_older_ones_go_once_a_new_one_is_there_and_strangers_stay(database: str, tmp_path: Path) -> None:
    pod = pod_for(database, tmp_path, keep=Keep(2, 0, 0, 0))
    _older_backups(pod.order, tmp_path / "bucket")
    stranger = tmp_path / "bucket" / pod.order.folder / "notes.manifest.json"
    stranger.write_text("mine", "utf-8")
    ended = pod.run()
    assert "1 older removed" in ended.words, ended.words
    kept = files(tmp_path / "bucket")
    assert [k for k in kept if "/01/" in k] == []
    assert len([k for k in kept if "/02/" in k]) == 2
    assert stranger.exists()


def test_what_an_earlier_one_left_without_a_manifest_goes_after_a_day(database: str, tmp_path: Path) -> None:
    """Made as ours are, in its place, and older by its name and by when it was written; nothing else."""
    pod = pod_for(database, tmp_path, keep=Keep(0, 0, 0))
    bucket, key = tmp_path / "bucket", pod.order.key
    whole = _older_backups(pod.order, bucket)
    left = key.replace("2026/03/04", "2025/11/05").replace("20260304", "20251105")
    young = key.replace("2026/03/04", "2025/11/06").replace("20260304", "20251106")
    strangers = [
        left.replace("/2025/", "/mine/"),
        left.replace(".dump.zst", ".txt"),
        f"{pod.order.folder}/a.dump.zst",
    ]
    for name in (left, young, *strangers):
        (bucket / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket / name).write_bytes(b"dump")
        if name != young:
            os.utime(bucket / name, (0, 0))
    ended = pod.run()
    assert "1 without a manifest removed" in ended.words, ended.words
    assert sorted({*files(bucket)} - {key, f"{key}.manifest.json"}) == sorted([*whole, young, *strangers])


def test_a_dead_uploader_ends_the_other_container(database: str, tmp_path: Path) -> None:
    """Its pipe breaks: nothing in the pod waits for the Job's deadline."""
    pod = pod_for(database, tmp_path)
    pod.programs = _programs(tmp_path / "bin", "pg_dump", f"touch {tmp_path}/began; exec yes")
    processes = pod.start()
    while not (tmp_path / "began").exists():
        assert processes["upload"].poll() is None, processes["upload"].communicate()
        time.sleep(0.02)
    processes["upload"].kill()
    processes["upload"].communicate()
    processes["dump"].communicate(timeout=20)
    assert [name for name in files(tmp_path / "bucket") if "/incomplete/" not in name] == []


LOGIN = {"AWS_ACCESS_KEY_ID": "AKIACANARY", "AWS_SECRET_ACCESS_KEY": CANARY}


def _on_s3(url: str, tmp_path: Path, store: StrictStore, **changes: object) -> PodRun:
    pod = pod_for(url, tmp_path, **changes)
    pod.order = replace(pod.order, place=Place("s3://bucket/pre", store.url))
    pod.secrets = {**pod.secrets, "store": LOGIN}
    return pod


def test_a_store_that_refuses_checksum_trailers_and_conditions_works(database: str, tmp_path: Path) -> None:
    with StrictStore() as store:
        ended = _on_s3(database, tmp_path, store).run()
        assert ended.codes == {"upload": 0, "dump": 0}, ended.printed
        assert store.refused == []
        assert len(store.objects) == 2
        assert store.parts == {}


@pytest.mark.parametrize("form", list(Form))
def test_what_a_store_has_altered_is_not_published(database: str, tmp_path: Path, form: Form) -> None:
    with StrictStore() as store:
        store.spoil = True
        ended = _on_s3(database, tmp_path, store, form=form).run()
        assert ended.codes["upload"] == 1
        assert [name for name in store.objects if "/incomplete/" not in name] == []
        assert store.objects == {}


def test_a_backup_that_waits_for_a_lock_tells_on_what_and_for_whom(database: str, tmp_path: Path) -> None:
    with psycopg.connect(make_conninfo(database, application_name="nightly import")) as holder:
        holder.execute("SET idle_in_transaction_session_timeout = '20s'")  # nobody waits for ever
        holder.execute("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE")
        processes = pod_for(database, tmp_path).start()
        printed = processes["upload"].stdout
        assert printed is not None
        told = next((line for line in printed if b"waits for a lock" in line), b"").decode()
    assert "waits for a lock on stock, which nightly import of tester, pid " in told
    assert "idle in transaction" in told
    for process in processes.values():
        process.communicate(timeout=60)
    assert [p.returncode for p in processes.values()] == [0, 0], "once it is free, the backup goes on"
