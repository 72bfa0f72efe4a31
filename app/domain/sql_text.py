"""A statement of somebody else's as it may be shown: one line, short, without literals and comments, redacted.

Used by every implementation of `app.domain.database.Databases`, so that no statement leaves it otherwise. Pure.

Reads it once, as PostgreSQL does: whatever begins first is read to its end, so that no comment's sign in a string and no quote in a comment
counts. What never ends, as the server cuts long statements, takes all that follows with it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Final

from app.domain.linear import Linear
from app.domain.redact import in_one_line
from app.domain.text import bounded

_SEEN = 2_000
_SHOWN = 160
_LETTER, _PART = r"[A-Za-z_\x{80}-\x{10FFFF}]", r"[A-Za-z0-9_\x{80}-\x{10FFFF}]"
_TOKEN: Any = Linear(
    r"(?s)(?P<blank>\s+|--[^\n\r]*)"
    r"|(?P<block>/\*)"
    r"|(?P<escaped>[Ee]'(?:[^'\\]|\\.|'')*')"
    r"|(?P<string>(?:[BbXxNn]|[Uu]&)?'(?:[^']|'')*')"
    r'|(?P<name>"(?:[^"]|"")*")'
    rf"|(?P<dollar>\$(?:{_LETTER}{_PART}*)?\$)"
    r"|(?P<param>\$[0-9]+)"
    r"|(?P<open>(?:[EeBbXxNn]|[Uu]&)?'|\")"
    rf"|(?P<word>{_LETTER}(?:{_PART}|\$)*)"
    r"|(?P<number>0[xXoObB][0-9A-Fa-f_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9][0-9_]*)?)"
    r"|(?P<sign>.)"
)
_BLOCK: Any = Linear(r"/\*|\*/")
_BACKSLASHED: Final = "\\'"
_ASSIGNING: Final = ("SET", "ALTER", "CREATE")
"""A value that one of these assigns to a setting needs no quotes, and may be a list: it goes up to the statement's end."""
_INSTEAD: Final = {**dict.fromkeys(("escaped", "string", "dollar", "number", "open"), "?"), "param": "$?"}


class _At(Enum):
    """Where in `SET [LOCAL] a.b TO value`."""

    ELSEWHERE = auto()
    SET = auto()
    SCOPED = auto()
    NAMED = auto()
    DOTTED = auto()
    ASSIGNED = auto()
    VALUE = auto()


def shortened(statement: str) -> str:
    """At most some 160 characters; every literal is `?`."""
    return in_one_line(without_literals(bounded(statement, _SEEN)), _SHOWN)


def without_literals(statement: str) -> str:
    """All of it, with `?` for every literal and a blank for every comment.

    Whether a backslash hides the quote behind it in a plain string depends on a setting of the server, so that nothing
    is shown from the first such string on.
    """
    reader, at = _Reader(), 0
    while at < len(statement):
        found = _TOKEN.match(statement, at)
        kind, text = found.lastgroup, found.group()
        end: int | None = found.end()
        if kind == "block":
            end = _after_comment(statement, found.end())
        elif kind == "dollar":
            close = statement.find(text, found.end())
            end = close + len(text) if close >= 0 else None
        elif kind == "open" or (kind == "string" and _BACKSLASHED in text):
            end = None
        if not reader.take(kind, text) or end is None:
            break
        at = end
    return "".join(reader.shown)


def _after_comment(statement: str, at: int) -> int | None:
    """Where a comment whose beginning was read ends, with those inside it; None when it does not."""
    depth = 1
    while found := _BLOCK.search(statement, at):
        depth, at = depth + (1 if found.group() == "/*" else -1), found.end()
        if not depth:
            return at
    return None


class _Reader:
    """What is shown of the tokens so far, and how far the statement is that they belong to."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self._begin()

    def _begin(self) -> None:
        self._first = ""
        self._rows = False
        self._at = _At.ELSEWHERE

    def take(self, kind: str, text: str) -> bool:
        """Whether what follows is to be read: behind a COPY from the client stand its rows."""
        if kind in ("blank", "block"):
            self.shown.append(" ")
        elif text == ";":
            self.shown.append(text)
            if self._rows:
                return False
            self._begin()
        elif self._at is _At.ASSIGNED:
            self._at = _At.VALUE
            self.shown.append("?")
        elif self._at is not _At.VALUE:
            self._follow(kind, text)
            self.shown.append(_INSTEAD.get(kind, text))
        return True

    def _follow(self, kind: str, text: str) -> None:
        word = text.upper() if kind == "word" else ""
        self._first = self._first or word or text
        self._rows = self._rows or (self._first == "COPY" and word == "STDIN")
        if self._first not in _ASSIGNING:
            return
        if word == "SET":
            self._at = _At.SET
        elif self._at is _At.SET and word in ("SESSION", "LOCAL"):
            # Unless the name of the setting begins with it: `SET session.tenant = value`.
            self._at = _At.SCOPED
        elif self._at is _At.SET or (self._at is _At.SCOPED and kind in ("word", "name") and word != "TO"):
            self._at = _At.NAMED if kind in ("word", "name") else _At.ELSEWHERE
        elif self._at in (_At.NAMED, _At.SCOPED) and (word == "TO" or text == "="):
            self._at = _At.ASSIGNED
        elif self._at is _At.DOTTED:
            self._at = _At.NAMED
        elif self._at in (_At.NAMED, _At.SCOPED):
            self._at = _At.DOTTED if text == "." else _At.ELSEWHERE
