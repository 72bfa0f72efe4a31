"""Pages: what keeps "everything of this incident" quick to find and cheap to write, however much is stored.

An index that begins with the incident would be written to at as many places as there are open incidents: one disk page
per alert. So the audit trail is cut into pages of 1024 records, a row remembers the page it was written in, and the
index begins with that: all inserts land in the newest page's small part of it. An incident remembers the page it was
opened in; to find its rows, each page since is asked once, which is one for a young incident and some hundreds for one
opened a million alerts ago.

Called by `ingest`, `incidents`, `audit` and `retention`. Never writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Text, and_, bindparam, func, literal, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from app.store.encoding import to_text
from app.store.prepared import Prepared
from app.store.schema import ABOUT_INCIDENT, audit, audit_chain, episodes, incidents

PAGE = 1024
"""Records of the audit trail per page. Frozen: rows remember the number of their page.

A commit of 60 alerts dirties as many leaves of an index as the newest page has, 60 at most: a quarter of the records
makes the log of a storm half as long, and an incident that was opened five million alerts ago is found in 5,000 steps.
"""

_HEAD = Prepared(select(audit_chain.c.seq).where(audit_chain.c.id == bindparam("id")), ("id",))


class _Numbers(FunctionElement[int]):
    """The numbers of a JSON array as a set to test against: one parameter however many they are."""

    name = "numbers"
    inherit_cache = True
    type = BigInteger()


@compiles(_Numbers, "sqlite")
def _numbers_sqlite(element: _Numbers, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **kw)}))"


@compiles(_Numbers, "postgresql")
def _numbers_postgresql(element: _Numbers, compiler: SQLCompiler, **kw: Any) -> str:
    text = compiler.process(element.clauses, **kw)
    return f"(SELECT CAST(jsonb_array_elements_text(CAST({text} AS jsonb)) AS bigint))"


def in_pages(column: ColumnElement[int], pages: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition "written in one of these pages", given as the text of a JSON array."""
    return column.op("IN", is_comparison=True)(_Numbers(pages))


_LIFE = select(incidents.c.page, incidents.c.last_page).where(incidents.c.id == bindparam("incident"))


def _owned(pages: ColumnElement[str], incident: ColumnElement[str]) -> ColumnElement[bool]:
    return and_(in_pages(episodes.c.page, pages), episodes.c.incident_id == incident)


EPISODES_OF = _owned(bindparam("pages", type_=Text()), bindparam("incident", type_=Text()))
"""The condition "episode of this incident" in a form that the index serves; `episodes_of` has its parameters."""


def current(conn: Connection) -> int:
    """The page that is being written.

    Read it after the incidents a row is to join: a page is never before the one in which its incident was opened.
    """
    (seq,) = _HEAD.one(conn, 1).one()
    return int(seq) // PAGE


def episodes_of(conn: Connection, incident_id: str) -> dict[str, str]:
    """The parameters of `EPISODES_OF` for this incident."""
    row = conn.execute(_LIFE, {"incident": incident_id}).one_or_none()
    first, last = (0, -1) if row is None else (row.page, row.last_page)
    pages = range(first, (current(conn) if last is None else last) + 1)
    return {"pages": to_text(list(pages)), "incident": incident_id}


def all_episodes(conn: Connection, incident_id: str) -> ColumnElement[bool]:
    """`EPISODES_OF` with its parameters inside, for statements that have others."""
    asked = episodes_of(conn, incident_id)
    return _owned(literal(asked["pages"], Text()), literal(incident_id, Text()))


def episodes_of_all(conn: Connection, incident_ids: Sequence[str]) -> ColumnElement[bool]:
    """The condition "episode of one of these open incidents"."""
    first = conn.execute(select(func.min(incidents.c.page)).where(incidents.c.id.in_(incident_ids))).scalar()
    pages = range(current(conn) + 1 if first is None else first, current(conn) + 1)
    return and_(in_pages(episodes.c.page, _list(pages)), episodes.c.incident_id.in_(incident_ids))


def events_of(conn: Connection, incident_id: str) -> ColumnElement[bool]:
    """The condition "audit event of this incident", also when only the audit trail still knows it."""
    first = conn.execute(select(incidents.c.page).where(incidents.c.id == incident_id)).scalar()
    if first is None:
        anchor = conn.execute(select(audit_chain.c.anchor_seq).where(audit_chain.c.id == 1)).scalar()
        first = int(anchor or 0) // PAGE
    pages = range(first, current(conn) + 1)
    return and_(in_pages(audit.c.page, _list(pages)), audit.c.incident_id == incident_id, ABOUT_INCIDENT)


def events_since(conn: Connection, incident_id: str, seq: int) -> ColumnElement[bool]:
    """The condition "audit event of this incident after record `seq`"."""
    pages = range(seq // PAGE, current(conn) + 1)
    of_it = and_(in_pages(audit.c.page, _list(pages)), audit.c.incident_id == incident_id, ABOUT_INCIDENT)
    return and_(of_it, audit.c.seq > seq)


def _list(pages: range) -> ColumnElement[str]:
    return literal(to_text(list(pages)), Text())
