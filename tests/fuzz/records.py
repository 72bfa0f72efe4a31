"""Fuzz targets of what comes back from a database or a file that somebody may have edited: the audit trail, recorded alerts."""

from __future__ import annotations

import contextlib
from functools import cache

from sqlalchemy import Connection, create_engine, delete, insert, update
from sqlalchemy.pool import StaticPool

from app.domain.errors import BadInput
from app.policytools.backtest_records import Reading, read_lines
from app.store import trail
from app.store.audit import GENESIS, NO_KEYS, AuditKeys, Head
from app.store.connection import to_text
from app.store.schema import audit, audit_chain, audit_gaps, metadata
from app.store.tx import AuditRecord
from tests.fuzz.bodies import JSON_WORDS
from tests.fuzz.target import FuzzTarget, parts_of, text_of

_KEYS = AuditKeys.parse("k" * 32)


@cache
def _database() -> Connection:
    """An empty trail in memory, without its triggers, as the owner of the database can make it."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine, tables=[audit, audit_chain, audit_gaps])
    conn = engine.connect()
    for name in ("audit_no_update", "audit_no_delete", "audit_no_insert"):
        conn.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
    conn.execute(insert(audit_chain).values(id=1, seq=0, hash=GENESIS, anchor_seq=0, anchor_hash=GENESIS))
    return conn


def _number(data: bytes) -> int:
    return int.from_bytes(data[:6], "big", signed=True)


def _tampered(data: bytes) -> None:
    """A sound trail of three records, one column of one record (or of the chain) overwritten: told, never an exception."""
    conn = _database()
    which, one, two = parts_of(data, 3)
    for table in (audit, audit_gaps):
        conn.execute(delete(table))
    digest = GENESIS
    for seq in (1, 2, 3):
        record = AuditRecord(
            seq, "audit.pruned" if seq == 3 else "measured", "inc_1", "", "ann", to_text({"n": seq})
        )
        digest = _KEYS.link(digest, seq, record)
        conn.execute(insert(audit).values(**record._asdict(), seq=seq, hash=digest, page=0))
    conn.execute(update(audit_chain).values(seq=3, hash=digest, anchor_seq=0, anchor_hash=GENESIS))
    names = ("data", "hash", "kind", "actor", "at", "seq", "chain", "gap")
    name, text = (
        names[which[0] % len(names) if which else 0],
        two.decode("utf-8", "replace").replace("\0", ""),
    )
    row = one[0] % 3 + 1 if one else 3
    match name:
        case "chain":
            conn.execute(update(audit_chain).values(seq=_number(two), hash=text))
        case "gap":
            conn.execute(insert(audit_gaps).values(first_seq=_number(one), last_seq=_number(two), hash=text))
        case "at" | "seq":
            if (number := _number(two)) not in (1, 2, 3):
                conn.execute(update(audit).where(audit.c.seq == row).values({name: number}))
        case _:
            conn.execute(update(audit).where(audit.c.seq == row).values({name: text}))
    for keys in (NO_KEYS, _KEYS):
        report = trail.verify(conn, keys, Head(3, digest))
        assert report.ok or report.problem
    assert all(row["hash"] is not None for row in trail.export(conn))


def _heads(data: bytes) -> None:
    text = text_of(data)
    with contextlib.suppress(BadInput):
        assert str(Head.parse(text)).partition(":")[2]
    try:
        AuditKeys.parse(data.decode("utf-8", "replace"))  # the settings refuse what is not UTF-8
    except BadInput as error:
        assert len(error.message) < 100, "nothing of a key is shown"


def _recorded(data: bytes) -> None:
    reading = Reading()
    for heard in read_lines("x.jsonl", data.splitlines(), reading):
        assert isinstance(heard.at, int)
        dict(heard.labels)
    assert all(len(fault) < 500 for fault in reading.faults)


TARGETS = (
    FuzzTarget("audit-trail", _tampered, (b"\0\0{}", b"\1\0\1:x", b"\2\0\1measured", b"\6\0\0x", b"\7\0\1\0\2x", b"\0\0\2[1]"),
               (b"\0", b"[", b"null", b"{}", b'{"gaps":1}', b'{"gaps":"x","gap_count":"y"}', b":", b"f" * 64, *JSON_WORDS), pumped=2_048),
    FuzzTarget("heads", _heads, (b"12:" + b"a" * 64, b"1:k:ab", b"k" * 40 + b"," + b"j" * 40), (b":", b",", b"9" * 5_000, b"\xd9\xa3")),
    FuzzTarget(
        "recorded-alerts",
        _recorded,
        (b'{"labels":{"alertname":"A"},"startsAt":"2026-03-04T10:00:00Z"}\n{"alerts":[]}',
         b'{"seq":1,"kind":"alert.fired","at":1,"data":{"labels":{"a":"b"},"episode":"e","starts_at":"2026-03-04T10:00:00Z"}}',
         b'{"seq":1,"kind":"alert.resolved","at":1,"data":{"episode":"e"}}'),
        (b'"alerts"', b'"seq"', b'"kind"', b'"alert.fired"', b'"labels"', b'"startsAt"', b"\n", *JSON_WORDS),
    ),
)  # fmt: skip
