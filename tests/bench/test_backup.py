"""The comparison of a database with its copy: one byte of one row is seen, and how the rows lie on the disk is not."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.bench.backup_world import Database, Digests, RowsDiffer, compare, digests, drop, filled
from tests.contract.postgres import Postgres, PostgresMissingError, running
from tests.contract.stores import missing

ROWS = 500


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    try:
        with running() as found:
            yield found
    except PostgresMissingError as error:
        missing(str(error), request)
        raise


@pytest.fixture(scope="module")
def database(server: Postgres) -> Database:
    return filled(server, ROWS)


def _after(database: Database, *statements: str) -> Digests:
    """The digests of a copy in which these were carried out."""
    name = database.url.rpartition("/")[2]
    with psycopg.connect(database.url.replace(name, "postgres"), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE its_copy TEMPLATE {name}".encode())
    try:
        with psycopg.connect(copy := database.url.replace(name, "its_copy"), autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement.encode())
        return digests(copy)
    finally:
        drop(database.url, "its_copy")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE t SET b = overlay(b PLACING '!' FROM 64 FOR 1) WHERE id = 123",
        "UPDATE t SET c = jsonb_set(c, '{n}', '124') WHERE id = 123",
        "UPDATE t SET a = NULL WHERE id = 500",
        "UPDATE t SET a = (SELECT a FROM t o WHERE o.id = 3 - t.id) WHERE id IN (1, 2)",
        "UPDATE t SET id = 501 WHERE id = 500",
        "DELETE FROM t WHERE id = 1",
        "INSERT INTO t SELECT 501, a, b, c FROM t WHERE id = 500",
        "CREATE TABLE u (a int)",
        "ALTER TABLE t RENAME TO u",
        "DROP TABLE t",
    ],
)
def test_any_difference_of_a_copy_is_seen(database: Database, change: str) -> None:
    with pytest.raises(RowsDiffer, match=r"^public\.[tu]: "):
        compare(digests(database.url), _after(database, change))


def test_a_copy_whose_rows_lie_elsewhere_on_the_disk_is_alike(database: Database) -> None:
    moved = ("UPDATE t SET a = a WHERE id < 100", "DELETE FROM t WHERE id = 7", "VACUUM FULL t")
    row = "INSERT INTO t SELECT 7, md5('7'), repeat(md5('49'), 4), jsonb_build_object('k', md5('21'), 'n', 7)"
    assert compare(digests(database.url), _after(database, *moved, row)) == ROWS
