"""The statements about LangGraph's checkpoints. Constant text; values are parameters.

`threads`, `after` and `last` say which page is meant: all checkpoints of the threads that have one on it are looked at, because what
others of the same thread refer to has to stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, LiteralString

_TEXT, _JSON, _BYTES = "text", "jsonb", "bytea"
COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "checkpoints": {
        "thread_id": _TEXT,
        "checkpoint_ns": _TEXT,
        "checkpoint_id": _TEXT,
        "parent_checkpoint_id": _TEXT,
        "checkpoint": _JSON,
        "metadata": _JSON,
    },
    "checkpoint_blobs": {
        "thread_id": _TEXT,
        "checkpoint_ns": _TEXT,
        "channel": _TEXT,
        "version": _TEXT,
        "type": _TEXT,
        "blob": _BYTES,
    },
    "checkpoint_writes": {
        "thread_id": _TEXT,
        "checkpoint_ns": _TEXT,
        "checkpoint_id": _TEXT,
        "task_id": _TEXT,
        "channel": _TEXT,
        "blob": _BYTES,
    },
    "checkpoint_migrations": {"v": "integer"},
}
"""The columns that are relied on, by table, with their types."""

FOUND: Final = """
    SELECT n.name, a.attname, format_type(a.atttypid, NULL)
    FROM unnest(%(tables)s::text[]) AS n(name)
        JOIN pg_class c ON c.oid = to_regclass(n.name) AND c.relkind IN ('r', 'p')
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
"""

ATTACHED: Final = """
    WITH RECURSIVE named AS (
        SELECT c.oid, c.relname::text AS name, c.relkind, s.nspname::text AS schema
        FROM unnest(%(tables)s::text[]) AS n(name) JOIN pg_class c ON c.oid = to_regclass(n.name)
            JOIN pg_namespace s ON s.oid = c.relnamespace
    ),
    ours AS (
        SELECT oid, name FROM named
        UNION
        SELECT i.inhrelid, o.name FROM ours o JOIN pg_inherits i ON i.inhparent = o.oid
    )
    SELECT 'the tables stand in the schemas ' || string_agg(DISTINCT schema, ' and ') FROM named
    HAVING count(DISTINCT schema) > 1
    UNION ALL
    SELECT format('%%s is referred to by the foreign key %%s of %%s', o.name, k.conname, k.conrelid::regclass)
    FROM pg_constraint k JOIN ours o ON o.oid = k.confrelid WHERE k.contype = 'f' AND k.conparentid = 0
    UNION ALL
    SELECT DISTINCT format('%%s has the trigger %%s', o.name, t.tgname)
    FROM pg_trigger t JOIN ours o ON o.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 8 <> 0
    UNION ALL
    SELECT format('%%s has the rule %%s', o.name, r.rulename)
    FROM pg_rewrite r JOIN ours o ON o.oid = r.ev_class WHERE r.ev_type = '4' AND r.ev_enabled <> 'D'
    UNION ALL
    SELECT format('%%s has row-level security that holds for this login', n.name)
    FROM named n WHERE row_security_active(n.oid)
    UNION ALL
    SELECT format('%%s is inherited by %%s', n.name, i.inhrelid::regclass)
    FROM named n JOIN pg_inherits i ON i.inhparent = n.oid WHERE n.relkind = 'r'
    UNION ALL
    SELECT format('%%s inherits from %%s', n.name, i.inhparent::regclass)
    FROM named n JOIN pg_inherits i ON i.inhrelid = n.oid
    ORDER BY 1
"""
"""What makes a removal touch other rows than those that are counted, or hides rows from it. `8`: a trigger of DELETE."""
LOCK: Final = "LOCK TABLE checkpoints, checkpoint_blobs, checkpoint_writes IN ROW EXCLUSIVE MODE"
"""What a DELETE takes anyway: nobody attaches anything while it is held."""
VERSION: Final = "SELECT max(v) FROM checkpoint_migrations"

SERVER: Final = """
    SELECT clock_timestamp(),
        (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass('checkpoints')),
        jsonb_object_agg(t.name, pg_total_relation_size(to_regclass(t.name)))
    FROM (VALUES ('checkpoints'), ('checkpoint_blobs'), ('checkpoint_writes')) AS t(name)
"""

DENIED: Final = """
    SELECT COALESCE(array_agg(t.name ORDER BY t.name) FILTER (
        WHERE NOT has_table_privilege(to_regclass(t.name), 'SELECT')
            OR NOT has_table_privilege(to_regclass(t.name), 'DELETE')), '{}')
    FROM (VALUES ('checkpoints'), ('checkpoint_blobs'), ('checkpoint_writes')) AS t(name)
