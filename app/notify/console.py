"""The console as a message client: used when there is no Slack token. Prints every message in full.

Called by `app.flow.notifying.deliver` like Slack's client. Foreign text is never read as terminal markup.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import count

from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.text import Text

from app.notify.client import Found, Posted
from app.notify.message import Context, Message
from app.notify.text import Line, Ref, Span, Style, clean, plain

CHANNEL = "console"
_STYLES = {Style.PLAIN: "", Style.BOLD: "bold", Style.CODE: "cyan"}


class ConsoleClient:
    """Prints messages; each thread entry stands under a rule with its incident, as threads of several come mixed. Never fails, never forgets an order."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._numbers = count(1)
        self._shown: dict[str, str] = {}

    def knows(self, posted: Posted) -> bool:
        """Printed on a console."""
        return posted.channel == CHANNEL

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        """Print. The ts is this process's running number."""
        del channel, client_tag
        posted = Posted(CHANNEL, str(next(self._numbers)))
        await asyncio.to_thread(self._print, posted.ts, message, thread_ts is None)
        return posted

    async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
        """Print the edited message again, unless nothing in it changed."""
        del client_tag
        await asyncio.to_thread(self._print, posted.ts, message, True)
        return posted

    def _print(self, ts: str, message: Message, first: bool) -> None:
        """On a thread of its own: texts of strangers may be long, and a terminal slow."""
        if not first:
            self._console.print(Rule(Text(clean(message.incident_id)), style="dim", align="left"))
            self._console.print(render(message))
            return
        readable = message.readable()
        if self._shown.get(ts) != readable:
            self._shown[ts] = readable
            self._card(message)

    def _card(self, message: Message) -> None:
        # Wrapped inside its frame even on a console that leaves wrapping to the terminal: a frame cuts what sticks out.
        self._console.print(Panel(render(message), expand=True), soft_wrap=False)

    async def find(self, channel: str, thread_ts: str | None, tag: str, since: datetime) -> Found:
        """A terminal cannot be searched; what an earlier process printed is gone."""
        del channel, thread_ts, tag, since
        return Found(unknown="a console cannot be searched")


def render(message: Message) -> Text:
    """The whole message as styled terminal text, nothing cut."""
    rows = [_row(message.headline)]
    for part in message.parts:
        style = "dim" if isinstance(part, Context) else ""
        rows.extend(_row(li, style) for li in part.lines)
    return Text("\n").join(rows)


def _row(content: Line, style: str = "") -> Text:
    row = Text(style=style)
    for piece in content:
        if isinstance(piece, Span):
            row.append(clean(piece.text), _STYLES[piece.style])
        elif isinstance(piece, Ref):
            row.append(plain((piece,)), "underline")
        else:
            row.append(plain((piece,)))
    return row
