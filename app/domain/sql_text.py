"""A statement of somebody else's as it may be shown: one line, short, without literals and comments, redacted.

Used by every implementation of `app.domain.database.Databases`, so that no statement leaves it otherwise. Pure.
"""

from __future__ import annotations

from typing import Any

import re2

from app.domain.redact import in_one_line
from app.domain.text import bounded

_SEEN = 2_000
_SHOWN = 160
_COMMENTS: Any = re2.compile(r"(?s)/\*.*?(?:\*/|$)|--[^\n]*")  # type: ignore[no-untyped-call]
_LITERALS: Any = re2.compile(  # type: ignore[no-untyped-call]
    r"(?s)\$[A-Za-z_]*\$.*|(?:[EeBbXxNn]|[Uu]&)?'(?:[^']|'')*(?:'|$)"
    r"|\b0[xX][0-9A-Fa-f]+\b|\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b"
)
"""Strings (also one that the server cut off), dollar quotes with all that follows, and numbers."""


def shortened(statement: str) -> str:
    """At most some 160 characters; every literal is `?`.

    Whether a backslash hides the quote behind it depends on a setting of the server, so that from the first string on nothing
    is shown of a statement in which one does.
    """
    text = bounded(statement, _SEEN)
    if "\\'" in text:
        text = f"{text[: text.index(chr(39))]}?"
    plain = _LITERALS.sub("?", _COMMENTS.sub(" ", text))
    return in_one_line(plain, _SHOWN)
