"""A store that is only looked at: nothing of it is written, so that it may be another user's, on a read-only disk, or a copy.

Called by the commands about the audit trail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection

from app.domain.errors import StoreUnavailable
from app.store.connection import parse, reader_engine, translated
from app.store.migrate import require_current


@contextmanager
def unwritten(url: str) -> Iterator[Connection]:
    """A connection that sees one moment and cannot write. Raises BadInput for the URL, StoreUnavailable when it cannot be opened or has not
    the schema of this version."""
    parsed = parse(url)
    engine = reader_engine(_file(parsed) if parsed.get_backend_name() == "sqlite" else parsed)
    try:
        require_current(engine)
        with translated(), engine.connect() as conn:
            yield conn
    finally:
        engine.dispose()


def _file(url: URL) -> URL:
    path = Path(url.database or "").resolve()
    if not path.is_file():
        told = f"there is no store at {path}: run `remediator db upgrade` where there should be one"
        raise StoreUnavailable(told, code="schema_old", where="REMEDIATOR_STATE_DIR")
    given = {"mode": "ro", "uri": "true"}
    log = path.with_name(f"{path.name}-wal")
    if not os.access(path.parent, os.W_OK) and not (log.exists() and log.stat().st_size):
        # Without a place for the index of its log SQLite opens no file, though there is no log: nobody writes it now, as nobody can.
        given["immutable"] = "1"
    return url.set(database=path.as_uri(), query={**url.query, **given})
