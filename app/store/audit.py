"""The audit trail: append-only, one hash chain over everything, cut into segments so that an incident's records are found quickly.

`trail` verifies, exports and cuts. `append` is called by the writer only; everybody else goes through `Tx.audit`. Never updates or
deletes a record (triggers forbid it), and never sees a secret (callers keep them out of `data`)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Text,
    and_,
    bindparam,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.text import size_spelled
from app.store.connection import Prepared, moment, plain_text, to_json, to_text
from app.store.portions import each
from app.store.schema import ABOUT_INCIDENT, ABOUT_RUN, audit, audit_chain, episodes, incidents
from app.store.tx import AuditRecord

# The chain of the audit trail: how a record's hash follows from the one before it, with or without a key.
#
# Without a key a hash is SHA-256, which shows every change that did not recompute all later hashes. With a key it is
# HMAC-SHA256, which nobody without the key can recompute; such a hash begins with the first digits of the key's own
# hash, so that a trail may go over to a new key. A trail that is keyed once stays keyed: `verify` takes a plain
# record after a keyed one for tampering. Used by `trail` and `retention` too. Never touches the database.

GENESIS = "0" * 64
"""The hash before the first record."""

_SHORTEST_KEY = 32
_ID_DIGITS = 8


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """The keys of the trail by their ids, none for a plain one. New records are made with the one named `current`."""

    current: str = ""
    _secrets: dict[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Comma-separated keys: the first for new records, all of them to verify. Raises BadInput for a short one."""
        secrets: dict[str, bytes] = {}
        for word in (word.strip() for word in text.split(",")):
            if len(word) < _SHORTEST_KEY:
                raise BadInput(
                    f"a key of at least {_SHORTEST_KEY} characters is expected, several with commas between",
                    code="bad_setting",
                    where="REMEDIATOR_AUDIT_KEY",
                )
            secret = word.encode()
            secrets[hashlib.sha256(b"audit key " + secret).hexdigest()[:_ID_DIGITS]] = secret
        return cls(next(iter(secrets)), secrets)

    def link(self, before: str, seq: int, record: AuditRecord, key: str | None = None) -> str:
        """The hash of a record over the hash before it and the canonical JSON array of its fields, hex.

        `data` goes in as its canonical text, so that anyone with the key can recompute it from an export. `key` None: the
        current one. Raises KeyError when the key is not here.
        """
        key = self.current if key is None else key
        text = (before + plain_text([seq, *record])).encode()
        if not key:
            return hashlib.sha256(text).hexdigest()
        return f"{key}:{hmac.new(self._secrets[key], text, hashlib.sha256).hexdigest()}"

    def has(self, key: str) -> bool:
        """A record made with this key can be verified; a plain one always."""
        return not key or key in self._secrets


NO_KEYS = AuditKeys()


def key_of(stored: str) -> str:
    """The id of the key a stored hash was made with, empty for a plain one."""
    return stored.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest record of a trail: written down elsewhere, it shows later that nothing before it was cut or rewritten."""

    seq: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """`SEQ:HASH` as `audit head` prints it. Raises BadInput."""
        seq, _, digest = text.strip().partition(":")
        if not seq.isascii() or not seq.isdigit() or not digest:
            raise BadInput("expected SEQ:HASH as `audit head` prints it", code="bad_head", where="--head")
        return cls(int(seq), digest)

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.seq}:{self.hash}"


# Pages: what keeps "everything of this incident" quick to find and cheap to write, however much is stored.
#
# An index that begins with the incident would be written to at as many places as there are open incidents: one disk
# page per alert. So the audit trail is cut into pages of 1024 records, a row remembers the page it was written in,
# and the index begins with that: all inserts land in the newest page's small part of it. An incident remembers the
# page it was opened in; to find its rows, each page since is asked once, which is one for a young incident and some
# hundreds for one opened a million alerts ago.
#
# Used by `ingest`, `incidents` and `retention` too. Never writes.

PAGE = 1024
"""Records of the audit trail per page. Frozen: rows remember the number of their page.

