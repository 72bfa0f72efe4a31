"""The client through which messages leave: its protocol, what posting gives, and what failing means.

Implemented by `app.notify.slack` and `app.notify.console`, used by `app.flow.notifying.deliver`. The four failures say what the
caller should do: later, never, find out first, or post a new message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.errors import CallerError, OutcomeUnclear, ProbeUnavailable
from app.notify.message import Message


@dataclass(frozen=True, slots=True)
class Posted:
    """Where a message stands. `ts` is a text, never a number: it is an id that only looks like one."""

    channel: str
    ts: str


@dataclass(frozen=True, slots=True)
class Found:
    """Answer of a search for a message of ours. Neither posted nor `unknown`: it is certainly not there."""

    posted: Posted | None = None
    unknown: str = ""
    """Why nobody can tell, for people; empty when it could be told."""


class Retry(ProbeUnavailable):
    """Nothing was posted; try again after `retry_after` seconds (None: as the caller likes)."""

    code = "message_retry"


class Away(Retry):
    """As Retry, and no other message would be taken now either."""

    code = "client_away"


class Never(CallerError):
    """Nothing was posted and a repeat gives the same answer; the message says what a person has to change."""

    code = "message_refused"


class NoAccess(Never):
    """As Never, but the message is fine: a token, scope, channel or membership is missing. The message says which."""

    code = "message_no_access"


class BadToken(NoAccess):
    """As NoAccess, and it holds for every message: the token itself is not accepted."""

    code = "message_bad_token"


class Misfit(Never):
    """As Never, for the message's layout or length: in plain text it may be taken."""

    code = "message_misfit"


class Unclear(OutcomeUnclear):
    """Sent, and the answer was lost: look with `find` before posting again."""

    code = "message_unclear"


class PostAnew(CallerError):
    """The message to edit is gone or may no longer be edited: post a new one."""

    code = "message_gone"


class MessageClient(Protocol):
    """Posts, edits and finds messages. `post` raises Retry, Never, Unclear and PostAnew (the thread is gone), `update`
    Retry, Never and PostAnew, `find` Retry only."""

    def knows(self, posted: Posted) -> bool:
        """Whether this message is one of this client's, and not of another kind of client used earlier."""
        ...

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        """Post a message, into a thread when `thread_ts` is given. `client_tag` is kept with it for `find`."""
        ...

    async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
        """Replace a message's content. Repeating it is harmless."""
        ...

    async def find(self, channel: str, thread_ts: str | None, tag: str, since: datetime) -> Found:
        """Look for a message of ours with this tag, posted at `since` or later."""
        ...
