"""The trail as a whole: verified, exported, its head told, and cut where nothing needs it any more.

A cut leaves a gap: the numbers of the records that went and the hash of the last of them, which is where the chain goes on.
The oldest gap, from record 1, is the chain's anchor; the others stand in `audit_gaps`. Each removal appends a record (kind
`audit.pruned`) with the digest over all gaps there are, so a gap that was made in any other way is found. Triggers let go of a
record only after a gap says so; on Postgres the function `audit_cut` does all of a cut.

Called by `retention` (to cut), the command line, the page of the trail and the task `report`. Never decides what may go.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from app.domain.events import EventKind
from app.store import guards
from app.store.audit import GENESIS, NO_KEYS, PAGE, AuditKeys, Head, HeadGoneError, key_of, there
from app.store.connection import plain_text, to_json
from app.store.portions import portion
from app.store.schema import audit, audit_chain, audit_gaps, incidents
from app.store.tx import AuditRecord, Tx

_CHUNK = 1_000  # records read at a time by verify and export, and fewer where they are long
_HALF = re.compile("[\ud800-\udfff]")  # what bytes that are not UTF-8 are read as
_EXPORTED = ("seq", "at", "kind", "incident_id", "run_id", "actor")


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What `verify` found. `at_seq` is the first record that does not fit, None when all do; `removed` counts the records
    that retention removed, `keyed_from` is the first record made with a key, None without one. `unguarded` names the triggers
    and functions that are missing, so that anybody who may write the table can change the past; `foreign` names triggers, rules and
    policies on its tables that are none of ours, which may change what is written."""

    ok: bool
    checked: int
    first_seq: int
    last_seq: int
    at_seq: int | None = None
    problem: str = ""
    removed: int = 0
    keyed_from: int | None = None
    unguarded: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


class Gap(NamedTuple):
    """Records that were removed, both ends included; `hash` is that of the last one."""

    first: int
    last: int
    hash: str


class _DoesNotFitError(Exception):
    """Where the chain breaks, and how."""

    def __init__(self, seq: int, problem: str) -> None:
        super().__init__(problem)
        self.seq = seq


def head(conn: Connection) -> Head:
    """The head as it is stored now. Raises HeadGoneError when somebody removed it."""
    found = conn.execute(select(audit_chain.c.seq, audit_chain.c.hash).where(audit_chain.c.id == 1))
    return Head(*there(found.first()))


def newest(conn: Connection) -> int:
    """The number of the newest record there is, whatever the head says; 0 without any."""
    return conn.execute(select(func.max(audit.c.seq))).scalar() or 0


def export(conn: Connection) -> Iterator[dict[str, Any]]:
    """The whole trail as JSON objects, oldest first, read in chunks. `at` is in microseconds, as it was hashed; `data` is the
    stored text where somebody made it unreadable, so that the rest can still be exported."""
    for row in _rows(conn):
        yield exported(row)


def exported(row: Row[Any]) -> dict[str, Any]:
    """One record as `export` gives it."""
    return {
        **{name: _readable(getattr(row, name)) for name in _EXPORTED},
        "data": _read(row.data),
        "hash": _readable(row.hash),
    }


def verify(
    conn: Connection,
    keys: AuditKeys = NO_KEYS,
    known: Head | None = None,
    told: Callable[[int], None] | None = None,
) -> AuditReport:
    """Recompute the chain over records and gaps to the stored head; stop at the first that does not fit.

    `known` is a head that was written down outside of the database before: the trail must still go through it. `told` hears
    now and then up to which record it has come.
    """
    unguarded, foreign = guards.missing(conn), guards.foreign(conn)
    try:
        stored, check = head(conn), _Check(conn, keys, known, told)
    except HeadGoneError as gone:
        return AuditReport(False, 0, 1, 0, problem=str(gone), unguarded=unguarded, foreign=foreign)
    first = check.anchor.last + 1 if check.anchor else 1
    at_seq, problem = None, ""
    try:
        check.run(stored)
    except _DoesNotFitError as found:
        at_seq, problem = found.seq, str(found)
    if unguarded and not problem:
        problem = f"nothing keeps records from being changed: missing or altered are {', '.join(unguarded)}"
    if foreign and not problem:
        problem = f"what is written may be changed on its way: not ours are {', '.join(foreign)}"
    return AuditReport(
        not problem,
        check.checked,
        first,
        stored.seq,
        at_seq,
        problem,
        check.removed,
        check.keyed_from,
        unguarded,
        foreign,
    )


