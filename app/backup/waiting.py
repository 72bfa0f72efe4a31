"""What a dump waits for: a lock that somebody else holds keeps it as long as the Job may take, and nothing of that is heard from pg_dump.

Called by `app.backup.upload`, beside the dump. Reads views of the server over connections of its own, and says what it sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Final, LiteralString

from app.backup.failure import BackupFailed
from app.backup.progress import Say
from app.backup.source import connection_of, worded
from app.database.texts import foreign, raw
from app.domain.database import APPLICATION
from app.domain.redact import in_one_line

_FIRST, _EVERY, _LAST = 1.0, 10.0, 5.0
"""Seconds to the first look, between two, and for one that is on its way at the end."""
_LONGEST: Final = 200
_WHO: Final = (
    "format('%%s of %%s, pid %%s, %%s', COALESCE(NULLIF(b.application_name, ''), 'no application name'), "
    "COALESCE(b.usename, b.backend_type, 'nobody known'), l.pid, COALESCE(b.state, 'state unknown'))"
)
_WAITS: Final[LiteralString] = f"""
    SELECT {raw("COALESCE(w.relation::regclass::text, w.locktype)")}, {raw(_WHO)}
    FROM pg_stat_activity a JOIN pg_locks w ON w.pid = a.pid AND NOT w.granted,
        LATERAL unnest(pg_blocking_pids(a.pid)) AS l(pid) LEFT JOIN pg_stat_activity b ON b.pid = l.pid
    WHERE a.datname = current_database() AND a.usename = current_user AND a.application_name LIKE %(ours)s
    ORDER BY 1, 2 LIMIT 1
"""


@contextmanager
def lock_waits_told(options: Mapping[str, str], say: Say) -> Iterator[None]:
    """While what is inside runs, what it waits for is said, a moment after its beginning and now and then."""
    over = Event()
    watch = Thread(target=_watch, args=(options, say, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join(_LAST)


def _watch(options: Mapping[str, str], say: Say, over: Event) -> None:
    pause = _FIRST
    while not over.wait(pause):
        pause = _EVERY
        with suppress(BackupFailed):  # a server that cannot be asked is the dump's to tell
            if told := _look(options):
                say(told)


def _look(options: Mapping[str, str]) -> str:
    with connection_of(options, autocommit=True) as connection, worded():
        row = connection.execute(_WAITS.encode(), {"ours": f"{APPLICATION}%"}).fetchone()
    if row is None:
        return ""
    lock, holder = (in_one_line(foreign(said), _LONGEST) for said in row)
    return f"waits for a lock on {lock}, which {holder} holds: end that, or wait until it does"
