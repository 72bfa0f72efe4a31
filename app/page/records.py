"""The audit trail as a page: searched by words, kind, person, target, incident, run and time, newest first, with the head of its chain.

Called by `app.page.site`. Reads only. Whether each record shown fits the one before it is recomputed; the whole chain is
not, which is `remediator audit verify` and no work for a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from sqlalchemy import Connection

from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.json import canonical
from app.domain.text import bounded
from app.page.lists import time_of
from app.store import records, trail
from app.store.audit import AuditEvent, AuditKeys, Head
from app.store.records import Sought
from app.web import paging

ROWS = 100
_LONGEST = 300
_WORDS = 8
"""Words that one search may have: each is looked for in every record."""
_DATA = 400
"""Characters of a record's data that a row shows; the incident's page and the API have all."""
_FIELDS = ("words", "kind", "actor", "target", "incident", "run", "since", "until")


@dataclass(frozen=True, slots=True)
class Row:
    """One record with the beginning of its data, and why it does not fit the one before it; empty when it does."""

    event: AuditEvent
    data: str
    unfit: str


@dataclass(frozen=True, slots=True)
class AuditPage:
    """One page. `asked` is what the form had; `removed` counts records that retention removed."""

    asked: Mapping[str, str]
    rows: Sequence[Row]
    following: str
    more: bool
    head: Head
    removed: int

    @property
    def unfit(self) -> int:
        """How many of the records shown do not fit."""
        return sum(bool(row.unfit) for row in self.rows)


def read(query: Mapping[str, str]) -> dict[str, str]:
    """The fields of the form; others are left alone."""
    return {name: query.get(name, "").strip()[:_LONGEST] for name in _FIELDS}


def look(conn: Connection, keys: AuditKeys, asked: Mapping[str, str], cursor: str) -> AuditPage:
    """One page; `keys` are those of the trail. Raises BadInput for a kind or cursor that is none."""
    sought = sought_of(asked)
    found = records.page(conn, sought, paging.decode_number(cursor), ROWS)
    following = ""
    if found.following:
        fields = {**{k: v for k, v in asked.items() if v}, "cursor": paging.encode(str(found.following))}
        following = f"/audit?{urlencode(fields)}"
    unfit = trail.unfit(conn, [event.seq for event in found.rows], keys)
    rows = [Row(e, bounded(canonical(e.data), _DATA), unfit.get(e.seq, "")) for e in found.rows]
    removed = int(trail.told(conn)["removed"])
    return AuditPage(asked, rows, following, found.more, trail.head(conn), removed)


def sought_of(asked: Mapping[str, str]) -> Sought:
    """What the form asks for, as the store knows it. Raises BadInput for a kind or time that is none, or for too many words."""
    words = tuple(asked["words"].split())
    if len(words) > _WORDS:
        raise BadInput(f"more than {_WORDS} words", code="invalid_parameter", where="words")
    names = (asked["actor"], asked["incident"], asked["run"], asked["target"])
    return Sought(
        _kind(asked["kind"]),
        *names,
        words,
        time_of("since", asked["since"]),
        time_of("until", asked["until"]),
    )


def _kind(text: str) -> EventKind | None:
    try:
        return EventKind(text) if text else None
    except ValueError as error:
        raise BadInput("there is no such kind of record", code="invalid_parameter", where="kind") from error
