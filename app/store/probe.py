"""The write probe: can the store write? A read cannot tell: a full or read-only disk still answers it, and on Postgres a role may have
the right to write one table and lack it for another.

Called by `Store.probe_write` for the readiness of the service, and by the doctor for the rights. Never writes anything that is not
there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from sqlalchemy import Connection, text, update

from app.domain.errors import RemediatorError, StoreUnavailable
from app.store.audit import HeadGoneError
from app.store.connection import to_text
from app.store.schema import audit_chain, metadata
from app.store.tx import Tx

_FRESH: Final = 5.0  # seconds for which an answer stands
_PATIENCE: Final = 2.0
"""Seconds: whoever asks whether the service is ready does not wait much longer."""


_TOLD: Final = 5  # rights named in one message


class WriteProbe:
    """Remembers the last answer, so that many who ask cost one commit every few seconds, and one at a time."""

    def __init__(self, monotonic: Callable[[], float], write: Callable[[], Awaitable[None]]) -> None:
        self._monotonic, self._write = monotonic, write
        self._asked: float | None = None
        self._running: asyncio.Task[None] | None = None
        self._error: RemediatorError | None = None

    async def __call__(self) -> None:
        """Raises StoreUnavailable, or what else the store said, when it cannot write."""
        if self._running is None and (self._asked is None or self._monotonic() - self._asked >= _FRESH):
            self._running = asyncio.create_task(self._look())
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=_PATIENCE)
            if self._running is not None:
                raise StoreUnavailable(
                    f"the store has not committed a write for {_PATIENCE:g} s", where="store"
                )
        if self._error is not None:
            raise self._error

    def doubt(self) -> None:
        """A write has failed: a good answer stands no more, and whoever asks next gets a new one."""
        if self._error is None:
            self._asked = None

    async def _look(self) -> None:
        try:
            await self._write()
            self._error = None
        except RemediatorError as error:
            self._error = error
        finally:
            self._asked, self._running = self._monotonic(), None


_ALL: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_NARROW: Final = {
    "audit": ("SELECT", "INSERT"),
    "audit_chain": ("SELECT", "UPDATE (seq, hash)"),
    "audit_gaps": ("SELECT",),
    "alembic_version": ("SELECT",),
}
"""Tables of which the role that runs may do less than all, as the documentation grants it."""
# What stands in a schema that the role may not use has no name for it; its catalogue can be read all the same.
_HIDDEN: Final = "pg_namespace AS closed WHERE NOT has_schema_privilege(closed.oid, 'USAGE') AND closed.nspname IN ('public', current_user::text)"
_TABLE: Final = (
    "COALESCE(to_regclass(quote_ident({0}))::oid, (SELECT hid.oid FROM pg_class AS hid WHERE hid.relname = {0} "
    f"AND hid.relnamespace IN (SELECT closed.oid FROM {_HIDDEN}) LIMIT 1))"
)
_NEEDED_TABLE: Final = _TABLE.format("needed.name")
_AUDIT: Final = _TABLE.format("'audit'::text")
_LACKING: Final = text(
    "SELECT needed.name, needed.may FROM jsonb_each(CAST(:needed AS jsonb)) AS each(name, list), "
    "LATERAL (SELECT each.name AS name, jsonb_array_elements_text(each.list) AS may) AS needed "
    "WHERE CASE WHEN needed.may LIKE '%(%' "
    f"THEN NOT (has_column_privilege({_NEEDED_TABLE}, 'seq', 'UPDATE') "
    f"AND has_column_privilege({_NEEDED_TABLE}, 'hash', 'UPDATE')) "
    f"ELSE NOT has_table_privilege({_NEEDED_TABLE}, needed.may) END ORDER BY 1, 2"
)


def needed_rights() -> dict[str, tuple[str, ...]]:
    """What the role that runs needs of each table, as GRANT spells it."""
    return {name: _NARROW.get(name, _ALL) for name in (*sorted(metadata.tables), "alembic_version")}


def lacking_rights(conn: Connection, needed: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Table and right of each that the role of this connection lacks; on SQLite there are no rights."""
    if conn.dialect.name != "postgresql":
        return []
    return [(row.name, row.may) for row in conn.execute(_LACKING, {"needed": to_text(needed)})]