A commit of 60 alerts dirties as many leaves of an index as the newest page has, 60 at most: a quarter of the records
makes the log of a storm half as long, and an incident that was opened five million alerts ago is found in 5,000 steps.
"""

_R = TypeVar("_R", bound=Sequence[Any])
_LAST_SEQ = Prepared(select(audit_chain.c.seq).where(audit_chain.c.id == bindparam("id")), ("id",))


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


def current_segment(conn: Connection) -> int:
    """The page that is being written.

    Read it after the incidents a row is to join: a page is never before the one in which its incident was opened.
    """
    (seq,) = _LAST_SEQ.one(conn, 1).one()
    return int(seq) // PAGE


def episodes_of(conn: Connection, incident_id: str) -> dict[str, str]:
    """The parameters of `EPISODES_OF` for this incident."""
    row = conn.execute(_LIFE, {"incident": incident_id}).one_or_none()
    first, last = (0, -1) if row is None else (row.page, row.last_page)
    pages = range(first, (current_segment(conn) if last is None else last) + 1)
    return {"pages": to_text(list(pages)), "incident": incident_id}


def all_episodes(conn: Connection, incident_id: str) -> ColumnElement[bool]:
    """`EPISODES_OF` with its parameters inside, for statements that have others."""
    asked = episodes_of(conn, incident_id)
    return _owned(literal(asked["pages"], Text()), literal(incident_id, Text()))


def episodes_of_all(conn: Connection, incident_ids: Sequence[str]) -> ColumnElement[bool]:
    """The condition "episode of one of these incidents"."""
    first = conn.execute(select(func.min(incidents.c.page)).where(incidents.c.id.in_(incident_ids))).scalar()
    pages = range(current_segment(conn) + 1 if first is None else first, current_segment(conn) + 1)
    return and_(in_pages(episodes.c.page, _list(pages)), episodes.c.incident_id.in_(incident_ids))


def events_of(conn: Connection, incident_id: str) -> ColumnElement[bool]:
    """The condition "audit event of this incident", also when only the audit trail still knows it."""
    first = conn.execute(select(incidents.c.page).where(incidents.c.id == incident_id)).scalar()
    if first is None:
        anchor = conn.execute(select(audit_chain.c.anchor_seq).where(audit_chain.c.id == 1)).scalar()
        first = int(anchor or 0) // PAGE
    pages = range(first, current_segment(conn) + 1)
    return and_(in_pages(audit.c.page, _list(pages)), audit.c.incident_id == incident_id, ABOUT_INCIDENT)


def events_since(conn: Connection, incident_id: str, seq: int) -> ColumnElement[bool]:
    """The condition "audit event of this incident after record `seq`"."""
    pages = range(seq // PAGE, current_segment(conn) + 1)
    of_it = and_(in_pages(audit.c.page, _list(pages)), audit.c.incident_id == incident_id, ABOUT_INCIDENT)
    return and_(of_it, audit.c.seq > seq)


def _list(pages: range) -> ColumnElement[str]:
    return literal(to_text(list(pages)), Text())


# The audit trail: append-only, one hash chain over everything.
#
# Each record's hash covers the hash before it and its own fields, so a changed, removed or reordered record breaks
# every later link; the stored head tells a cut-off tail, and a head written down elsewhere tells a trail that was
# rewritten with its head. `trail` verifies, exports and cuts. `append` is called by the writer only; everybody else
# goes through `Tx.audit`. Never updates or deletes a record (triggers forbid it), and never sees a secret (callers
# keep them out of `data`).

_HEAD = Prepared(
    select(audit_chain.c.seq, audit_chain.c.hash)
    .where(audit_chain.c.id == bindparam("id"))
    .with_for_update(),
    ("id",),
)
_INSERT = Prepared(insert(audit), tuple(c.name for c in audit.c))
_ADVANCE = Prepared(
    update(audit_chain)
    .where(audit_chain.c.id == bindparam("chain"))
    .values(seq=bindparam("seq"), hash=bindparam("hash")),
    ("seq", "hash", "chain"),
)


class HeadGoneError(NoResultFound):
    """What says where the trail begins and ends was removed or made unreadable: nothing can be appended any more."""

    def __init__(
        self, what: str = "the row with the head of the audit trail (table audit_chain) is gone"
    ) -> None:
        super().__init__(what)


def there(row: _R | None) -> _R:
    """A row of the chain or of its gaps: numbers, and at last a hash. Raises HeadGoneError without one, or where it holds something else,
    which SQLite lets any column do."""
    if row is None:
        raise HeadGoneError
    *numbers, digest = row
    if type(digest) is not str or any(type(number) is not int for number in numbers):
        raise HeadGoneError("the chain or the gaps of the audit trail hold values that are none of ours")
    return row


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One record of the trail as read back. `seq` counts from 1 without gaps."""

    seq: int
    at: datetime
    kind: EventKind
    incident_id: str
    run_id: str
    actor: str
    data: dict[str, Any]
    hash: str
    size: int = field(default=0, compare=False)
    """Bytes that its data take in an answer."""