_BEFORE_ITS_INCIDENT = (
    select(audit.c.seq, audit.c.incident_id)
    .join(incidents, audit.c.incident_id == incidents.c.id)
    .where(audit.c.page < incidents.c.page)
    .limit(1)
)


_TOLD_EACH = 1_000


class _Check:
    """One walk along the trail."""

    def __init__(
        self,
        conn: Connection,
        keys: AuditKeys,
        known: Head | None,
        told: Callable[[int], None] | None = None,
    ) -> None:
        self._told = told
        self._conn, self._keys, self._known = conn, keys, known
        self._gaps = gaps(conn)
        self.anchor = self._gaps[0] if self._gaps and self._gaps[0].first == 1 else None
        self._at, self._hash = 0, GENESIS
        self._pruned: Row[Any] | None = None
        self.checked = self.removed = 0
        self.keyed_from: int | None = None

    def run(self, stored: Head) -> None:
        left = self._gaps[::-1]
        for row in _rows(self._conn):
            while left and left[-1].first <= row.seq:
                self._gap(left.pop())
            self._record(row)
            if self._told is not None and self.checked % _TOLD_EACH == 0:
                self._told(row.seq)
        for gap in reversed(left):
            self._gap(gap)
        if (self._at, self._hash) != (stored.seq, stored.hash):
            problem = f"the trail ends at record {self._at}, the stored head is record {stored.seq}"
            raise _DoesNotFitError(self._at + 1, problem)
        if self._known is not None and self._known.seq > self._at:
            problem = f"the trail ends at record {self._at}, before the given head, record {self._known.seq}"
            raise _DoesNotFitError(self._at + 1, problem)
        if (there := self._conn.execute(select(func.count()).select_from(audit)).scalar()) != self.checked:
            # Only a table whose key was taken away can have a number twice.
            raise _DoesNotFitError(self._at, f"the table has {there} records, and the chain {self.checked}")
        self._removals()
        self._hidden()
        if self._at and self._keys.current and self.keyed_from is None:
            raise _DoesNotFitError(self._at, "no record was made with a key, although there is one")

    def _hidden(self) -> None:
        """What is told of an incident is looked for from its first page on, and through indexes: both have to lead to all of it."""
        row = self._conn.execute(_BEFORE_ITS_INCIDENT).first()
        if row is not None:
            text = f"record {row.seq} is not told any more: its incident {row.incident_id} says that it began later"
            raise _DoesNotFitError(row.seq, text)
        if self._conn.dialect.name == "sqlite":
            told = str(self._conn.exec_driver_sql("PRAGMA integrity_check('audit')").scalar())
            if told != "ok":
                raise _DoesNotFitError(self._at, f"the table and its indexes differ: {told[:200]}")

    def _gap(self, gap: Gap) -> None:
        if gap.first != self._at + 1 or gap.last < gap.first:
            raise _DoesNotFitError(self._at + 1, f"the gap {gap.first} to {gap.last} is out of place")
        if self._known is not None and gap.first <= self._known.seq < gap.last:
            problem = (
                f"the given head, record {self._known.seq}, was removed by retention: give a younger one"
            )
            raise _DoesNotFitError(self._known.seq, problem)
        self.removed += gap.last - gap.first + 1
        self._go_on(gap.last, gap.hash)

    def _record(self, row: Row[Any]) -> None:
        expected = self._at + 1
        if row.seq != expected:
            # A record that had gone was put back, or the expected one is gone.
            problem = f"record {expected} is missing" if row.seq > expected else "record is out of place"
            raise _DoesNotFitError(min(row.seq, expected), problem)
        if wrong := _broken(row, self._hash, self._keys):
            raise _DoesNotFitError(row.seq, wrong)
        key = key_of(row.hash)
        if key and self.keyed_from is None:
            self.keyed_from = row.seq
        if not key and self.keyed_from is not None:
            raise _DoesNotFitError(row.seq, f"record {row.seq} has no key, although earlier ones have")
        if row.kind == EventKind.PRUNED.value:
            self._pruned = row
        self.checked += 1
        self._go_on(row.seq, row.hash)

    def _go_on(self, seq: int, digest: str) -> None:
        self._at, self._hash = seq, digest
        if self._known is not None and self._known.seq == seq and self._known.hash != digest:
            raise _DoesNotFitError(
                seq, f"record {seq} is not the one of the given head: the trail was rewritten"
            )

    def _removals(self) -> None:
        """The gaps are those that the newest record of a removal tells of."""
        said = _read(self._pruned.data) if self._pruned is not None else None
        if self._pruned is not None and not isinstance(said, dict):
            raise _DoesNotFitError(self._pruned.seq, f"record {self._pruned.seq} of a removal cannot be read")
        if said is None and not self._gaps:
            return
        if said is not None and "gaps" not in said and self._gaps == [self.anchor]:
            return  # a version that kept an anchor only was the last to remove any
        if said is None or said.get("gaps") != gaps_digest(self._gaps):
            problem = "records were removed, and no record of a removal tells of it"
            raise _DoesNotFitError(self._gaps[0].first if self._gaps else self._at, problem)