"""

ROOM: Final = ("SET LOCAL jit = off", "SET LOCAL work_mem = '64MB'")
"""All checkpoints of a thread are read at once: of a long one they are many, and compiling or sorting on disk takes longer than that."""

PAGE: Final = """
    WITH page AS MATERIALIZED (
        SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints
        WHERE (thread_id, checkpoint_ns, checkpoint_id) > (%(thread)s, %(namespace)s, %(id)s)
            AND (%(until)s::text IS NULL OR thread_id <= %(until)s::text)
        ORDER BY thread_id, checkpoint_ns, checkpoint_id LIMIT %(rows)s
    )
    SELECT (SELECT count(*) FROM page), (SELECT array_agg(DISTINCT thread_id) FROM page), thread_id, checkpoint_ns, checkpoint_id
    FROM page ORDER BY thread_id DESC, checkpoint_ns DESC, checkpoint_id DESC LIMIT 1
"""
"""How many are on the page, of which threads, and the last one; no row when there is none. With `until` it ends with that thread."""

LENGTH: Final = "SELECT count(*) FROM checkpoints WHERE thread_id = %(last_thread)s"

_V6: Final = "'^[0-9a-f]{8}-[0-9a-f]{4}-6[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'"
_UTC: Final = r"""'^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-]00:?00)$'"""
_JUDGED: Final = f"(c.checkpoint_id ~ {_V6} AND COALESCE(c.checkpoint ->> 'ts', '') ~ {_UTC})"
"""Both say how old it is, as LangGraph writes them."""

_LOOK: Final[LiteralString] = f"""
    WITH newest AS MATERIALIZED (
        SELECT c.thread_id, c.checkpoint_ns,
            COALESCE(max(c.checkpoint_id) FILTER (
                WHERE %(planned)s::text IS NULL OR c.checkpoint_id COLLATE "C" < %(planned)s::text), '') AS id
        FROM checkpoints c
        WHERE c.thread_id = ANY (%(threads)s::text[]) GROUP BY 1, 2
    ),
    mine AS MATERIALIZED (
        SELECT c.thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id,
            CASE WHEN jsonb_typeof(c.checkpoint -> 'channel_versions') = 'object'
                THEN c.checkpoint -> 'channel_versions' END AS versions,
            COALESCE(c.checkpoint -> 'v', '0'::jsonb) < '4'::jsonb AS early,
            NOT j.judged AS odd,
            j.judged AND c.checkpoint_id COLLATE "C" < %(before_id)s
                AND c.checkpoint ->> 'ts' COLLATE "C" < %(before_ts)s
                AND c.checkpoint_id < n.id
                AS passed,
            c.metadata ? 'counters_since_delta_snapshot' OR c.checkpoint @? '$.channel_values.* ? (@ == true)' AND EXISTS (
                SELECT 1
                FROM jsonb_each(CASE WHEN jsonb_typeof(c.checkpoint -> 'channel_values') = 'object'
                        THEN c.checkpoint -> 'channel_values' END) AS v
                    JOIN checkpoint_blobs b ON b.thread_id = c.thread_id AND b.checkpoint_ns = c.checkpoint_ns
                        AND b.channel = v.key AND b.version = c.checkpoint -> 'channel_versions' ->> v.key
                WHERE v.value = 'true'::jsonb) AS delta,
            pg_column_size(c.checkpoint) + pg_column_size(c.metadata) AS bytes,
            (c.thread_id, c.checkpoint_ns, c.checkpoint_id) > (%(thread)s, %(namespace)s, %(id)s) AS not_before,
            (c.thread_id, c.checkpoint_ns, c.checkpoint_id)
                <= (%(last_thread)s, %(last_namespace)s, %(last_id)s) AS not_after
        FROM checkpoints c JOIN newest n ON n.thread_id = c.thread_id AND n.checkpoint_ns = c.checkpoint_ns
            CROSS JOIN LATERAL (SELECT {_JUDGED} AS judged OFFSET 0) j
        WHERE c.thread_id = ANY (%(threads)s::text[])
    ),
    removable AS MATERIALIZED (
        SELECT m.* FROM mine m
        WHERE m.passed
            AND NOT EXISTS (SELECT 1 FROM mine x WHERE x.delta AND x.thread_id = m.thread_id)
            AND NOT EXISTS (
                SELECT 1 FROM mine x
                WHERE x.early AND NOT x.passed AND x.thread_id = m.thread_id
                    AND x.checkpoint_ns = m.checkpoint_ns AND x.parent_checkpoint_id = m.checkpoint_id)
    ),
    going AS MATERIALIZED (SELECT * FROM removable WHERE not_before AND not_after)
