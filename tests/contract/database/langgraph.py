"""LangGraph's tables in a real database: made by the statements of its own migrations, filled as its saver fills them.

`fill` writes the threads that a simulated server has, so that one test speaks of both; `load` reads the newest checkpoint of a
thread with the joins of LangGraph's own `get_tuple`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg

from app.sim.checkpoints import Checkpoint, LangGraph, Tables

Row = tuple[Any, ...]

TABLES: Final[tuple[LiteralString, ...]] = (
    "CREATE TABLE checkpoint_migrations (v INTEGER PRIMARY KEY)",
    """CREATE TABLE checkpoints (
        thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL,
        parent_checkpoint_id TEXT, type TEXT, checkpoint JSONB NOT NULL, metadata JSONB NOT NULL DEFAULT '{}',
        PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id))""",
    """CREATE TABLE checkpoint_blobs (
        thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', channel TEXT NOT NULL, version TEXT NOT NULL,
        type TEXT NOT NULL, blob BYTEA, PRIMARY KEY (thread_id, checkpoint_ns, channel, version))""",
    """CREATE TABLE checkpoint_writes (
        thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL,
        task_id TEXT NOT NULL, idx INTEGER NOT NULL, channel TEXT NOT NULL, type TEXT, blob BYTEA NOT NULL,
        task_path TEXT NOT NULL DEFAULT '', PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx))""",
    "CREATE INDEX checkpoints_thread_id_idx ON checkpoints(thread_id)",
    "CREATE INDEX checkpoint_blobs_thread_id_idx ON checkpoint_blobs(thread_id)",
    "CREATE INDEX checkpoint_writes_thread_id_idx ON checkpoint_writes(thread_id)",
)
LAST = 9
"""The number of LangGraph's migration after which the tables look like this."""

LOAD: Final = """
    SELECT checkpoint_id,
        (SELECT array_agg(bl.channel || '=' || convert_from(bl.blob, 'UTF8') ORDER BY bl.channel)
         FROM jsonb_each_text(checkpoint -> 'channel_versions')
            INNER JOIN checkpoint_blobs bl ON bl.thread_id = checkpoints.thread_id
                AND bl.checkpoint_ns = checkpoints.checkpoint_ns
                AND bl.channel = jsonb_each_text.key AND bl.version = jsonb_each_text.value),
        (SELECT array_agg(cw.task_id || '=' || convert_from(cw.blob, 'UTF8') ORDER BY cw.task_id, cw.idx)
         FROM checkpoint_writes cw
         WHERE cw.thread_id = checkpoints.thread_id AND cw.checkpoint_ns = checkpoints.checkpoint_ns
            AND cw.checkpoint_id = checkpoints.checkpoint_id)
    FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = %s ORDER BY checkpoint_id DESC LIMIT 1
"""


def make(conn: psycopg.Connection[Row], version: int = LAST) -> None:
    """The empty tables, for everybody's use."""
    for statement in TABLES:
        conn.execute(statement)
    conn.execute("INSERT INTO checkpoint_migrations SELECT generate_series(0, %s)", (version,))
    conn.execute(
        "GRANT ALL ON checkpoints, checkpoint_blobs, checkpoint_writes, checkpoint_migrations TO PUBLIC"
    )


def fill(conn: psycopg.Connection[Row], spec: LangGraph, start: datetime) -> None:
    """All threads, with the checkpoints, blobs and writes of the simulation."""
    rows = list(Tables(spec, start).rows.values())
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)"
            " VALUES (%s, %s, %s, NULLIF(%s, ''), %s, %s)",
            [(*row.key, row.parent, json.dumps(document(row)), json.dumps(_metadata(row))) for row in rows],
        )
        cursor.executemany(
            "INSERT INTO checkpoint_blobs VALUES (%s, %s, %s, %s, 'msgpack', %s) ON CONFLICT DO NOTHING",
            [(*blob, f"{blob[2]} {blob[3]}".encode()) for row in rows for blob in row.blobs],
        )
        cursor.executemany(
            "INSERT INTO checkpoint_writes VALUES (%s, %s, %s, 'task', 0, 'messages', 'msgpack', %s)",
            [(*row.key, f"write of {row.key.id}".encode()) for row in rows],
        )


def document(row: Checkpoint) -> dict[str, Any]:
    """The JSON of a checkpoint as the saver writes it; `branch` has a version and, as an ephemeral channel, no value."""
    versions = {channel: version for _, _, channel, version in row.blobs}
    return {
        "v": row.kind.format,
        "ts": row.at.isoformat(),
        "id": row.key.id,
        "channel_values": {"step": 3},
        "channel_versions": {**versions, "step": "3", "branch": "2"},
        "versions_seen": {},
    }


def _metadata(row: Checkpoint) -> dict[str, Any]:
    counters = {"counters_since_delta_snapshot": {"messages": [1, 2]}} if row.kind.delta else {}
    return {"source": "loop", "step": 1, "parents": {}, **counters}


def load(conn: psycopg.Connection[Row], thread: str, namespace: str = "") -> Row | None:
    """Id, values and pending writes of the newest checkpoint."""
    return conn.execute(LOAD, (thread, namespace)).fetchone()


def groups(conn: psycopg.Connection[Row]) -> Sequence[Row]:
    """All threads with their namespaces."""
    return conn.execute("SELECT DISTINCT thread_id, checkpoint_ns FROM checkpoints ORDER BY 1, 2").fetchall()


def rows_of(conn: psycopg.Connection[Row], table: LiteralString) -> int:
    """How many there are."""
    row = conn.execute(b"SELECT count(*) FROM " + table.encode()).fetchone()
    assert row is not None
    return int(row[0])
