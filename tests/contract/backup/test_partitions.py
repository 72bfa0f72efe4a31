"""Rows of partitions by hash: of an enum they come into other partitions of another database, and none is lost by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from app.backup.comparing import Difference, differences
from app.backup.restore_order import Phase
from tests.contract.backup.recovery import backed_up, owned, planned
from tests.contract.postgres import Postgres

HASHED = (
    "CREATE TYPE colour AS ENUM ('red', 'green', 'blue', 'grey')",
    "CREATE TABLE a (c colour) PARTITION BY HASH (c)",
    "CREATE TABLE a0 PARTITION OF a FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE a1 PARTITION OF a FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY LIST (c)",
    "CREATE TABLE a1r PARTITION OF a1 DEFAULT",
    "CREATE TABLE b (n int) PARTITION BY RANGE (n)",
    "CREATE TABLE b0 PARTITION OF b FOR VALUES FROM (0) TO (10)",
    "INSERT INTO a SELECT unnest(enum_range(NULL::colour))",
    "INSERT INTO b SELECT generate_series(1, 5)",
)


def test_a_table_by_hash_over_an_enum_comes_back(server: Postgres, tmp_path: Path) -> None:
    """Its dump loads it by its parent, as the values of an enum have other hashes in each database."""
    made = backed_up(server.new_database(), tmp_path, HASHED)
    code, words = made.run(Phase.RESTORE)
    assert code == 0, words
    (copy,) = made.copies
    count = "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)"
    assert made.ask(count, copy) == made.ask(count) == [(4, 5)]


def test_its_backup_is_whole_by_its_own_restore(server: Postgres, tmp_path: Path) -> None:
    url = server.new_database()
    owner = owned(url)
    with psycopg.connect(url.replace("tester@", f"{owner}@"), autocommit=True) as conn:
        for statement in HASHED:
            conn.execute(statement.encode())
    plan = planned(url, owner, tmp_path)
    ended = replace(plan, backup=replace(plan.backup, scratch=True)).backup_pod.run()
    assert set(ended.codes.values()) == {0}, ended.words


COUNTS = {"public.a0": 1, "public.a1r": 3, "public.b0": 5}


@pytest.mark.parametrize(
    ("counts", "wrong"),
    [
        (COUNTS, []),
        ({**COUNTS, "public.a1r": 4}, [Difference("public.a", 4, 5)]),
        ({**COUNTS, "public.b0": 6}, [Difference("public.b0", 5, 6)]),
        ({"public.a0": 1, "public.a1r": 3, "public.a2": 0, "public.b0": 5}, [Difference("public.a2", None, 0)]),
        ({"public.a0": 4, "public.b0": 5}, [Difference("public.a1r", None, None)]),
    ],
    ids=["other partitions", "a row is lost", "by range", "a partition is missing", "one more"],
)  # fmt: skip
def test_a_row_that_is_lost_is_found(
    server: Postgres, counts: dict[str, int], wrong: list[Difference]
) -> None:
    with psycopg.connect(server.url(server.new_database().rpartition("/")[2]), autocommit=True) as conn:
        for statement in HASHED:
            conn.execute(statement.encode())
        found = differences(conn, counts)
    if wrong and wrong[0].wanted is None:
        assert [d.table for d in found] == [wrong[0].table]
    else:
        assert found == wrong
