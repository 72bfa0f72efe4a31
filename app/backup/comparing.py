"""The rows of a restored database against those of a manifest, table by table. Reads only.

Called by `app.backup.upload` and `app.backup.beside`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, LiteralString, NamedTuple

from app.backup.source import Connection, count_rows, table_name, worded

_HASHED: Final[LiteralString] = """
    WITH RECURSIVE above AS (
        SELECT c.oid AS leaf, c.oid AS at, NULL::oid AS hashed, 0 AS depth FROM pg_class c WHERE c.relkind = 'r' AND c.relispartition
        UNION ALL
        SELECT a.leaf, i.inhparent, CASE p.partstrat WHEN 'h' THEN i.inhparent ELSE a.hashed END, a.depth + 1
        FROM above a JOIN pg_inherits i ON i.inhrelid = a.at JOIN pg_partitioned_table p ON p.partrelid = i.inhparent
    )
    SELECT DISTINCT ON (a.leaf) ln.nspname, l.relname, hn.nspname, h.relname
    FROM above a
        JOIN pg_class l ON l.oid = a.leaf JOIN pg_namespace ln ON ln.oid = l.relnamespace
        JOIN pg_class h ON h.oid = a.hashed JOIN pg_namespace hn ON hn.oid = h.relnamespace
    ORDER BY a.leaf, a.depth DESC
"""
"""Partitions below a parent that is partitioned by hash, each with the topmost such parent. Values of an enum have other hashes in another
database, so that pg_dump loads these tables by their parent, and rows come into other partitions than they were in."""


class Difference(NamedTuple):
    """A table, or the parent of partitions by hash, whose rows are not as many: None where it is not there at all."""

    table: str
    found: int | None
    wanted: int | None


def differences(connection: Connection, wanted: Mapping[str, int]) -> list[Difference]:
    """By name, partitions by hash as their sum. Raises BackupFailed."""
    found = count_rows(connection)
    with worded():
        rows = connection.execute(_HASHED).fetchall()
    parents = {_name(leaf, of): _name(parent, at) for leaf, of, parent, at in rows}
    ours, theirs = _summed(found, parents), _summed(wanted, parents)
    wrong = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    # A partition that is not there at all is missing, however many rows its parent has.
    wrong += sorted(name for name in {*found} ^ {*wanted} if name in parents and name not in wrong)
    every = {**wanted, **theirs}, {**found, **ours}
    return [Difference(name, every[1].get(name), every[0].get(name)) for name in wrong]


def _name(schema: str, table: str) -> str:
    return f"{table_name(schema)}.{table_name(table)}"


def _summed(rows: Mapping[str, int], parents: Mapping[str, str]) -> dict[str, int]:
    found = Counter[str]()
    for name, number in rows.items():
        found[parents.get(name, name)] += number
    return dict(found)
