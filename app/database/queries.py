"""The statements that are sent to a server, for PostgreSQL 14 and later. Constant text; values are parameters."""

from __future__ import annotations

from typing import Final, LiteralString

from app.database.texts import raw
from app.domain.database import Why

OLDEST: Final = 140_000
"""`server_version_num` of the oldest version whose locks tell since when somebody waits."""
MAX_ROWS: Final = 2_000
"""Sessions of one look."""

SERVER: Final = """
    SELECT clock_timestamp(), current_setting('server_version'), current_database(),
        current_setting('max_connections')::int,
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - COALESCE(current_setting('reserved_connections', true)::int, 0),
        (SELECT count(*)::int FROM pg_stat_activity
         WHERE pid <> pg_backend_pid()
            AND (backend_type = 'client backend' OR (backend_type IS NULL AND datid IS NOT NULL)))
"""
SIZE: Final = "SELECT pg_database_size(current_database())"

_NOW_AT: Final[LiteralString] = (
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END"
)
RECOVERY: Final = """
    SELECT pg_is_in_recovery(),
        CASE WHEN NOT pg_is_in_recovery() THEN NULL
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END::float8
"""
"""A standby that has replayed all it got is not behind, however long ago somebody wrote."""
STANDBYS: Final[LiteralString] = f"""
    SELECT {raw("COALESCE(NULLIF(application_name, ''), host(client_addr), 'no name')")}, COALESCE(state, 'state may not be seen'),
        pg_wal_lsn_diff({_NOW_AT}, replay_lsn)::bigint, extract(epoch FROM replay_lag)::float8
    FROM pg_stat_replication ORDER BY 3 DESC NULLS LAST, 1 LIMIT {MAX_ROWS}
"""
SLOTS: Final[LiteralString] = f"""
    SELECT {raw("slot_name")}, active, pg_wal_lsn_diff({_NOW_AT}, restart_lsn)::bigint, COALESCE(wal_status = 'lost', false)
    FROM pg_replication_slots ORDER BY 3 DESC NULLS LAST, 1 LIMIT {MAX_ROWS}
"""

_OURS: Final = "a.pid = pg_backend_pid() OR a.application_name LIKE ANY (%(ours)s)"

_OF_TRANSACTION: Final = "'transactionid', 'virtualxid'"
"""Locks that one transaction alone ever holds: who waits for one has waited for that transaction all the time."""

SESSIONS: Final[LiteralString] = f"""
    SELECT a.pid, a.backend_start, {raw("a.datname")}, {raw("a.usename")}, {raw("a.application_name")},
        COALESCE(host(a.client_addr), CASE WHEN a.client_port = -1 THEN 'a local socket' ELSE '' END),
        COALESCE(a.state, ''), a.state_change, a.xact_start,
        CASE WHEN a.wait_event_type = 'Lock'
            THEN (SELECT min(l.waitstart) FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted) END,
        CASE WHEN a.wait_event_type = 'Lock' THEN pg_blocking_pids(a.pid) ELSE '{{}}'::int[] END,
        EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted AND l.locktype IN ({_OF_TRANSACTION})),
        substr({raw("a.query")}, 1, 8000),
        CASE
            WHEN {_OURS} THEN 'it is a session of this service'
            WHEN a.backend_start IS NULL OR a.backend_type IS NULL
                THEN 'the login may not see it (pg_read_all_stats)'
            WHEN a.backend_type = 'walsender' THEN 'it replicates'
            WHEN a.backend_type <> 'client backend' THEN 'it is a process of the server'
            WHEN r.rolsuper IS NULL OR r.rolsuper THEN 'its user is a superuser'
            WHEN r.rolreplication THEN 'its user replicates'
            ELSE ''
        END,
        COALESCE(pg_has_role(current_user, r.oid, 'USAGE')
            OR pg_has_role(current_user, 'pg_signal_backend', 'USAGE'), false)
    FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
    WHERE a.backend_type IN ('client backend', 'walsender') OR (a.backend_type IS NULL AND a.datid IS NOT NULL)
    ORDER BY a.state_change NULLS LAST, a.pid LIMIT {MAX_ROWS}
"""

PREPARED: Final[LiteralString] = f"""
    SELECT {raw("gid")}, {raw("owner")}, prepared FROM pg_prepared_xacts WHERE database = current_database()
    ORDER BY prepared, gid LIMIT {MAX_ROWS}
"""

_HOLDS: Final[dict[Why, LiteralString]] = {
    Why.IDLE: """a.state IN ('idle in transaction', 'idle in transaction (aborted)')
            AND a.state_change <= clock_timestamp() - make_interval(secs => %(seconds)s)""",
    Why.BLOCKS: f"""cardinality(pg_blocking_pids(a.pid)) = 0 AND EXISTS (
            SELECT 1 FROM pg_stat_activity w JOIN pg_locks l ON l.pid = w.pid AND NOT l.granted
            WHERE w.wait_event_type = 'Lock' AND a.pid = ANY (pg_blocking_pids(w.pid))
                AND (l.locktype IN ({_OF_TRANSACTION}) OR a.state_change <= clock_timestamp() - make_interval(secs => %(seconds)s))
                AND l.waitstart <= clock_timestamp() - make_interval(secs => %(seconds)s))""",
}

TERMINATE: Final[dict[Why, LiteralString]] = {
    why: f"""
    WITH wanted(pid, started) AS (SELECT * FROM unnest(%(pids)s::int[], %(started)s::timestamptz[])),
    chosen AS MATERIALIZED (
        SELECT a.pid, a.backend_start
        FROM wanted w
            JOIN pg_stat_activity a ON a.pid = w.pid AND a.backend_start = w.started
            JOIN pg_roles r ON r.oid = a.usesysid
        WHERE a.backend_type = 'client backend' AND a.datname = current_database()
            AND NOT r.rolsuper AND NOT r.rolreplication AND NOT ({_OURS})
            AND (pg_has_role(current_user, r.oid, 'USAGE')
                OR pg_has_role(current_user, 'pg_signal_backend', 'USAGE'))
            AND {holds}
    )
    SELECT pid, backend_start FROM chosen WHERE pg_terminate_backend(pid)
    """
    for why, holds in _HOLDS.items()
}
"""By condition. A session is chosen by process id and start, and only while the condition holds of it at that moment."""
