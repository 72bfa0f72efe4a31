"""News: a stream of server-sent events that says how much is new since a page was loaded.

It says only how much, and never moves a row under somebody's finger: what is new is shown when they ask for it. A stream ends
by itself after `SECONDS`, which is less than any request may take, and the browser asks again; it ends for good with the
session. Never holds a connection of the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.domain.errors import BadInput, NotAuthenticated, RemediatorError
from app.domain.lines import ASKED_BY, Asker
from app.domain.units import counted
from app.page import lists, render
from app.page.requests import Site, arrive, local_path, query_of, told
from app.page.session import Visitor, signed_out
from app.store import approvals, listing, standing, trail

SECONDS = 45.0
EVERY = 2.0
"""Seconds between two looks at whether anything happened at all."""
_AGAIN, _LATER = 2_000, 30_000
"""Milliseconds after which a browser asks again: after an ordinary end, and where there was no place."""
_MAX_SEQ = 15

Count = Callable[[Connection], int]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page wants to hear of: how to count it, what it is called, and where it is shown."""

    count: Count
    one: str
    many: str
    path: str


async def stream(site: Site, request: Request) -> Response:
    """The stream. Nobody is told that their session is over, after which a browser does not ask again."""
    try:
        visitor, _ = await arrive(site, request)
        asked = _asked(request, site)
        ASKED_BY.set(Asker(visitor.principal.name, "news"))  # looked at often and soon: it waits for no page
    except NotAuthenticated:
        return Response(_event("over", render.render("over.html")), media_type="text/event-stream")
    except BadInput as error:
        return told(request, error)
    return StreamingResponse(_events(site, visitor, asked), media_type="text/event-stream")


async def _events(site: Site, visitor: Visitor, asked: Asked) -> AsyncIterator[str]:
    try:
        with site.streams.place():
            async for event in _told(site, visitor, asked):
                yield event
    except RemediatorError:  # no place, or the store is away; the answer has begun, so no other can be given
        yield f"retry: {_LATER}\n\n"


async def _told(site: Site, visitor: Visitor, asked: Asked) -> AsyncIterator[str]:
    clock, store = site.web.clock, site.web.store
    ends, head, last = clock.monotonic() + SECONDS, -1, 0
    yield f"retry: {_AGAIN}\n\n"
    while clock.monotonic() < ends:
        if visitor.ends is not None and clock.now() >= visitor.ends:
            yield _event("over", render.render("over.html"))
            return
        over, now = await store.read(lambda conn: (_is_over(conn, visitor), trail.head(conn).seq))
        if over:
            yield _event("over", render.render("over.html"))
            return
        if now != head:
            head, number = now, await store.read(asked.count)
            if number != last:
                last = number
                text = counted(number, asked.one, asked.many)
                yield _event("news", render.render("news.html", text=text, path=asked.path))
        await clock.sleep(EVERY)


def _is_over(conn: Connection, visitor: Visitor) -> bool:
    return visitor.ends is not None and approvals.taken(conn, signed_out(visitor.mark))


def _event(name: str, html: str) -> str:
    data = "".join(f"data: {row}\n" for row in html.splitlines() if row.strip())
    return f"event: {name}\n{data}\n"


def _asked(request: Request, site: Site) -> Asked:
    """Raises BadInput for what no page of ours asks."""
    query = dict(reversed(query_of(request.url.query)))
    path = local_path(query.get("path", "/"))
    if (newest := query.get("newest")) is not None:
        chosen = lists.read(query_of(path.partition("?")[2]))
        wanted = chosen.wanted(site.web.clock.now())
        return Asked(
            lambda conn: listing.newer(conn, wanted, newest[:64]), "new incident", "new incidents", path
        )
    since = query.get("since", "")
    if not since.isdecimal() or len(since) > _MAX_SEQ:
        raise BadInput("expected the number of an audit record", code="invalid_parameter", where="since")
    incident, after = query.get("incident", "")[:64], int(since)
    return Asked(lambda conn: standing.changes(conn, after, incident), "change", "changes", path)
