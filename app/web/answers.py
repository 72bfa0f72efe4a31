"""Answers that may be long: they are made beside the event loop, and only so many of them are under way.

Used by the API's reading part and by the pages. Takes the places for long answers: each stands in memory as a whole until its reader has taken
it, and a reader may take its time. What goes into an answer is bounded where it is read (`app.store.portions`), and how much is read for one
caller at a time too (`app.store.database`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.domain.lines import Beside
from app.domain.text import spelled
from app.web.callers import CALLER

LONG: Final = 64 * 1024
"""Bytes from which on an answer needs a place."""


class Answer(Response):
    """An answer that is there, or made by `make`, in a thread and one after the other, before it is sent. Raises TryLater (`overloaded`) when it
    is long and no place is free."""

    def __init__(
        self, make: Callable[[], bytes] | bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(make if isinstance(make, bytes) else None, status, headers)
        self._make = None if isinstance(make, bytes) else make

    async def made(self) -> None:
        """Make it, unless it is. Raises what `make` does."""
        make = self._make
        if make is not None:
            self.body = await _MAKING.do(make)
            self.headers["content-length"] = str(len(self.body))
            self._make = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. A long one is sent in parts, each once the one before it was taken: until then its place is."""
        await self.made()
        if len(self.body) <= LONG:
            await super().__call__(scope, receive, send)
            return
        with scope["app"].state.services.answers.place(scope.get(CALLER, "")):
            head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(head)
            for at in range(0, len(self.body), LONG):
                part = bytes(self.body[at : at + LONG])
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


class JSONAnswer(Answer):
    """One of JSON."""

    media_type = "application/json"


_MAKING: Final = Beside()


def document(content: BaseModel | Mapping[str, Any]) -> bytes:
    """JSON of which no character of a stranger moves anything where it is printed."""
    return spelled(to_json(content, inf_nan_mode="null").decode()).encode()


def answer(content: BaseModel | Mapping[str, Any]) -> Response:
    """What is there already, as JSON."""
    return JSONAnswer(lambda: document(content))
