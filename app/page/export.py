"""The export of the audit trail: the part that a filter shows, as JSON lines, oldest first.

Called by `app.page.site`. One answer covers a bounded number of records, keeps its place among the expensive reads until it has
ended, and reads some records at a time: never holds a part in memory.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlencode

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.domain.errors import BadInput
from app.domain.lines import ASKED_BY, Asker
from app.page import records, render
from app.page.requests import Site, query_of
from app.page.session import Visitor
from app.store import records as stored
from app.store.database import Store
from app.store.records import Part

_DIGITS = 15


async def answer(site: Site, request: Request, visitor: Visitor) -> Response:
    """The part from the record `first` on. Raises BadInput for a filter that is none, TryLater (`overloaded`)."""
    query = dict(reversed(query_of(request.url.query)))
    asked, first = records.read(query), _first(query.get("first", ""))
    sought, store = records.sought_of(asked), site.web.store
    with ExitStack() as place:
        place.enter_context(site.web.expensive.place(visitor.principal.name))
        part = await store.read(lambda conn: stored.part(conn, sought, first))
        return _Placed(_lines(store, part), _headers(asked, part), place.pop_all())


class _Placed(StreamingResponse):
    """A stream that has its place until its end, also when it is never begun to be read."""

    def __init__(self, lines: AsyncIterator[str], headers: Mapping[str, str], place: ExitStack) -> None:
        super().__init__(lines, headers=headers, media_type="application/x-ndjson")
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)


async def _lines(store: Store, part: Part) -> AsyncIterator[str]:
    first = part.first
    ASKED_BY.set(Asker(ASKED_BY.get().name, "export"))  # what has begun waits for no page of the same visitor
    while first:
        text, first = await store.read(partial(_some, part=part, first=first))
        yield text


def _some(conn: Connection, part: Part, first: int) -> tuple[str, int]:
    """The next lines, made where they are read, and the record to go on from; 0 at the end."""
    rows = stored.rows_of(conn, part, first)
    return "".join(f"{json.dumps(row)}\n" for row in rows), rows[-1]["seq"] + 1 if rows else 0


def _headers(asked: Mapping[str, str], part: Part) -> dict[str, str]:
    """The name of the file says which records it covers, and a part that is not the last one where the next begins."""
    headers = {
        **render.HEADERS,
        "content-disposition": f'attachment; filename="audit-{part.first}-{part.last}.jsonl"',
    }
    if part.more:
        fields = {**{k: v for k, v in asked.items() if v}, "first": str(part.last + 1)}
        headers["link"] = f'</audit/export?{urlencode(fields)}>; rel="next"'
    return headers


def _first(text: str) -> int:
    text = text.strip() or "1"
    if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS:
        raise BadInput("expected the number of a record", code="invalid_parameter", where="first")
    return int(text)
