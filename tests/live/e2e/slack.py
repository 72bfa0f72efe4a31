"""Owns the Slack double for processes: served from a thread, so that it answers while a test waits."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from tests.doubles import slack as double


class SlackServer:
    """The double with its URL. State is changed by the server's thread and only read by tests."""

    def __init__(self) -> None:
        self.state = double.SlackDouble(lambda: datetime.now(UTC))
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="slack-double")

    def channel(self, name: str) -> str:
        """Adds a channel of this name; returns its id."""
        found = f"C0{name.upper().replace('-', '')}"
        self.state.channels.setdefault(found, double.Channel(name))
        return found

    def entries(self, channel: str) -> list[str]:
        """The replies of the channel's only thread as text, oldest first. Raises when there is not one thread."""
        (root,) = self.state.roots(channel)
        return [message.readable() for message in self.state.thread(root.ts, channel)]

    def parent(self, channel: str) -> str:
        """The channel's only parent message as it reads now."""
        (root,) = self.state.roots(channel)
        return root.readable()

    def tags(self, channel: str) -> list[str]:
        """The outbox ids that the messages of the channel carry; one that stands twice was posted twice."""
        messages = self.state.channels[channel].messages
        return [str(m.metadata["event_payload"]) for m in messages if m.metadata]

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the Slack double did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with double.serving(self.state) as url:
            self.url = url
            self._ready.set()
            await self._stop.wait()