def _broken(row: Row[Any], before: str, keys: AuditKeys) -> str:
    """What is wrong with a record that follows the hash `before`; empty when it fits."""
    if wrong := _unlike_ours(row):
        return f"record {row.seq} was changed: {wrong} holds no value of ours"
    record = AuditRecord(row.at, row.kind, row.incident_id, row.run_id, row.actor, row.data)
    key = key_of(row.hash)
    if not keys.has(key):
        return f"record {row.seq} was made with a key that is not given"
    if keys.link(before, row.seq, record, key) != row.hash:
        return f"record {row.seq} was changed, moved or follows a changed record"
    if row.page != row.seq // PAGE:
        return f"record {row.seq} was changed: it is filed under another page"
    return ""


def unfit(conn: Connection, seqs: Sequence[int], keys: AuditKeys = NO_KEYS) -> dict[int, str]:
    """Which of these records do not fit what stands before them or the chain's head, and why. Of all others it says nothing: a record
    that fits can stand in a trail that was rewritten, which only `verify` finds."""
    wanted = sorted({*seqs, *(seq - 1 for seq in seqs)})
    with _any_bytes(conn):
        rows = {row.seq: row for row in conn.execute(select(audit).where(audit.c.seq.in_(wanted)))}
    before = {0: GENESIS, **{gap.last: gap.hash for gap in gaps(conn)}}
    before |= {seq: str(row.hash) for seq, row in rows.items()}
    end, found = head(conn), {}
    for seq in seqs:
        if seq - 1 not in before:
            found[seq] = f"record {seq - 1} is missing"
        elif wrong := _broken(rows[seq], before[seq - 1], keys):
            found[seq] = wrong
        elif seq == end.seq and rows[seq].hash != end.hash:
            found[seq] = f"record {seq} is not the one that the chain's head names"
    return found


def _read(data: Any) -> Any:
    """What is stored as JSON; the text itself when it is none, which only tampering makes of it."""
    try:
        return to_json(_readable(data))
    except (ValueError, RecursionError):
        return _readable(data)