def append(conn: Connection, records: Sequence[AuditRecord], keys: AuditKeys = NO_KEYS) -> None:
    """Append records in order, in the transaction of `conn`. On Postgres the head row is locked until the commit.

    The head is read each time, not remembered: another process (a command line) may have appended in between.
    """
    if not records:
        return
    seq, head = there(_HEAD.one(conn, 1).first())
    rows = []
    for record in records:
        seq += 1
        head = keys.link(head, seq, record)
        rows.append((seq, *record, head, seq // PAGE))
    _INSERT.many(conn, rows)
    _ADVANCE.one(conn, seq, head, 1)


_CHAIN = select(audit_chain).where(audit_chain.c.id == literal_column("1")).subquery()
IN_CHAIN = and_(
    audit.c.seq > select(_CHAIN.c.anchor_seq).scalar_subquery(),
    audit.c.seq <= select(_CHAIN.c.seq).scalar_subquery(),
)
"""The condition "between the anchor and the head of the chain": what `verify` has not gone through is not told."""


def each_of_incident(conn: Connection, incident_id: str) -> Iterator[AuditEvent]:
    """All events of one incident, its runs included, oldest first and one by one: there may be more of them than memory."""
    query = select(audit).where(events_of(conn, incident_id), IN_CHAIN).order_by(audit.c.seq)
    return (event_from(row) for row in each(conn, query, audit.c.seq))


def for_run(conn: Connection, run_id: str) -> list[AuditEvent]:
    """All events of one run, oldest first."""
    query = select(audit).where(audit.c.run_id == run_id, ABOUT_RUN, IN_CHAIN).order_by(audit.c.seq)
    return [event_from(row) for row in conn.execute(query)]


def page(conn: Connection, after_seq: int, limit: int) -> list[AuditEvent]:
    """Up to `limit` events after `after_seq` (0 for the beginning), oldest first."""
    query = select(audit).where(audit.c.seq > after_seq, IN_CHAIN).order_by(audit.c.seq).limit(limit)
    return [event_from(row) for row in conn.execute(query)]


def newest_at(conn: Connection) -> datetime | None:
    """When the newest record was written, by the clock of its writer; None without any."""
    head = select(audit_chain.c.seq).where(audit_chain.c.id == 1).scalar_subquery()
    at = conn.execute(select(audit.c.at).where(audit.c.seq == head)).scalar()
    return None if at is None else moment(at)


def require_key(conn: Connection, keys: AuditKeys) -> None:
    """Raise BadInput when the trail goes on with a key that is not given: a plain record would break it for good."""
    key = key_of(there(_HEAD.one(conn, 1).first())[1])
    if not keys.has(key) or (key and not keys.current):
        raise BadInput(
            "the audit trail was made with a key, and it goes on with one only: give this key, or a new one and this one",
            code="audit_key_missing",
            where="REMEDIATOR_AUDIT_KEY",
        )


def event_from(row: Row[Any]) -> AuditEvent:
    """A row of the table as an event."""
    return AuditEvent(
        row.seq,
        moment(row.at),
        EventKind(row.kind),
        row.incident_id,
        row.run_id,
        row.actor,
        to_json(row.data),
        row.hash,
        size_spelled(row.data),
    )
