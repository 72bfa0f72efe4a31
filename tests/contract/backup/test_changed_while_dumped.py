"""Tables that somebody truncates, rewrites or drops while they are dumped: the manifest tells the rows that are in the dump."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from app.backup.counting import counting
from app.backup.failure import BackupFailed
from app.backup.restore_order import Phase
from app.backup.source import connected
from app.database.login import Options
from tests.contract.backup.recovery import owned, planned
from tests.contract.postgres import Postgres

DUMPS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY %' AND pid <> pg_backend_pid()"
CHANGES = ["TRUNCATE staging", "ALTER TABLE staging ALTER id TYPE bigint", "DROP TABLE staging"]


@contextmanager
def nightly(url: str, statement: str) -> Iterator[None]:
    """Somebody who does this as soon as a dump is under way, and waits for its lock."""
    over = Event()

    def work() -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            while conn.execute(DUMPS).fetchone() is None and not over.wait(0.01):
                pass
            conn.execute(statement.encode())

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("statement", CHANGES)
def test_what_waits_for_the_dump_changes_no_count_and_the_backup_can_be_restored(
    server: Postgres, tmp_path: Path, statement: str
) -> None:
    url = server.new_database()
    owner = owned(url)
    own = url.replace("tester@", f"{owner}@")
    with psycopg.connect(own, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE big AS SELECT g id, repeat(md5(g::text), 20) t FROM generate_series(1, 100000) g"
        )
        conn.execute("CREATE TABLE staging AS SELECT g id FROM generate_series(1, 5000) g")
    found = planned(url, owner, tmp_path)
    with nightly(own, statement):
        ended = found.backup_pod.run()
    assert ended.codes == {"upload": 0, "dump": 0}, ended.words
    published = found.published()
    assert published.manifest["rows"] == {"public.big": 100_000, "public.staging": 5_000}
    assert [published.run(phase)[0] for phase in (Phase.REHEARSE, Phase.RESTORE)] == [0, 0]


def options(url: str) -> Options:
    parts = psycopg.conninfo.conninfo_to_dict(url)
    return {key: str(value) for key, value in parts.items()}


@pytest.mark.parametrize("statement", [*CHANGES, "INSERT INTO staging SELECT 1"])
def test_a_dump_that_was_over_before_the_tables_were_locked_counts_only_what_nobody_changed(
    server: Postgres, statement: str
) -> None:
    """Of so short a dump nobody saw the locks. That a table has another file tells that it may not be what was dumped."""
    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE staging AS SELECT g id FROM generate_series(1, 50) g")
    with (
        connected(options(url)) as source,
        counting(options(url), source.snapshot(), "nobody") as rows,
        psycopg.connect(url, autocommit=True) as conn,
    ):
        conn.execute(statement.encode())
    if statement in CHANGES:
        with pytest.raises(BackupFailed, match=r"somebody changed public\.staging while it was dumped"):
            rows.result()
    else:
        assert rows.result() == {"public.staging": 50}


def test_a_dump_that_fails_ends_the_count(server: Postgres) -> None:
    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE staging AS SELECT g id FROM generate_series(1, 50) g")
        conn.execute("BEGIN")
        conn.execute("LOCK TABLE staging")
        with (
            pytest.raises(ZeroDivisionError),
            connected(options(url)) as source,
            counting(options(url), source.snapshot(), "nobody") as rows,
        ):
            raise ZeroDivisionError
    assert isinstance(rows.exception(), BackupFailed)
