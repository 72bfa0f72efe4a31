"""A client of messages for rigs: it keeps what it is told, and fails when it is told to."""

from __future__ import annotations

from app.engine.memory import Boundary
from app.notify.client import Found, Posted
from app.notify.message import Message


class Notebook:
    """A client of messages that writes down what was posted and edited, by incident thread."""

    def __init__(self) -> None:
        self.boundary: Boundary = lambda _name: None
        self.posts: list[tuple[str, str, str]] = []
        self.parents: dict[str, str] = {}
        self.failing: BaseException | None = None

    def knows(self, posted: Posted) -> bool:
        """All of them."""
        return posted.channel == "C0NOTEBOOK"

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        """Write down a message."""
        del channel
        if self.failing is not None:
            raise self.failing
        self.boundary("post before")
        ts = str(len(self.posts) + 1)
        self.posts.append((thread_ts or ts, client_tag, message.readable()))
        if thread_ts is None:
            self.parents[ts] = message.readable()
        self.boundary("post after")
        return Posted("C0NOTEBOOK", ts)

    async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
        """Write down an edit."""
        del client_tag
        if self.failing is not None:
            raise self.failing
        self.parents[posted.ts] = message.readable()
        return posted

    async def find(self, channel: str, thread_ts: str | None, tag: str, since: object) -> Found:
        """Look it up in the notebook."""
        del channel, since
        for number, (thread, client_tag, _) in enumerate(self.posts, 1):
            if client_tag == tag and thread_ts in (None, thread):
                return Found(posted=Posted("C0NOTEBOOK", str(number)))
        return Found()

    @property
    def text(self) -> str:
        """Everything that was ever posted."""
        return "\n".join(text for _, _, text in self.posts)