def _readable(value: Any) -> Any:
    """A column as JSON can carry it: SQLite keeps any value in any column, also bytes."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


_COLUMNS = tuple((column.name, column.type.python_type) for column in audit.c)


def _unlike_ours(row: Row[Any]) -> str:
    """The column that holds what the service never writes: another type, or text that is not UTF-8; empty when none does."""
    for (name, kind), value in zip(_COLUMNS, row, strict=True):
        if type(value) is not kind or (kind is str and not value.isascii() and _HALF.search(value)):
            return name
    return ""


def gaps(conn: Connection) -> list[Gap]:
    """All gaps in order, the anchor first."""
    anchor = select(audit_chain.c.anchor_seq, audit_chain.c.anchor_hash).where(audit_chain.c.id == 1)
    chain = there(conn.execute(anchor).first())
    found = [Gap(1, chain.anchor_seq, chain.anchor_hash)] if chain.anchor_seq else []
    query = select(audit_gaps.c.first_seq, audit_gaps.c.last_seq, audit_gaps.c.hash)
    return found + [Gap(*there(row)) for row in conn.execute(query.order_by(audit_gaps.c.first_seq))]


def gaps_digest(found: Sequence[Gap]) -> str:
    """What the record of a removal says about all gaps: SHA-256 over their canonical JSON."""
    return hashlib.sha256(plain_text([list(gap) for gap in found]).encode()).hexdigest()


def cut(tx: Tx, removed: Sequence[tuple[int, str]]) -> None:
    """Remove these records, given as (seq, hash) in order. The caller tells of it with `told` in the same transaction."""
    if not removed:
        return
    conn, fresh = tx.conn, _ranges(Gap(seq, seq, digest) for seq, digest in removed)
    if tx.postgres:  # the only way for a role that owns nothing; the function keeps the gaps
        for gap in fresh:
            conn.execute(select(func.audit_cut(gap.first, gap.last)))
        return
    before = gaps(conn)
    _keep_gaps(conn, before, _ranges(sorted([*before, *fresh])))
    for gap in fresh:
        conn.execute(delete(audit).where(audit.c.seq.between(gap.first, gap.last)))


def told(conn: Connection) -> dict[str, Any]:
    """What the record of a removal says: the digest over all gaps, how many there are, and how many records went so far."""
    found = gaps(conn)
    removed = sum(gap.last - gap.first + 1 for gap in found)
    return {"gaps": gaps_digest(found), "gap_count": len(found), "removed": removed}


def _keep_gaps(conn: Connection, before: Sequence[Gap], after: Sequence[Gap]) -> None:
    stale, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    if stale:
        conn.execute(delete(audit_gaps).where(audit_gaps.c.first_seq.in_([g.first for g in stale])))
    for gap in new:
        if gap.first == 1:
            anchor = {"anchor_seq": gap.last, "anchor_hash": gap.hash}
            conn.execute(update(audit_chain).where(audit_chain.c.id == 1).values(anchor))
        else:
            conn.execute(insert(audit_gaps).values(first_seq=gap.first, last_seq=gap.last, hash=gap.hash))


def _ranges(found: Iterable[Gap]) -> list[Gap]:
    """The gaps with those joined that follow each other."""
    joined: list[Gap] = []
    for gap in found:
        if joined and gap.first == joined[-1].last + 1:
            joined[-1] = Gap(joined[-1].first, gap.last, gap.hash)
        else:
            joined.append(gap)
    return joined


def _rows(conn: Connection) -> Iterator[Row[Any]]:
    """Every record there is, also one with a number that no record of ours has."""
    where: list[ColumnElement[bool]] = []
    while rows := chunk(conn, where):
        yield from rows
        where = [audit.c.seq > rows[-1].seq]


def chunk(conn: Connection, where: Sequence[ColumnElement[bool]]) -> Sequence[Row[Any]]:
    """The first records that fit, as many as are read at a time, whatever their text is; none at the end."""
    query = select(audit).where(*where).order_by(audit.c.seq)
    with _any_bytes(conn):
        return portion(conn, query, _CHUNK, lambda row: row).rows


@contextmanager
def _any_bytes(conn: Connection) -> Iterator[None]:
    """SQLite keeps bytes as text that are none: read them as they are instead of failing for the whole trail."""
    if conn.dialect.name != "sqlite":
        yield
        return
    driver: Any = conn.connection.driver_connection
    before = driver.text_factory
    driver.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = before