_SEQUENCES: Final = text(
    "SELECT sequence.relname FROM pg_class AS sequence JOIN pg_depend AS owned ON owned.objid = sequence.oid "
    "AND owned.classid = 'pg_class'::regclass AND owned.refclassid = 'pg_class'::regclass AND owned.deptype = 'a' "
    f"WHERE owned.refobjid IN (SELECT {_TABLE.format('ours')} "
    "FROM jsonb_array_elements_text(CAST(:tables AS jsonb)) AS ours) "
    "AND CASE WHEN sequence.relkind = 'S' THEN NOT has_sequence_privilege(sequence.oid, 'USAGE, UPDATE') ELSE false END ORDER BY 1"
)
_CUTS: Final = text(
    "SELECT COALESCE(has_function_privilege(COALESCE(to_regprocedure('audit_cut(bigint, bigint)')::oid, (SELECT hid.oid "
    f"FROM pg_proc AS hid WHERE hid.proname = 'audit_cut' AND hid.pronamespace IN (SELECT closed.oid FROM {_HIDDEN}) LIMIT 1)), "
    "'EXECUTE'), false)"
)
_ROLE: Final = text(
    "SELECT quote_ident(current_user) AS name, quote_ident(current_database()) AS database, "
    "quote_ident(COALESCE(current_schema()::text, hidden.nspname::text)) AS ours, current_schema() IS NULL AS unseen, "
    f"{_AUDIT} IS NOT NULL AS made, "
    "to_regnamespace('dbos') IS NOT NULL OR has_database_privilege(current_database(), 'CREATE') AS starts "
    f"FROM (SELECT 1) AS one LEFT JOIN (SELECT closed.nspname FROM {_HIDDEN} LIMIT 1) AS hidden ON true"
)


def lacking_sequences(conn: Connection) -> list[str]:
    """Sequences that number rows of our tables and that the role may not use: nothing can be added to such a table."""
    if conn.dialect.name != "postgresql":
        return []
    return list(conn.execute(_SEQUENCES, {"tables": to_text(sorted(metadata.tables))}).scalars())


def may_cut(conn: Connection) -> bool:
    """Whether the role may remove old records of the audit trail, which retention alone does."""
    return conn.dialect.name != "postgresql" or bool(conn.execute(_CUTS).scalar())


def lacking_of_all(conn: Connection) -> list[str]:
    """All rights that the role lacks, in words: those that keep alerts out, and those of retention."""
    told = [f"{right} on {name}" for name, right in lacking_rights(conn, needed_rights())]
    told += [f"USAGE on the sequence {name}" for name in lacking_sequences(conn)]
    return told if may_cut(conn) else [*told, "EXECUTE on the function audit_cut"]


def missing_grants(conn: Connection) -> tuple[list[str], list[str]]:
    """What the role lacks of the store, in words, and the statements that give it: all of them, also those that show only once the others
    are there. Nothing on SQLite."""
    if conn.dialect.name != "postgresql":
        return [], []
    role, lacking = conn.execute(_ROLE).one(), dict[str, list[str]]()
    told, grants = [], []
    if role.unseen and role.ours:
        told.append(f"USAGE on the schema {role.ours}")
        grants.append(f"GRANT USAGE ON SCHEMA {role.ours} TO {role.name}")
    for table, right in lacking_rights(conn, needed_rights()):
        lacking.setdefault(table, []).append(right)
    told += [f"{', '.join(lacks)} on {table}" for table, lacks in lacking.items()]
    grants += [
        f"GRANT {', '.join(lacks)} ON {role.ours}.{table} TO {role.name}" for table, lacks in lacking.items()
    ]
    if role.made and not may_cut(conn):
        told.append("EXECUTE on the function audit_cut")
        grants.append(f"GRANT EXECUTE ON FUNCTION {role.ours}.audit_cut(bigint, bigint) TO {role.name}")
    if sequences := lacking_sequences(conn):
        told += [f"USAGE on the sequence {name}" for name in sequences]
        grants.append(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {role.ours} TO {role.name}")
    return told, grants


def engine_grants(conn: Connection) -> list[str]:
    """The statement that lets the role make the schema of the workflow engine, where it is not there and the role may not."""
    role = conn.execute(_ROLE).one()
    return [] if role.starts else [f"GRANT CREATE ON DATABASE {role.database} TO {role.name}"]


def touch(tx: Tx) -> None:
    """Write a row as it is: it goes through the log and the disk like any other. Raises HeadGoneError when it is not there, without
    which nothing else can be written, StoreUnavailable when the role lacks a right to read, add or change, or to a sequence that numbers what
    is added. The rights to delete and to cut the trail are needed by retention alone, and keep no alert out."""
    needed = {name: tuple(r for r in rights if r != "DELETE") for name, rights in needed_rights().items()}
    lacking = [f"{right} on {name}" for name, right in lacking_rights(tx.conn, needed)]
    lacking += [f"USAGE on the sequence {name}" for name in lacking_sequences(tx.conn)]
    if lacking:
        more = f" and {len(lacking) - _TOLD} more" if len(lacking) > _TOLD else ""
        told = f"the role of the database lacks {', '.join(lacking[:_TOLD])}{more}"
        raise StoreUnavailable(told, where="store")
    head = update(audit_chain).where(audit_chain.c.id == 1).values(seq=audit_chain.c.seq)
    if not tx.conn.execute(head).rowcount:
        raise HeadGoneError