"""
"""`newest`: of each thread, with `planned` among those of a time before; `mine`: all checkpoints of the threads; `removable`: those that may go; `going`: those of them that are on the page.

A checkpoint whose value of a channel is `true` and stands among the blobs as well is a snapshot of a DeltaChannel."""

_REFERRED: Final[LiteralString] = """
    referred AS MATERIALIZED (
        SELECT g.thread_id, g.checkpoint_ns, v.key AS channel, v.value AS version
        FROM going g, jsonb_each_text(g.versions) AS v
        EXCEPT
        SELECT m.thread_id, m.checkpoint_ns, v.key, v.value
        FROM mine m, jsonb_each_text(m.versions) AS v
        WHERE NOT EXISTS (
            SELECT 1 FROM {gone} x
            WHERE x.thread_id = m.thread_id AND x.checkpoint_ns = m.checkpoint_ns
                AND x.checkpoint_id = m.checkpoint_id{and_gone})
    )
"""
"""What nobody but those that go refers to. `{gone}` are those that are gone afterwards."""

_TOLD: Final[LiteralString] = """
    SELECT (SELECT count(*) FROM gone), (SELECT COALESCE(sum(bytes), 0)::bigint FROM gone),
        (SELECT count(*) FROM blobs), (SELECT COALESCE(sum(bytes), 0)::bigint FROM blobs),
        (SELECT count(*) FROM writes), (SELECT COALESCE(sum(bytes), 0)::bigint FROM writes),
        (SELECT count(*) FROM mine m WHERE m.passed AND m.not_before AND m.not_after
            AND EXISTS (SELECT 1 FROM mine x WHERE x.delta AND x.thread_id = m.thread_id)),
        (SELECT count(*) FROM mine m WHERE m.odd AND m.not_before AND m.not_after)
"""

_OF_BLOB: Final[LiteralString] = """b.thread_id = r.thread_id AND b.checkpoint_ns = r.checkpoint_ns
            AND b.channel = r.channel AND b.version = r.version"""
_OF_WRITE: Final[LiteralString] = """w.thread_id = g.thread_id AND w.checkpoint_ns = g.checkpoint_ns
            AND w.checkpoint_id = g.checkpoint_id"""
_BLOB_BYTES: Final[LiteralString] = "COALESCE(pg_column_size(b.blob), 0) AS bytes"

COUNT: Final[LiteralString] = f"""{_LOOK},
    {_REFERRED.replace("{gone}", "removable").replace("{and_gone}", " AND x.not_after")},
    gone AS (SELECT bytes FROM going),
    blobs AS (SELECT {_BLOB_BYTES} FROM checkpoint_blobs b JOIN referred r ON {_OF_BLOB}),
    writes AS (SELECT pg_column_size(w.blob) AS bytes FROM checkpoint_writes w JOIN going g ON {_OF_WRITE})
    {_TOLD}
"""
"""What would go with this page, when the pages before it had gone."""

REMOVE: Final[LiteralString] = f"""{_LOOK},
    {_REFERRED.replace("{gone}", "going").replace("{and_gone}", "")},
    gone AS (
        DELETE FROM checkpoints c USING going g
        WHERE c.thread_id = g.thread_id AND c.checkpoint_ns = g.checkpoint_ns AND c.checkpoint_id = g.checkpoint_id
        RETURNING g.bytes),
    blobs AS (DELETE FROM checkpoint_blobs b USING referred r WHERE {_OF_BLOB} RETURNING {_BLOB_BYTES}),
    writes AS (
        DELETE FROM checkpoint_writes w USING going g WHERE {_OF_WRITE} RETURNING pg_column_size(w.blob) AS bytes)
    {_TOLD}
"""

KEPT: Final[LiteralString] = f"""{_LOOK},
    kept AS MATERIALIZED (
        SELECT m.* FROM mine m
        WHERE NOT EXISTS (
            SELECT 1 FROM removable x
            WHERE x.thread_id = m.thread_id AND x.checkpoint_ns = m.checkpoint_ns
                AND x.checkpoint_id = m.checkpoint_id)
    )
    SELECT (SELECT count(*) FROM kept),
        (SELECT count(*) FROM kept k CROSS JOIN LATERAL jsonb_each_text(k.versions) AS v
            JOIN checkpoint_blobs b ON b.thread_id = k.thread_id AND b.checkpoint_ns = k.checkpoint_ns
                AND b.channel = v.key AND b.version = v.value),
        (SELECT count(*) FROM kept g JOIN checkpoint_writes w ON {_OF_WRITE})
"""
"""What stays: checkpoints, the blobs that they find, and their writes. The same before and after a removal."""
